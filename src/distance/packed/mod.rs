//! Distances to vectors of 12 or 10 bits a dimension, decoded on the way and compared where they lie, in a page.
//!
//! 32 dimensions are a block: 32 bytes with the upper 8 bits of each number, then those with the lower ones, from the lowest
//! bit of a byte on:
//!
//! - [`Width::Twelve`]: 16 bytes, 48 in all; byte i has 4 bits of dimension i and 4 of dimension 16 + i;
//! - [`Width::Ten`]: 8 bytes, 40 in all; byte i has 2 bits of each of the dimensions i, 8 + i, 16 + i and 24 + i.
//!
//! Kernels have the number of lower bits as a parameter, `LOW`: there are `4 * LOW` bytes of them.
//!
//! Invariant: where the product of the scale with every number is exact, as [`crate::quantize::scalar`] makes it, a decoded
//! dimension is rounded once and the same in every version. The sums are of floats, so they may differ in the last bits.

/// [`PackedKernels`] for each width, in the order of [`Width`], of the functions in scope.
macro_rules! kernels_of_widths {
    () => {
        [kernels_of_widths!(4), kernels_of_widths!(2)]
    };
    ($low:literal) => {
        $crate::distance::packed::PackedKernels {
            l2_squared: l2_squared::<$low>,
            inner_product: inner_product::<$low>,
            decode: decode::<$low>,
        }
    };
}

#[cfg(target_arch = "x86_64")]
pub(super) mod avx2;
#[cfg(target_arch = "x86_64")]
pub(super) mod avx512;
#[cfg(target_arch = "aarch64")]
pub(super) mod neon;
pub(super) mod scalar;

#[cfg(test)]
mod tests;

use super::dispatch::kernels;

/// Dimensions of a block.
pub const BLOCK: usize = 32;

/// Where the lower bits begin.
const HEADS: usize = BLOCK;

/// The bits of a number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Width {
    Twelve,
    Ten,
}

impl Width {
    #[cfg(test)]
    pub const ALL: [Width; 2] = [Width::Twelve, Width::Ten];

    /// How many they are.
    #[inline]
    #[must_use]
    pub const fn bits(self) -> u32 {
        match self {
            Width::Twelve => 12,
            Width::Ten => 10,
        }
    }

    /// Bytes of a block.
    #[inline]
    #[must_use]
    pub const fn block_bytes(self) -> usize {
        BLOCK * self.bits() as usize / 8
    }
}

/// Bytes of a block of numbers with so many lower bits.
const fn block_bytes(low: usize) -> usize {
    HEADS + lows(low)
}

/// Bytes with the lower bits of a block, so many of each number.
const fn lows(low: usize) -> usize {
    BLOCK * low / 8
}

/// A vector of integers on a scale of its own: dimension i is `offset + scale * v`, where v is the i-th number in `bytes`.
#[derive(Clone, Copy, Debug)]
pub struct Packed<'a> {
    pub bytes: &'a [u8],
    pub offset: f32,
    pub scale: f32,
    pub width: Width,
}

/// Writes a block of 32 numbers, each below `1 << (8 + LOW)`.
#[inline(always)]
pub fn pack<const LOW: usize>(numbers: [u16; BLOCK], block: &mut [u8]) {
    let (heads, rest) = block.split_at_mut(HEADS);
    for (head, number) in heads.iter_mut().zip(numbers) {
        *head = (number >> LOW) as u8;
    }
    for (i, low) in rest[..lows(LOW)].iter_mut().enumerate() {
        let parts = (0..8 / LOW).map(|part| (numbers[part * lows(LOW) + i] & mask(LOW)) << (part * LOW));
        *low = parts.fold(0, |byte, part| byte | part as u8);
    }
}

