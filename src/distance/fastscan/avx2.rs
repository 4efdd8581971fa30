//! FastScan with AVX2 and FMA: a shuffle looks up 16 lanes in each of 2 groups.

use std::arch::x86_64::*;

use crate::distance::kernel::{BLOCK_BYTES, CHUNK, GROUP, LANES, Scan, Terms};

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
    // SAFETY: the caller's promise.
    unsafe { by_groups!(sums_of, scan) }
}

/// As [`sums`], of so many groups of lanes.
///
/// # Safety
/// As for [`sums`].
#[target_feature(enable = "avx2")]
#[inline]
unsafe fn sums_of<const GROUPS: usize>(scan: Scan) -> [__m128i; LANES / BLOCK] {
    let mut sums = [_mm_setzero_si128(); LANES / BLOCK];
    for (half, sums) in sums.as_chunks_mut().0.iter_mut().enumerate().take(GROUPS.div_ceil(2)) {
        let (mut chunks, mut rest) = (Bytes::zero(), Bytes::zero());
        for chunk in 0..scan.blocks / CHUNK {
            // SAFETY: a chunk of the codes, of so many groups of lanes.
            let pairs = unsafe { pairs::<GROUPS>(scan, chunk, half) };
            for (i, pair) in pairs.as_chunks().0.iter().enumerate() {
                // SAFETY: a block of the chunk.
                unsafe { chunks.look_up(scan, chunk * CHUNK + i, *pair) };
            }
        }
        for block in scan.blocks / CHUNK * CHUNK..scan.blocks {
            // SAFETY: a block behind the chunks.
            unsafe { rest.look_up(scan, block, transpose(row::<GROUPS>(scan, block, half))) };
        }
        // Of the chunks first the even lanes, then the odd ones.
        let ([even, odd], [a, b]) = (chunks.total(), rest.total());
        let (c, d) = (_mm_unpacklo_epi16(even, odd), _mm_unpackhi_epi16(even, odd));
        *sums = [_mm_add_epi16(a, c), _mm_add_epi16(b, d)];
    }
    sums
}

/// The bytes of a chunk, of the 16 lanes of a half (zero where there are none): each register has
/// two bytes of a word, the first one of the even lanes, then of the odd ones, then the second.
///
/// # Safety
/// `chunk` is one of the scan's, whose lanes are `GROUPS` groups.
#[target_feature(enable = "avx2")]
#[inline]
unsafe fn pairs<const GROUPS: usize>(scan: Scan, chunk: usize, half: usize) -> [__m256i; 2 * CHUNK] {
    let mut lanes = [_mm256_setzero_si256(); 8];
    for (i, lanes) in lanes.iter_mut().enumerate() {
        let first = 16 * half + 2 * i;
        if first < GROUPS * GROUP {
            let at = (chunk * GROUPS * GROUP + first) * CHUNK * size_of::<u32>();
            // SAFETY: the caller's promise: 2 lanes of the chunk.
            *lanes = unsafe { _mm256_loadu_si256(scan.codes.add(at).cast()) };
        }
    }
    let [a, b, c, d, e, f, g, h] = lanes;
    // Bytes of 2 lanes side by side, of 4, of 8.
    let ([ab, ab_high], [cd, cd_high]) = (zip_bytes(a, b), zip_bytes(c, d));
    let ([ef, ef_high], [gh, gh_high]) = (zip_bytes(e, f), zip_bytes(g, h));
    let ([ad, ad_1], [ad_2, ad_3]) = (zip_pairs(ab, cd), zip_pairs(ab_high, cd_high));
    let ([eh, eh_1], [eh_2, eh_3]) = (zip_pairs(ef, gh), zip_pairs(ef_high, gh_high));
    let ([r0, r1], [r2, r3]) = (zip_fours(ad, eh), zip_fours(ad_1, eh_1));
    let ([r4, r5], [r6, r7]) = (zip_fours(ad_2, eh_2), zip_fours(ad_3, eh_3));
    [r0, r1, r2, r3, r4, r5, r6, r7]
}

/// Bytes of both registers in turn, of the lower and of the upper eight of each half.
#[target_feature(enable = "avx2")]
#[inline]
fn zip_bytes(a: __m256i, b: __m256i) -> [__m256i; 2] {
    [_mm256_unpacklo_epi8(a, b), _mm256_unpackhi_epi8(a, b)]
}

/// As [`zip_bytes`], two bytes at a time.
#[target_feature(enable = "avx2")]
#[inline]
fn zip_pairs(a: __m256i, b: __m256i) -> [__m256i; 2] {
    [_mm256_unpacklo_epi16(a, b), _mm256_unpackhi_epi16(a, b)]
}

/// As [`zip_bytes`], four bytes at a time; then the second and the third quarter change places.
#[target_feature(enable = "avx2")]
#[inline]
fn zip_fours(a: __m256i, b: __m256i) -> [__m256i; 2] {
    let (low, high) = (_mm256_unpacklo_epi32(a, b), _mm256_unpackhi_epi32(a, b));
    const ORDER: i32 = 0b11_01_10_00;
    [
        _mm256_permute4x64_epi64::<ORDER>(low),
        _mm256_permute4x64_epi64::<ORDER>(high),
    ]
}

/// The words of a block behind the chunks, of the 16 lanes of a half (zero where there are none).
///
/// # Safety
/// `block` is one of the scan's behind its chunks, and the lanes are `GROUPS` groups.
#[target_feature(enable = "avx2")]
#[inline]
unsafe fn row<const GROUPS: usize>(scan: Scan, block: usize, half: usize) -> [__m256i; 2] {
    let mut words = [_mm256_setzero_si256(); 2];
    for (i, words) in words.iter_mut().enumerate() {
        let group = 2 * half + i;
        if group < GROUPS {
            let at = (block * GROUPS + group) * GROUP * size_of::<u32>();
            // SAFETY: the caller's promise: 8 lanes of the block.
            *words = unsafe { _mm256_loadu_si256(scan.codes.add(at).cast()) };
        }
    }
    words
}

/// The entries of a block.
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

    /// Adds the terms of a block's bytes: 0 and 1, then 2 and 3, of 16 lanes each.
    ///
    /// # Safety
    /// `block` is one of the scan's.
    #[target_feature(enable = "avx2")]
    #[inline]
    unsafe fn look_up(&mut self, scan: Scan, block: usize, bytes: [__m256i; 2]) {
        let nibble = _mm256_set1_epi8(0xf);
        // SAFETY: the caller's promise.
        let table = unsafe { load(scan.table.add(block * BLOCK_BYTES)) };
        for (i, bytes) in bytes.into_iter().enumerate() {
            self.add(_mm256_shuffle_epi8(table[i], _mm256_and_si256(bytes, nibble)));
            let upper = _mm256_and_si256(_mm256_srli_epi16::<4>(bytes), nibble);
            self.add(_mm256_shuffle_epi8(table[2 + i], upper));
        }
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
