//! Value lists by their numbers. Each filter column has some ([`crate::storage::list_page`]); a
//! node is in one of a column, or in several if the value is a set.

/// Lists of a column.
pub const LISTS: usize = 128;

/// Some lists of a column, one bit for each.
pub type Lists = u128;

/// The list of a signature of a value that is no set: its upper bits.
#[inline]
pub const fn of_signature(signature: u16) -> Lists {
    1 << (signature >> 9)
}

/// The numbers of lists, the last one first.
pub fn numbers(lists: Lists) -> impl Iterator<Item = u8> {
    (0..LISTS as u8).rev().filter(move |list| lists >> list & 1 == 1)
}
