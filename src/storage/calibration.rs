//! The calibration of an index on the meta page: recall and visits of searches over their width, as
//! they were measured, and the width that follows from a recall.
//!
//! Contents, offsets from the start of the page: 6432 the number of measured widths (u16), 6434 the
//! number of queries (u16), 6436 their source (u32), 6440 the [`Header`], then 16 [`Measured`], of
//! which the first ones are used, then the checksum of all of it (u32); numbers are little-endian.
//! An index without a calibration has a shorter meta page, or zeros.

use serde::{Deserialize, Serialize};

use super::format::META_BLOCK;
use super::page::{self, Page, get_u16, get_u32, put_u16, put_u32};
use super::{checksum, corrupted, encoding, meta};
use crate::error::Result;
use crate::fallible;

/// Numbers of rows for which recall is measured.
pub const KS: [usize; 3] = [1, 10, 100];

/// The place in [`KS`] of the number of rows that a scan is taken to want.
pub const USUAL: usize = 1;

/// The place of the greatest number.
pub const MANY: usize = 2;

/// Most measured widths.
pub const MOST: usize = 16;

/// The greatest width that is measured.
pub const MOST_WIDTH: u16 = 1000;

/// The place after the lists of four filter columns.
const AT: usize = 6432;
const QUERIES_AT: usize = AT + 2;
const SOURCE_AT: usize = AT + 4;
const HEADER_AT: usize = AT + 8;
const HEADER_LEN: usize = 28;
const MEASURED_AT: usize = HEADER_AT + HEADER_LEN;
const MEASURED_LEN: usize = 4 + KS.len() * 8;
const MEASURED_ALL: usize = MOST * MEASURED_LEN;
const CHECKSUM_AT: usize = MEASURED_AT + MEASURED_ALL;
const END: usize = CHECKSUM_AT + size_of::<u32>();
const _: () = assert!(END <= page::SPECIAL);

/// The least share of answers that counts as missing: recall of 1 is never certain.
const LEAST_MISSED: f64 = 1e-4;

/// Error of a width that goes through its logarithm.
const ROUNDED: f64 = 1e-3;

/// The least power of the width, negated, with which the missing share is taken to fall.
const LEAST_SLOPE: f64 = 0.5;

/// The queries of a calibration.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Source {
    /// Rows of the index.
    Rows = 0,
    /// Queries of a user.
    Queries = 1,
}

/// One width and its measurement.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct Measured {
    /// Width of the search: `ef_search`.
    pub width: u32,
    /// Recall of the first rows, by the places of [`KS`].
    pub recall: [f32; KS.len()],
    /// Records visited until so many rows were returned.
    pub visits: [f32; KS.len()],
}

impl Measured {
    /// The width and its recall of the first `KS[k]` rows.
    fn point(&self, k: usize) -> (u16, f64) {
        (self.width as u16, f64::from(self.recall[k]))
    }
}

/// The part of a calibration that says when it was made.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Header {
    finished: i64,
    nodes: u64,
    removed: u64,
    blocks: u32,
}

/// Recall and visits of searches over their width.
#[derive(Debug, Clone, PartialEq)]
pub struct Calibration {
    /// Time of its end, in microseconds since 2000-01-01 (PostgreSQL's `TimestampTz`).
    pub finished: i64,
    /// Live nodes at that time, about.
    pub nodes: u64,
    /// Nodes that VACUUM has removed since.
    pub removed: u64,
    /// Pages of the index at that time.
    pub blocks: u32,
    /// Number of queries.
    pub queries: u16,
    /// Their source.
    pub source: Source,
    /// The measured widths, in ascending order; at least one, and at most [`MOST`].
    pub measured: Vec<Measured>,
}

impl Calibration {
    /// The least width with this recall of the first `KS[k]` rows, between the measured widths and
    /// somewhat beyond them.
    pub fn width(&self, k: usize, recall: f64) -> u16 {
        let points: Vec<_> = self.measured.iter().map(|measured| measured.point(k)).collect();
        width_for(&points, recall)
    }

