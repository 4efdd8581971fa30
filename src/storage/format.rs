//! The fixed numbers of the file format: version, meta block, highest level, reserved references.
//!
//! This module imports nothing of the format, so that every other module of it may import this one.

use super::{BlockNumber, NodeRef};

/// The version of the format on all pages.
pub const FORMAT_VERSION: u16 = 6;

/// The block of the meta page.
pub const META_BLOCK: BlockNumber = 0;

/// Levels are 0..=MAX_LEVEL.
pub const MAX_LEVEL: u8 = 31;

/// The reason why a row has no place in the graph. Rows of each kind are kept in a chain of TID
/// extensions that begins at the meta page. The kinds stand in the order of their distances in an
/// ascending sort.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Unplaced {
    /// The vector is zero and has no direction, and the metric compares directions: every distance
    /// is NaN.
    Zero,
    /// The row has no vector: every distance is NULL.
    Null,
}

impl Unplaced {
    /// Both kinds.
    pub const ALL: [Unplaced; 2] = [Unplaced::Zero, Unplaced::Null];

    /// The least of the references that name chains instead of records.
    pub const FIRST_OWNER: NodeRef = NodeRef(u32::MAX - Unplaced::ALL.len() as u32);

    /// The owner that the chain's extensions name.
    pub fn owner(self) -> NodeRef {
        NodeRef(Unplaced::FIRST_OWNER.0 + self as u32)
    }

    /// The chain that an owner of extensions names; `None` if the owner is a node.
    pub fn of_owner(owner: NodeRef) -> Option<Unplaced> {
        Unplaced::ALL.into_iter().find(|kind| kind.owner() == owner)
    }
}
