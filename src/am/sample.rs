//! Rows all over a table, of which a build learns: the first rows may be the oldest ones.
//!
//! Blocks come in an order of which each beginning is spread over the whole table. Each gives a few
//! rows: where blocks have few rows for the index, or none, more of them are visited, and those
//! that have rows give more.

use pgrx::pg_sys;

use super::datum;
use super::heap_scan::RowsOfBlocks;
use crate::error::Result;
use crate::fallible::TryPush;
use crate::filter::values::Values;
use crate::hnsw::indexed_value::{OwnedValue, RowValue};
use crate::hnsw::space::learning::Sampled;
use crate::storage::parameters::Parameters;

/// Blocks over which the rows are spread, and the most that are visited for them.
const BLOCKS: pg_sys::BlockNumber = 512;
const MOST_BLOCKS: pg_sys::BlockNumber = 4096;

/// Rows whose filter values are enough. The first blocks give all of their rows, except where
/// expressions are evaluated for each.
const ENOUGH_VALUES: usize = 2048;

/// Rows for which expressions are evaluated, for each that is wanted: others may have no vector.
const EVALUATED: usize = 4;

/// Rows of a table.
#[derive(Default)]
pub struct Sample {
    /// Filter values.
    pub values: Vec<Values>,
    /// Vectors, each with the number of its block among those visited.
    vectors: Vec<(OwnedValue, usize)>,
    /// About the number of rows with a vector, if vectors or values were wanted.
    pub rows: f64,
}

/// Rows of a kind that are wanted.
struct Wanted {
    most: usize,
    taken: usize,
    /// Rows taken before the block, and with the most of it.
    before: usize,
    until: usize,
    /// Blocks that gave some.
    giving: u32,
}

impl Wanted {
    fn new(most: usize) -> Wanted {
        Wanted {
            most,
            taken: 0,
            before: 0,
            until: 0,
            giving: 0,
        }
    }

    fn missing(&self) -> usize {
        self.most.saturating_sub(self.taken)
    }

    fn has_room(&self) -> bool {
        self.taken < self.until
    }

    /// Begins a block behind `visited` ones: it gives an even part of all rows over `few` blocks,
    /// and more where blocks up to `most` are not enough if as many of them as before give some.
    fn begin_block(&mut self, visited: u32, few: u32, most: u32) {
        let giving = f64::from(1 + self.giving) / f64::from(1 + visited) * f64::from(most - visited);
        let part = (self.missing() as f64 / giving).ceil() as usize;
        self.before = self.taken;
        self.until = self.taken + part.max(self.most.div_ceil(few as usize)).min(self.missing());
    }

    fn end_block(&mut self) {
        self.giving += u32::from(self.taken > self.before);
    }
}

