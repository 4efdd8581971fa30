//! Bodies of the fuzz targets: each function takes any bytes, and panics only where there is a
//! defect.
//!
//! `fuzz/` has a target of cargo-fuzz for each; the tests here run the same functions over a few
//! random inputs. A new one is a function here, a line among these tests, and a target in
//! `fuzz/fuzz_targets/`. No function may call PostgreSQL, because a fuzz target is no server.

mod hnsw;
mod lists;
mod page;
mod values;

pub use hnsw::damaged_graph;
pub use lists::damaged_lists;
pub use page::any_page;
pub use values::{halfvec_binary, halfvec_text, sparsevec_binary, sparsevec_text, vector_binary, vector_text};

use crate::error::{Error, Result};

/// Takes choices from the input; zeros at its end.
struct Input<'a>(&'a [u8]);

impl<'a> Input<'a> {
    fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    fn bytes(&mut self, len: usize) -> &'a [u8] {
        let (bytes, rest) = self.0.split_at(len.min(self.0.len()));
        self.0 = rest;
        bytes
    }

    fn u8(&mut self) -> u8 {
        self.bytes(1).first().copied().unwrap_or(0)
    }

    fn u16(&mut self) -> usize {
        usize::from(u16::from_le_bytes([self.u8(), self.u8()]))
    }
}

/// The value, or none for a corrupted page. Damage may cause no other error.
fn tolerate<T>(result: Result<T>) -> Option<T> {
    match result {
        Ok(value) => Some(value),
        Err(Error::Corrupted { .. }) => None,
        // Of the meta page, if it hits both places of the version, or makes the mark.
        Err(error) if error.asks_for_rebuild() => None,
        Err(error) => panic!("{error}"),
    }
}

#[cfg(test)]
mod tests {
    use rand::rngs::SmallRng;
    use rand::{Rng, SeedableRng};

    /// Runs `body` on random bytes, and on `samples` with a few of their bytes changed.
    fn run(body: impl Fn(&[u8]), times: u64, longest: usize, samples: &[&[u8]]) {
        for seed in 0..times {
            let mut random = SmallRng::seed_from_u64(seed);
            let mut bytes = vec![0; random.random_range(0..longest)];
            random.fill(&mut bytes[..]);
            body(&bytes);
            for sample in samples {
                let mut bytes = sample.to_vec();
                for _ in 0..random.random_range(0..3) {
                    let at = random.random_range(0..bytes.len());
                    bytes[at] = random.random();
                }
                body(&bytes);
            }
        }
    }

    #[test]
    fn text() {
        let samples = [
            "[1,2.5,-3e-05]",
            "[ +0.1 , 1e38,\t-.5e-45 ]",
            "[inf,nan]",
            "[16777217,1e400]",
        ];
        run(super::vector_text, 2_000, 100, &samples.map(str::as_bytes));
        run(super::halfvec_text, 2_000, 100, &samples.map(str::as_bytes));
        let samples = [
            "{1:1.5,3:-2e-05}/5",
            "{}/1",
            " { 7 : 1 , 2:.5e-45 } / 1000000000 ",
            "{3:0,3:1}/3",
        ];
        run(super::sparsevec_text, 2_000, 100, &samples.map(str::as_bytes));
    }

    #[test]
    fn binary() {
        let samples: [&[u8]; 2] = [&[0, 1, 0, 0, 60, 0, 0, 0], &[0, 2, 0, 0, 63, 128, 0, 0, 64, 0, 0, 0]];
        run(super::vector_binary, 2_000, 100, &samples);
        run(super::halfvec_binary, 2_000, 100, &samples);
        let one = [0, 0, 0, 9, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 7, 63, 128, 0, 0];
        run(super::sparsevec_binary, 2_000, 100, &[&one]);
    }

    #[test]
    fn any_page() {
        // A page that says it is new, with contents.
        super::any_page(&[
            0, 2, 4, 44, 223, 255, 250, 255, 0, 1, 4, 250, 255, 0, 1, 4, 44, 223, 0, 0, 0,
        ]);
        run(super::any_page, 2_000, 9_000, &[]);
    }

    #[test]
    fn damaged_graph() {
        super::damaged_graph(&[]);
        run(super::damaged_graph, 40, 300, &[]);
    }

    #[test]
    fn damaged_lists() {
        for sample in 0..2 {
            super::damaged_lists(&[sample]);
        }
        // One change at a time, and many.
        run(super::damaged_lists, 100, 12, &[]);
        run(super::damaged_lists, 30, 300, &[]);
    }
}
