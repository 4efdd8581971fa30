//! Types of kernels and of their arguments: the interface between the files of an instruction set
//! and the choice of one.
//!
//! This module imports nothing of `distance`.

use half::f16;

/// The kernels of one instruction set.
pub(super) struct Kernels {
    pub name: &'static str,
    pub single: DenseKernels<f32>,
    pub half: DenseKernels<f16>,
    /// In the order of [`Width`].
    pub packed: [PackedKernels; 3],
    pub fastscan: SumKernel,
    pub estimate: EstimateKernel,
    pub hamming: HammingKernel,
    pub overlap: OverlapKernel,
}

/// A sum over the pairs of two arrays of n numbers, in f32.
///
/// Conditions of a call: both pointers are readable for n numbers, at any alignment, and the
/// machine has the instructions.
pub type PairKernel<T = f32> = unsafe fn(a: *const T, b: *const T, n: usize) -> f32;

/// As [`PairKernel`], of the three sums <a,b>, <a,a>, <b,b>.
pub type CosineKernel<T> = unsafe fn(a: *const T, b: *const T, n: usize) -> [f32; 3];

/// The number of bits in which two arrays of bytes differ.
///
/// Conditions of a call: the arrays have one length, and the machine has the instructions.
pub(super) type HammingKernel = unsafe fn(a: &[u8], b: &[u8]) -> u32;

/// The numbers of bits that are set in both of two arrays of bytes, and in at least one. Conditions
/// of a call: as of [`HammingKernel`].
pub(super) type OverlapKernel = unsafe fn(a: &[u8], b: &[u8]) -> [u32; 2];

/// The kernels for dense vectors of one type of numbers.
#[derive(Clone, Copy)]
pub struct DenseKernels<T> {
    pub l2_squared: PairKernel<T>,
    pub inner_product: PairKernel<T>,
    pub negative_inner_product: PairKernel<T>,
    pub l1: PairKernel<T>,
    pub cosine_terms: CosineKernel<T>,
}

/// Calls a kernel on two slices.
///
/// # Safety
/// The machine can run `kernel`, as it can all that `dispatch::kernels` returns.
#[inline]
pub(super) unsafe fn apply<T>(kernel: PairKernel<T>, a: &[T], b: &[T]) -> f32 {
    assert_eq!(a.len(), b.len(), "vectors of unequal length");
    // SAFETY: both slices hold `a.len()` numbers; the rest is the caller's promise.
    unsafe { kernel(a.as_ptr(), b.as_ptr(), a.len()) }
}

/// Codes that a FastScan kernel sums at once.
pub const LANES: usize = 32;

/// Bytes of the table of a word, a block; as many as of a word of [`LANES`] codes.
pub const BLOCK_BYTES: usize = LANES * size_of::<u32>();

/// Bytes of one factor of every lane, a bfloat16 each.
pub const FACTOR_BYTES: usize = LANES * 2;

/// The number of lanes of codes is a multiple of this.
pub const GROUP: usize = 8;

/// Words of a lane that lie side by side, as long as there are as many.
pub const CHUNK: usize = 4;

/// Codes of up to [`LANES`] lanes, a multiple of [`GROUP`]: of each lane [`CHUNK`] words, then the
/// next ones of each, and at last, word by word, the words of all lanes that fill no chunk.
#[derive(Clone, Copy)]
pub struct Codes<'a> {
    /// The words of all lanes, at any alignment.
    pub bytes: &'a [u8],
    /// The number of lanes. The sums and estimates of others are of no
    /// meaning.
    pub lanes: usize,
}

impl Codes<'_> {
    /// Bytes of codes of so many words.
    #[inline]
    #[must_use]
    pub const fn len(words: usize, lanes: usize) -> usize {
        words * lanes * size_of::<u32>()
    }

    /// Place of a word of a lane in codes of so many words.
    #[inline]
    #[must_use]
    pub const fn place(words: usize, lanes: usize, word: usize, lane: usize) -> usize {
        let chunk = word / CHUNK * CHUNK;
        let in_chunk = match chunk + CHUNK <= words {
            true => lane * CHUNK + word - chunk,
            false => (word - chunk) * lanes + lane,
        };
        (chunk * lanes + in_chunk) * size_of::<u32>()
    }
}

