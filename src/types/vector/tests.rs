//! What SQL cannot show: bit patterns, malformed binary values, memory. The rest is in `tests/sql/`.

#[pgrx::pg_schema]
mod tests {
    use crate::types::vector::{MAX_DIMENSIONS, VectorDatum, new_datum, text};
    use pgrx::pg_sys::panic::CaughtError;
    use pgrx::prelude::*;
    use pgrx::{PgSqlErrorCode, PgTryBuilder, Spi};
    use rand::rngs::SmallRng;
    use rand::{Rng, SeedableRng};
    use std::ffi::CStr;
    use std::mem::MaybeUninit;
    use std::panic::AssertUnwindSafe;

    /// The SQLSTATE and text of the error that `action` raises.
    fn error_of<T>(action: impl FnOnce() -> T) -> (PgSqlErrorCode, String) {
        PgTryBuilder::new(AssertUnwindSafe(|| {
            action();
            (PgSqlErrorCode::ERRCODE_SUCCESSFUL_COMPLETION, String::new())
        }))
        .catch_others(|error| match error {
            CaughtError::PostgresError(report) | CaughtError::ErrorReport(report) => {
                (report.sql_error_code(), report.message().to_string())
            }
            CaughtError::RustPanic { ereport, .. } => panic!("a Rust panic: {}", ereport.message()),
        })
        .execute()
    }

    /// Every kind of number: any bits, and those near the borders of notations and of exact integers.
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

