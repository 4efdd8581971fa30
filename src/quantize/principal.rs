//! Principal directions of a sample, by subspace iteration.
//!
//! The coordinates along them are turned at random among each other (`hnsw::space::codec`), so the
//! space that they span is all that counts: they are no eigenvectors, and in no order.

use super::rotation::SplitMix64;
use crate::error::Result;
use crate::fallible;

/// Steps of the iteration: directions need not be exact.
const STEPS: usize = 2;

/// Columns and rows of a tile of a product.
const WIDE: usize = 16;
const TILE: usize = 4;

/// Orthonormal directions that span about the space of the first `count` principal directions of
/// rows of `n` numbers. `check` runs now and then.
///
/// # Errors
/// [`crate::error::Error::OutOfMemory`].
///
/// # Panics
/// Unless `count` is a multiple of 4, at most `n`, and `n` a multiple of 16.
pub fn directions(rows: &[f32], n: usize, count: usize, check: &dyn Fn()) -> Result<Vec<f32>> {
    assert!(n.is_multiple_of(WIDE) && count.is_multiple_of(TILE) && count <= n);
    let mut random = SplitMix64(1);
    let mut sign = || if random.next_bits() >> 63 == 0 { 1.0 } else { -1.0 };
    let mut basis = fallible::collect((0..count * n).map(|_| sign()))?;
    let mut products = fallible::collect(std::iter::repeat_n(0.0, rows.len() / n * count))?;
    for _ in 0..STEPS {
        multiply(rows, &basis, n, &mut products, check);
        combine(rows, &products, n, &mut basis, check);
        orthonormalize(&mut basis, n, check);
    }
    Ok(basis)
}

/// The sum of the squares of the rows along some directions.
///
/// # Panics
/// As [`directions`].
pub fn squares_along(rows: &[f32], n: usize, directions: &[f32], check: &dyn Fn()) -> f64 {
    let mut products = vec![0.0; directions.len() / n];
    let squares = rows.chunks_exact(n).map(|row| {
        multiply(row, directions, n, &mut products, check);
        products.iter().map(|&v| f64::from(v) * f64::from(v)).sum::<f64>()
    });
    squares.sum()
}

/// products[i][j] = <rows[i], basis[j]>
fn multiply(rows: &[f32], basis: &[f32], n: usize, products: &mut [f32], check: &dyn Fn()) {
    let count = basis.len() / n;
    for (row, products) in rows.chunks_exact(n).zip(products.chunks_exact_mut(count)) {
        check();
        vectorized!(multiply_row(row: &[f32], basis: &[f32], products: &mut [f32]));
    }
}

#[inline(always)]
fn multiply_row(row: &[f32], basis: &[f32], products: &mut [f32]) {
    let n = row.len();
    let row = row.as_chunks::<WIDE>().0;
    for (four, products) in basis.chunks_exact(TILE * n).zip(products.as_chunks_mut::<TILE>().0) {
        let mut sums = [[0.0f32; WIDE]; TILE];
        let (a, rest) = four.split_at(n);
        let (b, rest) = rest.split_at(n);
        let (c, d) = rest.split_at(n);
        let [a, b, c, d] = [a, b, c, d].map(|vector| vector.as_chunks::<WIDE>().0);
        for ((((x, a), b), c), d) in row.iter().zip(a).zip(b).zip(c).zip(d) {
            for i in 0..WIDE {
                sums[0][i] += x[i] * a[i];
                sums[1][i] += x[i] * b[i];
                sums[2][i] += x[i] * c[i];
                sums[3][i] += x[i] * d[i];
            }
        }
        *products = sums.map(|sums| sums.iter().sum());
    }
}

/// basis[j] = sum(products[i][j] rows[i])
fn combine(rows: &[f32], products: &[f32], n: usize, basis: &mut [f32], check: &dyn Fn()) {
    let count = basis.len() / n;
    for column in (0..n).step_by(WIDE) {
        check();
        for first in (0..count).step_by(TILE) {
            let sums = vectorized!(combine_tile(rows: &[f32], products: &[f32], n: usize, count: usize, column: usize, first: usize) -> [[f32; WIDE]; TILE]);
            for (j, sums) in sums.iter().enumerate() {
                basis[(first + j) * n + column..][..WIDE].copy_from_slice(sums);
            }
        }
    }
}

#[inline(always)]
fn combine_tile(
    rows: &[f32],
    products: &[f32],
    n: usize,
    count: usize,
    column: usize,
    first: usize,
) -> [[f32; WIDE]; TILE] {
    let mut sums = [[0.0f32; WIDE]; TILE];
    for (row, products) in rows.chunks_exact(n).zip(products.chunks_exact(count)) {
        let row: &[f32; WIDE] = row[column..][..WIDE].try_into().unwrap();
        let by: &[f32; TILE] = products[first..][..TILE].try_into().unwrap();
        for j in 0..TILE {
            for i in 0..WIDE {
                sums[j][i] += by[j] * row[i];
            }
        }
    }
    sums
}

