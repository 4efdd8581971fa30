//! Stored vectors: their start in the record, the rest of long ones in overflow records.
//!
//! An overflow record is a slot of its own and belongs to a level-0 record; the upper records of
//! the node refer to the same overflow records. Vectors never change, so they are read one page at
//! a time. A record is placed before its overflow records, which name it, and refers to them when
//! all exist. No link leads to it until then, and VACUUM frees overflow records without their
//! owner, so a crash loses none.

use crate::error::Result;
use crate::hnsw::Graph;
use crate::hnsw::order_key;
use crate::hnsw::space::Query;
use crate::storage::record::{Record, State};
use crate::storage::store;
use crate::storage::{Edit, Layout, Link, NodeRef, PageStore};

/// The owner of overflow records that are to be read.
pub(super) struct Owner {
    node: NodeRef,
    /// The generation, known of a level-0 record only.
    generation: Option<u8>,
    overflows: Vec<NodeRef>,
    /// Bytes of the stored vector.
    stored_len: usize,
}

impl Owner {
    /// A stale link may lead to a record that is not of a node and has no overflow records.
    pub(super) fn of(record: &Record<'_>, layout: &Layout) -> Owner {
        let is_node = matches!(record.state(), State::Node | State::Dead);
        Owner {
            node: record.owner(),
            generation: (record.level() == 0).then_some(record.generation()),
            overflows: record.overflows().filter(|_| is_node).collect(),
            stored_len: layout.stored_len(record.vector()),
        }
    }

    /// Whether a record is an overflow record of this owner.
    fn has(&self, overflow: &Record<'_>) -> bool {
        let same = |generation| generation == overflow.owner_generation();
        overflow.state() == State::Overflow && overflow.owner() == self.node && self.generation.is_none_or(same)
    }
}

/// Reads a record whose vector may have overflow records, with its distance to a query.
///
/// Locks: the record's page, shared, while `f` runs; the pages of overflow records before; on
/// return: none.
pub(super) fn read_distance<S: PageStore, T>(
    graph: &Graph<'_, S>,
    query: &Query,
    node: NodeRef,
    f: impl FnOnce(Record<'_>, f32) -> Result<T>,
) -> Result<T> {
    let read = graph.read(node, |record| {
        Ok(if record.overflows().next().is_none() {
            Ok(f(record, graph.distance(query, &record))?)
        } else {
            Err((f, record.generation(), long_distance(graph, query, &record)))
        })
    })?;
    let (f, generation, distance) = match read {
        Ok(value) => return Ok(value),
        Err(long) => long,
    };
    let distance = distance.sum(graph, query)?;
    graph.read(node, |record| {
        let same = record.generation() == generation;
        f(record, if same { distance } else { f32::INFINITY })
    })
}

/// The start of the distance to a vector with overflow records.
fn long_distance<S: PageStore>(graph: &Graph<'_, S>, query: &Query, record: &Record<'_>) -> LongDistance {
    LongDistance {
        owner: Owner::of(record, &graph.space.layout),
        start: record.vector().to_vec(),
        sum: graph.space.start_sum(query, record.vector()),
    }
}

/// Appends the parts of a vector in its overflow records; says whether all of them existed.
pub(super) fn append<S: PageStore>(graph: &Graph<'_, S>, owner: &Owner, stored: &mut Vec<u8>) -> Result<bool> {
    read(graph, owner, |_, bytes| {
        stored.extend_from_slice(bytes);
        true
    })
}

/// Whether the overflow records of a level-0 record equal the rest of a stored vector; its start is
/// not compared.
pub(super) fn equal<S: PageStore>(graph: &Graph<'_, S>, link: Link, stored: &[u8]) -> Result<bool> {
    if graph.space.layout.overflows == 0 {
        return Ok(true);
    }
    let layout = &graph.space.layout;
    let owner = graph.read(link.node, |record| Ok(Owner::of(&record, layout)))?;
    Ok(owner.stored_len == stored.len()
        && read(graph, &owner, |i, bytes| {
            *bytes == stored[layout.overflow_range(i, owner.stored_len)]
        })?)
}

/// Passes `f` the part of a vector in each overflow record until it returns false; says whether all
/// overflow records existed and all calls returned true.
///
/// Locks: the overflow record's page, shared, while `f` runs; on return: none.
fn read<S: PageStore>(graph: &Graph<'_, S>, owner: &Owner, mut f: impl FnMut(usize, &[u8]) -> bool) -> Result<bool> {
    for (i, &overflow) in owner.overflows.iter().enumerate() {
        let len = graph.space.layout.overflow_range(i, owner.stored_len).len();
        let accepted = overflow != NodeRef::NONE
            && graph.read(overflow, |overflow| {
                Ok(owner.has(&overflow) && f(i, &overflow.overflow_bytes()[..len]))
            })?;
        if !accepted {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Places the overflow records of a level-0 record.
pub(super) fn place<S: PageStore>(graph: &Graph<'_, S>, node: Link, stored: &[u8]) -> Result<Vec<NodeRef>> {
    let layout = &graph.space.layout;
    let count = layout.overflow_count(stored);
    let mut overflows = Vec::with_capacity(count);
    for i in 0..count {
        overflows.push(store::place(graph.store, layout, |nodes, slot| {
            let overflow = nodes.occupy(slot, State::Overflow, 0, node.node, NodeRef::NONE)?;
            nodes
                .record(slot)?
                .set_overflow(node.generation, &stored[layout.overflow_range(i, stored.len())]);
            Ok(overflow.node)
        })?);
    }
    if !overflows.is_empty() {
        graph.write(node.node, |nodes, slot| {
            nodes.record(slot)?.set_overflows(overflows.iter().copied());
            Ok(Edit::Changed(()))
        })?;
    }
    Ok(overflows)
}

/// A distance without the terms of the overflow records.
struct LongDistance {
    owner: Owner,
    start: Vec<u8>,
    sum: f64,
}

impl LongDistance {
    /// Adds the overflow records; a vector that was removed meanwhile is infinitely far.
    fn sum<S: PageStore>(self, graph: &Graph<'_, S>, query: &Query) -> Result<f32> {
        if !graph.space.layout.shape.encoding.is_dense() {
            let mut stored = self.start;
            let complete = append(graph, &self.owner, &mut stored)?;
            // A record reached by a stale link has no overflow records, and so no whole value.
            return Ok(match complete && stored.len() == self.owner.stored_len {
                true => graph.space.distance(query, &stored),
                false => f32::INFINITY,
            });
        }
        let mut sum = self.sum;
        let complete = read(graph, &self.owner, |i, bytes| {
            sum += graph.space.overflow_sum(query, &self.start, i, bytes);
            true
        })?;
        Ok(if complete { order_key::of(sum) } else { f32::INFINITY })
    }
}
