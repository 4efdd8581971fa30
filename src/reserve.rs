//! A reserve of memory for small allocations after memory has run out.
//!
//! Growing structures ask for memory first ([`crate::fallible`]). But libraries, lists of a known
//! size and errors under way allocate without asking, and a failure of such an allocation ends the
//! process. So the allocator serves these from a reserve. The next caller that asks for memory or
//! checks for interrupts learns that memory has run out, and the statement ends.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::UnsafeCell;
use std::ptr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// The system's allocator with a reserve.
pub struct WithReserve;

/// Size of the reserve; it takes no memory until it is used.
const BYTES: usize = 1 << 20;

/// Largest allocation from the reserve: larger ones are asked for.
const MAX_BLOCK: usize = BYTES / 4;

#[repr(align(64))]
struct Reserve {
    bytes: UnsafeCell<[u8; BYTES]>,
    /// The number of blocks in use, and, in the low half, the offset of the next block. The offset
    /// restarts at 0 when all blocks are freed.
    state: AtomicU64,
}

// SAFETY: each byte is given to one owner at a time, as `state` says.
unsafe impl Sync for Reserve {}

static RESERVE: Reserve = Reserve {
    bytes: UnsafeCell::new([0; BYTES]),
    state: AtomicU64::new(0),
};

/// Whether the reserve was used since the last report.
static USED: AtomicBool = AtomicBool::new(false);

const BLOCK: u64 = 1 << 32;

impl Reserve {
    fn start(&self) -> *mut u8 {
        self.bytes.get().cast()
    }

    fn holds(&self, block: *mut u8) -> bool {
        block.addr().wrapping_sub(self.start().addr()) < BYTES
    }

    fn take(&self, layout: Layout) -> *mut u8 {
        let (size, align) = (layout.size(), layout.align());
        if size > MAX_BLOCK || align > align_of::<Reserve>() {
            return ptr::null_mut();
        }
        let at = |state: u64| (state as u32 as usize).next_multiple_of(align);
        let taken = self.state.fetch_update(Ordering::AcqRel, Ordering::Acquire, |state| {
            let end = at(state) + size;
            (end <= BYTES).then(|| (state & !(BLOCK - 1)) + BLOCK + end as u64)
        });
        let Ok(before) = taken else {
            return ptr::null_mut();
        };
        self.start().wrapping_add(at(before))
    }

    #[cold]
    fn give_back(&self) {
        let less = |state: u64| if state < 2 * BLOCK { 0 } else { state - BLOCK };
        let changed = self
            .state
            .fetch_update(Ordering::AcqRel, Ordering::Acquire, |state| Some(less(state)));
        debug_assert!(changed.is_ok_and(|before| before >= BLOCK));
    }
}

/// A block of the reserve; null if it has no room.
#[cold]
fn reserved(layout: Layout) -> *mut u8 {
    let block = RESERVE.take(layout);
    USED.fetch_or(!block.is_null(), Ordering::Relaxed);
    block
}

// SAFETY: blocks are the system's, or of the reserve, which gives no byte to two; each goes back
// where it came from.
unsafe impl GlobalAlloc for WithReserve {
    #[inline]
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: as the caller promises.
        let block = unsafe { System.alloc(layout) };
        if block.is_null() { reserved(layout) } else { block }
    }

    #[inline]
    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        // SAFETY: as the caller promises.
        let block = unsafe { System.alloc_zeroed(layout) };
        if !block.is_null() {
            return block;
        }
        let block = reserved(layout);
        if !block.is_null() {
            // SAFETY: a block of this size.
            unsafe { block.write_bytes(0, layout.size()) };
        }
        block
    }

    #[inline]
    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        if RESERVE.holds(block) {
            RESERVE.give_back();
        } else {
            // SAFETY: as the caller promises; it is the system's.
            unsafe { System.dealloc(block, layout) };
        }
    }

    #[inline]
    unsafe fn realloc(&self, block: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        if !RESERVE.holds(block) {
            // SAFETY: as the caller promises; it is the system's.
            let grown = unsafe { System.realloc(block, layout, size) };
            if !grown.is_null() {
                return grown;
            }
        }
        // SAFETY: the caller promises a valid size; two blocks of which each has as many bytes as
        // are copied.
        unsafe {
            let other = self.alloc(Layout::from_size_align_unchecked(size, layout.align()));
            if !other.is_null() {
                ptr::copy_nonoverlapping(block, other, size.min(layout.size()));
                self.dealloc(block, layout);
            }
            other
        }
    }
}

/// Forgets that memory has run out, because the statement that needed it has ended.
pub fn forget() {
    USED.store(false, Ordering::Relaxed);
}

/// Whether memory has run out since the last call.
#[inline]
pub fn has_run_out() -> bool {
    USED.load(Ordering::Relaxed) && USED.swap(false, Ordering::Relaxed)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A reserve of the tests' own, because all tests share the library's.
    static OTHER: Reserve = Reserve {
        bytes: UnsafeCell::new([0; BYTES]),
        state: AtomicU64::new(0),
    };

    #[test]
    fn it_gives_each_byte_once_until_all_come_back() {
        let reserve = &OTHER;
        for _ in 0..3 {
            let mut end = reserve.start().addr();
            let mut blocks = 0;
            for i in 0.. {
                let layout = Layout::from_size_align(1 + i * 37 % 5000, 1 << (i % 7)).unwrap();
                let block = reserve.take(layout);
                if block.is_null() {
                    break;
                }
                assert!(block.addr() >= end && block.addr().is_multiple_of(layout.align()));
                assert!(reserve.holds(block));
                end = block.addr() + layout.size();
                blocks += 1;
            }
            assert!(end <= reserve.start().addr() + BYTES && blocks > 100);
            (0..blocks).for_each(|_| reserve.give_back());
        }
        assert!(
            reserve
                .take(Layout::from_size_align(MAX_BLOCK + 1, 1).unwrap())
                .is_null()
        );
        assert!(!reserve.holds(reserve.start().wrapping_add(BYTES)));
        assert!(!reserve.holds(reserve.start().wrapping_sub(1)));
    }

    #[test]
    fn too_much_for_the_system_is_too_much() {
        // SAFETY: one block is refused; another is given, grown and freed.
        unsafe {
            let huge = Layout::from_size_align(isize::MAX as usize - 64, 1).unwrap();
            // An optimized build assumes that unused memory is always available.
            let is_null = |block| std::hint::black_box::<*mut u8>(block).is_null();
            assert!(is_null(WithReserve.alloc(huge)) && is_null(WithReserve.alloc_zeroed(huge)));
            let small = Layout::from_size_align(100, 8).unwrap();
            let block = WithReserve.alloc(small);
            block.write(7);
            assert!(is_null(WithReserve.realloc(block, small, huge.size())));
            let block = WithReserve.realloc(block, small, 200);
            assert_eq!(block.read(), 7);
            WithReserve.dealloc(block, Layout::from_size_align(200, 8).unwrap());
        }
    }
}
