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
//!
//! The queue of a search that goes on in rounds has no bound and keeps all estimates from one round
//! to the next, in tiers ([`EstimateTiers`]). The width bounds the visits of a round; duplicates do
//! not count, because few are left.

use super::estimate::{Estimate, distance};
use super::estimate_tiers::EstimateTiers;
use super::visited_set::VisitedSet;
use crate::error::Result;
use crate::fallible::Room;
use crate::hnsw::tuning::search::REPEATED_SHARE;

/// Number of estimates that are in order: about as many as a few visits push.
const HEAD: usize = 32;

/// Number of estimates at which a queue that has `count` useful ones drops the others.
fn half_more(count: usize) -> usize {
    count + (count / 2).max(HEAD / 2)
}

/// The smallest estimates of a search.
#[derive(Default)]
pub struct CandidateQueue {
    /// The smallest estimates that were not popped, the smallest last. It outlasts a round if all
    /// are kept.
    head: Vec<Estimate>,
    /// The other estimates that were not popped, in no order.
    rest: Vec<Estimate>,
    /// The keys of popped estimates, in no order except for the last one.
    popped: Vec<u32>,
    width: usize,
    /// Estimates at or above this distance are not among the nearest; not a number while any may
    /// be.
    bound: f32,
    /// The number of estimates at which the bound is found anew, if the queue has one.
    shrink_at: usize,
    /// Whether any estimate was dropped.
    overflowed: bool,
    /// Number of popped estimates that were duplicates.
    repeated: usize,
    /// All estimates that were not popped and are not in order, in a queue that keeps all.
    kept: Option<EstimateTiers>,
    keys: Vec<u32>,
}

impl CandidateQueue {
    /// Begins a search or a round. Estimates are forgotten unless the queue keeps all.
    pub fn start(&mut self, width: usize) {
        if !self.keeps() {
            self.head.clear();
        }
        self.rest.clear();
        self.popped.clear();
        self.width = width;
        self.bound = f32::NAN;
        self.shrink_at = if self.keeps() { usize::MAX } else { half_more(width) };
        self.overflowed = false;
        self.repeated = 0;
    }

    /// Forgets all estimates; the queue keeps those of a search within its bound from here on.
    pub fn reset(&mut self) {
        self.head.clear();
        self.kept = None;
    }

    /// Keeps every estimate from here on.
    pub fn keep(&mut self) -> Result<()> {
        let mut kept = EstimateTiers::new()?;
        kept.room(self.rest.len())?;
        self.head.retain(|&estimate| kept.note(estimate));
        self.rest.retain(|&estimate| kept.note(estimate));
        self.rest.drain(..).for_each(|estimate| kept.push(estimate));
        self.kept = Some(kept);
        self.shrink_at = usize::MAX;
        Ok(())
    }

    /// Whether the queue keeps every estimate.
    #[inline]
    pub fn keeps(&self) -> bool {
        self.kept.is_some()
    }

    /// Makes room for `more` estimates, which take no memory afterwards.
    #[inline]
    pub fn room(&mut self, more: usize) -> Result<()> {
        if let Some(kept) = &mut self.kept {
            return kept.room(more);
        }
        let all = self.len() + more;
        // Some of the others may move to the head.
        let others = self.rest.len() + more + HEAD;
        let has_room = others <= self.rest.capacity() && all <= self.popped.capacity().min(self.keys.capacity());
        if has_room { Ok(()) } else { self.make_room(all, others) }
    }

