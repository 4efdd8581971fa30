//! FastScan with AVX-512 (avx512vbmi and avx512vnni): a permutation looks up 16 lanes in 4 groups
//! without a transposition of bytes, because its 64 entries are the tables of the 4 bytes of a
//! word; a sum of 4 adjacent products adds the terms up by lane.

use std::arch::x86_64::*;

use super::avx512::{entries, estimates, narrow, quarters, row, words};
use crate::distance::kernel::{CHUNK, LANES, Scan, Terms};

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
    // SAFETY: the caller's promise.
    unsafe { by_groups!(sums_of, scan) }
}

/// As [`sums`], of so many groups of lanes.
///
/// # Safety
/// As for [`sums`].
#[target_feature(enable = "avx512f,avx512bw,avx512vbmi,avx512vnni")]
#[inline]
unsafe fn sums_of<const GROUPS: usize>(scan: Scan) -> [__m512i; 2] {
    /// a & b | c
    const AND_OR: i32 = 0xea;
    let (nibble, ones) = (_mm512_set1_epi8(0xf), _mm512_set1_epi8(1));
    // Byte k of a word looks among the entries from 16 k on.
    let tables = _mm512_set1_epi32(0x3020_1000);
    let mut low = [_mm512_setzero_si512(); 2];
    let mut high = [_mm512_setzero_si512(); 2];
    let mut add = |block: usize, codes: [__m512i; 2]| {
        // SAFETY: `block` is one of the blocks the caller promises.
        let [even, odd] = unsafe { entries(scan, block) };
        for (i, codes) in codes.into_iter().enumerate().take(GROUPS.div_ceil(2)) {
            let lower = _mm512_ternarylogic_epi32::<AND_OR>(codes, nibble, tables);
            let upper = _mm512_ternarylogic_epi32::<AND_OR>(_mm512_srli_epi16::<4>(codes), nibble, tables);
            low[i] = _mm512_dpbusd_epi32(low[i], _mm512_permutexvar_epi8(lower, even), ones);
            high[i] = _mm512_dpbusd_epi32(high[i], _mm512_permutexvar_epi8(upper, odd), ones);
        }
    };
    for chunk in 0..scan.blocks / CHUNK {
        // SAFETY: a chunk of the codes, of so many groups of lanes.
        let [first, second] = unsafe { words::<GROUPS>(scan, chunk) };
        for (i, codes) in first.into_iter().zip(second).enumerate() {
            add(chunk * CHUNK + i, codes.into());
        }
    }
    for block in scan.blocks / CHUNK * CHUNK..scan.blocks {
        // SAFETY: a block behind the chunks.
        add(block, unsafe { row::<GROUPS>(scan, block) });
    }
    [0, 1].map(|i| _mm512_permutexvar_epi32(quarters(), _mm512_add_epi32(low[i], high[i])))
}
