//! The plan of a new index's layout: the stored form of its vectors and the length of its codes.
//!
//! The constants of this file trade recall, speed and space. A change of one concerns new indexes
//! only, because the choice is kept with the index's parameters as a [`Shape`], from which
//! [`super::layout`] computes the offsets.
//!
//! A search by codes pays for the bytes of each record that it visits, and for each visit that a
//! longer code would have saved. With L bits for d coordinates the variance of an estimate is
//! proportional to 1.56/L - 1/d (`quantize::rabitq`): a code of every coordinate has about a third
//! of the variance of a code of two thirds of them. Short vectors therefore get codes of every
//! coordinate. For longer ones the plan takes the largest number of records a page that leaves
//! [`ENOUGH_BITS`] to each code, and gives the rest of the page to the codes and to TIDs
//! (docs/measurements.md, *Codes of as many bits as fit*).

use std::cmp::Ordering;
use std::ffi::CStr;

use super::layout::{Encoding, FilterColumns, Layout, MOST_SPREAD, Shape};
use crate::distance::Metric;
use crate::error::{Error, Result};
use crate::quantize::rabitq::{self, WORD_BITS};

/// The form of records: the option `storage` of an index.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(i32)]
pub enum Storage {
    /// The default: fast.
    Full,
    /// Small: two thirds of the links, vectors in 8 bits a coordinate, shorter codes.
    Compact,
}

impl Storage {
    /// All forms.
    pub const ALL: [Storage; 2] = [Storage::Full, Storage::Compact];

    /// The name, as the option's value.
    pub const fn name(self) -> &'static CStr {
        match self {
            Storage::Full => c"full",
            Storage::Compact => c"compact",
        }
    }

    /// The form of a name.
    pub fn of_name(name: &str) -> Option<Storage> {
        let is_named = |storage: &Storage| storage.name().to_bytes().eq_ignore_ascii_case(name.as_bytes());
        Storage::ALL.into_iter().find(is_named)
    }
}

/// Code length that records leave room for, if the vectors have as many coordinates.
const ENOUGH_BITS: usize = 256;

/// As [`ENOUGH_BITS`], for codes of the directions of the data, which tell as much with fewer bits
/// (docs/measurements.md, *Directions of the data*).
const ENOUGH_OF_DIRECTIONS: usize = 192;

/// The longest codes of directions: longer ones tell enough without (docs/measurements.md,
/// *Directions of the data*).
const MOST_OF_DIRECTIONS: u16 = 512;

/// The most dimensions of vectors with directions: learning and applying them takes time in
/// proportion.
const MOST_WITH_DIRECTIONS: usize = 4096;

/// Codes have a bit for every coordinate if at least this many records still fit a page.
const SLOTS_FOR_WHOLE_CODES: u32 = 4;

/// Dimensions from which 10 bits a coordinate suffice to order neighbors, because the error of a
/// distance falls with the square root of the dimensions (docs/measurements.md, *10 bits of long
/// vectors*).
const LONG: usize = 512;

/// Length of codes (numerator, denominator) relative to that beside vectors of 12 bits, from which
/// on it is worth more than two bits of every coordinate of [`LONG`] vectors; and so is another
/// record on a page.
const WORTH_TWO_BITS: (u16, u16) = (9, 8);

/// The shortest code for which vectors stay whole: rather than codes shorter than this, the layout
/// has overflow records.
const FEWEST_BITS: usize = 128;

/// Vectors of up to this many dimensions have no codes in an index without filter columns: four
/// times as many records are read, of less than half the size (docs/measurements.md, *Codes of
/// short vectors*).
const FEW: usize = 4;

/// The fewest bits of codes of vectors of up to so many dimensions (docs/measurements.md, *Codes of
/// short vectors*). Longer ones have at least [`MOST_SPREAD`], and all under inner product, because
/// few bits lead astray among vectors of different lengths.
const FEWEST_OF_SHORT: [(usize, usize); 2] = [(16, 64), (64, 96)];

