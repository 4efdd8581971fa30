//! FastScan with AVX-512 (avx512vbmi and avx512vnni): a permutation looks up 16 lanes in 4 groups
//! without a transposition, because its 64 entries are the tables of the 4 bytes of a word; a sum
//! of 4 adjacent products adds the terms up by lane.

use std::arch::x86_64::*;

use super::avx512::{REGISTER, estimates, narrow};
use crate::distance::kernel::{BLOCK_BYTES, LANES, Scan, Terms};

/// Safe to call as `SumKernel` says.
#[target_feature(enable = "avx512f,avx512bw,avx512vbmi,avx512vnni")]
pub(in crate::distance) unsafe fn fastscan(scan: Scan) -> [u16; LANES] {
    // SAFETY: the caller's promise.
    narrow(unsafe { sums(scan) })
}

/// Safe to call as `EstimateKernel` says.
#[target_feature(enable = "avx512f,avx512bw,avx512vbmi,avx512vnni")]
pub(in crate::distance) unsafe fn estimate(scan: Scan, terms: Terms, out: &mut [f32; LANES]) -> u32 {
    let low = _mm512_set1_epi32(0xffff);
    // SAFETY: the caller's promise.
    unsafe { estimates(sums(scan).map(|half| _mm512_and_si512(half, low)), terms, out) }
}

/// The sums of lanes 0 to 15 and of lanes 16 to 31, in 32 bits.
///
/// # Safety
/// As `Scan` says.
#[target_feature(enable = "avx512f,avx512bw,avx512vbmi,avx512vnni")]
#[inline]
unsafe fn sums(scan: Scan) -> [__m512i; 2] {
    /// a & b | c
    const AND_OR: i32 = 0xea;
    let (nibble, ones) = (_mm512_set1_epi8(0xf), _mm512_set1_epi8(1));
    // Byte k of a word looks among the entries from 16 k on.
    let tables = _mm512_set1_epi32(0x3020_1000);
    let mut low = [_mm512_setzero_si512(); 2];
    let mut high = [_mm512_setzero_si512(); 2];
    for block in 0..scan.blocks {
        let at = block * BLOCK_BYTES;
        // SAFETY: `block` is one of the blocks the caller promises.
        let (even, odd) = unsafe {
            (
                _mm512_loadu_si512(scan.table.add(at).cast()),
                _mm512_loadu_si512(scan.table.add(at + REGISTER).cast()),
            )
        };
        for i in 0..2 {
            // SAFETY: likewise.
            let codes = unsafe { _mm512_loadu_si512(scan.codes.add(block * scan.stride + i * REGISTER).cast()) };
            let lower = _mm512_ternarylogic_epi32::<AND_OR>(codes, nibble, tables);
            let upper = _mm512_ternarylogic_epi32::<AND_OR>(_mm512_srli_epi16::<4>(codes), nibble, tables);
            low[i] = _mm512_dpbusd_epi32(low[i], _mm512_permutexvar_epi8(lower, even), ones);
            high[i] = _mm512_dpbusd_epi32(high[i], _mm512_permutexvar_epi8(upper, odd), ones);
        }
    }
    [_mm512_add_epi32(low[0], high[0]), _mm512_add_epi32(low[1], high[1])]
}
