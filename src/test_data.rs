//! Real vectors for tests.

use std::io::Read;

/// Dimensions of [`words`].
pub const WORD_DIMENSIONS: usize = 50;

/// Vectors of the most frequent English words (GloVe, 50 dimensions, unit length).
pub fn words(count: usize) -> Vec<Vec<f32>> {
    let file = std::fs::File::open(concat!(env!("CARGO_MANIFEST_DIR"), "/examples/words.csv.gz")).unwrap();
    let mut text = String::new();
    flate2::read::GzDecoder::new(file).read_to_string(&mut text).unwrap();
    let vector = |line: &str| {
        let numbers = line.split_once(",\"[").unwrap().1.trim_end_matches("]\"");
        numbers
            .split(',')
            .map(|number| number.parse().unwrap())
            .collect::<Vec<f32>>()
    };
    let vectors: Vec<_> = text.lines().take(count).map(vector).collect();
    assert!(vectors.len() == count && vectors.iter().all(|vector| vector.len() == WORD_DIMENSIONS));
    vectors
}

/// Vectors of any dimensions: those of as many words as it takes, one after the other.
pub fn phrases(count: usize, dimensions: usize) -> Vec<Vec<f32>> {
    let length = dimensions.div_ceil(WORD_DIMENSIONS);
    let words = words(20_000.min(count * length));
    let words = words.iter().cycle();
    (0..count)
        .map(|i| {
            let mut phrase: Vec<f32> = words
                .clone()
                .skip(i * length % 20_000)
                .take(length)
                .flatten()
                .copied()
                .collect();
            phrase.truncate(dimensions);
            phrase
        })
        .collect()
}

/// Vectors of any dimensions with the neighbors that words have: each is a word, repeated, and half
/// of a phrase.
pub fn variations(count: usize, dimensions: usize) -> Vec<Vec<f32>> {
    let words = words(count);
    let mut variations = phrases(count, dimensions);
    for (variation, word) in variations.iter_mut().zip(&words) {
        let repeated = word.iter().cycle();
        variation
            .iter_mut()
            .zip(repeated)
            .for_each(|(part, word)| *part = 0.5 * *part + word);
    }
    variations
}

/// Vectors of normally distributed coordinates.
pub fn gaussian(count: usize, dimensions: usize, seed: u64) -> Vec<Vec<f32>> {
    use rand::{Rng, SeedableRng, rngs::SmallRng};
    let mut random = SmallRng::seed_from_u64(seed);
    // Box and Muller's pairs, of which one is used.
    let mut normal = || {
        let (radius, angle): (f64, f64) = (1.0 - random.random::<f64>(), random.random());
        ((-2.0 * radius.ln()).sqrt() * (std::f64::consts::TAU * angle).cos()) as f32
    };
    (0..count)
        .map(|_| (0..dimensions).map(|_| normal()).collect())
        .collect()
}
