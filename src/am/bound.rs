//! Bound of the distance of rows that pass conditions on it.
//!
//! `1 - (embedding <=> $1) > 0.7` and `embedding <=> $1 < 0.3` are one condition. Instead of
//! rearranging each spelling, a condition is kept as it is written, as a program over the distance
//! and some operands, and the bound is found by bisection. A condition that is built of monotone
//! functions, with the distance in one place, holds up to a distance or from a distance on, so
//! halving the range of distances finds the largest distance at which it holds. The planner's hook
//! (`planner::condition`) writes programs of such conditions only. Signs of factors, infinity, NaN
//! and negative numbers need no special cases. No number that is too large and no zero divisor
//! raises an error here, because there may be no row for which PostgreSQL would raise it.
//!
//! A bound ends a scan early and decides about no row, so it may be too wide: numbers of other
//! types than `double precision` are computed as ranges, a little wider than their rounding.

use crate::error::{Error, Result};

/// Steps of a program. Programs are in postfix order, and each condition ends with a comparison.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Step {
    /// The distance.
    Distance,
    /// An operand; its number follows.
    Operand,
    Add,
    Subtract,
    Multiply,
    Divide,
    Negate,
    SquareRoot,
    Power,
    Exponential,
    Logarithm,
    /// Rounds to as many decimal places as follow, a signed number.
    Round,
    /// The number is a `real`.
    Real,
    /// The number is a `numeric`, or an integer that `double precision` may not hold.
    Numeric,
    /// Comparisons: the end of a condition.
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
    /// Begins a condition on the distance from an operand; the number of the operand follows. The
    /// condition counts if the operand is the value to search for.
    From,
}

impl Step {
    /// All steps, in the order of their numbers.
    const ALL: [Step; 19] = [
        Step::Distance,
        Step::Operand,
        Step::Add,
        Step::Subtract,
        Step::Multiply,
        Step::Divide,
        Step::Negate,
        Step::SquareRoot,
        Step::Power,
        Step::Exponential,
        Step::Logarithm,
        Step::Round,
        Step::Real,
        Step::Numeric,
        Step::Less,
        Step::LessOrEqual,
        Step::Greater,
        Step::GreaterOrEqual,
        Step::From,
    ];

    /// Whether a byte follows.
    fn has_argument(self) -> bool {
        matches!(self, Step::Operand | Step::Round | Step::From)
    }

    fn is_comparison(self) -> bool {
        matches!(
            self,
            Step::Less | Step::LessOrEqual | Step::Greater | Step::GreaterOrEqual
        )
    }
}

/// Depth of the stack of a program.
pub const DEPTH: usize = 16;

/// Bound of a scan that its conditions imply.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Bound {
    /// No row beyond this distance passes; below zero if none does.
    pub radius: f64,
    /// Whether rows of distance NaN pass.
    pub nan: bool,
}

/// An operand of a program.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Operand {
    /// With NULL no condition holds.
    Null,
    Number(f64),
    /// A value of the index's type, and whether it is the one to search for.
    Query(bool),
}

/// The bound that conditions imply together, if they imply one.
///
/// # Errors
/// A malformed program.
pub fn bound(program: &[u8], operands: &[Operand]) -> Result<Option<Bound>> {
    let mut steps = Vec::new();
    let (mut nearest, mut nan) = (None::<f64>, true);
    let mut bytes = program.iter();
    let mut from = true;
    while let Some(&byte) = bytes.next() {
        let step = *Step::ALL.get(usize::from(byte)).ok_or_else(no_program)?;
        let argument = if step.has_argument() {
            *bytes.next().ok_or_else(no_program)?
        } else {
            0
        };
        if step == Step::From {
            from = match operands.get(usize::from(argument)) {
                Some(Operand::Query(same)) => *same,
                Some(Operand::Null) => false,
                _ => return Err(no_program()),
            };
            continue;
        }
        steps.push((step, argument));
        if step.is_comparison() {
            let condition = Condition {
                steps: &steps,
                operands,
            };
            let passes_nan = condition.holds(Value::NaN)? != Some(false);
            if from {
                if let Some(radius) = condition.radius()? {
                    nearest = Some(nearest.map_or(radius, |nearest| nearest.min(radius)));
                }
                nan &= passes_nan;
            }
            steps.clear();
            from = true;
        }
    }
    if !steps.is_empty() {
        return Err(no_program());
    }
    Ok(nearest.map(|radius| Bound { radius, nan }))
}