    #[inline(never)]
    fn make_room(&mut self, all: usize, others: usize) -> Result<()> {
        self.rest.room(others - self.rest.len())?;
        self.popped.room(all.saturating_sub(self.popped.len()))?;
        self.keys.room(all.saturating_sub(self.keys.len()))
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

    /// Adds an estimate, unless its record was visited. A queue that keeps all takes only an
    /// estimate that is smaller than all others of its record so far.
    #[inline(always)]
    pub fn offer(&mut self, estimate: Estimate, visited: &VisitedSet) {
        if self.keeps() {
            self.offer_kept(estimate, visited);
        } else if !visited.contains(estimate.link().node) {
            self.push(estimate);
        }
    }

    /// Of a queue within its bound.
    #[inline(always)]
    fn push(&mut self, estimate: Estimate) {
        if let Some(other) = self.put_in_order(estimate) {
            self.rest.push(other);
        }
        if self.len() >= self.shrink_at {
            self.shrink();
        }
    }

    #[inline(never)]
    fn offer_kept(&mut self, estimate: Estimate, visited: &VisitedSet) {
        let is_wanted = self.kept.as_mut().is_some_and(|kept| kept.note(estimate));
        if is_wanted
            && !visited.contains(estimate.link().node)
            && let Some(other) = self.put_in_order(estimate)
            && let Some(kept) = &mut self.kept
        {
            kept.push(other);
        }
    }

    /// Puts an estimate into the head if it is smaller than one there; returns the estimate that
    /// has no place in the head.
    #[inline]
    fn put_in_order(&mut self, estimate: Estimate) -> Option<Estimate> {
        let Some(&farthest) = self.head.first().filter(|&&farthest| estimate < farthest) else {
            return Some(estimate);
        };
        let at = self.head.partition_point(|&other| other > estimate);
        if self.head.len() < HEAD {
            self.head.insert(at, estimate);
            return None;
        }
        self.head.copy_within(1..at, 0);
        self.head[at - 1] = estimate;
        Some(farthest)
    }

    /// Finds the bound, and drops the estimates beyond it.
    #[inline(never)]
    fn shrink(&mut self) {
        self.keys.clear();
        self.keys.extend_from_slice(&self.popped);
        self.keys
            .extend(self.head.iter().chain(&self.rest).map(|estimate| estimate.key()));
        let (_, &mut worst, _) = self.keys.select_nth_unstable(self.width - 1);
        self.bound = distance(worst);
        self.popped.retain(|&key| key <= worst);
        self.overflowed = true;
        self.rest.retain(|estimate| estimate.key() <= worst);
        // Many estimates may be equal to the worst.
        self.shrink_at = half_more(self.len().max(self.width));
    }

    /// The smallest estimate that was not popped, if it is among the smallest `width` of all.
    #[inline]
    pub fn pop(&mut self, visited: &VisitedSet) -> Result<Option<Estimate>> {
        if self.head.is_empty() {
            self.refill(visited)?;
        }
        let Some(&next) = self.head.last() else {
            return Ok(None);
        };
        if self.popped.len() >= self.width && self.is_beyond(next) {
            return Ok(None);
        }
        if self.popped.len() == self.popped.capacity() {
            self.popped.room(1)?;
        }
        self.popped.push(next.key());
        self.head.pop();
        Ok(Some(next))
    }

    /// Whether `width` estimates that were popped are smaller. Fewer may be, because a duplicate
    /// may be smaller than estimates that were popped before.
    #[inline(never)]
    fn is_beyond(&self, next: Estimate) -> bool {
        let key = next.key();
        self.popped.iter().filter(|&&popped| popped <= key).count() >= self.width
    }

    /// The smallest estimate, in a queue that keeps all, of a record that was not visited.
    pub fn nearest(&mut self, visited: &VisitedSet) -> Result<Option<Estimate>> {
        loop {
            if self.head.is_empty() {
                self.refill(visited)?;
            }
            match self.head.last() {
                Some(next) if visited.contains(next.link().node) => _ = self.head.pop(),
                next => return Ok(next.copied()),
            }
        }
    }

    /// Number of estimates that may still be popped, as far as it is known.
    #[inline]
    pub fn remaining(&self) -> usize {
        self.width.saturating_sub(self.popped.len())
    }

    /// The estimates that are popped next unless smaller ones come, as far as they are in order.
    #[inline]
    pub fn next(&self, count: usize) -> impl Iterator<Item = Estimate> + '_ {
        self.head.iter().rev().take(count).copied()
    }

    #[inline(never)]
    fn refill(&mut self, visited: &VisitedSet) -> Result<()> {
        if let Some(kept) = &mut self.kept {
            return kept.take(&mut self.head, HEAD, visited);
        }
        let others = self.rest.len().saturating_sub(HEAD);
        if others > 0 {
            self.rest.select_nth_unstable_by(others, |a, b| b.cmp(a));
        }
        self.head.extend(self.rest.drain(others..));
        self.head.sort_unstable_by(|a, b| b.cmp(a));
        Ok(())
    }

