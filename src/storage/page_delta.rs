//! The difference of two states of a page, in the form of PostgreSQL's generic WAL records
//! (`generic_xlog.c`): fragments of an offset (u16), a length (u16) and the bytes, which replay
//! copies into the page. The bytes between `pd_lower` and `pd_upper` are not part of it, because
//! replay sets them to zero.

use super::page::{self, PAGE_SIZE, Page};

/// Bytes before those of a fragment. As many equal bytes between two fragments cost no more than a
/// fragment of their own.
const HEADER: usize = 4;

/// Bytes that are compared at once.
const STEP: usize = 64;

/// A difference. Each fragment costs less than the equal bytes before it would, except for the
/// first ones of the contents and of the special space.
pub struct Delta {
    bytes: [u8; PAGE_SIZE + 2 * HEADER],
    len: usize,
}

impl Delta {
    /// The difference of a page before a change and after it.
    pub fn of(before: &Page, after: &Page) -> Delta {
        let mut delta = Delta {
            bytes: [0; PAGE_SIZE + 2 * HEADER],
            len: 0,
        };
        let known = (page::lower(before).min(PAGE_SIZE), page::upper(before).min(PAGE_SIZE));
        let (lower, upper) = (page::lower(after).min(PAGE_SIZE), page::upper(after).min(PAGE_SIZE));
        delta.add(before, after, 0, lower, known.0);
        // Bytes that were no part of the page before are new, whatever they are.
        if upper < known.1 {
            delta.push(after, upper, known.1);
        }
        delta.add(before, after, upper.max(known.1), PAGE_SIZE, PAGE_SIZE);
        delta
    }

    /// The fragments.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes[..self.len]
    }

    /// Adds the differences from `start` to `end`; from `known` on the bytes were no part of the
    /// page before.
    fn add(&mut self, before: &Page, after: &Page, start: usize, end: usize, known: usize) {
        let known = known.clamp(start, end.max(start));
        let mut at = difference(before, after, start, known);
        while at < known {
            let first = at;
            let mut last = at;
            loop {
                at = difference(before, after, last + 1, known);
                if at == known || at - last > HEADER + 1 {
                    break;
                }
                last = at;
            }
            self.push(after, first, last + 1);
        }
        if known < end {
            self.push(after, known, end);
        }
    }

    fn push(&mut self, after: &Page, start: usize, end: usize) {
        let mut put = |bytes: &[u8]| {
            self.bytes[self.len..self.len + bytes.len()].copy_from_slice(bytes);
            self.len += bytes.len();
        };
        put(&(start as u16).to_ne_bytes());
        put(&((end - start) as u16).to_ne_bytes());
        put(&after[start..end]);
    }
}

/// The first place from `at` on where two pages differ; `end` if there is none before.
fn difference(a: &Page, b: &Page, mut at: usize, end: usize) -> usize {
    while at + STEP <= end && a[at..at + STEP] == b[at..at + STEP] {
        at += STEP;
    }
    while at < end && a[at] == b[at] {
        at += 1;
    }
    at.min(end)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::storage::page::{HEADER_SIZE, PageKind, SPECIAL};
    use rand::rngs::SmallRng;
    use rand::{Rng, SeedableRng};

    /// Applies a difference as PostgreSQL's `generic_redo` does.
    fn replay(page: &mut Page, delta: &[u8]) {
        let mut rest = delta;
        while !rest.is_empty() {
            let number = |at: usize| usize::from(u16::from_ne_bytes([rest[at], rest[at + 1]]));
            let (offset, len) = (number(0), number(2));
            page[offset..offset + len].copy_from_slice(&rest[4..4 + len]);
            rest = &rest[4 + len..];
        }
        let hole = page::lower(page)..page::upper(page);
        page[hole].fill(0);
    }

    #[test]
    fn replay_makes_the_page_that_was_logged() {
        let mut random = SmallRng::seed_from_u64(11);
        for round in 0..2000 {
            let mut before = page::NEW;
            page::init(&mut before, PageKind::Node, 100);
            let lower = random.random_range(HEADER_SIZE..=SPECIAL);
            page::set_lower(&mut before, lower);
            before[HEADER_SIZE..lower].fill_with(|| random.random());
            let mut after = before;
            if round % 3 == 0 {
                let lower = random.random_range(HEADER_SIZE..=SPECIAL);
                page::set_lower(&mut after, lower);
                after[lower..SPECIAL].fill(0);
            }
            let lower = page::lower(&after);
            let mut changed = 4;
            for _ in 0..random.random_range(0..20) {
                let start = random.random_range(HEADER_SIZE..PAGE_SIZE);
                let end = (start + random.random_range(1..90)).min(PAGE_SIZE);
                for at in (start..end).filter(|&at| at < lower || at >= SPECIAL + 8) {
                    after[at] = random.random();
                    changed += 1;
                }
            }
            let delta = Delta::of(&before, &after);
            let mut replayed = before;
            replay(&mut replayed, delta.bytes());
            assert!(replayed == after, "round {round}");
            if round % 3 != 0 {
                // A change of a byte costs five bytes, of neighbors less.
                assert!(delta.bytes().len() <= 5 * changed, "round {round}");
            }
        }
        let mut page = page::NEW;
        page::init(&mut page, PageKind::Node, 100);
        assert!(Delta::of(&page, &page).bytes().is_empty());
    }

    /// No difference is longer than there is room for.
    #[test]
    fn a_page_that_differs_everywhere_or_in_every_sixth_byte_fits() {
        let mut before = page::NEW;
        page::init(&mut before, PageKind::Node, 100);
        page::set_lower(&mut before, SPECIAL);
        for step in 1..20 {
            let mut after = before;
            (HEADER_SIZE..PAGE_SIZE).step_by(step).for_each(|at| after[at] ^= 0x55);
            let delta = Delta::of(&before, &after);
            assert!(delta.bytes().len() <= PAGE_SIZE + 2 * HEADER);
            let mut replayed = before;
            replay(&mut replayed, delta.bytes());
            assert!(replayed == after, "every byte of {step}");
        }
    }
}
