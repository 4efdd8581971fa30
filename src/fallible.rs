//! Fallible growth of collections.
//!
//! Lack of memory is an error of one statement ([`Error::OutOfMemory`]), as where PostgreSQL
//! allocates; a collection that grows by itself ends the process instead, and the server restarts.
//! So all collections that grow with users' input, with their settings or with an index grow by
//! these functions. Smaller allocations have the [`reserve`].

use std::collections::{BinaryHeap, HashMap, HashSet, TryReserveError, VecDeque};
use std::hash::Hash;

use crate::error::{Error, Result};
use crate::reserve;

/// Memory for small things that are allocated without asking: more than any of them needs.
const SPARE: usize = 64 << 10;

/// A collection with room for more; if there is room, the call costs a comparison.
pub trait Room {
    /// Makes room for `more` further elements.
    ///
    /// # Errors
    /// [`Error::OutOfMemory`].
    fn room(&mut self, more: usize) -> Result<()>;
}

#[inline]
fn had(reserved: Result<(), TryReserveError>) -> Result<()> {
    if reserved.is_err() || reserve::has_run_out() {
        return Err(Error::OutOfMemory);
    }
    Ok(())
}

impl<T> Room for Vec<T> {
    #[inline]
    fn room(&mut self, more: usize) -> Result<()> {
        had(self.try_reserve(more))
    }
}

impl<T: Ord> Room for BinaryHeap<T> {
    #[inline]
    fn room(&mut self, more: usize) -> Result<()> {
        had(self.try_reserve(more))
    }
}

impl<T> Room for VecDeque<T> {
    #[inline]
    fn room(&mut self, more: usize) -> Result<()> {
        had(self.try_reserve(more))
    }
}

impl<T: Eq + Hash> Room for HashSet<T> {
    #[inline]
    fn room(&mut self, more: usize) -> Result<()> {
        had(self.try_reserve(more))
    }
}

impl<K: Eq + Hash, V> Room for HashMap<K, V> {
    #[inline]
    fn room(&mut self, more: usize) -> Result<()> {
        had(self.try_reserve(more))
    }
}

/// A list that grows as long as there is memory.
pub trait TryPush<T> {
    /// Adds an element.
    ///
    /// # Errors
    /// [`Error::OutOfMemory`].
    fn try_push(&mut self, value: T) -> Result<()>;

    /// Adds elements as long as there is memory.
    ///
    /// # Errors
    /// [`Error::OutOfMemory`].
    fn try_extend(&mut self, values: impl IntoIterator<Item = T>) -> Result<()>;
}

impl<T> TryPush<T> for Vec<T> {
    #[inline]
    fn try_push(&mut self, value: T) -> Result<()> {
        self.room(1)?;
        self.push(value);
        Ok(())
    }

    #[inline]
    fn try_extend(&mut self, values: impl IntoIterator<Item = T>) -> Result<()> {
        let values = values.into_iter();
        self.room(values.size_hint().0)?;
        values.into_iter().try_for_each(|value| self.try_push(value))
    }
}

/// A list of these elements.
///
/// # Errors
/// [`Error::OutOfMemory`].
pub fn collect<T>(values: impl IntoIterator<Item = T>) -> Result<Vec<T>> {
    let mut all = Vec::new();
    all.try_extend(values)?;
    Ok(all)
}

/// Makes sure that there is memory for `bytes` bytes and for small allocations, which libraries and
/// small lists make without asking.
///
/// # Errors
/// [`Error::OutOfMemory`].
pub fn spare(bytes: usize) -> Result<()> {
    let mut memory = Vec::<u8>::new();
    memory.room(bytes.saturating_add(SPARE))?;
    // The allocation must not be optimized away.
    std::hint::black_box(&mut memory);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn too_much_is_an_error() {
        let mut list = vec![1u64];
        assert_eq!(list.room(usize::MAX / 8), Err(Error::OutOfMemory));
        assert_eq!(list.room(usize::MAX / 64), Err(Error::OutOfMemory));
        list.try_extend([2, 3]).unwrap();
        assert_eq!(list, [1, 2, 3]);
        let endless = (0..usize::MAX).map(|i| i as u8);
        assert_eq!(collect(endless), Err(Error::OutOfMemory));
        assert_eq!(HashSet::<u64>::new().room(usize::MAX / 64), Err(Error::OutOfMemory));
        assert_eq!(
            HashMap::<u64, u64>::new().room(usize::MAX / 64),
            Err(Error::OutOfMemory)
        );
        assert_eq!(VecDeque::<u64>::new().room(usize::MAX / 64), Err(Error::OutOfMemory));
        assert_eq!(spare(usize::MAX / 2), Err(Error::OutOfMemory));
        spare(1 << 20).unwrap();
    }
}
