//! Directions from a sample of the rows of a build.

use crate::error::Result;
use crate::fallible::Room;
use crate::quantize::directions::Directions;
use crate::quantize::principal;
use crate::storage::directions;
use crate::storage::layout::{Layout, Shape};
use crate::storage::parameters::Reflections;

/// One run of so many tells how much of its rows the directions of the others have.
const HELD_OUT: usize = 4;

/// The fewest rows to learn from, for each direction.
const ROWS_EACH: usize = 3;

/// The fewest rows that tell how much directions have of others.
const FEWEST_HELD_OUT: usize = 64;

/// The least share of the rows' squares that coordinates of codes must have: with less, codes
/// without directions are as good.
const LEAST_SHARE: f64 = 0.5;

/// Error of the share, which is a sum of products.
const ROUNDED: f64 = 1e-3;

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

/// A vector of the sample, and the number of its run: rows that are likely near each other, as
/// those of a block of the table are.
pub type Sampled<'v> = (&'v [f32], usize);

/// The directions of an index, their name in its parameters, and its shape with them.
pub struct Found {
    /// The shape.
    pub shape: Shape,
    /// The name.
    pub name: Reflections,
    /// The directions.
    pub directions: Directions,
}

/// The directions for the first of these layouts, over rows with directions, that is as good as the
/// layout without them; none if none is. The centroid may be empty. `check` runs now and then.
///
/// # Errors
/// [`crate::error::Error::OutOfMemory`].
pub fn best<'v>(
    layouts: impl Iterator<Item = Layout>,
    without: &Layout,
    vectors: impl ExactSizeIterator<Item = Sampled<'v>>,
    centroid: &[f32],
    check: &dyn Fn(),
) -> Result<Option<Found>> {
    let n = without.shape.coordinates();
    let of_random = variance(&without.shape, f64::from(without.shape.code_bits) / n as f64);
    let mut shapes = layouts
        .map(|layout| layout.shape)
        .filter(|shape| count(shape) <= usize::from(shape.code_bits) && usize::from(shape.code_bits) < n)
        .peekable();
    if shapes.peek().is_none() {
        return Ok(None);
    }
    let rows = Rows::of(vectors, centroid, n)?;
    let mut learned: Option<Learned> = None;
    for shape in shapes {
        let count = count(&shape);
        if !rows.are_enough(count) {
            continue;
        }
        let learned = match learned.take_if(|learned| learned.count == count) {
            Some(known) => learned.insert(known),
            None => learned.insert(rows.learn(count, check)?),
        };
        let share = learned.share(&shape, n);
        if (LEAST_SHARE..=1.0 + ROUNDED).contains(&share)
            && variance(&shape, share) <= (MOST_VARIANCE * of_random).max(SMALL_VARIANCE)
        {
            let directions = Directions::of(std::mem::take(&mut learned.directions), n)?;
            return Ok(directions.map(|directions| Found {
                shape,
                name: directions::name(&directions, share.min(1.0)),
                directions,
            }));
        }
    }
    Ok(None)
}

/// The differences of vectors from their centroid, each brought to length 1, as under cosine
/// distance: the few longest ones do not decide, and no square leaves the range of numbers.
struct Rows {
    n: usize,
    /// Rows to learn from.
    training: Vec<f32>,
    /// Rows that tell how much directions have.
    held_out: Vec<f32>,
}

impl Rows {
    /// The rows of vectors other than the centroid.
    fn of<'v>(vectors: impl ExactSizeIterator<Item = Sampled<'v>>, centroid: &[f32], n: usize) -> Result<Rows> {
        let (mut training, mut held_out) = (Vec::new(), Vec::new());
        training.room(vectors.len() * n)?;
        for (vector, run) in vectors {
            let of_centroid = |i| centroid.get(i).map_or(0.0, |&c| f64::from(c));
            let difference = || vector.iter().enumerate().map(|(i, &v)| f64::from(v) - of_centroid(i));
            let length = difference().map(|v| v * v).sum::<f64>().sqrt();
            if length == 0.0 {
                continue;
            }
            let to: &mut Vec<f32> = match run.is_multiple_of(HELD_OUT) {
                true => &mut held_out,
                false => &mut training,
            };
            let end = to.len() + n;
            to.room(n)?;
            to.extend(difference().map(|v| (v / length) as f32));
            to.resize(end, 0.0);
        }
        Ok(Rows { n, training, held_out })
    }

    /// Whether there are enough to learn so many directions.
    fn are_enough(&self, count: usize) -> bool {
        self.training.len() >= ROWS_EACH * count * self.n && self.held_out.len() >= FEWEST_HELD_OUT * self.n
    }

    fn learn(&self, count: usize, check: &dyn Fn()) -> Result<Learned> {
        let n = self.n;
        let directions = principal::directions(&self.training, n, count, check)?;
        let along = principal::squares_along(&self.held_out, n, &directions, check);
        Ok(Learned {
            count,
            directions,
            along: along / (self.held_out.len() / n) as f64,
        })
    }
}

