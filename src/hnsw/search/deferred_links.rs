//! Deferred links: links back to the new records of a batch that are not on the pages of the index
//! yet.
//!
//! A batch inserts its rows one after the other and makes the links back to them later, page by
//! page ([`crate::hnsw::insert::batch`]). A search of the same batch follows a record's deferred
//! links as if they were on its page. No other session sees them.

use std::collections::HashMap;

use crate::error::Result;
use crate::fallible::Room;
use crate::filter::signature::Signatures;
use crate::quantize::rabitq::Factors;
use crate::storage::record::Code;
use crate::storage::{Link, NodeRef};

/// Links that are still to be made, in the order in which they were deferred.
#[derive(Default)]
pub(in crate::hnsw) struct DeferredLinks {
    links: Vec<DeferredLink>,
    /// Words of all codes, one code after the other.
    words: Vec<u32>,
    /// Words of each code.
    each: usize,
    /// Index of the last link of each record.
    last: HashMap<NodeRef, u32>,
}

/// A link that is still to be made.
pub(in crate::hnsw) struct DeferredLink {
    /// The record that gets the link.
    pub(in crate::hnsw) at: Link,
    /// The new record that the link leads to.
    pub(in crate::hnsw) new: Link,
    /// The level of both.
    pub(in crate::hnsw) level: u8,
    factors: Factors,
    signatures: Signatures,
    /// Index of the link that the same record got before.
    before: Option<u32>,
}

impl DeferredLinks {
    /// Whether there are none.
    pub(in crate::hnsw) fn is_empty(&self) -> bool {
        self.links.is_empty()
    }

    /// The number of links.
    pub(in crate::hnsw) fn len(&self) -> usize {
        self.links.len()
    }

    /// Defers the link from `at` to `new`; `code` is the code of `new` as a neighbor of `at`.
    pub(in crate::hnsw) fn push(&mut self, at: Link, new: Link, code: Code<'_>, level: u8) -> Result<()> {
        self.last.room(1)?;
        self.words.room(code.words.len())?;
        self.links.room(1)?;
        let before = self.last.insert(at.node, self.links.len() as u32);
        self.each = code.words.len();
        self.words.extend_from_slice(code.words);
        self.links.push(DeferredLink {
            at,
            new,
            level,
            factors: code.factors,
            signatures: code.signatures,
            before,
        });
        Ok(())
    }

    /// All links.
    pub(in crate::hnsw) fn iter(&self) -> impl Iterator<Item = &DeferredLink> {
        self.links.iter()
    }

    /// Link `i`.
    pub(in crate::hnsw) fn link(&self, i: u32) -> &DeferredLink {
        &self.links[i as usize]
    }

    /// The code of link `i`.
    pub(in crate::hnsw) fn code(&self, i: u32) -> Code<'_> {
        let start = i as usize * self.each;
        Code {
            words: &self.words[start..start + self.each],
            factors: self.link(i).factors,
            signatures: self.link(i).signatures,
        }
    }

    /// The deferred links of a record, the last one first.
    pub(super) fn of(&self, node: NodeRef) -> impl Iterator<Item = (Link, Code<'_>)> {
        let first = self.last.get(&node).copied();
        let all = std::iter::successors(first, |&i| self.link(i).before);
        all.map(|i| (self.link(i).new, self.code(i)))
    }

    /// Bytes of memory in use.
    pub(in crate::hnsw) fn bytes(&self) -> usize {
        self.links.len() * (size_of::<DeferredLink>() + size_of::<(NodeRef, u32)>() + self.each * size_of::<u32>())
    }

    /// Removes all links; their memory is kept.
    pub(in crate::hnsw) fn clear(&mut self) {
        self.links.clear();
        self.words.clear();
        self.last.clear();
    }
}
