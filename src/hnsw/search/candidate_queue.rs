//! The candidate queue of a coded search: the `width` smallest estimates, popped or not.
//!
//! A record may be queued once for each neighbor that estimated it. Duplicates are dropped when
//! they are popped, not when they are pushed, so that the smallest of several estimates counts,
//! which errs less. A popped estimate keeps its place, so that the width bounds the number of
//! visits. Popped duplicates keep their places too, because a record that many others lead to is
//! settled, but they fill at most two thirds of the queue ([`REPEATED_SHARE`]): in groups whose
//! members all lead to each other they would fill it otherwise.
//!
//! Only the nearest few estimates are in order, because a search pushes many and pops few. For the
//! others a bound suffices that the queue's worst does not exceed; it is found anew when half as
//! many estimates as the queue is wide have come. Membership in the nearest `width` is decided when
//! an estimate is popped, because all nearer ones were popped before.

use crate::error::Result;
use crate::fallible::Room;
use crate::hnsw::tuning::search::REPEATED_SHARE;
use crate::storage::{Link, NodeRef};

/// Number of estimates that are in order: about as many as a few visits push.
const HEAD: usize = 32;

/// An estimate and its record in one word, which orders as the estimate does: 24 bits of the
/// distance, which err far less than the estimate; then the generation (8 bits) and the record
/// (32).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Estimate(u64);

impl Estimate {
    /// An estimate of a record. A distance that is not a number comes first, so that the record is
    /// visited rather than lost.
    #[inline]
    pub fn new(distance: f32, link: Link) -> Estimate {
        let key = u64::from(key(distance) | u32::from(link.generation));
        Estimate(key << 32 | u64::from(link.node.0))
    }

    /// The record.
    #[inline]
    pub fn link(self) -> Link {
        Link {
            node: NodeRef(self.0 as u32),
            generation: (self.0 >> 32) as u8,
        }
    }

    /// The part that orders estimates.
    #[inline]
    fn key(self) -> u32 {
        (self.0 >> 32) as u32 & KEY
    }

    /// A key that orders by record, and the estimates of one record by distance.
    pub fn by_record(self) -> u64 {
        self.0.rotate_left(32)
    }
}

/// The bits of an estimate that belong to its distance.
const KEY: u32 = !0xff;

/// The key of a distance; keys order as distances do.
#[inline]
fn key(distance: f32) -> u32 {
    let bits = distance.to_bits();
    let ordered = if bits >> 31 == 1 { !bits } else { bits | 1 << 31 };
    if distance.is_nan() { 0 } else { ordered & KEY }
}

/// The distance nearest to zero that has this key; not a number for the key of one that is none.
fn distance(key: u32) -> f32 {
    f32::from_bits(match key {
        0 => f32::NAN.to_bits(),
        _ if key >> 31 == 1 => key & !(1 << 31),
        _ => !(key | !KEY),
    })
}

/// Number of estimates at which a queue that has `count` useful ones drops the others.
fn half_more(count: usize) -> usize {
    count + (count / 2).max(HEAD / 2)
}

/// The smallest estimates of a search.
#[derive(Default)]
pub struct CandidateQueue {
    /// The smallest estimates that were not popped, the smallest last.
    head: Vec<Estimate>,
    /// The other estimates that were not popped, in no order.
    rest: Vec<Estimate>,
    /// The keys of popped estimates, in no order except for the last one.
    popped: Vec<u32>,
    width: usize,
    /// Estimates at or above this distance are not among the nearest; not a number while any may
    /// be.
    bound: f32,
    /// The number of estimates at which the bound is found anew.
    shrink_at: usize,
    /// Whether any estimate was dropped or spilled.
    overflowed: bool,
    /// Number of popped estimates that were duplicates.
    repeated: usize,
    /// Estimates that left the queue without being popped, if they are kept.
    spilled: Option<Vec<Estimate>>,
    keys: Vec<u32>,
}

impl CandidateQueue {
    /// Empties the queue.
    pub fn start(&mut self, width: usize) {
        self.head.clear();
        self.rest.clear();
        self.popped.clear();
        self.width = width;
        self.bound = f32::NAN;
        self.shrink_at = half_more(width);
        self.overflowed = false;
        self.repeated = 0;
    }