/// Directions, and the share of the squares of rows held out that is along them.
struct Learned {
    count: usize,
    directions: Vec<f32>,
    along: f64,
}

impl Learned {
    /// The share of a square that the coordinates of codes have: the others of them have a random
    /// part of the rest.
    fn share(&self, shape: &Shape, n: usize) -> f64 {
        let others = (usize::from(shape.code_bits) - self.count) as f64 / (n - self.count) as f64;
        self.along + (1.0 - self.along) * others
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::distance::Metric;
    use crate::test_data::{gaussian, phrases};

    /// What is learned of vectors that are no runs, without a centroid.
    fn found(vectors: &[Vec<f32>]) -> Option<Found> {
        let plain = Layout::plan(vectors[0].len(), 16, Metric::L2, 0).unwrap();
        let sampled = vectors.iter().enumerate().map(|(i, vector)| (&vector[..], i));
        best(plain.with_directions(), &plain, sampled, &[], &|| ()).unwrap()
    }

    fn share(found: &Found) -> f64 {
        f64::from(found.name.share) / f64::from(u16::MAX)
    }

    /// Vectors with most of their squares in a few directions.
    fn of_rank(rank: usize, noise: f32, n: usize) -> Vec<Vec<f32>> {
        let directions = gaussian(rank, n, 1);
        let noises = gaussian(1000, n, 2);
        let parts = gaussian(1000, rank, 3);
        let vectors = parts.iter().zip(noises).map(|(parts, mut vector)| {
            vector.iter_mut().for_each(|v| *v *= noise);
            for (part, direction) in parts.iter().zip(&directions) {
                vector.iter_mut().zip(direction).for_each(|(v, d)| *v += part * d);
            }
            vector
        });
        vectors.collect()
    }

    #[test]
    fn rows_of_few_directions_have_all_of_their_squares_along_them() {
        let padded = |mut vector: Vec<f32>| {
            vector.resize(1024, 0.0);
            vector
        };
        for vectors in [
            phrases(1000, 100).into_iter().map(padded).collect(),
            gaussian(1000, 100, 1).into_iter().map(padded).collect(),
            of_rank(40, 0.0, 1024),
        ] {
            let found = found(&vectors).unwrap();
            assert!(share(&found) > 0.999, "{}", share(&found));
        }
    }

    #[test]
    fn the_scale_of_rows_does_not_matter() {
        let vectors = of_rank(60, 2.0, 1024);
        let usual = found(&vectors).unwrap();
        assert!((0.9..0.99).contains(&share(&usual)), "{}", share(&usual));
        for scale in [1e20, 1e34, 1e-15, 1e-30] {
            let scaled: Vec<Vec<f32>> = vectors
                .iter()
                .map(|vector| vector.iter().map(|v| v * scale).collect())
                .collect();
            let found = found(&scaled).unwrap();
            assert_eq!(found.shape, usual.shape, "{scale}");
            assert!((share(&found) - share(&usual)).abs() < 1e-3, "{scale}");
        }
    }

    #[test]
    fn long_rows_and_rows_at_the_centroid_do_not_decide() {
        let vectors = of_rank(60, 2.0, 1024);
        let usual = share(&found(&vectors).unwrap());
        let mut mixed = vectors.clone();
        for (i, outlier) in gaussian(20, 1024, 9).into_iter().enumerate() {
            mixed[i * 50 + i % 4] = outlier.into_iter().map(|v| 1000.0 * v).collect();
        }
        mixed.extend(std::iter::repeat_n(vec![0.0; 1024], 500));
        let share = share(&found(&mixed).unwrap());
        assert!((share - usual).abs() < 0.03, "{share} instead of {usual}");
    }

    #[test]
    fn rows_of_a_run_are_held_out_together() {
        // Each block of ten rows has a direction of its own.
        let vectors: Vec<Vec<f32>> = gaussian(120, 1024, 1)
            .into_iter()
            .flat_map(|vector| std::iter::repeat_n(vector, 10))
            .collect();
        let plain = Layout::plan(1024, 16, Metric::L2, 0).unwrap();
        let found = |of_run: usize| {
            let sampled = vectors.iter().enumerate().map(|(i, v)| (&v[..], i / of_run));
            best(plain.with_directions(), &plain, sampled, &[], &|| ()).unwrap()
        };
        assert!(found(1).is_some());
        assert!(found(10).is_none());
    }
}