/// Arguments of a scan: a table and the codes that select its entries.
///
/// Conditions of a call with it: `table` is readable for `blocks * BLOCK_BYTES` bytes, `codes` for
/// [`Codes::len`] of `blocks` and `lanes`, at any alignment, the lanes are 8, 16, 24 or 32, and the
/// machine has the instructions.
#[derive(Clone, Copy)]
pub(super) struct Scan {
    pub table: *const u8,
    pub codes: *const u8,
    pub lanes: usize,
    pub blocks: usize,
}

/// The factors of the lanes, and the numbers that all lanes share ([`super::estimate()`]).
///
/// Conditions of a call with it: both pointers are readable for `FACTOR_BYTES`, at any alignment.
#[derive(Clone, Copy)]
pub(super) struct Terms {
    pub a: *const u8,
    pub f: *const u8,
    pub base: f32,
    pub scale: f32,
    pub offset: f32,
    pub worst: f32,
}

/// The sum of every lane. Conditions of a call: as [`Scan`] says.
pub(super) type SumKernel = unsafe fn(scan: Scan) -> [u16; LANES];

/// The estimate of every lane, and the mask of the lanes not known to be as bad as the worst.
/// Conditions of a call: as [`Scan`] and [`Terms`] say.
pub(super) type EstimateKernel = unsafe fn(scan: Scan, terms: Terms, out: &mut [f32; LANES]) -> u32;

impl Scan {
    pub fn new(table: &[u8], codes: Codes<'_>) -> Self {
        let Codes { bytes, lanes } = codes;
        let blocks = table.len() / BLOCK_BYTES;
        assert_eq!(table.len() % BLOCK_BYTES, 0, "a table ends within a block");
        assert!(
            lanes.is_multiple_of(GROUP) && (1..=LANES).contains(&lanes),
            "codes of {lanes} lanes"
        );
        assert_eq!(
            bytes.len(),
            Codes::len(blocks, lanes),
            "table and codes of unequal length"
        );
        Self {
            table: table.as_ptr(),
            codes: bytes.as_ptr(),
            lanes,
            blocks,
        }
    }
}

/// Dimensions of a block of packed numbers (`packed`).
pub const BLOCK: usize = 32;

/// Bits of a packed number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Width {
    Twelve,
    Ten,
    Eight,
}

impl Width {
    #[cfg(test)]
    pub const ALL: [Width; 3] = [Width::Twelve, Width::Ten, Width::Eight];

    /// The number of bits.
    #[inline]
    #[must_use]
    pub const fn bits(self) -> u32 {
        match self {
            Width::Twelve => 12,
            Width::Ten => 10,
            Width::Eight => 8,
        }
    }

    /// Bytes of a block.
    #[inline]
    #[must_use]
    pub const fn block_bytes(self) -> usize {
        BLOCK * self.bits() as usize / 8
    }
}

/// A vector of integers on a scale of its own: dimension i is `offset + scale * v`, where v is the
/// i-th number in `bytes`.
#[derive(Clone, Copy, Debug)]
pub struct Packed<'a> {
    pub bytes: &'a [u8],
    pub offset: f32,
    pub scale: f32,
    pub width: Width,
}

/// A sum over the dimensions of a query and of a packed vector.
///
/// Conditions of a call: the vector has the kernel's width, the query has [`BLOCK`] dimensions for
/// each block of the vector, all blocks are whole, and the machine has the instructions.
pub(super) type PackedKernel = unsafe fn(q: &[f32], x: &Packed) -> f32;

/// Writes all dimensions of a packed vector. Conditions of a call: as of [`PackedKernel`], with the
/// output as the query.
pub(super) type DecodeKernel = unsafe fn(x: &Packed, vector: &mut [f32]);

/// The kernels of an instruction set for one width.
#[derive(Clone, Copy)]
pub(super) struct PackedKernels {
    pub l2_squared: PackedKernel,
    pub inner_product: PackedKernel,
    pub decode: DecodeKernel,
}