    /// The least width with this recall of so many rows: between the numbers of rows that recall is
    /// measured for it is a power of the number, and beyond them the logarithm of the width of a
    /// row falls as much with each further power of ten as it does with that one. It is at least
    /// the number itself, because a search cannot return more rows without going on.
    pub fn width_for_rows(&self, rows: f64, recall: f64) -> usize {
        let usual = self.width(USUAL, recall);
        let (few, many) = (KS[USUAL] as f64, KS[MANY] as f64);
        if rows <= few {
            return usize::from(usual);
        }
        let narrow = f64::from(usual);
        let wide = f64::from(self.width_for_many(recall)).max(many).max(narrow);
        let powers = (rows / few).ln() / (many / few).ln();
        let width = match powers <= 1.0 {
            true => narrow * (wide / narrow).powf(powers),
            false => {
                let (of_few, of_many) = ((narrow / few).ln(), (wide / many).ln());
                let falls_by = if of_few > 0.0 { (of_many / of_few).min(1.0) } else { 1.0 };
                rows * (of_many * falls_by.powf(powers - 1.0)).exp()
            }
        };
        width.max(rows).round() as usize
    }

    /// The least width with this recall of the first `KS[MANY]` rows.
    fn width_for_many(&self, recall: f64) -> u16 {
        let many = KS[MANY];
        let of = |measured: &&Measured| measured.width as usize >= many;
        let points: Vec<_> = self
            .measured
            .iter()
            .filter(of)
            .map(|measured| measured.point(MANY))
            .collect();
        match points.is_empty() {
            // Narrow searches alone were measured: each further row takes about one node more.
            true => self.width(USUAL, recall).saturating_add((many - KS[USUAL]) as u16),
            false => width_for(&points, recall),
        }
    }

    /// Recall of the first `KS[k]` rows at a width.
    pub fn recall(&self, k: usize, width: usize) -> f64 {
        self.between(width, |measured| f64::from(measured.recall[k]))
    }

    /// Records that a search of this width visits for the first `KS[k]` rows.
    pub fn visits(&self, k: usize, width: usize) -> f64 {
        let last = &self.measured[self.measured.len() - 1];
        let beyond = (width as f64 / f64::from(last.width)).max(1.0);
        beyond * self.between(width, |measured| f64::from(measured.visits[k]))
    }

    /// A value between the measured widths.
    fn between(&self, width: usize, value: impl Fn(&Measured) -> f64) -> f64 {
        let width = width as f64;
        let after = self
            .measured
            .iter()
            .position(|measured| f64::from(measured.width) >= width);
        match after {
            None => value(&self.measured[self.measured.len() - 1]),
            Some(0) => value(&self.measured[0]),
            Some(after) => {
                let (narrow, wide) = (&self.measured[after - 1], &self.measured[after]);
                let part = (width - f64::from(narrow.width)) / f64::from(wide.width - narrow.width);
                value(narrow) + part * (value(wide) - value(narrow))
            }
        }
    }

    fn is_sound(&self) -> bool {
        let is_share = |share: &f32| (0.0..=1.0).contains(share);
        let is_number = |visits: &f32| visits.is_finite() && *visits >= 0.0;
        (1..=MOST).contains(&self.measured.len())
            && self.measured.is_sorted_by(|a, b| a.width < b.width)
            && self.measured.iter().all(|measured| {
                (1..=u32::from(MOST_WIDTH)).contains(&measured.width)
                    && measured.recall.iter().all(is_share)
                    && measured.visits.iter().all(is_number)
            })
    }
}

/// The least width with this recall, by measured widths with their recall, of which there is at
/// least one. The missing share is a power of the width between two of them.
pub fn width_for(points: &[(u16, f64)], recall: f64) -> u16 {
    let missed = |recall: f64| (1.0 - recall).max(LEAST_MISSED).ln();
    let place = |&(width, recall): &(u16, f64)| (f64::from(width).ln(), missed(recall));
    let wanted = missed(recall);
    let Some(reached) = points.iter().map(place).position(|(_, missed)| missed <= wanted) else {
        // Beyond the last measured width recall goes on as it did before.
        let (wide, missed) = place(&points[points.len() - 1]);
        let slope = match points {
            [.., before, _] => {
                let (narrow, more) = place(before);
                (more - missed) / (wide - narrow)
            }
            _ => 0.0,
        };
        return whole(wide + ((missed - wanted) / slope.max(LEAST_SLOPE)).min(1.0));
    };
    let (wide, missed) = place(&points[reached]);
    if reached == 0 {
        return whole(wide);
    }
    let (narrow, more) = place(&points[reached - 1]);
    let part = (more - wanted) / (more - missed);
    whole(narrow + part.clamp(0.0, 1.0) * (wide - narrow))
}

