//! Tests beyond the reach of SQL: bit patterns, malformed binary values, memory. The other tests
//! are in `tests/sql/`.

#[pgrx::pg_schema]
mod tests {
    use crate::distance::f16;
    use crate::types::dense::{DenseDatum, Element, HalfvecDatum, MAX_DIMENSIONS, VectorDatum, new_datum, text};
    use crate::types::testing::{error_of, receive, short};
    use pgrx::prelude::*;
    use pgrx::{PgSqlErrorCode, Spi};
    use rand::rngs::SmallRng;
    use rand::{Rng, SeedableRng};
    use std::ffi::CStr;
    use std::mem::MaybeUninit;

    /// Every kind of number: any bits, and numbers near the borders of notations and of exact
    /// integers.
    fn finite_numbers() -> Vec<f32> {
        let mut random = SmallRng::seed_from_u64(1);
        let mut numbers: Vec<f32> = (0..300_000).map(|_| f32::from_bits(random.random())).collect();
        numbers.extend((0..32).map(|bit| f32::from_bits(1 << bit)));
        numbers.extend((-45..39).flat_map(|exponent| {
            let power: f32 = format!("1e{exponent}").parse().unwrap();
            [power, power.next_down(), power.next_up(), -power]
        }));
        numbers.extend((-149..128).map(|exponent| f32::powi(2.0, exponent)));
        numbers.extend((0..100_000).map(|_| random.random_range(-1.0..1.0)));
        numbers.extend((0..10_000).map(|_| random.random_range(1 << 24..1i64 << 36) as f32));
        numbers.extend([
            0.0,
            -0.0,
            f32::MAX,
            f32::MIN,
            f32::MIN_POSITIVE,
            16_777_216.0,
            999_999.94,
            1e6,
        ]);
        numbers.retain(|number| number.is_finite());
        numbers
    }

    fn print<T: Element>(numbers: &[T]) -> String {
        let mut out = vec![MaybeUninit::uninit(); text::printed_size(numbers.len())];
        let len = text::print(numbers, &mut out);
        // SAFETY: print says how many bytes it has written.
        out[..len]
            .iter()
            .map(|byte| char::from(unsafe { byte.assume_init() }))
            .collect()
    }

    #[pg_test]
    fn prints_as_float4_and_reads_back() {
        for numbers in finite_numbers().chunks(MAX_DIMENSIONS) {
            let text = print(numbers);
            for (number, text) in numbers.iter().zip(text.trim_matches(['[', ']']).split(',')) {
                // SAFETY: float4out takes a float4 and returns a string in the current memory
                // context.
                let expected = unsafe {
                    let out =
                        pgrx::fcinfo::direct_function_call::<&CStr>(pg_sys::float4out, &[number.into_datum()]).unwrap();
                    let expected = out.to_str().unwrap().to_owned();
                    pg_sys::pfree(out.as_ptr().cast_mut().cast());
                    expected
                };
                assert_eq!(text, expected);
            }
            let read: Vec<f32> = text::parse(text.as_bytes()).unwrap();
            assert!(read.iter().map(|n| n.to_bits()).eq(numbers.iter().map(|n| n.to_bits())));
        }
    }

    #[pg_test]
    fn every_half_reads_back() {
        let halves: Vec<f16> = (0..=u16::MAX)
            .map(f16::from_bits)
            .filter(|half| half.is_finite())
            .collect();
        assert_eq!(halves.len(), 2 * 31 * 1024);
        for halves in halves.chunks(MAX_DIMENSIONS) {
            let text = print(halves);
            assert_eq!(
                text,
                print(&halves.iter().map(|half| half.to_f32()).collect::<Vec<_>>())
            );
            let read: Vec<f16> = text::parse(text.as_bytes()).unwrap();
            assert!(read.iter().map(|n| n.to_bits()).eq(halves.iter().map(|n| n.to_bits())));
        }
    }

    /// The value that a receive function makes of a message.
    fn received<T: Element>(bytes: &[u8], typmod: i32) -> Vec<T> {
        // SAFETY: a result of the type's own function.
        unsafe { DenseDatum::from_datum(receive(T::TYPE_NAME, bytes, typmod)) }
            .as_slice()
            .to_vec()
    }

    /// The binary form: dimensions, unused, numbers.
    fn wire<T: Element>(dimensions: i16, unused: i16, numbers: &[T]) -> Vec<u8> {
        let mut bytes = [dimensions.to_be_bytes(), unused.to_be_bytes()].concat();
        for number in numbers {
            let at = bytes.len();
            bytes.resize(at + size_of::<T>(), 0);
            number.to_wire(&mut bytes[at..]);
        }
        bytes
    }