    /// Drops the spilled estimates; the queue spills none from here on.
    pub fn reset(&mut self) {
        self.spilled = None;
    }

    /// Keeps every estimate from here on; returns the list for estimates that the queue cannot
    /// hold.
    pub fn keep(&mut self) -> &mut Vec<Estimate> {
        self.spilled.get_or_insert_default()
    }

    /// Whether estimates that the queue cannot hold are kept.
    #[inline]
    pub fn keeps(&self) -> bool {
        self.spilled.is_some()
    }

    /// Makes room for `more` estimates, and for popping all of them: neither takes memory
    /// afterwards.
    #[inline]
    pub fn room(&mut self, more: usize) -> Result<()> {
        let all = self.len() + more;
        // Some of the others may move to the head.
        let others = self.rest.len() + more + HEAD;
        let has_room = others <= self.rest.capacity()
            && all <= self.popped.capacity().min(self.keys.capacity())
            && self.spilled.is_none();
        if has_room { Ok(()) } else { self.make_room(all, others) }
    }

    #[inline(never)]
    fn make_room(&mut self, all: usize, others: usize) -> Result<()> {
        // Dropped estimates are spilled.
        self.spilled.as_mut().map_or(Ok(()), |spilled| spilled.room(others))?;
        self.rest.room(others - self.rest.len())?;
        self.popped.room(all.saturating_sub(self.popped.len()))?;
        self.keys.room(all.saturating_sub(self.keys.len()))
    }

    /// Takes all estimates that were kept and not popped.
    pub fn take(&mut self) -> Result<Vec<Estimate>> {
        let mut all = self.spilled.replace(Vec::new()).unwrap_or_default();
        all.room(self.head.len() + self.rest.len())?;
        all.append(&mut self.head);
        all.append(&mut self.rest);
        Ok(all)
    }

    /// Widens the queue by one.
    pub fn widen(&mut self) {
        self.width += 1;
        self.check_room();
        self.shrink_at = self.shrink_at.max(half_more(self.width));
    }

    /// Whether the queue had, or may have had, more estimates than it can hold.
    pub fn is_full(&self) -> bool {
        self.overflowed || self.len() >= self.width
    }

    fn len(&self) -> usize {
        self.head.len() + self.rest.len() + self.popped.len()
    }

    /// The bound below which an estimate is useful; not a number if any may be, or all are kept.
    #[inline]
    pub fn worst(&self) -> f32 {
        if self.keeps() { f32::NAN } else { self.bound }
    }

    /// Adds an estimate.
    #[inline]
    pub fn push(&mut self, estimate: Estimate) {
        match self.head.first() {
            Some(&farthest) if estimate < farthest => {
                let at = self.head.partition_point(|&other| other > estimate);
                self.head.insert(at, estimate);
                if self.head.len() > HEAD {
                    self.rest.push(farthest);
                    self.head.remove(0);
                }
            }
            _ => self.rest.push(estimate),
        }
        if self.len() >= self.shrink_at {
            self.shrink();
        }
    }

    /// Finds the bound, and drops or spills the estimates beyond it.
    #[inline(never)]
    fn shrink(&mut self) {
        self.keys.clear();
        self.keys.extend_from_slice(&self.popped);
        self.keys
            .extend(self.head.iter().chain(&self.rest).map(|estimate| estimate.key()));
        let (_, &mut worst, _) = self.keys.select_nth_unstable(self.width - 1);
        self.bound = distance(worst);
        self.popped.retain(|&key| key <= worst);
        let mut beyond = self.spilled.as_mut();
        self.overflowed = true;
        self.rest.retain(|&estimate| {
            let stays = estimate.key() <= worst;
            if let (false, Some(spilled)) = (stays, &mut beyond) {
                spilled.push(estimate);
            }
            stays
        });
        // Many estimates may be equal to the worst.
        self.shrink_at = half_more(self.len().max(self.width));
    }

