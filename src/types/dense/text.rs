//! The text of a dense vector: `[1,2.5,-3e-05]`. A hot path: embeddings have a thousand numbers and
//! more.

use super::{Element, MAX_DIMENSIONS};
use crate::error::{Error, Result};
use crate::types::text::{MAX_PRINTED, Parser, out_of_range, print_number};
use std::mem::MaybeUninit;

/// Reads a vector.
///
/// # Errors
/// [`Error::InvalidText`], [`Error::NotANumber`], [`Error::Infinite`], [`Error::NumberOutOfRange`],
/// [`Error::NoDimensions`] or [`Error::TooManyDimensions`].
pub fn parse<T: Element>(text: &[u8]) -> Result<Vec<T>> {
    let type_name = T::TYPE_NAME;
    let mut parser = Parser::new(type_name, text);
    parser.skip_space();
    parser.expect(b'[', "\"[\"")?;
    parser.skip_space();
    if parser.peek() == Some(b']') {
        return Err(Error::NoDimensions { type_name });
    }
    // Most numbers take more than 4 bytes: room for all of them, without much waste.
    let mut values = Vec::with_capacity((text.len() / 4).clamp(4, MAX_DIMENSIONS));
    loop {
        if values.len() == MAX_DIMENSIONS {
            return Err(Error::TooManyDimensions {
                type_name,
                max: MAX_DIMENSIONS,
            });
        }
        parser.skip_space();
        let (number, text) = parser.number()?;
        let value = T::from_f32(number);
        if !value.is_finite() {
            return Err(out_of_range(type_name, text));
        }
        values.push(value);
        parser.skip_space();
        match parser.peek() {
            Some(b',') => parser.advance(),
            Some(b']') => break,
            _ => return Err(parser.syntax_error("\",\" or \"]\"")),
        }
    }
    parser.advance();
    parser.expect_end()?;
    Ok(values)
}

/// The room that [`print`] needs for so many numbers.
pub const fn printed_size(dimensions: usize) -> usize {
    dimensions * (MAX_PRINTED + 1) + 1
}

/// Prints a vector to `out`, which has room for [`printed_size`] bytes, and returns the length of
/// the text.
pub fn print<T: Element>(values: &[T], out: &mut [MaybeUninit<u8>]) -> usize {
    let mut len = 0;
    for (index, &value) in values.iter().enumerate() {
        out[len].write(if index == 0 { b'[' } else { b',' });
        len += 1 + print_number(value.into(), &mut out[len + 1..]);
    }
    out[len].write(b']');
    len + 1
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::distance::f16;
    use crate::error::Error;
    use crate::types::text::MAX_QUOTED;

    fn parse(text: &[u8]) -> Result<Vec<f32>> {
        super::parse::<f32>(text)
    }

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
        // Halfway between two f32, below and above it; f64 as a step between would get the last one
        // wrong.
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
    fn halves_are_rounded_and_limited() {
        let parse = super::parse::<f16>;
        let values = parse(b"[1,0.1,2049,2051,65519,-65519.99,1e-8,5.96e-8,1e-400]").unwrap();
        let expected = [1., 0.099975586, 2048., 2052., 65504., -65504., 0., 5.9604645e-8, 0.];
        assert_eq!(values, expected.map(f16::from_f32));
        for number in ["65520", "-65520", "1e39", "1e400"] {
            let out_of_range = Error::NumberOutOfRange {
                type_name: "halfvec",
                number: number.into(),
            };
            assert_eq!(parse(format!("[1,{number}]").as_bytes()), Err(out_of_range));
        }
        assert_eq!(parse(b"[nan]"), Err(Error::NotANumber { type_name: "halfvec" }));
        assert_eq!(parse(b"[-inf]"), Err(Error::Infinite { type_name: "halfvec" }));
        assert_eq!(parse(b"[]"), Err(Error::NoDimensions { type_name: "halfvec" }));
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
