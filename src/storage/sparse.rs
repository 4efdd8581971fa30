//! The stored form of sparse vectors: the number n of components (u32), their n indices (i32, from
//! 0, ascending), their n values (f32).
//!
//! The form is as long as its components need, and at least as long as the record's part, with
//! zeros at the end.

use crate::distance::sparse::Element;

/// Bytes of the number of components.
const HEAD: usize = size_of::<u32>();
/// Bytes of a component.
const COMPONENT: usize = size_of::<u32>() + size_of::<f32>();

/// Bytes of a sparse vector with this many components.
pub const fn len(components: usize) -> usize {
    HEAD + COMPONENT * components
}

/// The stored form of a sparse vector.
pub fn store(components: impl ExactSizeIterator<Item = Element> + Clone) -> Vec<u8> {
    let mut stored = Vec::with_capacity(len(components.len()));
    stored.extend((components.len() as u32).to_le_bytes());
    stored.extend(components.clone().flat_map(|(index, _)| index.to_le_bytes()));
    stored.extend(components.flat_map(|(_, value)| value.to_le_bytes()));
    stored
}

/// Number of components of a stored form, from its first bytes, limited to `most`.
pub fn count(stored: &[u8], most: usize) -> usize {
    let count = stored.first_chunk().map_or(0, |head| u32::from_le_bytes(*head));
    (count as usize).min(most)
}

/// Components of a stored form; of a damaged form, an arbitrary number of them.
#[inline]
pub fn components(stored: &[u8]) -> impl ExactSizeIterator<Item = Element> + Clone + '_ {
    let body = stored.get(HEAD..).unwrap_or_default();
    let count = count(stored, body.len() / COMPONENT);
    let (indices, values) = body.split_at(count * size_of::<u32>());
    let indices = indices
        .as_chunks::<4>()
        .0
        .iter()
        .map(|bytes| i32::from_le_bytes(*bytes));
    let values = values.as_chunks::<4>().0.iter().map(|bytes| f32::from_le_bytes(*bytes));
    indices.zip(values).take(count)
}

/// Whether a stored form is sound: ascending indices below `dimensions`, finite values.
pub fn is_sound(stored: &[u8], dimensions: u32) -> bool {
    let components = components(stored);
    let ascending = components
        .clone()
        .zip(components.clone().skip(1))
        .all(|(a, b)| a.0 < b.0);
    count(stored, usize::MAX) == components.len()
        && ascending
        && components
            .clone()
            .all(|(index, value)| (0..dimensions as i32).contains(&index) && value.is_finite())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_stored_form_of_a_sparse_vector_gives_back_its_components() {
        for components in [vec![], vec![(3, 1.5)], vec![(0, -1.0), (7, 2.0), (i32::MAX - 1, 3.0)]] {
            let mut stored = store(components.iter().copied());
            assert_eq!(stored.len(), len(components.len()));
            stored.resize(stored.len() + 20, 0);
            assert_eq!(super::components(&stored).collect::<Vec<_>>(), components);
            assert!(is_sound(&stored, i32::MAX as u32));
        }
    }

    #[test]
    fn what_is_no_sparse_vector_is_told_from_one() {
        let of = |components: &[Element]| store(components.iter().copied());
        assert!(!is_sound(&of(&[(1, 1.0), (1, 2.0)]), 10));
        assert!(!is_sound(&of(&[(2, 1.0), (1, 2.0)]), 10));
        assert!(!is_sound(&of(&[(10, 1.0)]), 10));
        assert!(!is_sound(&of(&[(1, f32::NAN)]), 10));
        let mut cut = of(&[(1, 1.0), (2, 1.0)]);
        cut.truncate(12);
        assert!(!is_sound(&cut, 10));
        assert_eq!(super::components(&cut).len(), 1);
        assert_eq!(super::components(&[1, 0]).len(), 0);
    }
}
