//! AVX2 with FMA: a shuffle looks up 16 lanes in each of 2 groups.

use std::arch::x86_64::*;

use super::{GROUP_BYTES, LANES, Scan, Terms};

const GROUPS: usize = 2;

/// Lanes whose sums fill a register of 16 bits each, and of floats after widening.
const BLOCK: usize = 8;

/// Safe to call as `SumKernel` says.
#[target_feature(enable = "avx2")]
pub(in crate::distance) unsafe fn fastscan(scan: Scan) -> [u16; LANES] {
    let mut out = [0u16; LANES];
    // SAFETY: the caller's promise.
    let blocks = unsafe { sums(scan) };
    for (i, block) in blocks.into_iter().enumerate() {
        // SAFETY: `out` holds BLOCK sums from i * BLOCK on.
        unsafe { _mm_storeu_si128(out.as_mut_ptr().add(i * BLOCK).cast(), block) };
    }
    out
}

/// Safe to call as `EstimateKernel` says.
#[target_feature(enable = "avx2,fma")]
pub(in crate::distance) unsafe fn estimate(scan: Scan, terms: Terms, out: &mut [f32; LANES]) -> u32 {
    // SAFETY: the caller's promise.
    let blocks = unsafe { sums(scan) };
    let (scale, offset) = (_mm256_set1_ps(terms.scale), _mm256_set1_ps(terms.offset));
    let (base, worst) = (_mm256_set1_ps(terms.base), _mm256_set1_ps(terms.worst));
    let mut mask = 0;
    for (i, block) in blocks.into_iter().enumerate() {
        // SAFETY: each block has BLOCK factors of either kind.
        let (a, f) = unsafe { (factors(terms.a, i * BLOCK), factors(terms.f, i * BLOCK)) };
        let sum = _mm256_cvtepi32_ps(_mm256_cvtepu16_epi32(block));
        let product = _mm256_fmadd_ps(sum, scale, offset);
        let estimate = _mm256_fnmadd_ps(f, product, _mm256_add_ps(base, a));
        // SAFETY: `out` holds BLOCK floats from i * BLOCK on.
        unsafe { _mm256_storeu_ps(out.as_mut_ptr().add(i * BLOCK), estimate) };
        let below = _mm256_movemask_ps(_mm256_cmp_ps::<_CMP_LT_OQ>(estimate, worst));
        mask |= below.cast_unsigned() << (i * BLOCK);
    }
    mask
}

/// The sums of all lanes, in order.
///
/// # Safety
/// As `Scan` says.
#[target_feature(enable = "avx2")]
#[inline]
unsafe fn sums(scan: Scan) -> [__m128i; LANES / BLOCK] {
    let nibble = _mm256_set1_epi8(0xf);
    let mut low = Bytes::zero();
    let mut high = Bytes::zero();
    let mut add = |table, codes| {
        low.add(_mm256_shuffle_epi8(table, _mm256_and_si256(codes, nibble)));
        let upper = _mm256_and_si256(_mm256_srli_epi16::<4>(codes), nibble);
        high.add(_mm256_shuffle_epi8(table, upper));
    };
    let whole = scan.groups - scan.groups % GROUPS;
    for group in (0..whole).step_by(GROUPS) {
        let at = group * GROUP_BYTES;
        // SAFETY: GROUPS groups remain.
        unsafe {
            add(
                _mm256_loadu_si256(scan.table.add(at).cast()),
                _mm256_loadu_si256(scan.codes.add(at).cast()),
            )
        };
    }
    if whole < scan.groups {
        let at = whole * GROUP_BYTES;
        // The table past the last group is zero and adds nothing.
        // SAFETY: one group remains.
        unsafe {
            add(
                _mm256_zextsi128_si256(_mm_loadu_si128(scan.table.add(at).cast())),
                _mm256_zextsi128_si256(_mm_loadu_si128(scan.codes.add(at).cast())),
            )
        };
    }
    let ([a, b], [c, d]) = (low.total(), high.total());
    [a, b, c, d]
}

/// Sums of bytes in 16 bits, over 2 groups side by side.
struct Bytes {
    /// Sums of the pairs of bytes as they stand: the even byte and 256 times the odd one.
    pairs: __m256i,
    odd: __m256i,
}

impl Bytes {
    #[target_feature(enable = "avx2")]
    #[inline]
    fn zero() -> Self {
        let zero = _mm256_setzero_si256();
        Self { pairs: zero, odd: zero }
    }

    #[target_feature(enable = "avx2")]
    #[inline]
    fn add(&mut self, bytes: __m256i) {
        self.pairs = _mm256_add_epi16(self.pairs, bytes);
        self.odd = _mm256_add_epi16(self.odd, _mm256_srli_epi16::<8>(bytes));
    }

    /// The sums of the 16 lanes, in order, over both groups.
    #[target_feature(enable = "avx2")]
    #[inline]
    fn total(self) -> [__m128i; 2] {
        let even = _mm256_sub_epi16(self.pairs, _mm256_slli_epi16::<8>(self.odd));
        let (even, odd) = (add_groups(even), add_groups(self.odd));
        [_mm_unpacklo_epi16(even, odd), _mm_unpackhi_epi16(even, odd)]
    }
}

/// The sum of both halves.
#[target_feature(enable = "avx2")]
#[inline]
fn add_groups(two: __m256i) -> __m128i {
    _mm_add_epi16(_mm256_castsi256_si128(two), _mm256_extracti128_si256::<1>(two))
}

/// The factors of a block from `lane` on, widened: a bfloat16 is the upper half of an f32.
///
/// # Safety
/// `from` is readable for the factors of `lane + BLOCK` lanes, at any alignment.
#[target_feature(enable = "avx2")]
#[inline]
unsafe fn factors(from: *const u8, lane: usize) -> __m256 {
    // SAFETY: the caller's promise.
    let halves = unsafe { _mm_loadu_si128(from.add(2 * lane).cast()) };
    _mm256_castsi256_ps(_mm256_slli_epi32::<16>(_mm256_cvtepu16_epi32(halves)))
}