fn no_program() -> Error {
    Error::InvalidPlan
}

/// A number, or the range that it is known to be in.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Value {
    /// All numbers from the first to the second.
    Range(f64, f64),
    NaN,
    Unknown,
}

impl Value {
    fn of(number: f64) -> Value {
        match number.is_nan() {
            true => Value::NaN,
            false => Value::Range(number, number),
        }
    }

    /// The range that holds these numbers. A number that does not exist (infinity less infinity)
    /// leaves it open.
    fn spanning(numbers: &[f64]) -> Value {
        if numbers.iter().any(|number| number.is_nan()) {
            return Value::Unknown;
        }
        let low = numbers.iter().copied().fold(f64::INFINITY, f64::min);
        let high = numbers.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        Value::Range(low, high)
    }

    fn map(self, f: impl FnOnce(f64, f64) -> Value) -> Value {
        match self {
            Value::Range(low, high) => f(low, high),
            other => other,
        }
    }

    /// Applies `f` to two ranges. NaN with any known number is NaN.
    fn combine(self, other: Value, f: impl FnOnce((f64, f64), (f64, f64)) -> Value) -> Value {
        match (self, other) {
            (Value::Unknown, _) | (_, Value::Unknown) => Value::Unknown,
            (Value::NaN, _) | (_, Value::NaN) => Value::NaN,
            (Value::Range(a, b), Value::Range(c, d)) => f((a, b), (c, d)),
        }
    }

    /// The range, widened by a share of itself and by a number.
    fn widened(self, share: f64, by: f64) -> Value {
        let error = |number: f64| match number.is_finite() {
            true => number.abs() * share + by,
            false => 0.0,
        };
        self.map(|low, high| Value::spanning(&[low - error(low), high + error(high)]))
    }
}

/// More than the error of rounding to a type, as a share of a number: 24 bits; 15 decimal digits;
/// the spread between libraries of functions.
const REAL: f64 = 1.2e-7;
const NUMERIC: f64 = 1e-14;
const FUNCTION: f64 = 1e-12;
/// Below this a `real` has fewer bits.
const REAL_SMALL: f64 = 1e-37;

/// One condition of a program.
struct Condition<'a> {
    steps: &'a [(Step, u8)],
    operands: &'a [Operand],
}

