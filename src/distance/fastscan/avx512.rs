//! FastScan with AVX-512 (avx512f and avx512bw): a shuffle looks up 16 lanes in 4 groups.

use std::arch::x86_64::*;

use crate::distance::kernel::{BLOCK_BYTES, LANES, Scan, Terms};

pub(super) const HALF: usize = LANES / 2;

/// Bytes of a register: a word of 16 lanes, the entries of 4 groups.
pub(super) const REGISTER: usize = BLOCK_BYTES / 2;

/// Safe to call as `SumKernel` says.
#[target_feature(enable = "avx512f,avx512bw")]
pub(in crate::distance) unsafe fn fastscan(scan: Scan) -> [u16; LANES] {
    // SAFETY: the caller's promise.
    narrow(unsafe { sums(scan) })
}

/// Safe to call as `EstimateKernel` says.
#[target_feature(enable = "avx512f,avx512bw")]
pub(in crate::distance) unsafe fn estimate(scan: Scan, terms: Terms, out: &mut [f32; LANES]) -> u32 {
    // SAFETY: the caller's promise.
    unsafe { estimates(sums(scan), terms, out) }
}

/// The sums of lanes 0 to 15 and of lanes 16 to 31.
///
/// # Safety
/// As `Scan` says.
#[target_feature(enable = "avx512f,avx512bw")]
#[inline]
unsafe fn sums(scan: Scan) -> [__m512i; 2] {
    let nibble = _mm512_set1_epi8(0xf);
    // Byte k of 4 lanes to word k of each quarter of a register, and from there to quarter k.
    let gather = _mm512_broadcast_i32x4(_mm_setr_epi8(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15));
    let spread = _mm512_setr_epi32(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15);
    let mut halves = [Bytes::zero(), Bytes::zero()];
    for block in 0..scan.blocks {
        let at = block * BLOCK_BYTES;
        // SAFETY: `block` is one of the blocks the caller promises.
        let (even, odd) = unsafe {
            (
                _mm512_loadu_si512(scan.table.add(at).cast()),
                _mm512_loadu_si512(scan.table.add(at + REGISTER).cast()),
            )
        };
        for (i, half) in halves.iter_mut().enumerate() {
            // SAFETY: likewise.
            let codes = unsafe { _mm512_loadu_si512(scan.codes.add(block * scan.stride + i * REGISTER).cast()) };
            let codes = _mm512_permutexvar_epi32(spread, _mm512_shuffle_epi8(codes, gather));
            half.add(_mm512_shuffle_epi8(even, _mm512_and_si512(codes, nibble)));
            let upper = _mm512_and_si512(_mm512_srli_epi16::<4>(codes), nibble);
            half.add(_mm512_shuffle_epi8(odd, upper));
        }
    }
    halves.map(|half| _mm512_cvtepu16_epi32(half.total()))
}

/// The sums of all lanes, modulo 2^16.
#[target_feature(enable = "avx512f")]
#[inline]
pub(super) fn narrow(halves: [__m512i; 2]) -> [u16; LANES] {
    let mut out = [0u16; LANES];
    for (i, half) in halves.into_iter().enumerate() {
        // SAFETY: each half of `out` is as long as the register.
        unsafe { _mm256_storeu_si256(out.as_mut_ptr().add(i * HALF).cast(), _mm512_cvtepi32_epi16(half)) };
    }
    out
}

/// The estimates and the mask that follow from the sums.
///
/// # Safety
/// As `Terms` says.
#[target_feature(enable = "avx512f")]
#[inline]
pub(super) unsafe fn estimates(halves: [__m512i; 2], terms: Terms, out: &mut [f32; LANES]) -> u32 {
    let (scale, offset) = (_mm512_set1_ps(terms.scale), _mm512_set1_ps(terms.offset));
    let (base, worst) = (_mm512_set1_ps(terms.base), _mm512_set1_ps(terms.worst));
    let mut mask = 0;
    for (i, half) in halves.into_iter().enumerate() {
        // SAFETY: each half has HALF factors of either kind.
        let (a, f) = unsafe { (factors(terms.a, i * HALF), factors(terms.f, i * HALF)) };
        let product = _mm512_fmadd_ps(_mm512_cvtepi32_ps(half), scale, offset);
        let estimate = _mm512_fnmadd_ps(f, product, _mm512_add_ps(base, a));
        // SAFETY: `out` holds HALF floats from i * HALF on.
        unsafe { _mm512_storeu_ps(out.as_mut_ptr().add(i * HALF), estimate) };
        mask |= u32::from(_mm512_cmp_ps_mask::<_CMP_NGE_UQ>(estimate, worst)) << (i * HALF);
    }
    mask
}

/// Sums of bytes in 16 bits, over 4 groups side by side.
struct Bytes {
    /// Sums of the pairs of bytes as they stand: the even byte and 256 times the odd one.
    pairs: __m512i,
    odd: __m512i,
}

impl Bytes {
    #[target_feature(enable = "avx512f")]
    #[inline]
    fn zero() -> Self {
        let zero = _mm512_setzero_si512();
        Self { pairs: zero, odd: zero }
    }

    #[target_feature(enable = "avx512f,avx512bw")]
    #[inline]
    fn add(&mut self, bytes: __m512i) {
        self.pairs = _mm512_add_epi16(self.pairs, bytes);
        self.odd = _mm512_add_epi16(self.odd, _mm512_srli_epi16::<8>(bytes));
    }

    /// The sums of the 16 lanes, in order, over all groups.
    #[target_feature(enable = "avx512f,avx512bw")]
    #[inline]
    fn total(self) -> __m256i {
        let even = _mm512_sub_epi16(self.pairs, _mm512_slli_epi16::<8>(self.odd));
        let (even, odd) = (add_groups(even), add_groups(self.odd));
        _mm256_set_m128i(_mm_unpackhi_epi16(even, odd), _mm_unpacklo_epi16(even, odd))
    }
}

/// The sum of the four quarters.
#[target_feature(enable = "avx512f")]
#[inline]
fn add_groups(four: __m512i) -> __m128i {
    let two = _mm256_add_epi16(_mm512_castsi512_si256(four), _mm512_extracti64x4_epi64::<1>(four));
    _mm_add_epi16(_mm256_castsi256_si128(two), _mm256_extracti128_si256::<1>(two))
}

/// The factors of half the lanes from `lane` on, widened: a bfloat16 is the upper half of an f32.
///
/// # Safety
/// `from` is readable for the factors of `lane + HALF` lanes, at any alignment.
#[target_feature(enable = "avx512f")]
#[inline]
unsafe fn factors(from: *const u8, lane: usize) -> __m512 {
    // SAFETY: the caller's promise.
    let halves = unsafe { _mm256_loadu_si256(from.add(2 * lane).cast()) };
    _mm512_castsi512_ps(_mm512_slli_epi32::<16>(_mm512_cvtepu16_epi32(halves)))
}