impl Sample {
    /// A sample of so many vectors, and of filter values if the index has some.
    ///
    /// # Errors
    /// As [`datum::of_row`].
    ///
    /// # Safety
    /// `heap` is the open table, `index` its index with these parameters, and `info` PostgreSQL's
    /// description of the index.
    pub unsafe fn read(
        heap: pg_sys::Relation,
        index: pg_sys::Relation,
        info: *mut pg_sys::IndexInfo,
        parameters: &Parameters,
        vectors: usize,
        needs_values: bool,
    ) -> Result<Sample> {
        let mut sample = Sample::default();
        let values = if needs_values { ENOUGH_VALUES } else { 0 };
        // SAFETY: as the caller promises.
        let all = unsafe { pg_sys::RelationGetNumberOfBlocksInFork(heap, pg_sys::ForkNumber::MAIN_FORKNUM) };
        if all == 0 || vectors.max(values) == 0 {
            return Ok(sample);
        }
        // SAFETY: as the caller promises; nothing is closed here.
        let Some(mut rows) = (unsafe { RowsOfBlocks::begin(heap, index, info) }) else {
            return Ok(sample);
        };
        let (few, most) = (all.min(BLOCKS), all.min(MOST_BLOCKS));
        let evaluates = rows.have_expressions();
        let (mut vectors, mut values) = (Wanted::new(vectors), Wanted::new(values));
        let most_evaluated = EVALUATED * vectors.most.max(values.most);
        let wants_vectors = vectors.most > 0;
        // Rows seen, rows looked at for a vector, or for values alone, and rows evaluated.
        let (mut seen, mut asked, mut evaluated) = (0.0, 0.0, 0);
        let mut visited = 0;
        for block in spread(all).take(most as usize) {
            pgrx::check_for_interrupts!();
            let takes_all = needs_values && !evaluates && visited < few;
            let is_enough = vectors.missing() == 0 && values.missing() == 0 && !takes_all;
            if is_enough || evaluates && evaluated >= most_evaluated {
                break;
            }
            vectors.begin_block(visited, few, most);
            values.begin_block(visited, few, most);
            if takes_all {
                values.until = usize::MAX;
            }
            rows.open(block);
            while rows.advance() {
                seen += 1.0;
                if !vectors.has_room() && !values.has_room() {
                    continue;
                }
                let asks = if wants_vectors { &vectors } else { &values };
                asked += f64::from(u8::from(asks.has_room()));
                let Some((datum, keys)) = rows.row()? else { continue };
                evaluated += 1;
                if values.has_room() {
                    sample.values.try_push(keys)?;
                    values.taken += 1;
                }
                if vectors.has_room() {
                    // SAFETY: a value of the index's type.
                    let value = unsafe { datum::of_row(datum, parameters)? };
                    if let RowValue::Placed(value) = value {
                        sample.vectors.try_push((value, visited as usize))?;
                        vectors.taken += 1;
                    }
                }
            }
            vectors.end_block();
            values.end_block();
            visited += 1;
        }
        rows.end();
        let taken = if wants_vectors { vectors.taken } else { values.taken };
        let share = taken as f64 / f64::max(asked, 1.0);
        sample.rows = seen * share * f64::from(all) / f64::from(visited.max(1));
        Ok(sample)
    }

    /// The vectors; those of a block are a run.
    pub fn vectors(&self) -> impl ExactSizeIterator<Item = Sampled<'_>> + Clone {
        self.vectors.iter().map(|(vector, block)| (vector.dense(), *block))
    }
}

/// All blocks, each once, the first ones of them spread over the whole: in steps of the golden
/// section, as a Fibonacci number has it to the one after it.
fn spread(all: pg_sys::BlockNumber) -> impl Iterator<Item = pg_sys::BlockNumber> {
    let (mut step, mut whole) = (1, 1);
    while whole < u64::from(all) {
        (step, whole) = (whole, step + whole);
    }
    let blocks = (0..whole).map(move |i| (i * step % whole) as u32);
    blocks.filter(move |&block| block < all)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_come_once_and_the_first_ones_of_all_parts() {
        for all in (1..3000).chain([4096, 10_000, 65_536, 99_991, 1_000_000]) {
            for most in [64, 512, 4096, u32::MAX] {
                let mut blocks: Vec<u32> = spread(all).take(most as usize).collect();
                let count = blocks.len() as u32;
                assert_eq!(count, all.min(most));
                blocks.sort_unstable();
                let gaps = blocks.windows(2).map(|pair| pair[1] - pair[0]);
                let (least, greatest) = gaps.fold((u32::MAX, 0), |(a, b), gap| (a.min(gap), b.max(gap)));
                assert!(count < 2 || least > 0, "{all} {most}");
                assert!(count < 2 || greatest <= 4 * all / count, "{all} {most}: {greatest}");
            }
        }
    }

    #[test]
    fn blocks_that_have_rows_give_those_that_others_lack() {
        let of = |visited, taken, giving, few, most| {
            let mut wanted = Wanted {
                taken,
                giving,
                ..Wanted::new(2048)
            };
            wanted.begin_block(visited, few, most);
            wanted.until - taken
        };
        assert_eq!(of(0, 0, 0, 512, 512), 4);
        assert_eq!(of(256, 1024, 256, 512, 512), 4);
        assert_eq!(of(255, 1024, 127, 511, 511), 8);
        assert_eq!(of(511, 0, 0, 512, 4096), 293);
        assert_eq!(of(511, 20, 5, 512, 4096), 49);
        assert_eq!(of(511, 2047, 511, 512, 4096), 1);
        assert_eq!(of(600, 2048, 600, 512, 4096), 0);
    }
}
