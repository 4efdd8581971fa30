//! The queue of a coded search: the nearest of what codes tell of, as many as the search is wide, visited or still to be.
//!
//! One record may be in it several times, estimated from several neighbours: the least estimate counts, since whoever pops it looks
//! whether it was visited since (measured better than to look when it is pushed). What was popped stays, so that the queue's width bounds
//! how many a search visits. That holds for repeated ones too, since what many lead to is settled (measured), but
//! they get no more than two thirds of the queue (measured; half of it costs visits): where vectors come in groups whose members all lead to each other, little else would be in it.
//!
//! A search pushes many estimates and pops few, so only the nearest few are kept in order. Of the others it is enough to know
//! a bound that the queue's worst is not beyond; it is found anew when half as many as the queue is wide have come. Whether
//! what is popped is among the `width` nearest is decided when it is popped: all that is nearer was popped before.

use crate::error::Result;
use crate::fallible::Room;
use crate::hnsw::tuning::search::REPEATED_SHARE;
use crate::storage::{Link, NodeRef};

/// Estimates that are kept in order: a few visits' worth.
const HEAD: usize = 32;

/// An estimated record in one word, which orders as the estimate does: in 24 bits of it, which err far less than it does itself. Then come the
/// generation (8 bits) and the record (32).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Estimate(u64);

impl Estimate {
    /// A record to be visited; what is not a number comes first, so that it is visited rather than lost.
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

    /// What the estimate orders by.
    #[inline]
    fn key(self) -> u32 {
        (self.0 >> 32) as u32 & KEY
    }

    /// Orders by record, and the estimates of a record by distance.
    pub fn by_record(self) -> u64 {
        self.0.rotate_left(32)
    }
}

/// The bits of an estimate that count.
const KEY: u32 = !0xff;

/// Orders as the distance does.
#[inline]
fn key(distance: f32) -> u32 {
    let bits = distance.to_bits();
    let ordered = if bits >> 31 == 1 { !bits } else { bits | 1 << 31 };
    if distance.is_nan() { 0 } else { ordered & KEY }
}

/// The distance of a key that is nearest to zero; not a number for that of what is none.
fn distance(key: u32) -> f32 {
    f32::from_bits(match key {
        0 => f32::NAN.to_bits(),
        _ if key >> 31 == 1 => key & !(1 << 31),
        _ => !(key | !KEY),
    })
}

/// How many come before it is worth while to sort out those that are of no use.
fn half_more(count: usize) -> usize {
    count + (count / 2).max(HEAD / 2)
}

/// The nearest estimates.
#[derive(Default)]
pub struct CandidateQueue {
    /// The nearest of those not popped yet, nearest last.
    head: Vec<Estimate>,
    /// The others, in no order.
    rest: Vec<Estimate>,
    /// The keys of those popped, in no order but for the last one.
    popped: Vec<u32>,
    width: usize,
    /// What is at or above it is not among the nearest; not a number while that may be anything.
    bound: f32,
    /// The number of estimates at which the bound is found anew.
    shrink_at: usize,
    /// Whether any was let go.
    overflowed: bool,
    /// Popped ones that turned out to be repeated.
    repeated: usize,
    /// What fell out of the queue without being popped, if it is kept.
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

    /// Forgets what was spilled, and spills nothing from here on.
    pub fn reset(&mut self) {
        self.spilled = None;
    }

    /// From here on nothing is lost: says where to put what the queue cannot hold.
    pub fn keep(&mut self) -> &mut Vec<Estimate> {
        self.spilled.get_or_insert_default()
    }

    /// Whether nothing is lost.
    #[inline]
    pub fn keeps(&self) -> bool {
        self.spilled.is_some()
    }

    /// Makes room for so many estimates, and for all that there are then to be popped: none of these takes memory.
    #[inline]
    pub fn room(&mut self, more: usize) -> Result<()> {
        let all = self.len() + more;
        // A few of the others may be in order.
        let others = self.rest.len() + more + HEAD;
        let has_room = others <= self.rest.capacity()
            && all <= self.popped.capacity().min(self.keys.capacity())
            && self.spilled.is_none();
        if has_room { Ok(()) } else { self.make_room(all, others) }
    }

    #[inline(never)]
    fn make_room(&mut self, all: usize, others: usize) -> Result<()> {
        // What is let go is spilled.
        self.spilled.as_mut().map_or(Ok(()), |spilled| spilled.room(others))?;
        self.rest.room(others - self.rest.len())?;
        self.popped.room(all.saturating_sub(self.popped.len()))?;
        self.keys.room(all.saturating_sub(self.keys.len()))
    }

    /// Takes all that was kept and is not popped.
    pub fn take(&mut self) -> Result<Vec<Estimate>> {
        let mut all = self.spilled.replace(Vec::new()).unwrap_or_default();
        all.room(self.head.len() + self.rest.len())?;
        all.append(&mut self.head);
        all.append(&mut self.rest);
        Ok(all)
    }

    /// Makes room for one more.
    pub fn widen(&mut self) {
        self.width += 1;
        self.check_room();
        self.shrink_at = self.shrink_at.max(half_more(self.width));
    }

    /// Whether there was more than the queue can hold, or may have been.
    pub fn is_full(&self) -> bool {
        self.overflowed || self.len() >= self.width
    }

    fn len(&self) -> usize {
        self.head.len() + self.rest.len() + self.popped.len()
    }

    /// What an estimate has to be below to be of use; not a number if any may be, or is to be spilled.
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

    /// Finds the bound, and lets go of what is beyond it.
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
        // Many may be as far as the worst.
        self.shrink_at = half_more(self.len().max(self.width));
    }

    /// The nearest estimate that was not popped before, if it is among as many as the queue is wide.
    #[inline]
    pub fn pop(&mut self) -> Option<Estimate> {
        if self.head.is_empty() {
            self.refill();
        }
        let key = self.head.last()?.key();
        if self.popped.len() >= self.width {
            // Repeated estimates may come nearer than what was popped before.
            let nearer = self.popped.iter().filter(|&&popped| popped <= key).count();
            if nearer >= self.width {
                return None;
            }
        }
        self.popped.push(key);
        self.head.pop()
    }

    /// Those that are popped next, if nothing nearer comes, as far as they are in order.
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

    /// Says that what was popped last, with nothing pushed since, had been visited before.
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

    /// Takes the bound away if there is room for what is beyond it. As long as there is none, what is in the queue is below it.
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

    /// The rule in its plainest form: all estimates in order, and the nearest that is not popped among the first `width`.
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

    /// What a visit tells of: ever fewer are near, as in a search.
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

    /// Where repeated ones go and dead ones make room, what was let go before does not come back, but what comes is not refused.
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
