//! Lower bounds of distances from codes relative to the centroid, as value lists have them.
//!
//! The code of x has the signs s of its first coordinates, r, and f = |x|^2 / sum(|r|). The
//! estimate of <q,x> is f <q,s> ([`crate::quantize::rabitq`]). Where r has the share p of |x|^2
//! (L/D for L of D coordinates, unless they are directions of the data), 2 p / pi of |x|^2 are
//! along s, and the error of the estimate has about the deviation f |q| sqrt(p) sqrt(1 - 2 p /
//! pi) over random rotations (RaBitQ, arXiv 2405.12497, theorem 3.2). A bound is the estimate
//! less a number of deviations.

use std::f64::consts::FRAC_2_PI;

use super::{Query, Space};
use crate::distance::{self, Metric};
use crate::hnsw::order_key;
use crate::quantize::rabitq::LANES;
use crate::storage::list_page::Block;

/// Largest rounding error of a bfloat16, relative.
const ROUNDING: f32 = 1.0 / 256.0;

/// The part of bounds that all nodes have in common.
pub(in crate::hnsw) struct CentroidBounds<'q> {
    query: &'q Query,
    /// Distance of the query from the centroid.
    base: f32,
    /// Inner product of the sum zero and deviations of an error, for a scale of 1.
    offset: f32,
}

impl Space {
    /// Bounds of so many deviations; none where codes tell nothing of distances: in a plain index,
    /// and where squares leave the range of f32.
    pub(in crate::hnsw) fn centroid_bounds<'q>(&self, query: &'q Query, deviations: f64) -> Option<CentroidBounds<'q>> {
        let base = match self.parameters.metric {
            Metric::InnerProduct => 0.0,
            _ => query.square,
        };
        if !self.layout.is_coded() || !order_key::is_sum(query.square) {
            return None;
        }
        let share = f64::from(self.layout.share);
        let deviation = (f64::from(query.square) * share * (1.0 - FRAC_2_PI * share)).sqrt();
        Some(CentroidBounds {
            query,
            base,
            offset: query.table.offset() + (deviations * deviation) as f32,
        })
    }
}

/// A bound less the rounding errors of its factors.
#[inline]
pub(in crate::hnsw) fn rounded_down(bound: f32) -> f32 {
    bound - ROUNDING * bound.abs()
}

