//! A hint to the processor that memory is read soon.
//!
//! It goes past the first-level cache: a record is some forty lines, and the few places where that cache waits for lines are then
//! left to what is read now (measured: a visit takes a fifth less time than with hints to the first level).

/// Bytes of a cache line on the processors that matter.
const LINE: usize = 64;

/// Hints that `len` bytes at `base + offset` are read soon. Nothing is read: any address is allowed.
#[inline]
pub fn prefetch(base: *const u8, offset: usize, len: usize) {
    for at in (offset..offset + len).step_by(LINE) {
        let line = base.wrapping_add(at);
        #[cfg(target_arch = "x86_64")]
        // SAFETY: a prefetch reads nothing and cannot fault; SSE is part of x86_64.
        unsafe {
            use std::arch::x86_64::{_MM_HINT_T2, _mm_prefetch};
            _mm_prefetch::<_MM_HINT_T2>(line.cast());
        }
        #[cfg(target_arch = "aarch64")]
        // SAFETY: a prefetch reads nothing and cannot fault.
        unsafe {
            std::arch::asm!("prfm pldl2keep, [{line}]", line = in(reg) line, options(nostack, readonly, preserves_flags));
        }
        #[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
        let _ = line;
    }
}
