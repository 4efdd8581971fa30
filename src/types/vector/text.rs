//! The text of a vector: `[1,2.5,-3e-05]`. A hot path: embeddings have a thousand numbers and more.
//!
//! Reading takes decimal numbers of any form and white space between the parts; a number too small for f32 becomes the
//! nearest one, if need be zero. Printing gives the shortest text that reads back to the same number, as float4 does.

use super::{MAX_DIMENSIONS, TYPE_NAME};
use crate::error::{Error, Result};
use std::ffi::{c_char, c_int};
use std::mem::MaybeUninit;

/// How much of a refused text an error quotes, in bytes.
const MAX_QUOTED: usize = 1024;

/// The longest number PostgreSQL prints: `-1.2345678e-38`, and a byte to spare.
const MAX_PRINTED: usize = 15;

/// Reads a vector.
///
/// # Errors
/// [`Error::InvalidText`], [`Error::NotANumber`], [`Error::Infinite`], [`Error::NumberOutOfRange`],
/// [`Error::NoDimensions`] or [`Error::TooManyDimensions`].
pub fn parse(text: &[u8]) -> Result<Vec<f32>> {
    let mut parser = Parser { text, position: 0 };
    parser.skip_space();
    parser.expect(b'[', "\"[\"")?;
    parser.skip_space();
    if parser.peek() == Some(b']') {
        return Err(Error::NoDimensions { type_name: TYPE_NAME });
    }
    // Most numbers take more than 4 bytes: room for all of them, without much waste.
    let mut values = Vec::with_capacity((text.len() / 4).clamp(4, MAX_DIMENSIONS));
    loop {
        if values.len() == MAX_DIMENSIONS {
            return Err(Error::TooManyDimensions {
                type_name: TYPE_NAME,
                max: MAX_DIMENSIONS,
            });
        }
        parser.skip_space();
        values.push(parser.number()?);
        parser.skip_space();
        match parser.peek() {
            Some(b',') => parser.position += 1,
            Some(b']') => break,
            _ => return Err(parser.syntax_error("\",\" or \"]\"")),
        }
    }
    parser.position += 1;
    parser.skip_space();
    match parser.peek() {
        None => Ok(values),
        Some(_) => Err(parser.syntax_error("the end of the text")),
    }
}

/// The room that [`print`] needs for so many numbers.
pub const fn printed_size(dimensions: usize) -> usize {
    dimensions * (MAX_PRINTED + 1) + 1
}

/// Prints a vector to `out`, which has room for [`printed_size`] bytes, and returns the length of the text.
pub fn print(values: &[f32], out: &mut [MaybeUninit<u8>]) -> usize {
    assert!(out.len() >= printed_size(values.len()));
    let out = out.as_mut_ptr().cast::<u8>();
    let mut len = 0;
    for (index, &value) in values.iter().enumerate() {
        // SAFETY: a separator and a number are at most MAX_PRINTED + 1 bytes, for which there is room.
        unsafe {
            *out.add(len) = if index == 0 { b'[' } else { b',' };
            len += 1 + float_to_shortest_decimal_bufn(value, out.add(len + 1).cast()) as usize;
        }
    }
    // SAFETY: there is one byte more than the numbers can take.
    unsafe { *out.add(len) = b']' };
    len + 1
}

// PostgreSQL's own: exactly float4's text, and as fast as any crate. It neither allocates nor raises, so it can be called
// without the guard that other functions of the server need.
unsafe extern "C" {
    /// Writes `f` without a terminating NUL and returns the length, at most [`MAX_PRINTED`].
    fn float_to_shortest_decimal_bufn(f: f32, result: *mut c_char) -> c_int;
}

struct Parser<'a> {
    text: &'a [u8],
    position: usize,
}

impl Parser<'_> {
    #[inline]
    fn peek(&self) -> Option<u8> {
        self.text.get(self.position).copied()
    }

    /// Skips what PostgreSQL's own composite types skip.
    #[inline]
    fn skip_space(&mut self) {
        while let Some(b' ' | b'\t' | b'\n' | b'\r' | 0x0b | 0x0c) = self.peek() {
            self.position += 1;
        }
    }

    fn expect(&mut self, byte: u8, name: &'static str) -> Result<()> {
        match self.peek() == Some(byte) {
            true => self.position += 1,
            false => return Err(self.syntax_error(name)),
        }
        Ok(())
    }

    /// Reads a finite number.
    #[inline]
    fn number(&mut self) -> Result<f32> {
        let rest = &self.text[self.position..];
        let Ok((value, len)) = fast_float2::parse_partial::<f32, _>(rest) else {
            return Err(self.syntax_error("a number"));
        };
        if !value.is_finite() {
            return Err(refused(value, &rest[..len]));
        }
        self.position += len;
        Ok(value)
    }

    #[cold]
    fn syntax_error(&self, expected: &'static str) -> Error {
        Error::InvalidText {
            type_name: TYPE_NAME,
            input: quoted(self.text),
            expected,
            position: self.position + 1,
        }
    }
}

