//! The text of a sparse vector: `{1:1.5,3:2}/5`, with indices from 1.
//!
//! Elements may come in any order, and zeros among them are dropped; they are printed in ascending
//! order. A number too small for f32 is refused: as a zero it would vanish.

use super::{Elements, TYPE_NAME, check_dimensions, check_elements};
use crate::distance::sparse::Sparse;
use crate::error::{Error, Result};
use crate::types::text::{Parser, out_of_range, push_number};
use std::io::Write;

/// Reads a sparse vector: its elements, and how many dimensions it has.
///
/// # Errors
/// [`Error::InvalidText`], [`Error::NotANumber`], [`Error::Infinite`], [`Error::NumberOutOfRange`],
/// [`Error::TooManyElements`], [`Error::NoDimensions`], [`Error::TooManyDimensions`],
/// [`Error::IndexOutOfBounds`] or [`Error::DuplicateIndex`].
pub fn parse(text: &[u8]) -> Result<(Elements, usize)> {
    let mut parser = Parser::new(TYPE_NAME, text);
    parser.skip_space();
    parser.expect(b'{', "\"{\"")?;
    let mut elements = parse_elements(&mut parser)?;
    parser.skip_space();
    parser.expect(b'/', "\"/\"")?;
    parser.skip_space();
    let dimensions = usize::try_from(parser.integer()?).unwrap_or(0);
    parser.expect_end()?;
    check_dimensions(dimensions)?;

    elements.retain(|&(_, value)| value != 0.0);
    elements.sort_unstable_by_key(|&(index, _)| index);
    let mut kept = Elements::with_capacity(elements.len());
    let mut previous = 0;
    for (index, value) in elements {
        if index < 1 || index > dimensions as i64 {
            return Err(Error::IndexOutOfBounds { type_name: TYPE_NAME });
        }
        if index == previous {
            return Err(Error::DuplicateIndex { type_name: TYPE_NAME });
        }
        previous = index;
        kept.push(index as i32 - 1, value)?;
    }
    Ok((kept, dimensions))
}

/// Reads the elements up to the closing brace, as they are.
fn parse_elements(parser: &mut Parser) -> Result<Vec<(i64, f32)>> {
    let mut elements = Vec::new();
    parser.skip_space();
    if parser.peek() == Some(b'}') {
        parser.advance();
        return Ok(elements);
    }
    loop {
        check_elements(elements.len() + 1)?;
        parser.skip_space();
        let index = parser.integer()?;
        parser.skip_space();
        parser.expect(b':', "\":\"")?;
        parser.skip_space();
        let (value, number) = parser.number()?;
        if value == 0.0 && !is_zero(number) {
            return Err(out_of_range(TYPE_NAME, number));
        }
        elements.push((index, value));
        parser.skip_space();
        match parser.peek() {
            Some(b',') => parser.advance(),
            Some(b'}') => break,
            _ => return Err(parser.syntax_error("\",\" or \"}\"")),
        }
    }
    parser.advance();
    Ok(elements)
}

/// Whether a number is written as zero: before the exponent there is no other digit.
fn is_zero(number: &[u8]) -> bool {
    let mut digits = number.iter().take_while(|byte| !byte.is_ascii_alphabetic());
    digits.all(|digit| !(b'1'..=b'9').contains(digit))
}