    /// The smallest estimate that was not popped, if it is among the smallest `width` of all.
    #[inline]
    pub fn pop(&mut self) -> Option<Estimate> {
        if self.head.is_empty() {
            self.refill();
        }
        let key = self.head.last()?.key();
        if self.popped.len() >= self.width {
            // A duplicate may be smaller than estimates that were popped before.
            let nearer = self.popped.iter().filter(|&&popped| popped <= key).count();
            if nearer >= self.width {
                return None;
            }
        }
        self.popped.push(key);
        self.head.pop()
    }

    /// The estimates that are popped next unless smaller ones come, as far as they are in order.
    #[inline]
    pub fn next(&self, count: usize) -> impl Iterator<Item = Estimate> + '_ {
        self.head.iter().rev().take(count).copied()
    }

    fn refill(&mut self) {
        let others = self.rest.len().saturating_sub(HEAD);
        if others > 0 {
            self.rest.select_nth_unstable_by(others, |a, b| b.cmp(a));
        }
        self.head.extend(self.rest.drain(others..));
        self.head.sort_unstable_by(|a, b| b.cmp(a));
    }

    /// Tells the queue that the record popped last had been visited; nothing may have been pushed
    /// since.
    #[inline]
    pub fn note_repeated(&mut self) {
        let (part, of) = REPEATED_SHARE;
        if of * self.repeated < part * self.width {
            self.repeated += 1;
        } else {
            self.popped.pop();
            self.check_room();
        }
    }

    /// Removes the bound if there is room beyond it. While there is none, the estimates of the
    /// queue are below it.
    #[inline]
    fn check_room(&mut self) {
        if self.len() < self.width {
            self.bound = f32::NAN;
        }
    }

    /// Adds estimates to an empty queue.
    pub fn load(&mut self, estimates: Vec<Estimate>) {
        self.rest = estimates;
    }

    /// Bytes of memory in use.
    pub fn bytes(&self) -> usize {
        let spilled = self.spilled.as_ref().map_or(0, Vec::capacity);
        (self.head.capacity() + self.rest.capacity() + spilled) * size_of::<Estimate>()
            + (self.popped.capacity() + self.keys.capacity()) * size_of::<u32>()
    }
}

#[cfg(test)]
mod tests {
    use rand::rngs::SmallRng;
    use rand::{Rng, SeedableRng};

    use super::*;

    fn estimate(distance: f32, node: u32) -> Estimate {
        let link = Link {
            node: NodeRef(node),
            generation: (node % 251) as u8,
        };
        Estimate::new(distance, link)
    }

    #[test]
    fn an_estimate_orders_by_distance_and_keeps_its_record() {
        let distances = [
            f32::NAN,
            f32::NEG_INFINITY,
            f32::MIN,
            -1.0,
            -1e-38,
            0.0,
            1e-38,
            1.0,
            1.001,
            f32::MAX,
            f32::INFINITY,
        ];
        for pair in distances.windows(2) {
            assert!(estimate(pair[0], 7) < estimate(pair[1], 3), "{pair:?}");
        }
        for distance_of in distances.into_iter().skip(1) {
            let near = distance(key(distance_of));
            assert!(
                near == distance_of || (near - distance_of).abs() <= 1e-4 * distance_of.abs(),
                "{near}"
            );
        }
        assert!(distance(key(f32::NAN)).is_nan());
        let link = Link {
            node: NodeRef(0xfedc_ba98),
            generation: 255,
        };
        assert_eq!(Estimate::new(-3.5, link).link(), link);
    }

    /// The rule in its plainest form: all estimates in order, and the first not popped among
    /// `width`.
    struct Plain(Vec<(Estimate, bool)>, usize);

    impl Plain {
        fn push(&mut self, estimate: Estimate) {
            let at = self.0.partition_point(|(other, _)| *other < estimate);
            self.0.insert(at, (estimate, false));
        }

        fn pop(&mut self) -> Option<Estimate> {
            let (estimate, popped) = self.0.iter_mut().take(self.1).find(|(_, popped)| !popped)?;
            *popped = true;
            Some(*estimate)
        }
    }

