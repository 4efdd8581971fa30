//! The rows that all tests store, and exact answers to queries over them, computed in double precision.

use std::collections::BTreeSet;

use half::f16;
use pgvector::{Bit, HalfVector, SparseVector, Vector};
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};

pub const ROWS: usize = 300;
pub const DIMENSIONS: usize = 8;
pub const NEAREST: usize = 10;

/// The columns of the table `items`, after `id`.
pub const COLUMNS: &str = "vector vector(8), halfvec halfvec(8), sparsevec sparsevec(8), bit bit(64)";

/// The numbers of a row, which all types hold exactly, and about half of which are zero, but never all; and its bits.
#[derive(Clone)]
pub struct Row {
    pub numbers: Vec<f32>,
    pub flags: Vec<bool>,
}

impl Row {
    fn random(random: &mut SmallRng) -> Self {
        let mut number = || f32::from(random.random_range(-256..256_i16)) / 64.0 * f32::from(random.random_bool(0.5));
        let mut numbers: Vec<_> = std::iter::repeat_with(&mut number).take(DIMENSIONS).collect();
        numbers[0] = numbers[0].abs() + 1.0;
        let flags = std::iter::repeat_with(|| random.random()).take(64).collect();
        Row { numbers, flags }
    }

    pub fn vector(&self) -> Vector {
        self.numbers.clone().into()
    }

    pub fn halfvec(&self) -> HalfVector {
        self.numbers
            .iter()
            .copied()
            .map(f16::from_f32)
            .collect::<Vec<_>>()
            .into()
    }

    pub fn sparsevec(&self) -> SparseVector {
        SparseVector::from_dense(&self.numbers)
    }

    pub fn bit(&self) -> Bit {
        Bit::new(&self.flags)
    }
}

/// The table's rows, whose ids are their places from 1 on, and what is searched for.
pub fn rows() -> (Vec<Row>, Row) {
    let mut random = SmallRng::seed_from_u64(9);
    let rows = (0..ROWS).map(|_| Row::random(&mut random)).collect();
    (rows, Row::random(&mut random))
}

/// A distance: its operator, the name that it has in operator classes, and how it is computed.
pub struct Distance {
    pub operator: &'static str,
    pub name: &'static str,
    pub exact: fn(&Row, &Row) -> f64,
}

/// The distances of `vector`, `halfvec` and `sparsevec`.
pub const OF_NUMBERS: [Distance; 4] = [
    Distance {
        operator: "<->",
        name: "l2",
        exact: |a, b| sum(a, b, |x, y| (x - y).powi(2)).sqrt(),
    },
    Distance {
        operator: "<#>",
        name: "ip",
        exact: |a, b| -dot(a, b),
    },
    Distance {
        operator: "<=>",
        name: "cosine",
        exact: |a, b| 1.0 - dot(a, b) / (dot(a, a) * dot(b, b)).sqrt(),
    },
    Distance {
        operator: "<+>",
        name: "l1",
        exact: |a, b| sum(a, b, |x, y| (x - y).abs()),
    },
];

/// The distances of `bit`.
pub const OF_BITS: [Distance; 2] = [
    Distance {
        operator: "<~>",
        name: "hamming",
        exact: |a, b| count(a, b, |x, y| x ^ y),
    },
    Distance {
        operator: "<%>",
        name: "jaccard",
        exact: |a, b| 1.0 - count(a, b, |x, y| x & y) / count(a, b, |x, y| x | y),
    },
];

fn sum(a: &Row, b: &Row, of: fn(f64, f64) -> f64) -> f64 {
    let pairs = a.numbers.iter().zip(&b.numbers);
    pairs.map(|(&x, &y)| of(x.into(), y.into())).sum()
}

fn dot(a: &Row, b: &Row) -> f64 {
    sum(a, b, |x, y| x * y)
}

fn count(a: &Row, b: &Row, of: fn(bool, bool) -> bool) -> f64 {
    a.flags.iter().zip(&b.flags).filter(|&(&x, &y)| of(x, y)).count() as f64
}

/// Statements that index `column` for `distance`, and that find its `NEAREST` rows to `$1` with their distances.
pub fn create_index(column: &str, distance: &Distance) -> String {
    let class = format!("{column}_{}_ops", distance.name);
    format!("CREATE INDEX {class} ON items USING hnsw ({column} {class}) WITH (m = 16, ef_construction = 64)")
}

pub fn nearest(column: &str, distance: &Distance) -> String {
    let order = format!("{column} {} $1", distance.operator);
    format!("SELECT id, {order} FROM items ORDER BY {order} LIMIT {NEAREST}")
}

/// The plan of [`nearest`] uses the index of [`create_index`].
pub fn assert_index_scan(plan: &[String], column: &str, distance: &Distance) {
    let expected = format!("Index Scan using {column}_{}_ops ", distance.name);
    assert!(plan.iter().any(|line| line.contains(&expected)), "{plan:#?}");
}

/// What [`nearest`] found are the nearest rows, in order, and at those distances.
pub fn assert_nearest(found: &[(i64, f64)], rows: &[Row], query: &Row, distance: &Distance) {
    let exact: Vec<_> = rows.iter().map(|row| (distance.exact)(row, query)).collect();
    let mut sorted = exact.clone();
    sorted.sort_by(f64::total_cmp);
    let ids: BTreeSet<_> = found.iter().map(|(id, _)| id).collect();
    assert_eq!(ids.len(), NEAREST, "{}", distance.operator);
    for ((id, reported), expected) in found.iter().zip(sorted) {
        let own = exact[usize::try_from(*id).expect("ids are positive") - 1];
        assert!(
            (reported - own).abs() < 1e-5,
            "{}: row {id}: {reported}, {own}",
            distance.operator
        );
        assert!(
            (reported - expected).abs() < 1e-5,
            "{}: row {id}: {reported}, {expected}",
            distance.operator
        );
    }
}

/// The mean of the rows' numbers.
pub fn assert_mean(found: &[f32], rows: &[Row]) {
    assert_eq!(found.len(), DIMENSIONS);
    for (i, &found) in found.iter().enumerate() {
        let mean = rows.iter().map(|row| f64::from(row.numbers[i])).sum::<f64>() / rows.len() as f64;
        assert!((f64::from(found) - mean).abs() < 1e-5, "{found}, {mean}");
    }
}
