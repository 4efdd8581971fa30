//! The cost of an answer from value lists: the scan reads the nearest of the nodes that they name,
//! by their codes; in a plain index all of these nodes.
//!
//! The other way to the same rows is an index of the column: it reads all of them from the table,
//! and sorts them. PostgreSQL prices a row of that way by its page of the table, cached or not. A
//! node of a list takes a share of the time of such a row, and so it is charged that share of the
//! price (docs/measurements.md, *Selective conditions*). A list page has the price of a leaf of a
//! btree.

use pgrx::pg_sys;

use super::bitmap::operators_per_read;
use super::{NUMBERS_PER_OPERATOR, Shares};
use crate::am::filter::SetStatistics;
use crate::filter::signature::{MOST_BORDERS, PLACES};
use crate::hnsw::scan::{cost_of_listed, most_cost_of_listed};
use crate::storage::page::PAGE_SIZE;

/// Time of reading a node that a list names, in the unit in which [`operators_per_read`] has that
/// of a row: a constant part, and a part for each 256 numbers of a vector (docs/measurements.md,
/// *Selective conditions*).
const OPERATORS_PER_LISTED: f64 = 15.0;
const NUMBERS_PER_LISTED_OPERATOR: f64 = 8.0 * NUMBERS_PER_OPERATOR;

/// Fixed cost of a scan of lists beyond that of another index and a sort, in the same unit
/// (docs/measurements.md, *Selective conditions*).
const SETUP_OPERATORS: f64 = 280.0;

/// The lists of a column under a scan's conditions, in parts of an index's rows.
#[derive(Clone, Copy)]
pub(super) struct Named {
    /// Entries whose signatures match.
    pub(super) matching: f64,
    /// All entries: a list is read as a whole.
    entries: f64,
}

impl Named {
    /// All rows: no lists.
    pub(super) const ALL: Named = Named {
        matching: 1.0,
        entries: 1.0,
    };

    /// Those of a column with so many `lists`, under conditions that this share of the rows passes.
    /// Entries of an equality have its signature. A range takes whole lists: at each of its ends
    /// half of one is beyond it, in the mean. Elements of arrays share lists, and some entries of
    /// other elements pass.
    pub(super) fn of(passing: f64, ends: usize, sets: Option<SetStatistics>, lists: f64) -> Named {
        // A range reads whole places, whichever lists these fill.
        let lists = if ends > 0 { lists.min(PLACED) } else { lists };
        let list = 1.0 / lists;
        let matching = match (ends, sets) {
            (_, Some(sets)) => {
                return Named {
                    matching: (passing + sets.named_in_vain()).min(1.0),
                    entries: passing + sets.listed_in_vain(),
                };
            }
            (0, None) => passing,
            (_, None) => (passing + 0.5 * ends as f64 * list).clamp(list, 1.0),
        };
        Named {
            matching,
            entries: matching.max(list),
        }
    }

    /// The one of which fewer entries match.
    pub(super) fn fewer(self, other: Named) -> Named {
        if other.matching < self.matching { other } else { self }
    }
}

/// The most lists of a column that a range tells apart: those of all places of all intervals.
const PLACED: f64 = ((MOST_BORDERS + 1) * PLACES as usize) as f64;

/// Most nodes that a scan reads of lists with codes (docs/measurements.md, *Codes in value lists*).
const MOST_READ: f64 = 200.0;

/// Cost of an entry with a code, in cpu_operator_cost (docs/measurements.md, *Codes in value
/// lists*).
const OPERATORS_PER_ENTRY: f64 = 0.25;

/// Bytes of an entry besides its code, and of the longest code.
const ENTRY_BYTES: f64 = 13.0;
const MOST_CODE_BYTES: f64 = 64.0;

/// Whether a scan among `nodes` nodes reads these `listed` ones: in place of a search of so many
/// visits and this width.
pub(super) fn are_read(listed: f64, nodes: f64, (visits, width): (f64, f64), is_coded: bool) -> bool {
    listed < nodes && cost_of_listed(listed, is_coded) < visits.min(most_cost_of_listed(width))
}