    fn print(numbers: &[f32]) -> String {
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
                // SAFETY: float4out takes a float4 and returns a string in the current memory context.
                let expected = unsafe {
                    let out =
                        pgrx::fcinfo::direct_function_call::<&CStr>(pg_sys::float4out, &[number.into_datum()]).unwrap();
                    let expected = out.to_str().unwrap().to_owned();
                    pg_sys::pfree(out.as_ptr().cast_mut().cast());
                    expected
                };
                assert_eq!(text, expected);
            }
            let read = text::parse(text.as_bytes()).unwrap();
            assert!(read.iter().map(|n| n.to_bits()).eq(numbers.iter().map(|n| n.to_bits())));
        }
    }

    /// Calls `vector_recv` as PostgreSQL does with a message of these bytes.
    fn receive(bytes: &[u8], typmod: i32) -> Vec<f32> {
        let function: pg_sys::Oid = Spi::get_one("SELECT 'vector_recv(internal, oid, integer)'::regprocedure::oid")
            .unwrap()
            .unwrap();
        let mut data = bytes.to_vec();
        let mut message = pg_sys::StringInfoData {
            data: data.as_mut_ptr().cast(),
            len: data.len() as i32,
            maxlen: data.len() as i32,
            cursor: 0,
        };
        // SAFETY: the message outlives the call, and the result is a vector.
        unsafe {
            let datum = pg_sys::OidReceiveFunctionCall(function, &mut message, pg_sys::InvalidOid, typmod);
            assert_eq!(message.cursor, message.len, "bytes left");
            VectorDatum::from_datum(datum).as_slice().to_vec()
        }
    }

    /// The binary form: dimensions, unused, numbers.
    fn wire(dimensions: i16, unused: i16, numbers: &[f32]) -> Vec<u8> {
        let mut bytes = [dimensions.to_be_bytes(), unused.to_be_bytes()].concat();
        bytes.extend(numbers.iter().flat_map(|number| number.to_be_bytes()));
        bytes
    }

    #[pg_test]
    fn receives_binary_values() {
        assert_eq!(receive(&wire(3, 0, &[1.0, -2.5, 1e-45]), -1), [1.0, -2.5, 1e-45]);
        assert_eq!(receive(&wire(2, 0, &[1.0, 2.0]), 2), [1.0, 2.0]);
        let longest: Vec<f32> = (0..MAX_DIMENSIONS).map(|i| i as f32).collect();
        assert_eq!(receive(&wire(MAX_DIMENSIONS as i16, 0, &longest), -1), longest);
    }

    #[pg_test]
    fn refuses_malformed_binary_values() {
        use PgSqlErrorCode::*;
        let refused = |bytes: &[u8], typmod, code, text: &str| {
            assert_eq!(
                error_of(|| receive(bytes, typmod)),
                (code, text.to_string()),
                "{bytes:?}"
            );
        };
        let bad = ERRCODE_INVALID_BINARY_REPRESENTATION;
        let truncated: [(&[u8], usize, usize); 5] = [
            (&[], 4, 0),
            (&[0], 4, 1),
            (&[0, 1, 0], 4, 3),
            (&[0, 1, 0, 0], 4, 0),
            (&[0, 2, 0, 0, 0, 0, 0, 0, 0], 8, 5),
        ];
        for (bytes, wanted, left) in truncated {
            let text = format!("invalid binary value of type vector: {wanted} bytes expected, {left} left");
            refused(bytes, -1, bad, &text);
        }
        refused(
            &wire(1, 1, &[1.0]),
            -1,
            bad,
            "invalid binary value of type vector: expected unused to be 0, not 1",
        );
        for dimensions in [0, -1, i16::MIN] {
            refused(
                &wire(dimensions, 0, &[]),
                -1,
                ERRCODE_DATA_EXCEPTION,
                "vector must have at least 1 dimension",
            );
        }
        for dimensions in [MAX_DIMENSIONS as i16 + 1, i16::MAX] {
            let text = "vector cannot have more than 16000 dimensions";
            refused(&wire(dimensions, 0, &[1.0]), -1, ERRCODE_PROGRAM_LIMIT_EXCEEDED, text);
        }
        refused(
            &wire(1, 0, &[1.0]),
            2,
            ERRCODE_DATA_EXCEPTION,
            "expected 2 dimensions, not 1",
        );
        refused(
            &wire(2, 0, &[1.0, f32::NAN]),
            -1,
            ERRCODE_DATA_EXCEPTION,
            "NaN not allowed in vector",
        );
        let text = "infinite value not allowed in vector";
        refused(&wire(2, 0, &[f32::NEG_INFINITY, 1.0]), -1, ERRCODE_DATA_EXCEPTION, text);
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
        assert!(new_datum(&[]).is_err());
        assert!(new_datum(&[1.0; MAX_DIMENSIONS + 1]).is_err());
        assert!(new_datum(&[f32::NAN]).is_err());
        assert!(new_datum(&[f32::INFINITY]).is_err());
    }

    /// A vector as a row stores a small one: the 1-byte header, at an odd address.
    fn short(numbers: &[f32], memory: &mut Vec<u64>) -> pg_sys::Datum {
        let size = 1 + 4 + size_of_val(numbers);
        let mut bytes = vec![0; 3];
        bytes.extend([(size as u8) << 1 | 1, numbers.len() as u8, 0, 0, 0]);
        bytes.extend(numbers.iter().flat_map(|number| number.to_ne_bytes()));
        bytes.resize(bytes.len().next_multiple_of(8), 0);
        *memory = bytes
            .as_chunks()
            .0
            .iter()
            .map(|chunk| u64::from_ne_bytes(*chunk))
            .collect();
        // SAFETY: the value starts at byte 3.
        unsafe { memory.as_mut_ptr().byte_add(3).into() }
    }

    #[pg_test]
    fn reads_short_vectors() {
        for dimensions in 1..=30 {
            let numbers: Vec<f32> = (0..dimensions).map(|i| i as f32 - 0.5).collect();
            let mut memory = Vec::new();
            let datum = short(&numbers, &mut memory);
            // SAFETY: the datum is a vector for as long as `memory` lives.
            unsafe { assert_eq!(VectorDatum::from_datum(datum).as_slice(), numbers) };
        }
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
        // Header (size), dimensions, unused: too many and too few dimensions for the size, none, no room for a header.
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
        // With a 1-byte header: more bytes than numbers, fewer, more than there can be, and only the header.
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
    }
}
