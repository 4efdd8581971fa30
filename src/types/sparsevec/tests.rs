//! Tests beyond the reach of SQL: malformed binary values, memory. The other tests are in
//! `tests/sql/`.

#[pgrx::pg_schema]
mod tests {
    use crate::types::sparsevec::{MAX_ELEMENTS, SparsevecDatum};
    use crate::types::testing::{error_of, receive, short};
    use pgrx::PgSqlErrorCode;
    use pgrx::prelude::*;

    /// The numbers of dimensions and elements, indices and values of the receive function's result
    /// for a message.
    fn received(bytes: &[u8], typmod: i32) -> (usize, Vec<(i32, f32)>) {
        // SAFETY: a result of the type's own function.
        let vector = unsafe { SparsevecDatum::from_datum(receive("sparsevec", bytes, typmod)) };
        (vector.dimensions(), vector.as_sparse().into_iter().collect())
    }

    /// The binary form: dimensions, number of elements, unused, indices, values.
    fn wire(head: [i32; 3], indices: &[i32], values: &[f32]) -> Vec<u8> {
        let integers = head.iter().chain(indices).map(|number| number.to_be_bytes());
        let numbers = values.iter().map(|value| value.to_be_bytes());
        integers.chain(numbers).flatten().collect()
    }

    #[pg_test]
    fn receives_sparse_vectors() {
        let message = wire([5, 2, 0], &[0, 4], &[1.5, -2.0]);
        assert_eq!(received(&message, -1), (5, vec![(0, 1.5), (4, -2.0)]));
        assert_eq!(received(&message, 5).0, 5);
        assert_eq!(received(&wire([1, 0, 0], &[], &[]), -1), (1, vec![]));
        let last = wire([1_000_000_000, 1, 0], &[999_999_999], &[1e-45]);
        assert_eq!(received(&last, -1), (1_000_000_000, vec![(999_999_999, 1e-45)]));
        let indices: Vec<i32> = (0..MAX_ELEMENTS as i32).collect();
        let values: Vec<f32> = indices.iter().map(|&index| index as f32 + 0.5).collect();
        let longest = wire([20_000, MAX_ELEMENTS as i32, 0], &indices, &values);
        assert_eq!(
            received(&longest, -1).1,
            indices.into_iter().zip(values).collect::<Vec<_>>()
        );
    }