impl CentroidBounds<'_> {
    /// The bound of each lane of a block, which is not a number where the code tells none, and one
    /// bit for each that is not known to be at least `worst` before it is rounded.
    #[inline]
    pub(in crate::hnsw) fn of_block(&self, block: &Block<'_>, worst: f32) -> ([f32; LANES], u32) {
        let (codes, offsets, scales) = block.codes();
        let table = &self.query.table;
        let mut bounds = [0.0; LANES];
        let wanted = distance::estimate(
            table.entries(),
            codes,
            offsets,
            scales,
            self.base,
            table.scale(),
            self.offset,
            order_key::bound(worst),
            &mut bounds,
        );
        let bounds = bounds.map(|bound| match order_key::is_estimate(bound) {
            true => rounded_down(bound),
            false => f32::NAN,
        });
        (bounds, wanted)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hnsw::space::tests::parameters;
    use crate::hnsw::space::{Learned, Point, learning};
    use crate::storage::format::Unplaced;
    use crate::storage::list_page::{self, Code, ListEntry, ListId};
    use crate::storage::page::PAGE_SIZE;
    use crate::storage::parameters::Parameters;
    use crate::storage::{Layout, Link, NodeRef, centroid};
    use crate::test_data::{phrases, variations};

    /// A space with lists, with or without a centroid.
    fn space(metric: Metric, dimensions: usize, centroid: Vec<f32>) -> Space {
        let shape = Layout::plan(dimensions, 16, metric, 1).unwrap().shape;
        let parameters = Parameters {
            metric,
            ..parameters(shape, 7, &centroid)
        };
        Space::new(parameters, centroid).unwrap()
    }

    /// Shares of vectors whose bound is above their distance, and the mean of bounds relative to
    /// distances.
    fn bounds(space: &Space, vectors: &[Vec<f32>], deviations: f64) -> (f64, f64) {
        let query = space.query(&vectors[0]);
        let bounds = space.centroid_bounds(&query, deviations).unwrap();
        let (mut above, mut ratio) = (0, 0.0);
        for vector in &vectors[1..] {
            let mut point = Point::default();
            space.set_point(vector, &mut point);
            let mut words = vec![0; space.layout.code_words()];
            let factors = space.encode_alone(&point, &mut words);
            let mut page = [0; PAGE_SIZE];
            let id = ListId { column: 0, list: 0 };
            let link = Link {
                node: NodeRef(Unplaced::FIRST_OWNER.0 - 1),
                generation: 0,
            };
            let entry = ListEntry {
                link,
                signatures: [0; 4],
            };
            list_page::init(&mut page, id, &space.lists, 0, 1);
            list_page::push(&mut page, &space.lists, &entry, &Code { words: &words, factors });
            let block = list_page::blocks(&page, &space.lists).next().unwrap();
            let bound = bounds.of_block(&block, f32::NAN).0[0];
            let distance = space.whole_distance(&query, &point.stored);
            above += usize::from(bound > distance);
            ratio += f64::from(bound / distance);
        }
        let count = vectors.len() as f64 - 1.0;
        (above as f64 / count, ratio / count)
    }

    #[test]
    fn bounds_are_below_as_many_distances_as_deviations_tell() {
        for (metric, dimensions) in [
            (Metric::L2, 20),
            (Metric::L2, 128),
            (Metric::Cosine, 384),
            (Metric::InnerProduct, 200),
            (Metric::L2, 1536),
        ] {
            for centroid in [Vec::new(), phrases(301, dimensions).remove(300)] {
                if metric == Metric::InnerProduct && !centroid.is_empty() {
                    continue;
                }
                let name = (metric, dimensions, centroid.len());
                let (space, vectors) = (space(metric, dimensions, centroid), phrases(300, dimensions));
                let [at_none, at_one, at_three] =
                    [0.0, 1.0, 3.0].map(|deviations| bounds(&space, &vectors, deviations));
                assert!((0.2..0.8).contains(&at_none.0), "{name:?}: {at_none:?}");
                assert!((0.01..0.35).contains(&at_one.0), "{name:?}: {at_one:?}");
                assert!(at_three.0 < 0.01, "{name:?}: {at_three:?}");
                assert!((at_none.1 - 1.0).abs() < 0.2, "{name:?}: {at_none:?}");
            }
        }
    }

    /// Coordinates beyond a code of directions have little in common in vectors far from each
    /// other, so that the bounds of these are lower than they need to be.
    #[test]
    fn bounds_hold_where_codes_are_of_directions() {
        let vectors = variations(900, 600);
        let centroid = centroid::of(vectors.iter().map(|vector| &vector[..]), 600);
        let plain = Layout::plan(600, 16, Metric::L2, 1).unwrap();
        let rows = vectors.iter().enumerate().map(|(i, vector)| (&vector[..], i));
        let found = learning::best(plain.with_directions(), &plain, rows, &centroid, &|| ()).unwrap();
        let found = found.expect("rows with directions");
        let mut parameters = parameters(found.shape, 7, &centroid);
        parameters.directions = found.name;
        let learned = Learned {
            centroid,
            directions: found.directions,
            ..Learned::default()
        };
        let space = Space::new(parameters, learned).unwrap();
        let [at_none, at_one, at_three] = [0.0, 1.0, 3.0].map(|deviations| bounds(&space, &vectors[..300], deviations));
        assert!((0.7..1.1).contains(&at_none.1), "{at_none:?}");
        assert!(at_one.0 < 0.35 && at_three.0 < 0.01, "{at_one:?} {at_three:?}");
    }

    #[test]
    fn codes_tell_nothing_of_huge_vectors() {
        let shape = Layout::plan(100, 16, Metric::L2, 1).unwrap().shape;
        let space = Space::new(parameters(shape, 7, &[]), Vec::new()).unwrap();
        assert!(space.centroid_bounds(&space.query(&vec![1e30; 100]), 1.0).is_none());
        assert!(space.centroid_bounds(&space.query(&vec![0.0; 100]), 1.0).is_some());
        let shape = Layout::plan(100, 16, Metric::L1, 1).unwrap().shape;
        let parameters = Parameters {
            metric: Metric::L1,
            ..parameters(shape, 7, &[])
        };
        let plain = Space::new(parameters, Vec::new()).unwrap();
        assert!(plain.centroid_bounds(&plain.query(&vec![1.0; 100]), 1.0).is_none());
    }
}