/// The fewest bits of codes in compact records of up to [`MOST_SPREAD`] coordinates; longer ones
/// have at least as many as that, and so have all under inner product (docs/measurements.md,
/// *Compact records*).
const FEWEST_COMPACT: usize = 64;

/// Vectors of up to this many dimensions are stored as f32, because they take little room anyway.
const SHORT: usize = 64;

impl Layout {
    /// Chooses the layout of a new index without codes, with so many filter columns.
    ///
    /// # Errors
    /// [`Error::TooManyDimensionsForIndex`] beyond what the encoding allows.
    pub fn plain(dimensions: usize, m: usize, encoding: Encoding, filters: impl Into<FilterColumns>) -> Result<Layout> {
        let maximum = encoding.most_dimensions();
        if dimensions > maximum {
            return Err(Error::too_many_dimensions(maximum));
        }
        Layout::of(Shape {
            dimensions: dimensions as u32,
            m: m as u16,
            encoding,
            code_bits: 0,
            filters: filters.into(),
        })
    }

    /// Whether a new index over vectors of `dimensions` f32 has codes, with so many filter columns.
    fn plans_codes(dimensions: usize, metric: Metric, filters: FilterColumns) -> bool {
        match metric {
            Metric::L2 | Metric::Cosine => dimensions > FEW || filters.count > 0,
            Metric::InnerProduct => true,
            Metric::L1 | Metric::Hamming | Metric::Jaccard => false,
        }
    }

    /// Chooses the layout of a new index over vectors of `dimensions` f32, with so many filter
    /// columns: plain, or coded.
    ///
    /// # Errors
    /// As [`Layout::plain`].
    pub fn plan(dimensions: usize, m: usize, metric: Metric, filters: impl Into<FilterColumns>) -> Result<Layout> {
        let filters = filters.into();
        let plain = Layout::plain(dimensions, m, Encoding::Float32, filters)?;
        if !Layout::plans_codes(dimensions, metric, filters) {
            return Ok(plain);
        }
        let shape = |encoding, code_bits: usize| Shape {
            dimensions: dimensions as u32,
            m: m as u16,
            encoding,
            code_bits: code_bits as u16,
            filters,
        };
        let of_short = FEWEST_OF_SHORT.iter().find(|(most, _)| dimensions <= *most);
        let fewest = match metric {
            Metric::L2 | Metric::Cosine => of_short.map_or(MOST_SPREAD, |(_, fewest)| *fewest),
            _ => MOST_SPREAD,
        };
        if dimensions <= SHORT {
            return Layout::with_codes(shape(Encoding::Float32, 0), fewest);
        }
        let twelve = Layout::with_codes(shape(Encoding::Scalar12, 0), fewest)?;
        if dimensions < LONG {
            return Ok(twelve);
        }
        let ten = Layout::with_codes(shape(Encoding::Scalar10, 0), fewest)?;
        let (much, of) = WORTH_TWO_BITS;
        let has_longer = of * ten.shape.code_bits >= much * twelve.shape.code_bits;
        let has_fewer_overflows = ten.overflows < twelve.overflows;
        let is_better = match ten.slots.cmp(&twelve.slots) {
            Ordering::Less => false,
            Ordering::Equal => has_fewer_overflows || (has_longer && ten.overflows == twelve.overflows),
            Ordering::Greater => true,
        };
        Ok(if is_better { ten } else { twelve })
    }

    /// Chooses the layout of a new index with this form of records over vectors of `dimensions`
    /// f32, with so many filter columns.
    ///
    /// # Errors
    /// As [`Layout::plain`].
    pub fn plan_as(
        storage: Storage,
        dimensions: usize,
        m: usize,
        metric: Metric,
        filters: impl Into<FilterColumns>,
    ) -> Result<Layout> {
        match storage {
            Storage::Full => Layout::plan(dimensions, m, metric, filters),
            Storage::Compact => Layout::compact(dimensions, m, metric, filters.into()),
        }
    }

