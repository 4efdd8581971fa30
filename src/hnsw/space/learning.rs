//! Directions from a sample of the rows of a build.

use crate::error::Result;
use crate::fallible::{Room, TryPush};
use crate::quantize::directions::Directions;
use crate::quantize::principal;
use crate::storage::layout::{Layout, Shape};

/// One row of so many tells how much of the others the directions of the rest have.
const HELD_OUT: usize = 4;

/// The fewest rows to learn from, for each direction.
const ROWS_EACH: usize = 4;

/// The least share of the rows' squares that coordinates of codes must have: with less, codes
/// without directions are as good.
const LEAST_SHARE: f64 = 0.5;

/// Variance of an estimate that is small enough whatever it is without directions, and the most
/// relative to that (docs/measurements.md, *Directions of the data*).
const SMALL_VARIANCE: f64 = 0.0033;
const MOST_VARIANCE: f64 = 1.15;

/// The most directions, because each takes time of every query.
const MOST: usize = 192;

/// The number of directions for codes of so many bits: a half of them, because the coordinates of a
/// code are turned at random among each other, and a coordinate that has less than most makes its
/// bits worse (docs/measurements.md, *Directions of the data*).
pub fn count(shape: &Shape) -> usize {
    (usize::from(shape.code_bits) / 2).next_multiple_of(32).min(MOST)
}

/// The variance of the estimate of a product of two vectors of length 1 from a code whose
/// coordinates have this share of a square (RaBitQ, arXiv 2405.12497, theorem 3.2).
fn variance(shape: &Shape, share: f64) -> f64 {
    (std::f64::consts::FRAC_PI_2 - share) / f64::from(shape.code_bits)
}

/// The first of these layouts, over rows with directions, that is as good as the layout without
/// them, with the directions and the share of the rows' squares that codes see; none if none is.
///
/// # Errors
/// As [`directions`].
pub fn best<'v, V: ExactSizeIterator<Item = &'v [f32]>>(
    layouts: impl Iterator<Item = Layout>,
    without: &Layout,
    vectors: impl Fn() -> V,
    centroid: &[f32],
    check: &dyn Fn(),
) -> Result<Option<(Layout, Directions, f64)>> {
    let shape = &without.shape;
    let of_random = variance(shape, f64::from(shape.code_bits) / shape.coordinates() as f64);
    for layout in layouts {
        if let Some((directions, share)) = directions(vectors(), centroid, &layout.shape, check)?
            && variance(&layout.shape, share) <= (MOST_VARIANCE * of_random).max(SMALL_VARIANCE)
        {
            return Ok(Some((layout, directions, share)));
        }
    }
    Ok(None)
}

/// The directions of vectors around a centroid (which may be empty), and the share of their squares
/// that the coordinates of codes have; none where they have too little, or there are too few
/// vectors. `check` runs now and then.
///
/// # Errors
/// [`crate::error::Error::OutOfMemory`].
fn directions<'v>(
    vectors: impl ExactSizeIterator<Item = &'v [f32]>,
    centroid: &[f32],
    shape: &Shape,
    check: &dyn Fn(),
) -> Result<Option<(Directions, f64)>> {
    let (n, bits, count) = (shape.coordinates(), usize::from(shape.code_bits), count(shape));
    if vectors.len() < ROWS_EACH * count || count > bits || bits >= n {
        return Ok(None);
    }
    let (mut rows, mut held_out) = (Vec::new(), Vec::new());
    rows.room(vectors.len() * n)?;
    for (i, vector) in vectors.enumerate() {
        let to: &mut Vec<f32> = if i % HELD_OUT == 0 { &mut held_out } else { &mut rows };
        let end = to.len() + n;
        match centroid.is_empty() {
            true => to.try_extend(vector.iter().copied())?,
            false => to.try_extend(vector.iter().zip(centroid).map(|(v, c)| v - c))?,
        }
        to.room(end - to.len())?;
        to.resize(end, 0.0);
    }
    let found = principal::directions(&rows, n, count, check);
    let along = principal::squares_along(&held_out, n, &found, check);
    let all = held_out.iter().map(|&v| f64::from(v) * f64::from(v)).sum::<f64>();
    let of_directions = along / all;
    // The other coordinates of a code have a random part of the rest.
    let share = of_directions + (1.0 - of_directions) * (bits - count) as f64 / (n - count) as f64;
    // Not a number where squares leave the range of numbers.
    if !(LEAST_SHARE..=1.0).contains(&share) {
        return Ok(None);
    }
    Ok(Directions::of(found, n).map(|directions| (directions, share)))
}
