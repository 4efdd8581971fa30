//! The choice of the lane for a new link, on the record's own page.
//!
//! An empty lane comes first, then the lane of the farthest fill. If all lanes hold survivors, one
//! of these or the new link has to go: distances between two neighbors are estimated from their
//! codes (`quantize::rabitq::cosine`), so that no other page is read and the choice can be made
//! under the page's lock.

use crate::quantize::rabitq::{self, Factors, WORD_BITS};
use crate::storage::record::{Code, RecordMut};
use crate::storage::{Edit, Link};

/// Memory of choices, reused.
#[derive(Default)]
pub(in crate::hnsw) struct LaneScratch {
    /// The cosine for each number of different bits between codes of one length.
    cosines: Vec<f32>,
    words: Vec<u32>,
    /// Lanes by length: the lane (the number of lanes for the new link) and its length.
    order: Vec<(usize, f32)>,
    kept: Vec<(usize, f32)>,
}

impl LaneScratch {
    /// Prepares the cosines for codes of this length.
    fn prepare(&mut self, bits: usize) {
        if self.cosines.len() != bits + 1 {
            self.cosines = (0..=bits as u32).map(|hamming| rabitq::cosine(hamming, bits)).collect();
        }
    }
}

/// The lane of the farthest fill, and its length.
fn farthest_fill(record: &RecordMut<'_>) -> Option<(usize, f32)> {
    let view = record.view();
    let fills = (0..view.link_count()).filter(|&i| view.is_fill(i));
    fills.map(|i| (i, view.length(i))).max_by(|a, b| a.1.total_cmp(&b.1))
}

/// The lane of a link.
fn lane_of(record: &RecordMut<'_>, link: Link) -> Option<usize> {
    record.view().links().position(|other| other == link)
}

/// Adds a survivor if a lane holds none; says whether the record has the link.
pub(in crate::hnsw) fn add_if_room(record: &mut RecordMut<'_>, link: Link, code: Code<'_>) -> Edit<bool> {
    if let Some(lane) = lane_of(record, link) {
        if record.view().is_fill(lane) {
            record.set_fill(lane, false);
            return Edit::Changed(true);
        }
        return Edit::Unchanged(true);
    }
    if record.push_link(link, code, false) {
        return Edit::Changed(true);
    }
    match farthest_fill(record) {
        Some((lane, _)) => {
            record.put_link(lane, link, code, false);
            Edit::Changed(true)
        }
        None => Edit::Unchanged(false),
    }
}

/// Adds a survivor; without room it replaces the last link.
pub(in crate::hnsw) fn add_or_replace_last(record: &mut RecordMut<'_>, link: Link, code: Code<'_>) {
    if let Edit::Unchanged(false) = add_if_room(record, link, code) {
        let last = record.view().link_count() - 1;
        record.put_link(last, link, code, false);
    }
}

/// Adds a fill to an empty lane, or in place of a fill farther away; says whether the record has
/// the link.
pub(in crate::hnsw) fn fill(record: &mut RecordMut<'_>, link: Link, code: Code<'_>) -> Edit<bool> {
    if lane_of(record, link).is_some() {
        return Edit::Unchanged(true);
    }
    if record.push_link(link, code, true) {
        return Edit::Changed(true);
    }
    match farthest_fill(record) {
        Some((lane, length)) if code.factors.length.to_f32() < length => {
            record.put_link(lane, link, code, true);
            Edit::Changed(true)
        }
        _ => Edit::Unchanged(false),
    }
}

/// Adds a link to a record of a coded index; if all lanes hold survivors, the most dispensable link
/// goes. Says whether the record has the link.
pub(in crate::hnsw) fn add(
    memory: &mut LaneScratch,
    record: &mut RecordMut<'_>,
    link: Link,
    code: Code<'_>,
) -> Edit<bool> {
    match add_if_room(record, link, code) {
        Edit::Unchanged(false) => {}
        added => return added,
    }
    let lanes = record.view().link_count();
    match most_dispensable(memory, record, code) {
        lane if lane < lanes => {
            record.put_link(lane, link, code, false);
            Edit::Changed(true)
        }
        _ => Edit::Unchanged(false),
    }
}

/// Empties the lanes of links that `stays` refuses, for `new` ones. `stays` gets a link and whether
/// it is a fill, and returns whether it is to be a fill, or none to refuse it. Links that stay keep
/// their lanes, unless lanes are left over, because unchanged bytes are not logged.
pub(in crate::hnsw) fn replace<'a>(
    record: &mut RecordMut<'_>,
    stays: impl Fn(Link, bool) -> Option<bool>,
    mut new: impl Iterator<Item = (Link, Code<'a>, bool)>,
) {
    let mut scratch = vec![0; record.code_words()];
    let mut lane = 0;
    while lane < record.view().link_count() {
        let link = record.view().link(lane);
        match stays(link, record.view().is_fill(lane)) {
            Some(fill) => record.set_fill(lane, fill),
            None => match new.next() {
                Some((link, code, fill)) => record.put_link(lane, link, code, fill),
                None => {
                    record.remove_link(lane, &mut scratch);
                    continue; // The last link is there now.
                }
            },
        }
        lane += 1;
    }
    for (link, code, fill) in new {
        record.push_link(link, code, fill);
    }
}

/// The lane that the record can best do without; the number of lanes stands for the new link. It is
/// the lane nearest to a survivor of the heuristic in proportion to its distance to the record, an
/// order that a common error of the estimates does not change; or the farthest lane, if all
/// survive.
fn most_dispensable(memory: &mut LaneScratch, record: &RecordMut<'_>, new: Code<'_>) -> usize {
    let (view, each) = (record.view(), new.words.len());
    memory.prepare(each * WORD_BITS);
    let LaneScratch {
        cosines,
        words,
        order,
        kept,
    } = memory;
    let lanes = view.link_count();
    words.resize((lanes + 1) * each, 0);
    order.clear();
    for lane in 0..lanes {
        let Factors { length, .. } = view.read_code(lane, &mut words[lane * each..(lane + 1) * each]);
        order.push((lane, length.to_f32()));
    }
    words[lanes * each..].copy_from_slice(new.words);
    order.push((lanes, new.factors.length.to_f32()));
    order.sort_by(|a, b| a.1.total_cmp(&b.1));
    kept.clear();
    let word = |lane: usize| &words[lane * each..(lane + 1) * each];
    let mut least = (lanes, f64::INFINITY);
    for &(lane, length) in order.iter() {
        let mut nearest = f64::INFINITY;
        for &(other, other_length) in kept.iter() {
            let cosine = cosines[rabitq::hamming(word(lane), word(other)) as usize];
            let distance = rabitq::between(length, other_length, cosine);
            nearest = if distance < nearest { distance } else { nearest };
        }
        let own = f64::from(length).powi(2).max(f64::MIN_POSITIVE);
        if nearest >= own {
            kept.push((lane, length));
        } else if nearest / own < least.1 {
            least = (lane, nearest / own);
        }
    }
    match kept.last() {
        Some(&(farthest, _)) if least.1 == f64::INFINITY => farthest,
        _ => least.0,
    }
}
