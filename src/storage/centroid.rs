//! The centroid of a coded index: the common offset of its vectors, which is subtracted before they
//! are rotated and coded.
//!
//! Subtraction changes no distance, and makes the steps of scalars and the factors of codes finer,
//! because they are proportional to the numbers (docs/measurements.md, *A centroid where there are
//! rows to know it from*). A build learns the centroid from its rows; an index that begins empty
//! has none.
//!
//! The centroid has pages of its own directly after the meta page: `dimensions` f32, little-endian,
//! as many on each page as fit. The meta page has their hash, so that the parameters alone identify
//! the mapping from vectors to records.

use super::format::META_BLOCK;
use super::page::PageKind;
use super::parameters::Parameters;
use super::{BlockNumber, PageStore, corrupted, fnv1a, learned};
use crate::error::Result;
use crate::fallible::TryPush;

/// A vector is much nearer to the centroid than to the origin if its distance is smaller by this
/// factor.
const NEARER: f64 = 2.0;

/// The first block of a centroid.
const FIRST: BlockNumber = META_BLOCK + 1;

/// The centroid of vectors. Empty unless most of them are much nearer to it than to the origin;
/// otherwise it gains little, and among vectors of widely different lengths it would dwarf the
/// short ones.
pub fn of<'a>(vectors: impl ExactSizeIterator<Item = &'a [f32]> + Clone, dimensions: usize) -> Vec<f32> {
    let centroid = median(vectors.clone(), dimensions);
    let square = |v: f32, c: f32| (f64::from(v) - f64::from(c)).powi(2);
    let is_near = |vector: &&[f32]| {
        let (to_centroid, to_origin) = vector.iter().zip(&centroid).fold((0.0, 0.0), |sums, (&v, &c)| {
            (sums.0 + square(v, c), sums.1 + square(v, 0.0))
        });
        to_centroid * NEARER * NEARER < to_origin
    };
    let near = vectors.clone().filter(is_near).count();
    if 2 * near > vectors.len() { centroid } else { Vec::new() }
}

/// Componentwise median. A few rows of another magnitude do not move it, and it cannot overflow,
/// because it is one of the numbers.
fn median<'a>(vectors: impl ExactSizeIterator<Item = &'a [f32]> + Clone, dimensions: usize) -> Vec<f32> {
    if vectors.len() == 0 {
        return Vec::new();
    }
    let mut values = Vec::with_capacity(vectors.len());
    (0..dimensions)
        .map(|i| {
            values.clear();
            values.extend(vectors.clone().map(|vector| vector[i]));
            let middle = (values.len() - 1) / 2;
            *values.select_nth_unstable_by(middle, f32::total_cmp).1
        })
        .collect()
}

/// Hash of a centroid, as the parameters keep it: FNV-1a of the bytes. Never zero, which marks an
/// index without a centroid. Part of the file format.
pub fn hash(centroid: &[f32]) -> u64 {
    fnv1a(centroid.iter().flat_map(|value| value.to_le_bytes())).max(1)
}

/// Adds the pages of a centroid to a new index that has only its meta page.
pub fn write<S: PageStore>(store: &S, centroid: &[f32]) -> Result<()> {
    let bytes = (0..size_of_val(centroid)).map(|at| centroid[at / 4].to_le_bytes()[at % 4]);
    learned::write(store, PageKind::Centroid, FIRST, bytes)
}

