//! The last walk of VACUUM for unreachable nodes, on the meta page.
//!
//! Contents, offsets from the start of the page: 6928 the time of its end in microseconds since
//! 2000-01-01 (i64), 6936 the nodes that the index had (u64), 6944 the nodes among them that the
//! walk did not reach, and linked (u64), 6952 the checksum of these (u32). An index without a walk
//! has a shorter meta page, or zeros.

use super::format::META_BLOCK;
use super::page::{self, Page, get_u32, put_u32};
use super::{checksum, corrupted, meta};
use crate::error::Result;

const AT: usize = 6928;
const CHECKSUM_AT: usize = AT + 3 * size_of::<u64>();
const END: usize = CHECKSUM_AT + size_of::<u32>();
const _: () = assert!(END <= page::SPECIAL);

/// A walk from the entry point over all links.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Walk {
    /// Time of its end, in microseconds since 2000-01-01 (PostgreSQL's `TimestampTz`).
    pub finished: i64,
    /// Nodes of the index.
    pub nodes: u64,
    /// Nodes that it did not reach.
    pub unreachable: u64,
}

/// Stores a walk.
pub fn set(page: &mut Page, walk: &Walk) {
    let numbers = [walk.finished as u64, walk.nodes, walk.unreachable];
    for (place, number) in page[AT..CHECKSUM_AT].as_chunks_mut::<8>().0.iter_mut().zip(numbers) {
        *place = number.to_le_bytes();
    }
    let checksum = checksum(&page[AT..CHECKSUM_AT]);
    put_u32(page, CHECKSUM_AT, checksum);
    page::set_lower(page, END.max(page::lower(page)));
}

/// Reads the last walk; none if there was none.
///
/// # Errors
/// [`crate::error::Error::Corrupted`].
pub fn read(page: &Page) -> Result<Option<Walk>> {
    meta::check(page)?;
    if page::lower(page) < END || page[AT..END].iter().all(|byte| *byte == 0) {
        return Ok(None);
    }
    let mut numbers = [0; 3];
    for (number, place) in numbers.iter_mut().zip(page[AT..CHECKSUM_AT].as_chunks::<8>().0) {
        *number = u64::from_le_bytes(*place);
    }
    let [finished, nodes, unreachable] = numbers;
    if get_u32(page, CHECKSUM_AT) != checksum(&page[AT..CHECKSUM_AT]) || unreachable > nodes {
        return corrupted(META_BLOCK, "invalid result of a walk on the meta page");
    }
    Ok(Some(Walk {
        finished: finished as i64,
        nodes,
        unreachable,
    }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::storage::calibration::{self, tests as calibrations};

    #[test]
    fn a_walk_is_read_as_it_was_stored_beside_a_calibration() {
        let walk = Walk {
            finished: -3,
            nodes: 1000,
            unreachable: 7,
        };
        let mut good = calibrations::meta_page();
        assert_eq!(read(&good), Ok(None));
        set(&mut good, &walk);
        assert_eq!(read(&good), Ok(Some(walk)));
        assert_eq!(calibration::read(&good), Ok(None));
        calibration::set(&mut good, &calibrations::calibration()).unwrap();
        assert_eq!(calibration::read(&good), Ok(Some(calibrations::calibration())));
        assert_eq!(read(&good), Ok(Some(walk)));
        for at in AT..END {
            let mut page = good;
            page[at] ^= 0x10;
            assert!(read(&page).is_err(), "byte {at}");
        }
        let mut page = calibrations::meta_page();
        calibration::set(&mut page, &calibrations::calibration()).unwrap();
        assert_eq!(read(&page), Ok(None));
    }
}