    #[pg_test]
    fn refuses_malformed_sparse_vectors() {
        use PgSqlErrorCode::*;
        let refused = |bytes: &[u8], typmod, code, text: &str| {
            assert_eq!(
                error_of(|| received(bytes, typmod)),
                (code, text.to_string()),
                "{bytes:?}"
            );
        };
        let invalid = |bytes: &[u8], reason: &str| {
            let text = format!("invalid binary value of type sparsevec: {reason}");
            refused(bytes, -1, ERRCODE_INVALID_BINARY_REPRESENTATION, &text);
        };
        let sound = wire([5, 2, 0], &[0, 4], &[1.5, -2.0]);
        for len in 0..sound.len() {
            let (wanted, left) = if len < 12 { (4, len % 4) } else { (16, len - 12) };
            invalid(&sound[..len], &format!("{wanted} bytes expected, {left} left"));
        }
        let senseless = |bytes: &[u8], text: &str| refused(bytes, -1, ERRCODE_DATA_EXCEPTION, text);
        senseless(&wire([5, 1, 1], &[0], &[1.0]), "expected unused to be 0, not 1");
        senseless(
            &wire([5, -1, 0], &[], &[]),
            "sparsevec cannot have negative number of elements",
        );
        let text = "sparsevec indices must be in ascending order";
        senseless(&wire([5, 2, 0], &[4, 0], &[1.0, 1.0]), text);
        let text = "sparsevec indices must not contain duplicates";
        senseless(&wire([5, 2, 0], &[1, 1], &[1.0, 1.0]), text);
        let text = "binary representation of sparsevec cannot contain zero values";
        senseless(&wire([5, 1, 0], &[1], &[0.0]), text);
        senseless(&wire([5, 1, 0], &[1], &[-0.0]), text);
        for dimensions in [0, -1, i32::MIN] {
            let text = "sparsevec must have at least 1 dimension";
            refused(&wire([dimensions, 0, 0], &[], &[]), -1, ERRCODE_DATA_EXCEPTION, text);
        }
        for dimensions in [1_000_000_001, i32::MAX] {
            let text = "sparsevec cannot have more than 1000000000 dimensions";
            refused(
                &wire([dimensions, 0, 0], &[], &[]),
                -1,
                ERRCODE_PROGRAM_LIMIT_EXCEEDED,
                text,
            );
        }
        for elements in [MAX_ELEMENTS as i32 + 1, i32::MAX] {
            let text = "sparsevec cannot have more than 16000 non-zero elements";
            refused(
                &wire([20_000, elements, 0], &[], &[]),
                -1,
                ERRCODE_PROGRAM_LIMIT_EXCEEDED,
                text,
            );
        }
        refused(&sound, 6, ERRCODE_DATA_EXCEPTION, "expected 6 dimensions, not 5");
        for index in [5, -1, i32::MAX, i32::MIN] {
            let text = "sparsevec index out of bounds";
            refused(&wire([5, 1, 0], &[index], &[1.0]), -1, ERRCODE_DATA_EXCEPTION, text);
        }
        let text = "NaN not allowed in sparsevec";
        refused(&wire([5, 1, 0], &[1], &[f32::NAN]), -1, ERRCODE_DATA_EXCEPTION, text);
        let text = "infinite value not allowed in sparsevec";
        refused(
            &wire([5, 1, 0], &[1], &[f32::INFINITY]),
            -1,
            ERRCODE_DATA_EXCEPTION,
            text,
        );
    }

    #[pg_test]
    fn reads_short_sparse_vectors() {
        for elements in 0..=14 {
            let indices: Vec<i32> = (0..elements).map(|i| 2 * i).collect();
            let values: Vec<f32> = (0..elements).map(|i| i as f32 + 0.5).collect();
            let mut data = [30, elements, 0].map(i32::to_ne_bytes).concat();
            data.extend(indices.iter().flat_map(|index| index.to_ne_bytes()));
            data.extend(values.iter().flat_map(|value| value.to_ne_bytes()));
            let mut memory = Vec::new();
            let datum = short(&data, &mut memory);
            // SAFETY: the datum is a sparse vector for as long as `memory` lives.
            let vector = unsafe { SparsevecDatum::from_datum(datum) };
            assert_eq!(vector.dimensions(), 30);
            assert_eq!(vector.as_sparse().indices, indices);
            assert_eq!(vector.as_sparse().values, values);
        }
    }

    #[pg_test]
    fn refuses_corrupted_sparse_vectors() {
        // Size, dimensions, elements: too many and too few elements for the size, numbers that no
        // value has, no header.
        for (size, dimensions, elements, shown) in [
            (24u32, 5i32, 2i32, 2u32),
            (32, 5, 1, 1),
            (16, 0, 0, 0),
            (16, -5, 0, 0),
            (16, 1_000_000_001, 0, 0),
            (16, 5, -1, u32::MAX),
            (16 + 8 * 16_001, 20_000, 16_001, 16_001),
            (12, 5, 0, 0),
        ] {
            let mut memory = vec![0u32; 40_000];
            memory[..3].copy_from_slice(&[size << 2, dimensions as u32, elements as u32]);
            // SAFETY: a varlena of that size within `memory`, aligned.
            let read = || unsafe { SparsevecDatum::from_datum(memory.as_ptr().cast_mut().into()) };
            let text = format!("value of type sparsevec is corrupted: {size} bytes with {shown} elements");
            assert_eq!(error_of(read), (PgSqlErrorCode::ERRCODE_DATA_CORRUPTED, text));
        }
    }
}