    #[pg_test]
    fn receives_binary_values() {
        assert_eq!(
            received::<f32>(&wire(3, 0, &[1.0, -2.5, 1e-45f32]), -1),
            [1.0, -2.5, 1e-45]
        );
        assert_eq!(received::<f32>(&wire(2, 0, &[1.0f32, 2.0]), 2), [1.0, 2.0]);
        let longest: Vec<f32> = (0..MAX_DIMENSIONS).map(|i| i as f32).collect();
        assert_eq!(received::<f32>(&wire(MAX_DIMENSIONS as i16, 0, &longest), -1), longest);
        let halves = [f16::ONE, f16::MIN, f16::from_bits(1), f16::NEG_ZERO];
        assert_eq!(received::<f16>(&wire(4, 0, &halves), 4), halves);
        assert_eq!(received::<f16>(&[0, 1, 0, 0, 0x3c, 0], -1), [f16::ONE]);
        let longest: Vec<f16> = (0..MAX_DIMENSIONS).map(|i| f16::from_bits(i as u16)).collect();
        assert_eq!(received::<f16>(&wire(MAX_DIMENSIONS as i16, 0, &longest), -1), longest);
    }

    fn refuses_malformed<T: Element>(nan: T, infinite: T) {
        use PgSqlErrorCode::*;
        let (name, size, one) = (T::TYPE_NAME, size_of::<T>(), T::from_f32(1.0));
        let refused = |bytes: &[u8], typmod, code, text: &str| {
            assert_eq!(
                error_of(|| received::<T>(bytes, typmod)),
                (code, text.to_string()),
                "{bytes:?}"
            );
        };
        let bad = ERRCODE_INVALID_BINARY_REPRESENTATION;
        let truncated: [(&[u8], usize, usize); 6] = [
            (&[], 2, 0),
            (&[0], 2, 1),
            (&[0, 1], 2, 0),
            (&[0, 1, 0], 2, 1),
            (&[0, 1, 0, 0], size, 0),
            (&[0, 2, 0, 0, 0, 0, 0], 2 * size, 3),
        ];
        for (bytes, wanted, left) in truncated {
            let text = format!("invalid binary value of type {name}: {wanted} bytes expected, {left} left");
            refused(bytes, -1, bad, &text);
        }
        refused(
            &wire(1, 1, &[one]),
            -1,
            ERRCODE_DATA_EXCEPTION,
            "expected unused to be 0, not 1",
        );
        for dimensions in [0, -1, i16::MIN] {
            let text = format!("{name} must have at least 1 dimension");
            refused(&wire::<T>(dimensions, 0, &[]), -1, ERRCODE_DATA_EXCEPTION, &text);
        }
        for dimensions in [MAX_DIMENSIONS as i16 + 1, i16::MAX] {
            let text = format!("{name} cannot have more than 16000 dimensions");
            refused(&wire(dimensions, 0, &[one]), -1, ERRCODE_PROGRAM_LIMIT_EXCEEDED, &text);
        }
        let text = "expected 2 dimensions, not 1";
        refused(&wire(1, 0, &[one]), 2, ERRCODE_DATA_EXCEPTION, text);
        let text = format!("NaN not allowed in {name}");
        refused(&wire(2, 0, &[one, nan]), -1, ERRCODE_DATA_EXCEPTION, &text);
        let text = format!("infinite value not allowed in {name}");
        refused(&wire(2, 0, &[infinite, one]), -1, ERRCODE_DATA_EXCEPTION, &text);
    }

    #[pg_test]
    fn refuses_malformed_vectors() {
        refuses_malformed(f32::NAN, f32::NEG_INFINITY);
    }

    #[pg_test]
    fn refuses_malformed_halfvecs() {
        refuses_malformed(f16::NAN, f16::NEG_INFINITY);
    }

    #[pg_test]
    fn makes_and_reads_vectors() {
        let numbers = [1.0, -0.0, f32::MAX];
        let datum = new_datum(&numbers).unwrap();
        // SAFETY: a vector just made, of a 4-byte header, two u16 and three f32.
        unsafe {
            assert_eq!(VectorDatum::from_datum(datum).as_slice(), numbers);
            assert_eq!(
                std::slice::from_raw_parts(datum.cast_mut_ptr::<u8>(), 8),
                [20 << 2, 0, 0, 0, 3, 0, 0, 0]
            );
        }
        let halves = numbers
            .map(f16::from_f32)
            .map(|half| if half.is_finite() { half } else { f16::MAX });
        let datum = new_datum(&halves).unwrap();
        // SAFETY: a halfvec just made, of a 4-byte header, two u16 and three f16.
        unsafe {
            assert_eq!(HalfvecDatum::from_datum(datum).as_slice(), halves);
            assert_eq!(
                std::slice::from_raw_parts(datum.cast_mut_ptr::<u8>(), 14),
                [14 << 2, 0, 0, 0, 3, 0, 0, 0, 0, 0x3c, 0, 0x80, 0xff, 0x7b]
            );
        }
        assert!(new_datum::<f32>(&[]).is_err());
        assert!(new_datum(&[1.0f32; MAX_DIMENSIONS + 1]).is_err());
        assert!(new_datum(&[f32::NAN]).is_err());
        assert!(new_datum(&[f32::INFINITY]).is_err());
        assert!(new_datum(&[f16::NAN]).is_err());
        assert!(new_datum(&[f16::INFINITY]).is_err());
    }