/// The width of which this is the logarithm.
fn whole(logarithm: f64) -> u16 {
    (logarithm.exp() - ROUNDED).ceil().clamp(1.0, f64::from(MOST_WIDTH)) as u16
}

/// Stores a calibration.
///
/// # Errors
/// [`crate::error::Error::Corrupted`] if it does not fit.
pub fn set(page: &mut Page, calibration: &Calibration) -> Result<()> {
    let mut measured = [Measured::default(); MOST];
    let fits = calibration.is_sound();
    measured
        .iter_mut()
        .zip(&calibration.measured)
        .for_each(|(at, measured)| *at = *measured);
    let header = Header {
        finished: calibration.finished,
        nodes: calibration.nodes,
        removed: calibration.removed,
        blocks: calibration.blocks,
    };
    let header = bincode::serde::encode_into_slice(header, &mut page[HEADER_AT..MEASURED_AT], encoding());
    let measured = bincode::serde::encode_into_slice(measured, &mut page[MEASURED_AT..CHECKSUM_AT], encoding());
    let is_whole = matches!((header, measured), (Ok(HEADER_LEN), Ok(MEASURED_ALL)));
    if !fits || !is_whole {
        return corrupted(META_BLOCK, "the calibration does not fit the meta page");
    }
    put_u16(page, AT, calibration.measured.len() as u16);
    put_u16(page, QUERIES_AT, calibration.queries);
    put_u32(page, SOURCE_AT, calibration.source as u32);
    let checksum = checksum(&page[AT..CHECKSUM_AT]);
    put_u32(page, CHECKSUM_AT, checksum);
    page::set_lower(page, END.max(page::lower(page)));
    Ok(())
}

/// Reads the calibration; none if there is none.
///
/// # Errors
/// [`crate::error::Error::Corrupted`].
pub fn read(page: &Page) -> Result<Option<Calibration>> {
    meta::check(page)?;
    if page::lower(page) < END || page[AT..END].iter().all(|byte| *byte == 0) {
        return Ok(None);
    }
    let damaged = || corrupted(META_BLOCK, "invalid calibration on the meta page");
    let source = match get_u32(page, SOURCE_AT) {
        0 => Source::Rows,
        1 => Source::Queries,
        _ => return damaged(),
    };
    let header = bincode::serde::decode_from_slice::<Header, _>(&page[HEADER_AT..MEASURED_AT], encoding());
    let measured =
        bincode::serde::decode_from_slice::<[Measured; MOST], _>(&page[MEASURED_AT..CHECKSUM_AT], encoding());
    let (Ok((header, _)), Ok((measured, _))) = (header, measured) else {
        return damaged();
    };
    let count = usize::from(get_u16(page, AT));
    let calibration = Calibration {
        finished: header.finished,
        nodes: header.nodes,
        removed: header.removed,
        blocks: header.blocks,
        queries: get_u16(page, QUERIES_AT),
        source,
        measured: fallible::collect(measured.into_iter().take(count))?,
    };
    if count > MOST || !calibration.is_sound() || get_u32(page, CHECKSUM_AT) != checksum(&page[AT..CHECKSUM_AT]) {
        return damaged();
    }
    Ok(Some(calibration))
}

/// Adds nodes that VACUUM has removed to a calibration, if there is one; says whether there is.
///
/// # Errors
/// As [`read`].
pub fn add_removed(page: &mut Page, removed: u64) -> Result<bool> {
    let Some(calibration) = read(page)? else {
        return Ok(false);
    };
    let removed = calibration.removed.saturating_add(removed);
    set(page, &Calibration { removed, ..calibration })?;
    Ok(true)
}

#[cfg(test)]
pub(super) mod tests;