    /// The layouts of a new index of this one's dimensions over rows with directions, best first:
    /// none unless its vectors are [`LONG`] and its codes leave coordinates out. Vectors have 8
    /// bits a coordinate beyond the codes, where little of their length is, if a page has room for
    /// more records that way, and else 10.
    pub fn with_directions(&self) -> impl Iterator<Item = Layout> {
        let shape = self.shape;
        let gains = self.is_coded()
            && !shape.is_compact()
            && !shape.has_whole_codes()
            && (LONG..=MOST_WITH_DIRECTIONS).contains(&(shape.dimensions as usize));
        let with = |encoding| {
            let shape = Shape { encoding, ..shape };
            Layout::filled(shape, shape.coordinates() - WORD_BITS, ENOUGH_OF_DIRECTIONS).ok()
        };
        let eight = gains.then(|| with(Encoding::Scalar10And8)).flatten();
        let ten = gains.then(|| with(Encoding::Scalar10And10)).flatten();
        let slots = self.slots;
        let eight = eight.filter(|layout| layout.slots > slots && layout.overflows == 0);
        let ten = ten.filter(|layout| layout.slots >= slots && layout.overflows == 0);
        let ten = ten.filter(|layout| layout.shape.code_bits <= MOST_OF_DIRECTIONS);
        eight.into_iter().chain(ten)
    }

    /// The compact layout; the layout of [`Layout::plan`] if that has no codes.
    fn compact(dimensions: usize, m: usize, metric: Metric, filters: FilterColumns) -> Result<Layout> {
        let full = Layout::plan(dimensions, m, metric, filters)?;
        if !full.is_coded() {
            return Ok(full);
        }
        let shape = Shape {
            encoding: Encoding::Scalar8,
            code_bits: 0,
            ..full.shape
        };
        let coordinates = shape.coordinates();
        match coordinates <= MOST_SPREAD && metric != Metric::InnerProduct {
            true => Layout::filled(shape, coordinates.max(FEWEST_COMPACT), FEWEST_COMPACT),
            false => Layout::filled(shape, coordinates.max(MOST_SPREAD), MOST_SPREAD),
        }
    }

    /// The layout of a shape with the code length that the plan chooses: of short vectors at least
    /// `fewest` bits.
    fn with_codes(shape: Shape, fewest: usize) -> Result<Layout> {
        let coordinates = shape.coordinates().max(fewest).min(rabitq::MAX_BITS);
        let with = |bits: usize| {
            Layout::of(Shape {
                code_bits: bits as u16,
                ..shape
            })
        };
        // Codes of every coordinate err least for their length: most of a shorter code's error
        // comes from the coordinates that it leaves out.
        if let Ok(whole) = with(coordinates)
            && whole.slots >= SLOTS_FOR_WHOLE_CODES
        {
            return Ok(whole);
        }
        Layout::filled(shape, coordinates, ENOUGH_BITS)
    }

    /// The layout of a shape with as many records on a page as leave `enough` bits to each code,
    /// and the longest codes, of at most so many coordinates, that fit then.
    fn filled(shape: Shape, coordinates: usize, enough: usize) -> Result<Layout> {
        let with = |bits: usize| {
            Layout::of(Shape {
                code_bits: bits as u16,
                ..shape
            })
        };
        // Many links of long vectors leave less room: then shorter codes come first, overflow
        // records second.
        let lengths = || (WORD_BITS..=coordinates.min(enough)).rev().step_by(WORD_BITS);
        let fewest = FEWEST_BITS.min(enough);
        let without_overflows = lengths().find(|&bits| bits >= fewest && with(bits).is_ok_and(|it| it.overflows == 0));
        let with_overflows = || lengths().find(|&bits| with(bits).is_ok());
        let bits = without_overflows.or_else(with_overflows).unwrap_or(WORD_BITS);
        // The longest code that leaves the numbers of records on a page and of overflow records as
        // they are.
        let mut best = with(bits)?;
        for longer in (bits + WORD_BITS..=coordinates).step_by(WORD_BITS) {
            match with(longer) {
                Ok(longer) if (longer.slots, longer.overflows) == (best.slots, best.overflows) => best = longer,
                _ => break,
            }
        }
        Ok(best)
    }
}
