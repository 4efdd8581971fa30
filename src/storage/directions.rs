//! The directions of an index on its pages: the vectors of the reflections that make the directions
//! in which rows differ most the first coordinates ([`crate::quantize::directions`]).
//!
//! They are on pages of their own behind the centroid: bfloat16 numbers, little-endian, the
//! vectors one after the other, as many numbers on each page as fit. The parameters have their
//! number and hash.

use super::page::PageKind;
use super::parameters::{Parameters, Reflections};
use super::{PageStore, corrupted, fnv1a, learned};
use crate::error::Result;
use crate::fallible::TryPush;
use crate::quantize::bfloat16::Bf16;
use crate::quantize::directions::Directions;

/// The name of directions in the parameters of an index. Its hash is FNV-1a of the bytes.
pub fn name(directions: &Directions, share: f64) -> Reflections {
    match directions.count() {
        0 => Reflections::NONE,
        count => Reflections {
            count: count as u16,
            share: Reflections::share_of(share),
            hash: fnv1a(bytes(directions)),
        },
    }
}

fn bytes(directions: &Directions) -> impl ExactSizeIterator<Item = u8> + '_ {
    let numbers = directions.numbers();
    (0..2 * numbers.len()).map(|at| numbers[at / 2].to_bits().to_le_bytes()[at % 2])
}

/// Adds the pages of directions to a new index that has its meta page and its centroid.
pub fn write<S: PageStore>(store: &S, parameters: &Parameters, directions: &Directions) -> Result<()> {
    let first = parameters.first_directions_block();
    learned::write(store, PageKind::Directions, first, bytes(directions))
}

/// Reads and checks the directions of an index; none if it has none.
pub fn read<S: PageStore>(store: &S, parameters: &Parameters) -> Result<Directions> {
    let Reflections { count, hash, .. } = parameters.directions;
    if count == 0 {
        return Ok(Directions::default());
    }
    let (first, coordinates) = (parameters.first_directions_block(), parameters.shape.coordinates());
    let len = 2 * usize::from(count) * coordinates;
    let mut numbers = Vec::new();
    learned::read(store, PageKind::Directions, first, len, |bytes| {
        let pairs = bytes.as_chunks::<2>().0.iter();
        numbers.try_extend(pairs.map(|bytes| Bf16::from_bits(u16::from_le_bytes(*bytes))))
    })?;
    match Directions::of_numbers(numbers, coordinates) {
        Some(directions) if fnv1a(self::bytes(&directions)) == hash => Ok(directions),
        _ => corrupted(first, "not the directions that the index was built with"),
    }
}