/// Prints a sparse vector.
pub fn print(vector: Sparse, dimensions: usize) -> Vec<u8> {
    // Most elements are shorter.
    let mut text = Vec::with_capacity(16 * vector.indices.len() + 16);
    let mut separator = "{";
    for (index, value) in vector {
        write!(text, "{separator}{}:", i64::from(index) + 1).expect("memory takes any text");
        push_number(value, &mut text);
        separator = ",";
    }
    if vector.indices.is_empty() {
        text.push(b'{');
    }
    write!(text, "}}/{dimensions}").expect("memory takes any text");
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::sparsevec::MAX_ELEMENTS;

    fn read(text: &str) -> Result<(Vec<(i32, f32)>, usize)> {
        let (Elements { indices, values }, dimensions) = parse(text.as_bytes())?;
        Ok((indices.into_iter().zip(values).collect(), dimensions))
    }

    fn syntax(text: &str) -> (&'static str, usize) {
        match read(text) {
            Err(Error::InvalidText {
                type_name: "sparsevec",
                input,
                expected,
                position,
            }) if input == text => (expected, position),
            other => panic!("{text:?} gave {other:?}"),
        }
    }

    #[test]
    fn elements_in_any_order() {
        assert_eq!(read("{}/5"), Ok((vec![], 5)));
        assert_eq!(read("{1:1.5,3:2}/5"), Ok((vec![(0, 1.5), (2, 2.0)], 5)));
        assert_eq!(
            read("{5:-1e3,+1:+.5,03:7.}/05"),
            Ok((vec![(0, 0.5), (2, 7.0), (4, -1000.0)], 5))
        );
        assert_eq!(
            read("{1000000000:1}/1000000000"),
            Ok((vec![(999_999_999, 1.0)], 1_000_000_000))
        );
    }

    #[test]
    fn white_space_between_all_parts() {
        let text = " \t\n{ \r1\x0b :\x0c 2\n, 2 : 3 } \t/ 5 \n";
        assert_eq!(read(text), Ok((vec![(0, 2.0), (1, 3.0)], 5)));
        assert_eq!(read("{ } / 5"), Ok((vec![], 5)));
    }

    #[test]
    fn zeros_are_dropped() {
        assert_eq!(read("{1:0,2:-0,3:0e5,4:0.00,5:1}/5"), Ok((vec![(4, 1.0)], 5)));
        // And so they are at no index, be it another one's or none.
        assert_eq!(read("{1:0,1:3,9:0}/5"), Ok((vec![(0, 3.0)], 5)));
    }

    #[test]
    fn too_small_and_too_large_are_refused() {
        for number in ["1e-46", "-1e-400", "0.00e1", "1e39", "-1e400"] {
            let refused = Err(Error::NumberOutOfRange {
                type_name: "sparsevec",
                number: number.into(),
            });
            let expected = if number == "0.00e1" { Ok((vec![], 5)) } else { refused };
            assert_eq!(read(&format!("{{1:{number}}}/5")), expected);
        }
        assert_eq!(read("{1:1e-45}/1"), Ok((vec![(0, 1e-45)], 1)));
        assert_eq!(read("{1:nan}/1"), Err(Error::NotANumber { type_name: "sparsevec" }));
        assert_eq!(read("{1:-Infinity}/1"), Err(Error::Infinite { type_name: "sparsevec" }));
    }

    #[test]
    fn indices_are_checked() {
        let outside = Err(Error::IndexOutOfBounds { type_name: "sparsevec" });
        for index in [
            "0",
            "-1",
            "6",
            "4294967297",
            "99999999999999999999",
            "-99999999999999999999",
        ] {
            assert_eq!(read(&format!("{{{index}:1}}/5")), outside, "{index}");
        }
        let twice = Err(Error::DuplicateIndex { type_name: "sparsevec" });
        assert_eq!(read("{1:1,1:2}/5"), twice);
        assert_eq!(read("{2:1,1:1,2:1}/5"), twice);
    }

    #[test]
    fn dimensions_and_elements_are_limited() {
        for dimensions in ["0", "-1", "-99999999999999999999"] {
            let none = Err(Error::NoDimensions { type_name: "sparsevec" });
            assert_eq!(read(&format!("{{}}/{dimensions}")), none);
        }
        for dimensions in ["1000000001", "4294967297", "99999999999999999999"] {
            let too_many = Err(Error::TooManyDimensions {
                type_name: "sparsevec",
                max: 1_000_000_000,
            });
            assert_eq!(read(&format!("{{}}/{dimensions}")), too_many);
        }
        let with = |elements: usize| {
            let list: Vec<String> = (1..=elements).map(|index| format!("{index}:1")).collect();
            read(&format!("{{{}}}/20000", list.join(",")))
        };
        assert_eq!(with(MAX_ELEMENTS).unwrap().0.len(), MAX_ELEMENTS);
        let too_many = Err(Error::TooManyElements {
            type_name: "sparsevec",
            max: MAX_ELEMENTS,
        });
        assert_eq!(with(MAX_ELEMENTS + 1), too_many);
    }

    #[test]
    fn syntax_errors_say_where() {
        for (text, expected, position) in [
            ("", "\"{\"", 1),
            (" [1,2]", "\"{\"", 2),
            ("{", "an integer", 2),
            ("{,}/5", "an integer", 2),
            ("{:1}/5", "an integer", 2),
            ("{a:1}/5", "an integer", 2),
            ("{-:1}/5", "an integer", 2),
            ("{1:1,}/5", "an integer", 6),
            ("{1}/5", "\":\"", 3),
            ("{1.5:1}/5", "\":\"", 3),
            ("{0x1:1}/5", "\":\"", 3),
            ("{1:}/5", "a number", 4),
            ("{1:a}/5", "a number", 4),
            ("{1:1", "\",\" or \"}\"", 5),
            ("{1:1 2:1}/5", "\",\" or \"}\"", 6),
            ("{1:1.5.5}/5", "\",\" or \"}\"", 7),
            ("{}", "\"/\"", 3),
            ("{}x/5", "\"/\"", 3),
            ("{}/", "an integer", 4),
            ("{}/x", "an integer", 4),
            ("{}/5x", "the end of the text", 5),
            ("{}/5.5", "the end of the text", 5),
        ] {
            assert_eq!(syntax(text), (expected, position), "{text}");
        }
    }
}
