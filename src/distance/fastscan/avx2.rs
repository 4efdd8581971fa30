//! FastScan with AVX2 and FMA: a shuffle looks up 16 lanes in each of 2 groups.

use std::arch::x86_64::*;

use crate::distance::kernel::{BLOCK_BYTES, LANES, Scan, Terms};

/// Lanes of a register: of sums of 16 bits (128 bits wide), and of floats after widening (256
/// bits).
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
        let kept = _mm256_movemask_ps(_mm256_cmp_ps::<_CMP_NGE_UQ>(estimate, worst));
        mask |= kept.cast_unsigned() << (i * BLOCK);
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
    let mut halves = [Bytes::zero(), Bytes::zero()];
    for block in 0..scan.blocks {
        // SAFETY: `block` is one of the blocks the caller promises, of four registers each.
        let (table, codes) = unsafe {
            (
                load(scan.table.add(block * BLOCK_BYTES)),
                load(scan.codes.add(block * scan.stride)),
            )
        };
        for (half, words) in halves.iter_mut().zip(codes.as_chunks().0) {
            for (i, bytes) in transpose(*words).into_iter().enumerate() {
                half.add(_mm256_shuffle_epi8(table[i], _mm256_and_si256(bytes, nibble)));
                let upper = _mm256_and_si256(_mm256_srli_epi16::<4>(bytes), nibble);
                half.add(_mm256_shuffle_epi8(table[2 + i], upper));
            }
        }
    }
    let [[a, b], [c, d]] = halves.map(|half| half.total());
    [a, b, c, d]
}

/// A block.
///
/// # Safety
/// `from` is readable for `BLOCK_BYTES`, at any alignment.
#[target_feature(enable = "avx2")]
#[inline]
unsafe fn load(from: *const u8) -> [__m256i; 4] {
    // SAFETY: the caller's promise.
    unsafe {
        [
            _mm256_loadu_si256(from.cast()),
            _mm256_loadu_si256(from.add(32).cast()),
            _mm256_loadu_si256(from.add(64).cast()),
            _mm256_loadu_si256(from.add(96).cast()),
        ]
    }
}

/// Transposes the words of 16 lanes: the first register gets their bytes 0, then 1, the second
/// their bytes 2, then 3.
#[target_feature(enable = "avx2")]
#[inline]
fn transpose(words: [__m256i; 2]) -> [__m256i; 2] {
    // Byte k of 4 lanes to word k of each half of a register, and from there byte k of 8 lanes to
    // quarter 0, 2, 1, 3.
    let gather = _mm256_broadcastsi128_si256(_mm_setr_epi8(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15));
    let spread = _mm256_setr_epi32(0, 4, 2, 6, 1, 5, 3, 7);
    let [a, b] = words.map(|words| _mm256_permutevar8x32_epi32(_mm256_shuffle_epi8(words, gather), spread));
    [_mm256_unpacklo_epi64(a, b), _mm256_unpackhi_epi64(a, b)]
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
