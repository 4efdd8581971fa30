//! The format of packed numbers: offsets in a block, and plain Rust that writes and reads blocks.

use crate::distance::kernel::{BLOCK, Width};

/// Offset of the lower bits.
pub(super) const HEADS: usize = BLOCK;

/// Bytes of a block of numbers with `low` lower bits.
pub(super) const fn block_bytes(low: usize) -> usize {
    HEADS + lows(low)
}

/// Bytes of the lower bits of a block, `low` of each number.
pub(super) const fn lows(low: usize) -> usize {
    BLOCK * low / 8
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

/// Reads the 32 numbers of a block.
#[inline(always)]
pub(super) fn unpack<const LOW: usize>(block: &[u8]) -> [u16; BLOCK] {
    let (heads, rest) = block.split_at(HEADS);
    let mut numbers = std::array::from_fn(|i| u16::from(heads[i]) << LOW);
    for (i, &low) in rest[..lows(LOW)].iter().enumerate() {
        for part in 0..8 / LOW {
            numbers[part * lows(LOW) + i] |= u16::from(low) >> (part * LOW) & mask(LOW);
        }
    }
    numbers
}

/// Adds `by` to number `i` of a packed vector; returns false, without a change, if the sum is out
/// of range.
pub fn nudge(bytes: &mut [u8], width: Width, i: usize, by: i16) -> bool {
    let block = &mut bytes[i / BLOCK * width.block_bytes()..][..width.block_bytes()];
    match width {
        Width::Twelve => nudge_in::<4>(block, i % BLOCK, by),
        Width::Ten => nudge_in::<2>(block, i % BLOCK, by),
        Width::Eight => nudge_in::<0>(block, i % BLOCK, by),
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

/// A mask of the lower bits.
pub(super) const fn mask(low: usize) -> u16 {
    (1 << low) - 1
}
