//! Prefetch: a hint to the processor that memory is read soon.
//!
//! The hint bypasses the first-level cache. A record is some forty lines, and the few line fill
//! buffers of that cache stay free for current reads (docs/measurements.md, *What bounds the
//! speed*).

/// Bytes of a cache line on current x86-64 and aarch64 processors.
const LINE: usize = 64;

/// Hints that `len` bytes at `base + offset` are read soon. Any address is allowed, because nothing
/// is read.
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