/// Why `value`, read from `number`, is no element: it says so itself, or it is too large.
#[cold]
fn refused(value: f32, number: &[u8]) -> Error {
    if value.is_nan() {
        Error::NotANumber { type_name: TYPE_NAME }
    } else if number.iter().any(u8::is_ascii_digit) {
        Error::NumberOutOfRange {
            type_name: TYPE_NAME,
            number: quoted(number),
        }
    } else {
        Error::Infinite { type_name: TYPE_NAME }
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

#[cfg(test)]
mod tests {
    use super::*;

    fn syntax(text: &str) -> (&'static str, usize) {
        match parse(text.as_bytes()) {
            Err(Error::InvalidText {
                input,
                expected,
                position,
                ..
            }) => {
                assert_eq!(input, text);
                (expected, position)
            }
            other => panic!("{text:?} gave {other:?}"),
        }
    }

    #[test]
    fn numbers_in_every_form() {
        let text = b"[1,+1,-1,.5,1.,-.5e-1,1e3,1E+2,00012,123456789012345678901234567890,0.1]";
        let values = [
            1.,
            1.,
            -1.,
            0.5,
            1.,
            -0.05,
            1000.,
            100.,
            12.,
            123456789012345678901234567890.,
            0.1,
        ];
        assert_eq!(parse(text).unwrap(), values);
    }

    #[test]
    fn white_space_between_all_parts() {
        assert_eq!(parse(b" \t\n[ \r1\x0b ,\x0c 2\n] \t").unwrap(), [1., 2.]);
    }

    #[test]
    fn rounds_to_nearest_even() {
        // Halfway between two f32, below and above it; f64 as a step between would get the last one wrong.
        let values =
            parse(b"[16777217,16777216.99999999,16777217.00000001,16777219,1.00000017881393432617187499]").unwrap();
        assert_eq!(values, [16777216., 16777216., 16777218., 16777220., 1.0000001]);
    }

    #[test]
    fn too_small_becomes_the_nearest_number() {
        let values = parse(b"[1e-46,-1e-46,1e-45,7.1e-46,1e-400]").unwrap();
        let bits: Vec<u32> = values.iter().map(|value| value.to_bits()).collect();
        assert_eq!(bits, [0, 0x8000_0000, 1, 1, 0]);
    }

    #[test]
    fn too_large_is_refused() {
        for number in ["1e39", "-1e39", "3.4028236e38", "1e400", "1e99999999999999999999"] {
            let error = parse(format!("[1,{number} ]").as_bytes()).unwrap_err();
            assert_eq!(
                error,
                Error::NumberOutOfRange {
                    type_name: "vector",
                    number: number.into()
                }
            );
        }
        assert_eq!(
            parse(b"[3.4028235e38,-3.40282350000000000001e38]").unwrap(),
            [f32::MAX, f32::MIN]
        );
    }

    #[test]
    fn what_is_not_finite_is_refused() {
        for text in ["[nan]", "[NaN]", "[1,-nan,x]", "[+NAN]"] {
            assert_eq!(
                parse(text.as_bytes()),
                Err(Error::NotANumber { type_name: "vector" }),
                "{text}"
            );
        }
        for text in ["[inf]", "[-Infinity]", "[1, +INF]", "[infinity,x]"] {
            assert_eq!(
                parse(text.as_bytes()),
                Err(Error::Infinite { type_name: "vector" }),
                "{text}"
            );
        }
    }

    #[test]
    fn syntax_errors_say_where() {
        assert_eq!(syntax(""), ("\"[\"", 1));
        assert_eq!(syntax("  1,2"), ("\"[\"", 3));
        assert_eq!(syntax("{1}"), ("\"[\"", 1));
        for (text, position) in [
            ("[", 2),
            ("[,]", 2),
            ("[1,]", 4),
            ("[1,,2]", 4),
            ("[1, ", 5),
            ("[a]", 2),
            ("[- 1]", 2),
            ("[--1]", 2),
            ("[.]", 2),
            ("[-]", 2),
            ("[[1]]", 2),
            ("[e5]", 2),
        ] {
            assert_eq!(syntax(text), ("a number", position), "{text}");
        }
        for (text, position) in [
            ("[1", 3),
            ("[1,2", 5),
            ("[1 2]", 4),
            ("[1a]", 3),
            ("[0x10]", 3),
            ("[1e]", 3),
            ("[1.2.3]", 5),
        ] {
            assert_eq!(syntax(text), ("\",\" or \"]\"", position), "{text}");
        }
        assert_eq!(syntax("[1]x"), ("the end of the text", 4));
        assert_eq!(syntax("[1] ]"), ("the end of the text", 5));
        assert_eq!(syntax("[1]\u{e9}"), ("the end of the text", 4));
    }

    #[test]
    fn dimensions_are_limited() {
        let with = |count: usize| format!("[{}]", vec!["1"; count].join(","));
        assert_eq!(parse(b"[]"), Err(Error::NoDimensions { type_name: "vector" }));
        assert_eq!(parse(b"[ ]"), Err(Error::NoDimensions { type_name: "vector" }));
        assert_eq!(parse(with(MAX_DIMENSIONS).as_bytes()).unwrap().len(), MAX_DIMENSIONS);
        assert_eq!(
            parse(with(MAX_DIMENSIONS + 1).as_bytes()),
            Err(Error::TooManyDimensions {
                type_name: "vector",
                max: MAX_DIMENSIONS
            })
        );
    }

    #[test]
    fn long_input_is_quoted_in_part() {
        // A two-byte character across the limit is left out whole.
        let text = format!("{}\u{e9}\u{e9}", "x".repeat(MAX_QUOTED - 1));
        let Err(Error::InvalidText { input, .. }) = parse(text.as_bytes()) else {
            panic!("accepted")
        };
        assert_eq!(input, format!("{}...", "x".repeat(MAX_QUOTED - 1)));
        // Bytes that are no UTF-8 (a server may have another encoding) do no harm.
        let Err(Error::InvalidText { input, .. }) = parse(&[0x80; 2 * MAX_QUOTED]) else {
            panic!("accepted")
        };
        assert_eq!(input, "...");
    }
}