fn dot(a: &[f32], b: &[f32]) -> f32 {
    vectorized!(dot_any(a: &[f32], b: &[f32]) -> f32)
}

#[inline(always)]
fn dot_any(a: &[f32], b: &[f32]) -> f32 {
    let mut sums = [0.0f32; 2 * WIDE];
    let (a, a_rest) = a.as_chunks::<{ 2 * WIDE }>();
    let (b, b_rest) = b.as_chunks::<{ 2 * WIDE }>();
    for (a, b) in a.iter().zip(b) {
        for i in 0..2 * WIDE {
            sums[i] += a[i] * b[i];
        }
    }
    sums.iter().sum::<f32>() + a_rest.iter().zip(b_rest).map(|(a, b)| a * b).sum::<f32>()
}

fn subtract(a: &mut [f32], by: f32, b: &[f32]) {
    vectorized!(subtract_any(a: &mut [f32], by: f32, b: &[f32]));
}

#[inline(always)]
fn subtract_any(a: &mut [f32], by: f32, b: &[f32]) {
    a.iter_mut().zip(b).for_each(|(a, b)| *a -= by * b);
}

/// Gram and Schmidt's, twice. A row that follows from the ones before becomes a unit vector.
fn orthonormalize(basis: &mut [f32], n: usize, check: &dyn Fn()) {
    let count = basis.len() / n;
    for i in 0..count {
        check();
        let (before, rest) = basis.split_at_mut(i * n);
        let row = &mut rest[..n];
        let mut trial = 0;
        loop {
            let length = dot(row, row).sqrt();
            if length.is_finite() && length > f32::MIN_POSITIVE {
                row.iter_mut().for_each(|v| *v /= length);
            }
            for _ in 0..2 {
                for other in before.chunks_exact(n) {
                    let by = dot(row, other);
                    subtract(row, by, other);
                }
            }
            let left = dot(row, row).sqrt();
            // Numbers beyond f32 leave none.
            if left.is_finite() && left > 1e-3 {
                row.iter_mut().for_each(|v| *v /= left);
                break;
            }
            row.fill(0.0);
            row[(i + trial) % n] = 1.0;
            trial += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_data::gaussian;

    fn dot(a: &[f32], b: &[f32]) -> f64 {
        a.iter().zip(b).map(|(&a, &b)| f64::from(a) * f64::from(b)).sum()
    }

    /// Rows of independent coordinates, the first with the greatest deviation, after a rotation.
    fn rows(count: usize, n: usize) -> (Vec<f32>, crate::quantize::rotation::Rotation) {
        let rotation = crate::quantize::rotation::Rotation::new(n, n, 9);
        let rows = gaussian(count, n, 5).into_iter().flat_map(|mut row| {
            (0..n).for_each(|i| row[i] *= 0.8f32.powi(i as i32));
            rotation.rotate_in_place(&mut row);
            row
        });
        (rows.collect(), rotation)
    }

    #[test]
    fn the_directions_of_most_variance_are_spanned() {
        let n = 64;
        let (rows, rotation) = rows(2000, n);
        let found = directions(&rows, n, 16, &|| ()).unwrap();
        let directions: Vec<&[f32]> = found.chunks_exact(n).collect();
        for (i, a) in directions.iter().enumerate() {
            for (j, b) in directions.iter().enumerate() {
                assert!((dot(a, b) - f64::from(u8::from(i == j))).abs() < 1e-5, "{i} {j}");
            }
        }
        for i in 0..8 {
            let mut expected = vec![0.0; n];
            expected[i] = 1.0;
            rotation.rotate_in_place(&mut expected);
            let within = squares_along(&expected, n, &found, &|| ());
            assert!(within > 0.98, "{i}: {within}");
        }
        let all = dot(&rows, &rows);
        let along = squares_along(&rows, n, &found, &|| ());
        assert!(along / all > 0.998, "{}", along / all);
    }

    #[test]
    fn few_rows_and_equal_rows_have_directions() {
        for rows in [vec![0.0; 64], vec![1.0; 64 * 10], vec![f32::NAN; 64], Vec::new()] {
            let found = directions(&rows, 64, 8, &|| ()).unwrap();
            assert_eq!(found.len(), 8 * 64);
            assert!(rows.iter().any(|v| v.is_nan()) || found.iter().all(|v| v.is_finite()));
        }
    }
}