    /// Tells the queue that the record popped last had been visited; nothing may have been pushed
    /// since. A queue that keeps all counts none.
    #[inline]
    pub fn note_repeated(&mut self) {
        let (part, of) = REPEATED_SHARE;
        if of * self.repeated < part * self.width && !self.keeps() {
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

    /// Bytes of memory in use.
    pub fn bytes(&self) -> usize {
        self.kept.as_ref().map_or(0, EstimateTiers::bytes)
            + (self.head.capacity() + self.rest.capacity()) * size_of::<Estimate>()
            + (self.popped.capacity() + self.keys.capacity()) * size_of::<u32>()
    }
}

#[cfg(test)]
mod tests {
    use rand::rngs::SmallRng;
    use rand::{Rng, SeedableRng};

    use super::*;
    use crate::storage::{Link, NodeRef};

    fn estimate(distance: f32, node: u32) -> Estimate {
        let link = Link {
            node: NodeRef(node),
            generation: (node % 251) as u8,
        };
        Estimate::new(distance, link)
    }

    fn pop(queue: &mut CandidateQueue) -> Option<Estimate> {
        queue.pop(&VisitedSet::new()).unwrap()
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
        for (width, keeps) in [1, 2, 7, 40, 160, 400]
            .into_iter()
            .flat_map(|width| [(width, false), (width, true)])
        {
            let (mut queue, none) = (CandidateQueue::default(), VisitedSet::new());
            queue.start(width);
            if keeps {
                queue.keep().unwrap();
            }
            let mut plain = Plain(Vec::new(), width);
            let mut ends = 0;
            for step in 0..400 + 4 * width {
                queue.room(33).unwrap();
                visit(&mut random, step, |distance, node| {
                    let estimate = estimate(distance, node);
                    plain.push(estimate);
                    if queue.worst().is_nan() || distance < queue.worst() {
                        queue.offer(estimate, &none);
                    }
                });
                let (popped, expected) = (pop(&mut queue), plain.pop());
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
                let popped = pop(&mut queue);
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
    fn nothing_but_larger_estimates_is_lost_where_all_is_kept() {
        let mut random = SmallRng::seed_from_u64(12);
        let mut queue = CandidateQueue::default();
        queue.start(20);
        let mut visited = VisitedSet::new();
        let mut popped = Vec::new();
        for node in 0..1000 {
            if node == 30 {
                queue.keep().unwrap();
            }
            queue.room(1).unwrap();
            assert!(queue.worst().is_nan());
            let new = estimate(random.random(), node);
            queue.offer(new, &visited);
            if queue.keeps() {
                queue.offer(new, &visited); // It is not smaller than the one before.
            }
            if node % 30 == 0 {
                popped.extend(pop(&mut queue));
            }
        }
        queue.start(1000);
        let nearest = queue.nearest(&visited).unwrap().unwrap();
        visited.insert(nearest.link().node).unwrap();
        assert!(queue.nearest(&visited).unwrap() > Some(nearest));
        let rest: Vec<_> = std::iter::from_fn(|| queue.pop(&visited).unwrap()).collect();
        assert!(rest.is_sorted() && rest.len() + popped.len() == 999);
        assert_eq!(queue.nearest(&visited), Ok(None));
        assert!(queue.keeps());
        queue.reset();
        assert!(!queue.keeps());
    }

    #[test]
    fn repeated_ones_count_up_to_two_thirds_of_the_width() {
        let mut queue = CandidateQueue::default();
        queue.start(6);
        let push_and_pop = |queue: &mut CandidateQueue, distance: f32| {
            queue.push(estimate(distance, 1));
            pop(queue).is_some()
        };
        for i in 0..8 {
            assert!(push_and_pop(&mut queue, i as f32));
            queue.note_repeated();
        }
        assert!(!queue.is_full(), "four of eight count");
        assert!(push_and_pop(&mut queue, 8.0) && push_and_pop(&mut queue, 9.0));
        assert!(queue.is_full() && !push_and_pop(&mut queue, 10.0));
        queue.widen();
        assert!(pop(&mut queue).is_some());
    }
}