/// Reads and checks the centroid of an index; empty if it has none.
pub fn read<S: PageStore>(store: &S, parameters: &Parameters) -> Result<Vec<f32>> {
    let mut centroid = Vec::new();
    if parameters.centroid == 0 {
        return Ok(centroid);
    }
    let len = parameters.shape.dimensions as usize * size_of::<f32>();
    learned::read(store, PageKind::Centroid, FIRST, len, |bytes| {
        let values = bytes.as_chunks::<4>().0.iter();
        centroid.try_extend(values.map(|bytes| f32::from_le_bytes(*bytes)))
    })?;
    if !centroid.iter().all(|value| value.is_finite()) || hash(&centroid) != parameters.centroid {
        return corrupted(FIRST, "not the centroid that the index was built with");
    }
    Ok(centroid)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::distance::Metric;
    use crate::filter::lists;
    use crate::storage::Edit;
    use crate::storage::layout::{Encoding, FilterColumns, Shape};
    use crate::storage::memory_store::MemoryStore;
    use crate::storage::page::{self, HEADER_SIZE, Page, SPECIAL, put_u32};
    use crate::storage::parameters::{self, Element, Reflections};

    fn parameters(centroid: &[f32]) -> Parameters {
        Parameters {
            shape: Shape {
                dimensions: centroid.len() as u32,
                m: 16,
                encoding: Encoding::Scalar12,
                code_bits: 128,
                filters: FilterColumns::NONE,
            },
            element: Element::Vector,
            metric: Metric::L2,
            ef_construction: 64,
            seed: 1,
            centroid: hash(centroid),
            filters: [None; crate::filter::values::MOST_COLUMNS],
            borders: 0,
            list_bits: lists::FEWEST_BITS,
            directions: Reflections::NONE,
        }
    }

    fn written(centroid: &[f32]) -> MemoryStore {
        let store = MemoryStore::new(1 << 20).unwrap();
        store.extend().unwrap(); // The meta page.
        write(&store, centroid).unwrap();
        store
    }

    fn values(dimensions: usize) -> Vec<f32> {
        (0..dimensions).map(|i| (i as f32 - 7.0) * 1.25).collect()
    }

    #[test]
    fn a_centroid_is_read_as_it_was_written() {
        for (dimensions, pages) in [(1, 1), (384, 1), (2038, 1), (2039, 2), (16_000, 8)] {
            let centroid = values(dimensions);
            let store = written(&centroid);
            assert_eq!(parameters::centroid_pages(dimensions as u32), pages);
            assert_eq!(parameters(&centroid).first_node_block(), 1 + pages);
            assert_eq!(store.blocks(), Ok(1 + pages));
            assert_eq!(read(&store, &parameters(&centroid)), Ok(centroid));
        }
    }

    #[test]
    fn the_format_on_the_page_does_not_change_unnoticed() {
        let store = written(&[1.0, -2.5]);
        let bytes = store.read(1, |page| Ok(*page)).unwrap();
        assert_eq!(bytes[24..32], [0, 0, 0x80, 0x3F, 0, 0, 0x20, 0xC0]);
        assert_eq!(page::lower(&bytes), 32);
        assert_eq!(bytes[SPECIAL..SPECIAL + 8], [3, 0, 6, 0, 0, 0, 0, 0]);
        assert_eq!(hash(&[1.0, -2.5]), 0x09E6_29EE_2DFD_B3F8);
        assert_eq!(hash(&[]), 0xCBF2_9CE4_8422_2325);
    }

    #[test]
    fn without_a_centroid_nothing_is_read() {
        let none = Parameters {
            centroid: 0,
            ..parameters(&values(3))
        };
        assert_eq!(read(&MemoryStore::new(1 << 20).unwrap(), &none), Ok(Vec::new()));
        assert_eq!(none.first_node_block(), 1);
    }

    #[test]
    fn damaged_pages_are_refused() {
        let centroid = values(3000);
        let parameters = self::parameters(&centroid);
        let refuses = |damage: &dyn Fn(&mut Page), block| {
            let store = written(&centroid);
            let damage = |page: &mut Page| {
                damage(page);
                Ok(Edit::Changed(()))
            };
            store.write(block, damage).unwrap();
            let expected = |error: &crate::error::Error| format!("{error:?}").contains("Corrupted");
            assert!(read(&store, &parameters).is_err_and(|error| expected(&error)));
        };
        for block in [1, 2] {
            // Damage to every number, and to every checked field of the header and the special
            // space.
            for at in (HEADER_SIZE..HEADER_SIZE + 4 * 900).step_by(97) {
                refuses(&|page| page[at] ^= 0x10, block);
            }
            for bits in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY].map(f32::to_bits) {
                refuses(&|page| put_u32(page, HEADER_SIZE + 8, bits), block);
            }
            for at in [12, 13, 14, 16, SPECIAL, SPECIAL + 2, SPECIAL + 4, SPECIAL + 15] {
                refuses(&|page| page[at] ^= 1, block);
            }
            refuses(&|page| page.fill(0), block);
            refuses(&|page| page::init(page, PageKind::Node, 0), block);
            refuses(
                &|page| learned::init(page, PageKind::Centroid, std::iter::empty()),
                block,
            );
        }
        // Pages of a file that was truncated.
        let cut = MemoryStore::new(1 << 20).unwrap();
        cut.extend().unwrap();
        assert!(read(&cut, &parameters).is_err());
    }

    #[test]
    fn a_centroid_is_what_most_vectors_have_in_common() {
        let of = |vectors: &[[f32; 2]]| of(vectors.iter().map(|vector| &vector[..]), 2);
        let vectors = [
            [100.0, 3.0],
            [101.0, f32::MAX],
            [99.0, 2.5],
            [f32::MIN, 2.0],
            [100.5, 4.0],
        ];
        assert_eq!(of(&vectors), [100.0, 3.0]);
        assert_eq!(of(&vectors[..1]), [100.0, 3.0]);
        assert_eq!(of(&[[f32::MAX, f32::MIN]; 3]), [f32::MAX, f32::MIN]);
        // No vectors, vectors around the origin, vectors of all lengths.
        for vectors in [
            &vectors[..0],
            &[[0.0, 0.0]; 5],
            &[[1.0, 1.0], [1.0, -1.0], [-1.0, 0.5]],
            &[[1e-6, 1.0], [1e-3, 1e-4], [1e-2, 5.0], [3.0, 1e-2], [1e6, 1e-3]],
        ] {
            assert!(of(vectors).is_empty(), "{vectors:?}");
        }
    }

    #[test]
    fn a_hash_is_never_zero_and_tells_centroids_apart() {
        let hashes: std::collections::HashSet<_> = (1..200).map(|dimensions| hash(&values(dimensions))).collect();
        assert_eq!(hashes.len(), 199);
        assert!(!hashes.contains(&0));
    }
}
