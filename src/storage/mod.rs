//! The index file: pages, records, and the store that holds them.
//!
//! An index relation is a key-value store. The key is a [`NodeRef`], the value a record of fixed
//! stride, and the backend any implementation of [`PageStore`]: PostgreSQL's shared buffers
//! ([`buffer_store`]) or mapped memory ([`memory_store`], for the build). Both hold the same bytes:
//! a page image built in memory is written to the relation as it is. The README of this folder has
//! the format byte by byte.
//!
//! Each module imports only earlier ones of this list: [`page`], [`layout`], [`parameters`],
//! [`meta`] and [`record`], [`calibration`], [`walk`], [`query_page`], [`node_page`], [`store`],
//! and last [`centroid`] and the two stores. [`format`] has the numbers that all of them share,
//! [`mapping`] the memory of one store.
//!
//! Invariants:
//! - every byte read from a page is checked before it is used; damage is [`Error::Corrupted`],
//!   never a read out of bounds;
//! - all lasting contents lie below `pd_lower` or in the special space, so that full-page images
//!   may drop the hole;
//! - a slot's generation changes whenever the slot is freed, and every link names the generation
//!   that it means, so that a link to a reused slot is recognised as stale;
//! - code that locks two pages locks the lower block first; no code waits for the meta page while
//!   it holds another one.
//!
//! Only [`buffer_store`] knows PostgreSQL.

pub mod buffer_store;
pub mod calibration;
pub mod centroid;
pub mod directions;
pub mod format;
pub mod layout;
pub mod layout_plan;
mod learned;
pub mod list_directory;
pub mod list_page;
pub mod mapping;
pub mod memory_store;
pub mod meta;
pub mod node_page;
pub mod page;
mod page_delta;
pub mod parameters;
mod pgvector;
mod prefetch;
pub mod query_page;
pub mod record;
pub mod sparse;
pub mod store;
pub mod walk;

use crate::error::{Error, Result};

/// The FNV-1a hash, which is part of the file format.
fn fnv1a(bytes: impl Iterator<Item = u8>) -> u64 {
    bytes.fold(0xCBF2_9CE4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01B3)
    })
}

/// The checksum of bytes of the meta page.
fn checksum(bytes: &[u8]) -> u32 {
    fnv1a(bytes.iter().copied()) as u32
}

/// The encoding of structures on the meta page: fixed-size little-endian integers.
fn encoding() -> impl bincode::config::Config {
    bincode::config::standard().with_fixed_int_encoding()
}

/// A block number of the index relation, as PostgreSQL's `BlockNumber`.
pub type BlockNumber = u32;

/// Address of a record: `block * slots per page + slot`. No record has address 0, because block 0
/// is the meta page.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeRef(pub u32);

impl NodeRef {
    /// "No record", as it is stored on a page.
    pub const NONE: NodeRef = NodeRef(u32::MAX);

    /// `self`, unless it is [`NodeRef::NONE`].
    pub fn some(self) -> Option<NodeRef> {
        (self != NodeRef::NONE).then_some(self)
    }
}

/// A reference to a record together with the generation of its slot: stale once the slot has been
/// freed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Link {
    /// The record.
    pub node: NodeRef,
    /// The slot's generation when the link was made.
    pub generation: u8,
}

/// A heap tuple identifier: block and offset number, stored as PostgreSQL's `ItemPointerData`
/// (three u16).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct HeapTid {
    /// Heap block.
    pub block: u32,
    /// Line pointer on it, from 1.
    pub offset: u16,
}

impl HeapTid {
    /// Bytes of a stored TID.
    pub const SIZE: usize = 6;

    /// Reads a TID as PostgreSQL stores it: high half of the block, low half, offset.
    pub fn read(bytes: &[u8]) -> HeapTid {
        let half = |i: usize| u16::from_ne_bytes([bytes[i], bytes[i + 1]]);
        HeapTid {
            block: u32::from(half(0)) << 16 | u32::from(half(2)),
            offset: half(4),
        }
    }

    /// Writes a TID as PostgreSQL stores it.
    pub fn write(self, bytes: &mut [u8]) {
        bytes[0..2].copy_from_slice(&((self.block >> 16) as u16).to_ne_bytes());
        bytes[2..4].copy_from_slice(&(self.block as u16).to_ne_bytes());
        bytes[4..6].copy_from_slice(&self.offset.to_ne_bytes());
    }
}

/// Shorthand for the error of a damaged page.
pub(crate) fn corrupted<T>(block: BlockNumber, reason: &'static str) -> Result<T> {
    Err(Error::corrupted(block, reason))
}

pub use layout::Layout;
pub use store::{Edit, INPUT_AHEAD, MOST_TOGETHER, PageStore};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tid_survives_its_page_form() {
        let mut bytes = [0; HeapTid::SIZE];
        for tid in [
            HeapTid { block: 0, offset: 1 },
            HeapTid {
                block: 0x1234_5678,
                offset: 291,
            },
            HeapTid {
                block: u32::MAX - 1,
                offset: u16::MAX,
            },
        ] {
            tid.write(&mut bytes);
            assert_eq!(HeapTid::read(&bytes), tid);
        }
    }
}