    /// The estimates of a visit: ever fewer are near, as in a search.
    fn visit(random: &mut SmallRng, step: usize, mut push: impl FnMut(f32, u32)) {
        for lane in 0..random.random_range(0..33) {
            push(random.random::<f32>() * 1000.0 + step as f32, (step * 33 + lane) as u32);
        }
    }

    #[test]
    fn it_pops_what_is_nearest_among_as_many_as_it_is_wide() {
        let mut random = SmallRng::seed_from_u64(11);
        for width in [1, 2, 7, 40, 160, 400] {
            let mut queue = CandidateQueue::default();
            queue.start(width);
            let mut plain = Plain(Vec::new(), width);
            let mut ends = 0;
            for step in 0..400 + 4 * width {
                visit(&mut random, step, |distance, node| {
                    let estimate = estimate(distance, node);
                    plain.push(estimate);
                    if queue.worst().is_nan() || distance < queue.worst() {
                        queue.push(estimate);
                    }
                });
                let (popped, expected) = (queue.pop(), plain.pop());
                assert_eq!(popped.map(Estimate::key), expected.map(Estimate::key), "width {width}");
                ends += usize::from(expected.is_none());
            }
            assert!(ends > 0, "the search of width {width} never ended");
        }
    }

    /// Where duplicates leave and dead nodes widen the queue, dropped estimates do not come back,
    /// but new ones are not refused.
    #[test]
    fn while_there_is_room_nothing_is_refused() {
        let mut random = SmallRng::seed_from_u64(13);
        for width in [1, 2, 8, 40, 200] {
            let mut queue = CandidateQueue::default();
            queue.start(width);
            let (mut gone, mut ends) = (0, 0);
            for step in 0..400 + 8 * width {
                visit(&mut random, step, |distance, node| {
                    if queue.worst().is_nan() || distance < queue.worst() {
                        queue.push(estimate(distance, node));
                    }
                });
                let nearest = queue.head.iter().chain(&queue.rest).min().copied();
                let popped = queue.pop();
                if popped.is_none() {
                    ends += 1;
                    assert!(nearest.is_none() || queue.popped.len() >= queue.width);
                    continue;
                }
                assert_eq!(popped, nearest);
                if random.random_bool(0.85) {
                    let before = queue.popped.len();
                    queue.note_repeated();
                    gone += before - queue.popped.len();
                } else if queue.width < 2 * width {
                    queue.widen();
                }
                assert!(queue.bound.is_nan() || queue.len() >= queue.width, "width {width}");
            }
            assert!(gone > 0 || width <= 2, "width {width}: no repeated one went");
            assert!(ends > 0 || width == 200, "width {width}: the search never ended");
        }
    }

    #[test]
    fn nothing_is_lost_where_all_is_kept() {
        let mut random = SmallRng::seed_from_u64(12);
        let mut queue = CandidateQueue::default();
        queue.start(20);
        queue.keep();
        let mut popped = 0;
        for node in 0..1000 {
            assert!(queue.worst().is_nan());
            queue.push(estimate(random.random(), node));
            popped += usize::from(node % 30 == 0 && queue.pop().is_some());
        }
        assert_eq!(queue.take().unwrap().len() + popped, 1000);
        assert!(queue.keeps() && queue.take().unwrap().is_empty());
        queue.reset();
        assert!(!queue.keeps());
    }

    #[test]
    fn repeated_ones_count_up_to_two_thirds_of_the_width() {
        let mut queue = CandidateQueue::default();
        queue.start(6);
        let pop = |queue: &mut CandidateQueue, distance: f32| {
            queue.push(estimate(distance, 1));
            queue.pop().is_some()
        };
        for i in 0..8 {
            assert!(pop(&mut queue, i as f32));
            queue.note_repeated();
        }
        assert!(!queue.is_full(), "four of eight count");
        assert!(pop(&mut queue, 8.0) && pop(&mut queue, 9.0));
        assert!(queue.is_full() && !pop(&mut queue, 10.0));
        queue.widen();
        assert!(queue.pop().is_some());
    }
}
