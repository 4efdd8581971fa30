//! Checks of links, and of the codes of neighbors.

use super::{Seen, Severity, readable};
use crate::distance::{self, Metric};
use crate::error::Result;
use crate::hnsw::Graph;
use crate::hnsw::space::Point;
use crate::quantize::rabitq::{Factors, WORD_BITS};
use crate::storage::record::{Record, State};
use crate::storage::{Link, PageStore};

/// Tolerance of coordinates, relative to the largest one: processors with other instructions rotate
/// vectors slightly differently.
const ROUNDING: f32 = 1e-5;

/// Tolerance of factors, relative to their terms: a few steps of bfloat16.
const FACTOR_ROUNDING: f32 = 1.0 / 64.0;

/// Checks the links of a record with a readable vector, and their codes.
pub(super) fn check<S: PageStore>(
    graph: &Graph<'_, S>,
    at: Link,
    record: &Record<'_>,
    seen: &mut Seen,
    found: &mut impl FnMut(Severity, &str),
) -> Result<()> {
    for i in 0..record.link_count() {
        let link = record.link(i);
        if link.node == at.node {
            found(Severity::Corruption, "the record links to itself");
        } else if !graph.is_node_block(link.node) {
            found(
                Severity::Corruption,
                "a link leads to a page that does not hold records",
            );
        } else if (0..i).any(|j| record.link(j) == link) {
            found(Severity::Corruption, "the record has two links to the same record");
        } else {
            check_link(graph, record, i, seen, found)?;
        }
        graph.store.check_interrupts();
    }
    Ok(())
}

fn check_link<S: PageStore>(
    graph: &Graph<'_, S>,
    record: &Record<'_>,
    i: usize,
    seen: &mut Seen,
    found: &mut impl FnMut(Severity, &str),
) -> Result<()> {
    let (link, level) = (record.link(i), record.level());
    match readable(graph.read_point(link, level, &mut seen.other))? {
        None => {}
        Some(None) => found(Severity::Leftover, "a link leads to a slot that was freed since"),
        Some(Some(State::Dead)) => found(Severity::Leftover, "a link leads to a dead node"),
        Some(Some(_)) if graph.space.layout.is_coded() => check_code(graph, record, i, seen, found),
        Some(Some(_)) => {}
    }
    Ok(())
}

/// Compares a code with the code of the two vectors.
fn check_code<S: PageStore>(
    graph: &Graph<'_, S>,
    record: &Record<'_>,
    i: usize,
    seen: &mut Seen,
    found: &mut impl FnMut(Severity, &str),
) {
    let Seen {
        own,
        other,
        words,
        expected,
        ..
    } = seen;
    let stored = record.read_code(i, words);
    let factors = graph.space.encode(other, own, expected);
    let fault = code_fault(graph, (stored, words), (factors, expected), (other, own));
    if let Some(fault) = fault {
        found(Severity::Corruption, fault);
    } else if record.signatures(i) != graph.space.lane_signatures(&other.values) {
        found(
            Severity::Corruption,
            "the signatures of a link do not match the filter values of its record",
        );
    }
}

/// The difference of a stored code from that of `x` as a neighbor of `y`, if there is one.
pub(super) fn code_fault<S: PageStore>(
    graph: &Graph<'_, S>,
    (stored, words): (Factors, &[u32]),
    (factors, expected): (Factors, &[u32]),
    (x, y): (&Point, &Point),
) -> Option<&'static str> {
    let (x, y) = (&x.coordinates, &y.coordinates);
    let largest = x.iter().chain(y).fold(0.0, |most: f32, v| most.max(v.abs()));
    let differs = |at: usize| {
        let bit = |words: &[u32]| words[at / WORD_BITS] >> (at % WORD_BITS) & 1;
        let is_sure = (x[at] - y[at]).abs() > ROUNDING * largest;
        is_sure && bit(words) != bit(expected)
    };
    if (0..expected.len() * WORD_BITS).any(differs) {
        return Some("a code does not match the vector of its record");
    }
    let is_alike = are_alike(graph, stored, factors, words, x, y);
    (!is_alike).then_some("the factors of a code do not match its vectors")
}

/// Whether stored factors equal the expected ones, as far as they can be recomputed: the offset
/// depends on the bits as stored, which rounding decides where coordinates are about equal.
fn are_alike<S: PageStore>(
    graph: &Graph<'_, S>,
    stored: Factors,
    expected: Factors,
    words: &[u32],
    x: &[f32],
    y: &[f32],
) -> bool {
    let length = distance::l2_squared(x, y).sqrt();
    let scale = expected.scale.to_f32();
    let (mut along, mut most) = (0.0, 0.0);
    for (i, y) in y[..words.len() * WORD_BITS].iter().enumerate() {
        let is_positive = words[i / WORD_BITS] >> (i % WORD_BITS) & 1 == 1;
        along += if is_positive { *y } else { -y };
        most += y.abs();
    }
    let (offset, size) = match graph.space.parameters.metric {
        Metric::InnerProduct => (0.0, length),
        _ => (length * length + scale * along, length * length + scale * most),
    };
    let parts = [
        (stored.scale.to_f32(), scale, scale),
        (stored.offset.to_f32(), offset, size),
    ];
    parts.iter().all(|&(stored, expected, size)| {
        // Factors beyond the range of numbers are clamped, in ways that depend on the order of
        // sums.
        let is_ordinary = size > 1e-15 && size < 1e15;
        !is_ordinary || (stored - expected).abs() <= FACTOR_ROUNDING * size
    })
}