impl Condition<'_> {
    /// The largest distance at which the condition may hold; none if it holds for any larger one,
    /// or if that cannot be decided.
    fn radius(&self) -> Result<Option<f64>> {
        // The range of all distances shows whether a division by zero or a root of a negative
        // number is on the way.
        let Some(_) = self.holds(Value::Range(0.0, f64::MAX))? else {
            return Ok(None);
        };
        let at = |bits: u64| Ok(self.holds(Value::of(f64::from_bits(bits)))? != Some(false));
        // Numbers not below zero have the same order as their bits.
        let (mut holds, mut fails) = (0.0_f64.to_bits(), f64::MAX.to_bits());
        if at(fails)? {
            return Ok(None);
        }
        if !at(holds)? {
            return Ok(Some(f64::NEG_INFINITY));
        }
        while fails - holds > 1 {
            let middle = holds + (fails - holds) / 2;
            *(if at(middle)? { &mut holds } else { &mut fails }) = middle;
        }
        Ok(Some(f64::from_bits(holds)))
    }

    /// Whether the condition may hold at a distance; none if a number on the way is not known.
    fn holds(&self, distance: Value) -> Result<Option<bool>> {
        let mut stack = Stack::default();
        let mut unknown = false;
        for &(step, argument) in self.steps {
            let value = match step {
                Step::Distance => distance,
                Step::Operand => match self.operands.get(usize::from(argument)) {
                    Some(&Operand::Number(number)) => Value::of(number),
                    Some(Operand::Null) => return Ok(Some(false)),
                    _ => return Err(no_program()),
                },
                Step::Add => stack.two()?.combine(|(a, b), (c, d)| Value::spanning(&[a + c, b + d])),
                Step::Subtract => stack.two()?.combine(|(a, b), (c, d)| Value::spanning(&[a - d, b - c])),
                Step::Multiply => stack
                    .two()?
                    .combine(|(a, b), (c, d)| Value::spanning(&[a * c, a * d, b * c, b * d])),
                Step::Divide => stack.two()?.combine(|(a, b), (c, d)| match c <= 0.0 && d >= 0.0 {
                    true => Value::Unknown,
                    false => Value::spanning(&[a / c, a / d, b / c, b / d]),
                }),
                Step::Negate => stack.pop()?.map(|low, high| Value::Range(-high, -low)),
                Step::SquareRoot => stack.pop()?.map(|low, high| match low < 0.0 {
                    true => Value::Unknown,
                    false => Value::Range(low.sqrt(), high.sqrt()),
                }),
                Step::Power => {
                    let Pair(base, exponent) = stack.two()?;
                    if base == Value::NaN || exponent == Value::NaN {
                        Value::Unknown // 1 to the power of NaN is 1.
                    } else {
                        base.combine(exponent, |(a, b), (c, d)| match a < 0.0 {
                            true => Value::Unknown,
                            false => Value::spanning(&[a.powf(c), a.powf(d), b.powf(c), b.powf(d)]),
                        })
                        .widened(FUNCTION, f64::MIN_POSITIVE)
                    }
                }
                Step::Exponential => stack
                    .pop()?
                    .map(|low, high| Value::Range(low.exp(), high.exp()))
                    .widened(FUNCTION, f64::MIN_POSITIVE),
                Step::Logarithm => stack
                    .pop()?
                    .map(|low, high| match low <= 0.0 {
                        true => Value::Unknown,
                        false => Value::Range(low.ln(), high.ln()),
                    })
                    .widened(FUNCTION, FUNCTION),
                Step::Round => {
                    let half = 0.5 * 10f64.powi(-i32::from(argument as i8));
                    stack.pop()?.widened(NUMERIC, half)
                }
                Step::Real => stack.pop()?.widened(REAL, REAL_SMALL),
                Step::Numeric => stack.pop()?.widened(NUMERIC, 0.0),
                Step::Less | Step::LessOrEqual | Step::Greater | Step::GreaterOrEqual => {
                    let Pair(left, right) = stack.two()?;
                    if !stack.is_empty() {
                        return Err(no_program());
                    }
                    unknown |= left == Value::Unknown || right == Value::Unknown;
                    return Ok((!unknown).then(|| compare(step, left, right)));
                }
                Step::From => return Err(no_program()),
            };
            unknown |= value == Value::Unknown;
            stack.push(value)?;
        }
        Err(no_program())
    }
}

/// Whether a comparison may hold. For PostgreSQL NaN is equal to itself, and above all numbers.
fn compare(step: Step, left: Value, right: Value) -> bool {
    let top = |value| match value {
        Value::Range(low, high) => (low, high, false),
        _ => (f64::INFINITY, f64::INFINITY, true),
    };
    let ((left_low, left_high, left_nan), (right_low, right_high, right_nan)) = (top(left), top(right));
    let below = |or_equal: bool, low: f64, low_nan: bool, high: f64, high_nan: bool| match (low_nan, high_nan) {
        (true, true) => or_equal,
        (true, false) => false,
        (false, true) => true,
        (false, false) => low < high || or_equal && low == high,
    };
    match step {
        Step::Less => below(false, left_low, left_nan, right_high, right_nan),
        Step::LessOrEqual => below(true, left_low, left_nan, right_high, right_nan),
        Step::Greater => below(false, right_low, right_nan, left_high, left_nan),
        _ => below(true, right_low, right_nan, left_high, left_nan),
    }
}

/// Stack of a program.
struct Stack {
    values: [Value; DEPTH],
    len: usize,
}

/// The last two numbers of the stack.
struct Pair(Value, Value);

impl Pair {
    fn combine(self, f: impl FnOnce((f64, f64), (f64, f64)) -> Value) -> Value {
        self.0.combine(self.1, f)
    }
}

impl Default for Stack {
    fn default() -> Stack {
        Stack {
            values: [Value::Unknown; DEPTH],
            len: 0,
        }
    }
}

impl Stack {
    fn push(&mut self, value: Value) -> Result<()> {
        *self.values.get_mut(self.len).ok_or_else(no_program)? = value;
        self.len += 1;
        Ok(())
    }

    fn pop(&mut self) -> Result<Value> {
        self.len = self.len.checked_sub(1).ok_or_else(no_program)?;
        Ok(self.values[self.len])
    }

    fn two(&mut self) -> Result<Pair> {
        let right = self.pop()?;
        Ok(Pair(self.pop()?, right))
    }

    fn is_empty(&self) -> bool {
        self.len == 0
    }
}

#[cfg(test)]
mod tests;
