//! The lanes of a record that get a new link, chosen on the record's own page.
//!
//! An empty lane is taken first, then that of the farthest fill. Where all lanes hold survivors they choose again, and one has to go:
//! distances between two neighbours are estimated from their codes (`quantize::code::cosine`), so that no other page is read, and
//! the choice can be made under the page's lock.

use crate::quantize::code::{self, Factors, WORD_BITS};
use crate::storage::record::{Code, RecordMut};
use crate::storage::{Edit, Link};

/// Memory for choosing, reused.
#[derive(Default)]
pub(super) struct Memory {
    /// The cosine that belongs to each number of different bits, of codes of one length.
    cosines: Vec<f32>,
    words: Vec<u32>,
    /// Lanes by length: the lane (that of the new link is the number of lanes), its length.
    order: Vec<(usize, f32)>,
    kept: Vec<(usize, f32)>,
}

impl Memory {
    /// For codes of this length.
    fn prepare(&mut self, bits: usize) {
        if self.cosines.len() != bits + 1 {
            self.cosines = (0..=bits as u32).map(|hamming| code::cosine(hamming, bits)).collect();
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

/// Adds a survivor if there is a lane without one; says whether the link is there.
pub(super) fn add_if_room(record: &mut RecordMut<'_>, link: Link, code: Code<'_>) -> Edit<bool> {
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

/// Adds a survivor; where there is no room it replaces the last link.
pub(super) fn add_or_replace_last(record: &mut RecordMut<'_>, link: Link, code: Code<'_>) {
    if let Edit::Unchanged(false) = add_if_room(record, link, code) {
        let last = record.view().link_count() - 1;
        record.put_link(last, link, code, false);
    }
}

/// Adds a fill if there is an empty lane, or a fill farther away to replace; says whether the link is there.
pub(super) fn fill(record: &mut RecordMut<'_>, link: Link, code: Code<'_>) -> Edit<bool> {
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

/// Adds a link to a record of a coded index, whose lanes choose again if all have survivors; says whether the link is there.
pub(super) fn add(memory: &mut Memory, record: &mut RecordMut<'_>, link: Link, code: Code<'_>) -> Edit<bool> {
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

/// Empties the lanes of dead links, and lets candidates (with codes of them as neighbours of the record) and fills take their place by the
/// heuristic, the nearest first, by distances estimated from codes: as survivors, up to `limit`, or as fills where lanes are left. What survived before
/// stays. Returns which of the candidates survived.
pub(super) fn mend(
    memory: &mut Memory,
    record: &mut RecordMut<'_>,
    is_dead: impl Fn(Link) -> bool,
    candidates: &[(Link, Code<'_>)],
    limit: usize,
) -> Vec<usize> {
    let each = record.code_words();
    let bits = each * WORD_BITS;
    let mut scratch = vec![0; each];
    let mut lane = 0;
    while lane < record.view().link_count() {
        if is_dead(record.view().link(lane)) {
            record.remove_link(lane, &mut scratch);
        } else {
            lane += 1;
        }
    }
    memory.prepare(bits);
    let Memory {
        cosines, words, kept, ..
    } = memory;
    // Survivors by their place in `words`, with their lengths.
    kept.clear();
    words.clear();
    let keep = |words: &mut Vec<u32>, kept: &mut Vec<(usize, f32)>, code: &[u32], length: f32| {
        kept.push((kept.len(), length));
        words.extend_from_slice(code);
    };
    let view = record.view();
    let mut open: Vec<(f32, Option<usize>, Link)> = Vec::new();
    for lane in 0..view.link_count() {
        if view.is_fill(lane) {
            open.push((view.length(lane), None, view.link(lane)));
        } else {
            let length = view.read_code(lane, &mut scratch).length.to_f32();
            keep(words, kept, &scratch, length);
        }
    }
    let lengths = candidates.iter().map(|(_, code)| code.factors.length.to_f32());
    open.extend(
        lengths
            .zip(candidates)
            .enumerate()
            .map(|(i, (length, (link, _)))| (length, Some(i), *link)),
    );
    open.sort_by(|a, b| a.0.total_cmp(&b.0));
    let mut survived = Vec::new();
    for (length, candidate, link) in open {
        let lane = lane_of(record, link);
        let code: &[u32] = match (candidate, lane) {
            (Some(i), _) => candidates[i].1.words,
            (None, Some(lane)) => {
                record.view().read_code(lane, &mut scratch);
                &scratch
            }
            (None, None) => continue, // A candidate took its lane.
        };
        let is_nearer = |&(i, other): &(usize, f32)| {
            let hamming = code::hamming(code, &words[i * each..(i + 1) * each]);
            code::between(length, other, cosines[hamming as usize]) < length * length
        };
        if kept.len() >= limit || kept.iter().any(is_nearer) {
            if let (Some(i), None) = (candidate, lane) {
                record.push_link(link, candidates[i].1, true);
            }
            continue;
        }
        let linked = match lane {
            Some(lane) => {
                record.set_fill(lane, false);
                true
            }
            None => {
                candidate.is_some_and(|i| matches!(add_if_room(record, link, candidates[i].1), Edit::Changed(true)))
            }
        };
        if linked {
            keep(words, kept, code, length);
            survived.extend(candidate);
        }
    }
    survived
}

/// The lane that the record can best do without, the number of lanes meaning the new link: the one that is nearest to a survivor
/// of the heuristic, compared with its distance to the record, since estimates that are off do not change that; or the farthest,
/// if all survive.
fn most_dispensable(memory: &mut Memory, record: &RecordMut<'_>, new: Code<'_>) -> usize {
    let (view, each) = (record.view(), new.words.len());
    memory.prepare(each * WORD_BITS);
    let Memory {
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
    let mut least = (lanes, f32::INFINITY);
    for &(lane, length) in order.iter() {
        let mut nearest = f32::INFINITY;
        for &(other, other_length) in kept.iter() {
            let cosine = cosines[code::hamming(word(lane), word(other)) as usize];
            let distance = code::between(length, other_length, cosine);
            nearest = if distance < nearest { distance } else { nearest };
        }
        let own = (length * length).max(f32::MIN_POSITIVE);
        if nearest >= own {
            kept.push((lane, length));
        } else if nearest / own < least.1 {
            least = (lane, nearest / own);
        }
    }
    match kept.last() {
        Some(&(farthest, _)) if least.1 == f32::INFINITY => farthest,
        _ => least.0,
    }
}
