//! FastScan with AVX-512 (avx512f and avx512bw): a shuffle looks up 16 lanes in 4 groups.

use std::arch::x86_64::*;

use crate::distance::kernel::{BLOCK_BYTES, CHUNK, GROUP, LANES, Scan, Terms};

pub(super) const HALF: usize = LANES / 2;

/// Bytes of a register: a word of 16 lanes, four words of 4 lanes, the entries of 4 groups.
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
    // SAFETY: the caller's promise.
    unsafe { by_groups!(sums_of, scan) }
}

/// As [`sums`], of so many groups of lanes.
///
/// # Safety
/// As for [`sums`].
#[target_feature(enable = "avx512f,avx512bw")]
#[inline]
unsafe fn sums_of<const GROUPS: usize>(scan: Scan) -> [__m512i; 2] {
    let nibble = _mm512_set1_epi8(0xf);
    // Byte k of 4 lanes to word k of each quarter of a register, and from there to quarter k.
    let gather = _mm512_broadcast_i32x4(_mm_setr_epi8(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15));
    let mut halves = [Bytes::zero(), Bytes::zero()];
    let mut add = |block: usize, codes: [__m512i; 2]| {
        // SAFETY: `block` is one of the blocks the caller promises.
        let [even, odd] = unsafe { entries(scan, block) };
        for (half, codes) in halves.iter_mut().zip(codes).take(GROUPS.div_ceil(2)) {
            let codes = _mm512_permutexvar_epi32(quarters(), _mm512_shuffle_epi8(codes, gather));
            half.add(_mm512_shuffle_epi8(even, _mm512_and_si512(codes, nibble)));
            let upper = _mm512_and_si512(_mm512_srli_epi16::<4>(codes), nibble);
            half.add(_mm512_shuffle_epi8(odd, upper));
        }
    };
    for chunk in 0..scan.blocks / CHUNK {
        // SAFETY: a chunk of the codes, of so many groups of lanes.
        let [low, high] = unsafe { words::<GROUPS>(scan, chunk) };
        for (i, codes) in low.into_iter().zip(high).enumerate() {
            add(chunk * CHUNK + i, codes.into());
        }
    }
    for block in scan.blocks / CHUNK * CHUNK..scan.blocks {
        // SAFETY: a block behind the chunks.
        add(block, unsafe { row::<GROUPS>(scan, block) });
    }
    halves.map(|half| _mm512_permutexvar_epi32(quarters(), _mm512_cvtepu16_epi32(half.total())))
}

/// The order in which element 4 q + j becomes element q + 4 j: its own inverse.
#[target_feature(enable = "avx512f")]
#[inline]
pub(super) fn quarters() -> __m512i {
    _mm512_setr_epi32(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15)
}

/// The entries of a block: of the low halves of its bytes, and of the high halves.
///
/// # Safety
/// `block` is one of the scan's.
#[target_feature(enable = "avx512f")]
#[inline]
pub(super) unsafe fn entries(scan: Scan, block: usize) -> [__m512i; 2] {
    let at = block * BLOCK_BYTES;
    // SAFETY: the caller's promise.
    unsafe {
        [
            _mm512_loadu_si512(scan.table.add(at).cast()),
            _mm512_loadu_si512(scan.table.add(at + REGISTER).cast()),
        ]
    }
}

/// The words of a chunk, of lanes 0 to 15 and of lanes 16 to 31 (zero where there are none), in the
/// order of [`quarters`].
///
/// # Safety
/// `chunk` is one of the scan's, whose lanes are `GROUPS` groups.
#[target_feature(enable = "avx512f")]
#[inline]
pub(super) unsafe fn words<const GROUPS: usize>(scan: Scan, chunk: usize) -> [[__m512i; CHUNK]; 2] {
    let zero = _mm512_setzero_si512();
    let mut halves = [[zero; CHUNK]; 2];
    for (i, register) in halves.as_flattened_mut().iter_mut().enumerate().take(2 * GROUPS) {
        let at = chunk * GROUPS * GROUP * CHUNK * size_of::<u32>() + i * REGISTER;
        // SAFETY: the caller's promise: 4 lanes of the chunk.
        *register = unsafe { _mm512_loadu_si512(scan.codes.add(at).cast()) };
    }
    [transpose(halves[0]), transpose(halves[1])]
}

/// Register k of the result has word k of each lane: of the first lane of each register, then of
/// the second ones.
#[target_feature(enable = "avx512f")]
#[inline]
fn transpose([a, b, c, d]: [__m512i; CHUNK]) -> [__m512i; CHUNK] {
    let (ab, cd) = (_mm512_unpacklo_epi32(a, b), _mm512_unpacklo_epi32(c, d));
    let (ab_high, cd_high) = (_mm512_unpackhi_epi32(a, b), _mm512_unpackhi_epi32(c, d));
    [
        _mm512_unpacklo_epi64(ab, cd),
        _mm512_unpackhi_epi64(ab, cd),
        _mm512_unpacklo_epi64(ab_high, cd_high),
        _mm512_unpackhi_epi64(ab_high, cd_high),
    ]
}

/// The words of a block behind the chunks, as [`words`].
///
/// # Safety
/// `block` is one of the scan's behind its chunks, and the lanes are `GROUPS` groups.
#[target_feature(enable = "avx512f")]
#[inline]
pub(super) unsafe fn row<const GROUPS: usize>(scan: Scan, block: usize) -> [__m512i; 2] {
    let at = block * GROUPS * GROUP * size_of::<u32>();
    let mut halves = [_mm512_setzero_si512(); 2];
    for (i, half) in halves.iter_mut().enumerate().take(GROUPS.div_ceil(2)) {
        let is_whole = 2 * (i + 1) <= GROUPS;
        // SAFETY: the caller's promise: 16 lanes of the block, or 8.
        let codes = unsafe {
            let codes = scan.codes.add(at + i * REGISTER);
            _mm512_maskz_loadu_epi32(if is_whole { 0xffff } else { 0xff }, codes.cast())
        };
        *half = _mm512_permutexvar_epi32(quarters(), codes);
    }
    halves
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