/// Cost of the answer; `page_cost` is that of a page of the index, of which caches hold the share
/// `cached`.
pub(super) fn cost(
    info: &pg_sys::IndexOptInfo,
    (numbers, is_coded): (f64, bool),
    shares: Shares,
    page_cost: f64,
    cached: f64,
) -> f64 {
    // SAFETY: the planner's index has its table; settings are read in a backend's only thread.
    let (table, entry, operator) = unsafe { (&*info.rel, pg_sys::cpu_index_tuple_cost, pg_sys::cpu_operator_cost) };
    let (mut random_page_cost, mut seq_page_cost) = (0.0, 0.0);
    // SAFETY: called in a transaction, with places for the results.
    unsafe { pg_sys::get_tablespace_page_costs(table.reltablespace, &mut random_page_cost, &mut seq_page_cost) };
    let listed = (info.tuples * shares.named.matching).max(1.0);
    let (code_bytes, of_entry, read) = match is_coded {
        true => (
            (numbers / 8.0).min(MOST_CODE_BYTES),
            OPERATORS_PER_ENTRY * operator,
            listed.min(MOST_READ),
        ),
        false => (0.0, 0.0, listed),
    };
    let entries = info.tuples * shares.named.entries;
    let list_pages = (entries * (ENTRY_BYTES + code_bytes) / PAGE_SIZE as f64)
        .ceil()
        .max(1.0);
    let in_memory = (OPERATORS_PER_LISTED + numbers / NUMBERS_PER_LISTED_OPERATOR) / operators_per_read(numbers);
    let of_row = cached * in_memory + (1.0 - cached);
    SETUP_OPERATORS * operator
        + list_pages * page_cost
        + listed * of_entry
        + read * (entry + operator)
        + of_row
            * rows(
                read,
                f64::from(table.pages),
                shares.loops,
                random_page_cost,
                seq_page_cost,
            )
}

/// PostgreSQL's price of the pages of so many rows in a bitmap scan, as in its
/// `cost_bitmap_heap_scan()`, for each of `loops` scans.
fn rows(rows: f64, pages: f64, loops: f64, random_page_cost: f64, seq_page_cost: f64) -> f64 {
    let pages = pages.max(1.0);
    let fetched = |rows: f64| (2.0 * pages * rows / (2.0 * pages + rows)).min(pages);
    let of_scan = (fetched(rows * loops) / loops).min(fetched(rows));
    of_scan * (random_page_cost - (random_page_cost - seq_page_cost) * (of_scan / pages).sqrt())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_reads_whole_intervals() {
        let matching = |passing, ends, lists| Named::of(passing, ends, None, lists).matching;
        assert_eq!(matching(0.25, 0, 128.0), 0.25);
        assert_eq!(matching(0.25, 1, 128.0), 0.25 + 0.5 / 128.0);
        assert_eq!(matching(0.25, 2, 1024.0), 0.25 + 1.0 / 1024.0);
        assert_eq!(matching(1e-6, 1, 128.0), 1.0 / 128.0);
        assert_eq!(matching(0.999, 2, 128.0), 1.0);
    }

    #[test]
    fn lists_of_arrays_have_other_elements_and_long_arrays() {
        let of = |lists, elements, long| {
            let named = Named::of(0.01, 0, Some(SetStatistics { lists, elements, long }), 128.0);
            (named.matching, named.entries)
        };
        let (one, many) = (of(1.0, 3.0, 0.0), of(1.0, 3.0, 0.5));
        assert!((0.012..0.013).contains(&one.0) && (0.033..0.034).contains(&one.1));
        assert!(many.0 > 0.2 && many.1 > 0.5);
        assert!(of(10.0, 3.0, 0.0).0 > one.0 && of(128.0, 8.0, 1.0).0 <= 1.0);
    }

    #[test]
    fn rows_cost_a_random_page_each_where_they_are_few_and_the_table_where_they_are_many() {
        let price = |count: f64, loops: f64| rows(count, 1000.0, loops, 4.0, 1.0);
        assert!((3.8..4.0).contains(&price(1.0, 1.0)));
        assert_eq!(price(1e9, 1.0), 1000.0);
        assert!(price(100.0, 50.0) < price(100.0, 1.0) / 2.0);
    }
}
