//! Numbers of dimensions: of a type, declared for a column, and of two values.

use crate::error::{Error, Result};
use crate::types::array::ArrayDatum;

/// Refuses dimensions that no value of a type can have.
///
/// # Errors
/// [`Error::NoDimensions`] or [`Error::TooManyDimensions`].
pub fn check(dimensions: usize, type_name: &'static str, max: usize) -> Result<()> {
    match dimensions {
        0 => Err(Error::NoDimensions { type_name }),
        _ if dimensions > max => Err(Error::TooManyDimensions { type_name, max }),
        _ => Ok(()),
    }
}

/// Refuses dimensions other than the declared ones; a negative `typmod` declares none.
///
/// # Errors
/// [`Error::ExpectedDimensions`].
pub fn check_typmod(typmod: i32, found: usize) -> Result<()> {
    match usize::try_from(typmod) {
        Ok(expected) => check_expected(expected, found),
        Err(_) => Ok(()),
    }
}

/// Refuses other dimensions than the expected ones.
///
/// # Errors
/// [`Error::ExpectedDimensions`].
pub fn check_expected(expected: usize, found: usize) -> Result<()> {
    if expected == found {
        Ok(())
    } else {
        Err(Error::ExpectedDimensions { expected, found })
    }
}

/// Refuses two values of different dimensions.
///
/// # Errors
/// [`Error::DifferentDimensions`].
#[inline]
pub fn check_same(left: usize, right: usize, type_name: &'static str) -> Result<()> {
    match left == right {
        true => Ok(()),
        false => Err(Error::DifferentDimensions { type_name, left, right }),
    }
}

/// The type modifier of `type(modifiers)`: the number of dimensions itself.
///
/// # Errors
/// More than one modifier, or dimensions that no value of the type can have.
pub fn typmod(modifiers: &ArrayDatum, type_name: &'static str, max: usize) -> Result<i32> {
    match modifiers.to_typmods()[..] {
        [dimensions] if dimensions < 1 => Err(Error::TypmodTooSmall { type_name }),
        [dimensions] if dimensions as usize > max => Err(Error::TypmodTooLarge { type_name, max }),
        [dimensions] => Ok(dimensions),
        _ => Err(Error::InvalidTypmod { type_name }),
    }
}
