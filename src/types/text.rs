//! Common parts of the texts of all types: numbers, white space, errors with positions.
//!
//! Input takes decimal numbers of any form, and white space between the parts. Output is the
//! shortest text that reads back to the same number, as float4's.

use crate::compat::float_to_shortest_decimal_bufn;
use crate::error::{Error, Result};
use pgrx::pg_sys;
use std::mem::MaybeUninit;

/// How much of a refused text an error quotes, in bytes.
pub const MAX_QUOTED: usize = 1024;

/// The longest number PostgreSQL prints: `-1.2345678e-38`, and a byte to spare.
pub const MAX_PRINTED: usize = 15;

/// A walk over the text of a value.
pub struct Parser<'a> {
    type_name: &'static str,
    text: &'a [u8],
    position: usize,
}

impl<'a> Parser<'a> {
    /// At the start of `text`, which is that of a value of type `type_name`.
    pub fn new(type_name: &'static str, text: &'a [u8]) -> Self {
        Self {
            type_name,
            text,
            position: 0,
        }
    }

    /// The next byte.
    #[inline]
    pub fn peek(&self) -> Option<u8> {
        self.text.get(self.position).copied()
    }

    /// Passes the next byte.
    #[inline]
    pub fn advance(&mut self) {
        self.position += 1;
    }

    /// Skips the white space that PostgreSQL's own composite types skip.
    #[inline]
    pub fn skip_space(&mut self) {
        while let Some(b' ' | b'\t' | b'\n' | b'\r' | 0x0b | 0x0c) = self.peek() {
            self.advance();
        }
    }

    /// Passes `byte`, called `name` if it is not there.
    ///
    /// # Errors
    /// [`Error::InvalidText`].
    pub fn expect(&mut self, byte: u8, name: &'static str) -> Result<()> {
        match self.peek() == Some(byte) {
            true => self.advance(),
            false => return Err(self.syntax_error(name)),
        }
        Ok(())
    }

    /// Refuses anything but white space up to the end.
    ///
    /// # Errors
    /// [`Error::InvalidText`].
    pub fn expect_end(&mut self) -> Result<()> {
        self.skip_space();
        match self.peek() {
            None => Ok(()),
            Some(_) => Err(self.syntax_error("the end of the text")),
        }
    }

    /// Passes a finite number, and gives it with its text. One too small for f32 becomes the
    /// nearest, if need be zero.
    ///
    /// # Errors
    /// [`Error::InvalidText`], [`Error::NotANumber`], [`Error::Infinite`] or
    /// [`Error::NumberOutOfRange`].
    #[inline]
    pub fn number(&mut self) -> Result<(f32, &'a [u8])> {
        let rest = &self.text[self.position..];
        let Ok((value, len)) = fast_float2::parse_partial::<f32, _>(rest) else {
            return Err(self.syntax_error("a number"));
        };
        let number = &rest[..len];
        if !value.is_finite() {
            return Err(self.refused(value, number));
        }
        self.position += len;
        Ok((value, number))
    }

    /// Passes an integer. One beyond i64 becomes the nearest.
    ///
    /// # Errors
    /// [`Error::InvalidText`].
    pub fn integer(&mut self) -> Result<i64> {
        let start = self.position;
        let negative = self.peek() == Some(b'-');
        if let Some(b'-' | b'+') = self.peek() {
            self.advance();
        }
        let digits = self.position;
        let mut value = 0i64;
        while let Some(digit @ b'0'..=b'9') = self.peek() {
            value = value.saturating_mul(10).saturating_add(i64::from(digit - b'0'));
            self.advance();
        }
        if self.position == digits {
            self.position = start;
            return Err(self.syntax_error("an integer"));
        }
        Ok(if negative { -value } else { value })
    }

    /// The error that `expected` does not come next.
    #[cold]
    pub fn syntax_error(&self, expected: &'static str) -> Error {
        Error::InvalidText {
            type_name: self.type_name,
            input: quoted(self.text),
            expected,
            position: self.position + 1,
        }
    }

    /// Why `value`, read from `number`, is no element: it says so itself, or it is too large.
    #[cold]
    fn refused(&self, value: f32, number: &[u8]) -> Error {
        match number.iter().any(u8::is_ascii_digit) {
            true => out_of_range(self.type_name, number),
            false => not_finite(self.type_name, value),
        }
    }
}

/// Why a value of type `type_name` cannot have `value` as an element: NaN or an infinity.
#[cold]
pub fn not_finite(type_name: &'static str, value: f32) -> Error {
    match value.is_nan() {
        true => Error::NotANumber { type_name },
        false => Error::Infinite { type_name },
    }
}

/// That a type cannot hold the number of which this is the text.
#[cold]
pub fn out_of_range(type_name: &'static str, number: &[u8]) -> Error {
    Error::NumberOutOfRange {
        type_name,
        number: quoted(number),
    }
}

/// `text` for an error message, shortened if it is long.
fn quoted(text: &[u8]) -> String {
    match text.len() <= MAX_QUOTED {
        true => String::from_utf8_lossy(text).into_owned(),
        false => {
            // Not in the middle of a character.
            let end = (0..=MAX_QUOTED)
                .rev()
                .find(|&end| text[end] & 0xc0 != 0x80)
                .unwrap_or(0);
            format!("{}...", String::from_utf8_lossy(&text[..end]))
        }
    }
}

/// Prints a number to the start of `out`, which has room for [`MAX_PRINTED`] bytes, and returns the
/// length of its text.
#[inline]
pub fn print_number(value: f32, out: &mut [MaybeUninit<u8>]) -> usize {
    assert!(out.len() >= MAX_PRINTED);
    // PostgreSQL's own function: exactly float4's text, and as fast as any crate.
    // SAFETY: there is room for the longest number.
    unsafe { float_to_shortest_decimal_bufn(value, out.as_mut_ptr().cast()) as usize }
}

/// The text of a number.
pub fn number_text(value: f32) -> Vec<u8> {
    let mut text = Vec::with_capacity(MAX_PRINTED);
    push_number(value, &mut text);
    text
}

/// Appends a number to a text.
pub fn push_number(value: f32, text: &mut Vec<u8>) {
    text.reserve(MAX_PRINTED);
    let len = print_number(value, text.spare_capacity_mut());
    // SAFETY: `len` bytes were written behind the text.
    unsafe { text.set_len(text.len() + len) };
}

/// A new `cstring` in the current memory context, with room for `room` bytes, of which `fill`
/// writes as many as it says.
pub fn new_cstring(room: usize, fill: impl FnOnce(&mut [MaybeUninit<u8>]) -> usize) -> pg_sys::Datum {
    // SAFETY: palloc gives the room, and one byte more for the terminating NUL.
    unsafe {
        let text = pg_sys::palloc(room + 1).cast::<u8>();
        let len = fill(std::slice::from_raw_parts_mut(text.cast(), room));
        assert!(len <= room);
        *text.add(len) = 0;
        text.into()
    }
}