    fn reads_short<T: Element + std::fmt::Debug>(most: usize) {
        for dimensions in 1..=most {
            let numbers: Vec<T> = (0..dimensions).map(|i| T::from_f32(i as f32 - 0.5)).collect();
            let mut data = vec![dimensions as u8, 0, 0, 0];
            // SAFETY: the bytes of numbers.
            data.extend(unsafe {
                std::slice::from_raw_parts(numbers.as_ptr().cast::<u8>(), size_of_val(&numbers[..]))
            });
            let mut memory = Vec::new();
            let datum = short(&data, &mut memory);
            // SAFETY: the datum is a vector for as long as `memory` lives.
            unsafe {
                assert_eq!(DenseDatum::<T>::from_datum(datum).as_slice(), numbers);
                // A returned copy stays.
                let returned = DenseDatum::<T>::from_datum(datum).into_datum();
                memory.fill(0);
                assert_eq!(DenseDatum::<T>::from_datum(returned).as_slice(), numbers);
            }
        }
    }

    #[pg_test]
    fn reads_short_vectors() {
        reads_short::<f32>(30);
        reads_short::<f16>(61);
    }

    #[pg_test]
    fn frees_what_it_detoasts() {
        Spi::run("CREATE TABLE stored (v vector)").unwrap();
        Spi::run("INSERT INTO stored VALUES (array_fill(0.5::real, ARRAY[1000])::vector)").unwrap();
        Spi::connect(|client| {
            let row = client.select("SELECT v FROM stored", None, &[]).unwrap().first();
            let datum = row.get_datum_by_ordinal(1).unwrap().unwrap();
            // SAFETY: a value of a row that the connection keeps.
            unsafe { assert!(pgrx::varlena::varatt_is_1b_e(datum.cast_mut_ptr()), "not out of line") };
            // SAFETY: as above.
            let read = || unsafe { assert_eq!(VectorDatum::from_datum(datum).as_slice(), [0.5; 1000]) };
            // SAFETY: the current context is always valid.
            let allocated = || unsafe { pg_sys::MemoryContextMemAllocated(pg_sys::CurrentMemoryContext, true) };
            read();
            let before = allocated();
            (0..1000).for_each(|_| read());
            assert_eq!(allocated(), before);
        });
    }

    #[pg_test]
    fn refuses_corrupted_values() {
        // Header (size), dimensions, unused: too many and too few dimensions for the size, none, no
        // room for a header.
        for (size, dimensions) in [(12, 2), (16, 1), (8, 0), (4, 1), (65_544, 16_384)] {
            let mut memory = vec![0u32; 16_400];
            memory[0] = size << 2;
            memory[1] = dimensions;
            // SAFETY: a varlena of that size within `memory`, aligned.
            let read = || unsafe { VectorDatum::from_datum(memory.as_ptr().cast_mut().into()) };
            let shown = if size < 8 { 0 } else { dimensions };
            let text = format!("value of type vector is corrupted: {size} bytes with {shown} dimensions");
            assert_eq!(error_of(read), (PgSqlErrorCode::ERRCODE_DATA_CORRUPTED, text));
        }
        // With a 1-byte header: more bytes than numbers, fewer, more than there can be, and only
        // the header.
        for (size, dimensions, shown) in [(10u8, 1, 1), (9, 2, 2), (127, 31, 31), (3, 1, 0)] {
            let mut memory = [0u8; 128];
            memory[..2].copy_from_slice(&[size << 1 | 1, dimensions]);
            // SAFETY: a varlena of that size within `memory`.
            let read = || unsafe { VectorDatum::from_datum(memory.as_ptr().cast_mut().into()) };
            let text = format!(
                "value of type vector is corrupted: {} bytes with {shown} dimensions",
                size + 3
            );
            assert_eq!(error_of(read), (PgSqlErrorCode::ERRCODE_DATA_CORRUPTED, text));
        }
        // A size that is right for a vector of floats.
        let mut memory = [16u32 << 2, 2, 0, 0];
        // SAFETY: a varlena of that size, aligned.
        let read = || unsafe { HalfvecDatum::from_datum(memory.as_mut_ptr().into()) };
        let text = "value of type halfvec is corrupted: 16 bytes with 2 dimensions".to_string();
        assert_eq!(error_of(read), (PgSqlErrorCode::ERRCODE_DATA_CORRUPTED, text));
    }
}