/// The 32 numbers that [`pack`] put there.
#[inline(always)]
fn unpack<const LOW: usize>(block: &[u8]) -> [u16; BLOCK] {
    let (heads, rest) = block.split_at(HEADS);
    let mut numbers = [0; BLOCK];
    for (i, &low) in rest[..lows(LOW)].iter().enumerate() {
        for part in 0..8 / LOW {
            let at = part * lows(LOW) + i;
            numbers[at] = u16::from(heads[at]) << LOW | u16::from(low) >> (part * LOW) & mask(LOW);
        }
    }
    numbers
}

/// Adds `by` to number `i` of a packed vector, if it then still has its bits; says whether it did.
pub fn nudge(bytes: &mut [u8], width: Width, i: usize, by: i16) -> bool {
    let block = &mut bytes[i / BLOCK * width.block_bytes()..][..width.block_bytes()];
    match width {
        Width::Twelve => nudge_in::<4>(block, i % BLOCK, by),
        Width::Ten => nudge_in::<2>(block, i % BLOCK, by),
    }
}

fn nudge_in<const LOW: usize>(block: &mut [u8], i: usize, by: i16) -> bool {
    let mut numbers = unpack::<LOW>(block);
    match numbers[i].checked_add_signed(by) {
        Some(number) if number < 1 << (8 + LOW) => numbers[i] = number,
        _ => return false,
    }
    pack::<LOW>(numbers, block);
    true
}

/// As many ones as there are lower bits.
const fn mask(low: usize) -> u16 {
    (1 << low) - 1
}

/// A sum over the dimensions of a query and of a packed vector.
///
/// To call one: the vector has the width that the kernel is for, the query [`BLOCK`] dimensions for each block of the
/// vector, whole blocks, and the machine the instructions.
pub(super) type PackedKernel = unsafe fn(q: &[f32], x: &Packed) -> f32;

/// Writes all dimensions of a packed vector. To call one: as [`PackedKernel`] says, of the vector that is written.
pub(super) type DecodeKernel = unsafe fn(x: &Packed, vector: &mut [f32]);

/// The kernels of an instruction set for one width.
#[derive(Clone, Copy)]
pub(super) struct PackedKernels {
    pub l2_squared: PackedKernel,
    pub inner_product: PackedKernel,
    pub decode: DecodeKernel,
}

/// Squared Euclidean distance of a query and a packed vector.
///
/// # Panics
/// If the vectors differ in length or are not whole blocks.
#[inline]
#[must_use]
pub fn l2_squared_packed(q: &[f32], x: &Packed) -> f32 {
    // SAFETY: the kernel comes from `of_width`.
    unsafe { apply(of_width(x.width).l2_squared, q, x) }
}

/// Inner product of a query and a packed vector.
///
/// # Panics
/// If the vectors differ in length or are not whole blocks.
#[inline]
#[must_use]
pub fn inner_product_packed(q: &[f32], x: &Packed) -> f32 {
    // SAFETY: the kernel comes from `of_width`.
    unsafe { apply(of_width(x.width).inner_product, q, x) }
}

/// Decodes a packed vector.
///
/// # Panics
/// If the vectors differ in length or are not whole blocks.
#[inline]
pub fn decode_packed(x: &Packed, vector: &mut [f32]) {
    check(vector, x);
    // SAFETY: the lengths are as promised; `of_width` returns what this machine can run.
    unsafe { (of_width(x.width).decode)(x, vector) }
}

/// The kernels in use for a width.
#[inline]
fn of_width(width: Width) -> &'static PackedKernels {
    &kernels().packed[width as usize]
}

/// # Safety
/// `kernel` is one for the width of `x`, and the machine can run it, as it can all that `of_width` returns.
#[inline]
unsafe fn apply(kernel: PackedKernel, q: &[f32], x: &Packed) -> f32 {
    check(q, x);
    // SAFETY: the lengths are as promised; the rest is the caller's promise.
    unsafe { kernel(q, x) }
}

fn check(q: &[f32], x: &Packed) {
    assert_eq!(q.len() % BLOCK, 0, "a vector ends within a block");
    assert_eq!(
        q.len() / BLOCK * x.width.block_bytes(),
        x.bytes.len(),
        "vectors of unequal length"
    );
}
