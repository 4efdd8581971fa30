//! The cache of spaces of a thread, because every scan opens its index anew, and making a space
//! takes a rotation and a centroid.
//!
//! Parameters identify a space: they have the hash of its centroid.

use std::cell::RefCell;
use std::sync::Arc;

use crate::error::Result;
use crate::hnsw::space::{Learned, Space};
use crate::storage::parameters::Parameters;

/// Spaces that a thread keeps at least, and at most, if they have no more than so many bytes: a
/// query of a table of many partitions opens an index of each.
const FEWEST: usize = 8;
const MOST: usize = 256;
const MOST_BYTES: usize = 16 << 20;

thread_local! {
    /// The spaces of this thread, the one used last first.
    static SHARED: RefCell<Vec<Arc<Space>>> = const { RefCell::new(Vec::new()) };
}

impl Space {
    /// The space of an index with these parameters: a new one, or that of an earlier call in this
    /// thread. `learned` reads the pages that a new one needs.
    pub fn shared(parameters: Parameters, learned: impl FnOnce() -> Result<Learned>) -> Result<Arc<Space>> {
        let known = SHARED.with_borrow_mut(|spaces| {
            let at = spaces.iter().position(|space| space.parameters == parameters)?;
            spaces[..=at].rotate_right(1);
            Some(Arc::clone(&spaces[0]))
        });
        if let Some(space) = known {
            return Ok(space);
        }
        let space = Arc::new(Space::new(parameters, learned()?)?);
        SHARED.with_borrow_mut(|spaces| {
            spaces.insert(0, Arc::clone(&space));
            let bytes = spaces.iter().scan(0, |sum, space| {
                *sum += space.bytes();
                Some(*sum)
            });
            let kept = bytes.take_while(|bytes| *bytes <= MOST_BYTES).count();
            spaces.truncate(kept.clamp(FEWEST, MOST));
        });
        Ok(space)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::distance::Metric;
    use crate::error::Error;
    use crate::hnsw::space::tests::parameters;
    use crate::storage::Layout;

    #[test]
    fn spaces_are_shared_and_few_are_kept() {
        let shape = Layout::plan(70, 16, Metric::L2, 0).unwrap().shape;
        let shared = |seed| Space::shared(parameters(shape, seed, &[]), || Ok(Learned::default())).unwrap();
        let first = shared(0);
        for seed in 1..MOST as u64 {
            assert_eq!(shared(seed).parameters.seed, seed);
        }
        assert!(Arc::ptr_eq(&first, &shared(0)));
        for seed in 1..=MOST as u64 {
            shared(seed);
        }
        assert!(!Arc::ptr_eq(&first, &shared(0)));
    }

    #[test]
    fn few_large_spaces_are_kept() {
        let dimensions = 16_000;
        let shape = Layout::plan(dimensions, 16, Metric::L2, 0).unwrap().shape;
        let shared = |seed| {
            let mut centroid = vec![1.0; dimensions];
            centroid[0] = seed as f32;
            Space::shared(parameters(shape, seed, &centroid), || Ok(centroid.into())).unwrap()
        };
        let first = shared(1);
        for seed in 2..=FEWEST as u64 {
            shared(seed);
        }
        assert!(Arc::ptr_eq(&first, &shared(1)));
        for seed in 2..=MOST as u64 {
            shared(seed);
        }
        assert!(MOST * first.bytes() > MOST_BYTES);
        assert!(!Arc::ptr_eq(&first, &shared(1)));
    }

    #[test]
    fn a_centroid_is_read_once_and_belongs_to_its_parameters() {
        let shape = Layout::plan(70, 16, Metric::L2, 0).unwrap().shape;
        let [a, b] = [[1.0; 70], [2.0; 70]].map(|centroid| parameters(shape, 0, &centroid));
        let corrupted = || Err(Error::corrupted(1, "damaged"));
        assert!(Space::shared(a, corrupted).is_err());
        let space = Space::shared(a, || Ok(vec![1.0; 70].into())).unwrap();
        assert!(Arc::ptr_eq(&space, &Space::shared(a, corrupted).unwrap()));
        assert!(Space::shared(b, corrupted).is_err());
        assert_eq!(
            Space::shared(b, || Ok(vec![2.0; 70].into())).unwrap().centroid,
            [2.0; 70]
        );
        assert_eq!(space.layout.first_block, 2);
    }
}
