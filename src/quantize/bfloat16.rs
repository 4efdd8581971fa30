//! bfloat16: the upper half of an f32, with its range and three decimal digits.
//!
//! Every value here is finite: conversion saturates.

/// A finite number with the exponent of an f32 and 8 bits of precision.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(transparent)]
pub struct Bf16(u16);

impl Bf16 {
    /// The largest finite value, about 3.39e38.
    pub const MAX: Bf16 = Bf16(0x7F7F);

    /// The nearest bfloat16, ties to even. Larger numbers and infinities become the largest of
    /// their sign, NaN becomes zero. Relative error at most 2^-8 for normal numbers.
    #[inline]
    pub fn from_f32(value: f32) -> Self {
        if value.is_nan() {
            return Bf16(0);
        }
        let limited = value.clamp(-Self::MAX.to_f32(), Self::MAX.to_f32()).to_bits();
        let odd = (limited >> 16) & 1;
        Bf16(((limited + 0x7FFF + odd) >> 16) as u16)
    }

    /// The same number as an f32, exactly.
    #[inline]
    pub const fn to_f32(self) -> f32 {
        f32::from_bits((self.0 as u32) << 16)
    }

    /// The 16 bits that are stored.
    #[inline]
    pub const fn to_bits(self) -> u16 {
        self.0
    }

    /// The number with these bits. They may come from a damaged page: infinities and NaN are read
    /// as zero.
    #[inline]
    pub const fn from_bits(bits: u16) -> Self {
        if bits & 0x7F80 == 0x7F80 { Bf16(0) } else { Bf16(bits) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_finite_value_survives() {
        for bits in 0..=u16::MAX {
            let value = Bf16::from_bits(bits);
            assert!(value.to_f32().is_finite());
            assert_eq!(Bf16::from_f32(value.to_f32()), value);
        }
    }

    #[test]
    fn rounds_to_nearest_and_ties_to_even() {
        let one = 0x3F80_0000u32;
        for (low, expected) in [(0x7FFF, 0x3F80), (0x8000, 0x3F80), (0x8001, 0x3F81), (0x1_8000, 0x3F82)] {
            assert_eq!(Bf16::from_f32(f32::from_bits(one + low)).to_bits(), expected);
            assert_eq!(Bf16::from_f32(-f32::from_bits(one + low)).to_bits(), expected | 0x8000);
        }
        let mut value = 1e-30f32;
        while value < 1e30 {
            let error = (Bf16::from_f32(value).to_f32() - value).abs();
            assert!(error <= value / 256.0, "{value}");
            value *= 1.37;
        }
    }

    #[test]
    fn saturates() {
        assert_eq!(Bf16::from_f32(f32::MAX), Bf16::MAX);
        assert_eq!(Bf16::from_f32(f32::INFINITY), Bf16::MAX);
        assert_eq!(Bf16::from_f32(f32::NEG_INFINITY).to_f32(), -Bf16::MAX.to_f32());
        assert_eq!(Bf16::from_f32(f32::NAN).to_f32(), 0.0);
    }
}
