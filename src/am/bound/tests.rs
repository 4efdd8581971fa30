//! Tests of bounds.

use super::*;

const D: u8 = Step::Distance as u8;
const N: u8 = Step::Operand as u8;

fn one(program: &[u8], numbers: &[f64]) -> Option<Bound> {
    let operands: Vec<Operand> = numbers.iter().map(|number| Operand::Number(*number)).collect();
    bound(program, &operands).unwrap()
}

fn radius(program: &[u8], numbers: &[f64]) -> Option<f64> {
    one(program, numbers).map(|bound| bound.radius)
}

#[test]
fn plain_forms() {
    let (less, at_most, above) = (Step::Less as u8, Step::LessOrEqual as u8, Step::Greater as u8);
    let below = |number: f64| f64::from_bits(number.to_bits() - 1);
    assert_eq!(radius(&[D, N, 0, less], &[0.5]), Some(below(0.5)));
    assert_eq!(radius(&[D, N, 0, at_most], &[0.5]), Some(0.5));
    assert_eq!(radius(&[N, 0, D, above], &[0.5]), Some(below(0.5)));
    assert_eq!(radius(&[D, N, 0, at_most], &[0.0]), Some(0.0));
    assert_eq!(radius(&[D, N, 0, less], &[0.0]), Some(f64::NEG_INFINITY));
    assert_eq!(radius(&[D, N, 0, less], &[-1.0]), Some(f64::NEG_INFINITY));
    // From a distance on, and up to any.
    assert_eq!(radius(&[D, N, 0, above], &[0.5]), None);
    assert_eq!(radius(&[D, N, 0, less], &[f64::INFINITY]), None);
    assert_eq!(radius(&[D, N, 0, less], &[f64::NAN]), None);
    assert_eq!(radius(&[D, N, 0, less], &[f64::NEG_INFINITY]), Some(f64::NEG_INFINITY));
    // The nearest of several.
    assert_eq!(
        radius(&[D, N, 0, at_most, D, N, 1, at_most, D, N, 2, above], &[0.5, 0.25, 0.1]),
        Some(0.25)
    );
    // No distance at all, or NULL.
    assert_eq!(
        bound(&[D, N, 0, less], &[Operand::Null]).unwrap().unwrap().radius,
        f64::NEG_INFINITY
    );
    assert_eq!(one(&[], &[]), None);
}

#[test]
fn conditions_keep_what_they_would_let_pass() {
    // Each spelling, and the condition itself.
    type Spelling = (Vec<u8>, Vec<f64>, fn(f64, &[f64]) -> bool);
    use Step::*;
    let spellings: Vec<Spelling> = vec![
        (
            vec![N, 0, D, Subtract as u8, N, 1, Greater as u8],
            vec![1.0, 0.7],
            |d, n| n[0] - d > n[1],
        ),
        (
            vec![N, 1, N, 0, D, Subtract as u8, LessOrEqual as u8],
            vec![1.0, 0.7],
            |d, n| n[1] <= n[0] - d,
        ),
        (
            vec![D, N, 0, Subtract as u8, N, 1, Less as u8],
            vec![0.4, 0.0],
            |d, n| d - n[0] < n[1],
        ),
        (
            vec![D, N, 0, Multiply as u8, N, 1, GreaterOrEqual as u8],
            vec![-1.0, -0.3],
            |d, n| d * n[0] >= n[1],
        ),
        (
            vec![D, N, 0, Multiply as u8, N, 1, Less as u8],
            vec![3.0, 0.7],
            |d, n| d * n[0] < n[1],
        ),
        (vec![D, N, 0, Divide as u8, N, 1, Less as u8], vec![3.0, 0.7], |d, n| {
            d / n[0] < n[1]
        }),
        (
            vec![N, 0, N, 0, D, Add as u8, Divide as u8, N, 1, Greater as u8],
            vec![1.0, 0.7],
            |d, n| n[0] / (n[0] + d) > n[1],
        ),
        (vec![D, SquareRoot as u8, N, 0, Less as u8], vec![0.7], |d, n| {
            d.sqrt() < n[0]
        }),
        (vec![D, N, 0, Power as u8, N, 1, Less as u8], vec![2.0, 0.7], |d, n| {
            d.powf(n[0]) < n[1]
        }),
        (
            vec![D, Negate as u8, Exponential as u8, N, 0, Greater as u8],
            vec![0.7],
            |d, n| (-d).exp() > n[0],
        ),
        (
            vec![N, 0, D, Subtract as u8, Real as u8, N, 1, Greater as u8],
            vec![1.0, 0.7],
            |d, n| f64::from((n[0] - d) as f32) > n[1],
        ),
        (
            vec![D, N, 0, Divide as u8, Negate as u8, N, 1, Greater as u8],
            vec![1e-300, -1e-310],
            |d, n| -(d / n[0]) > n[1],
        ),
    ];
    for (program, numbers, holds) in spellings {
        let radius = radius(&program, &numbers).unwrap();
        assert!(
            radius >= 0.0 && holds(radius * (1.0 - 1e-6), &numbers),
            "{program:?}: {radius}"
        );
        // No distance beyond the radius passes, and the radius is hardly larger than the largest
        // distance that passes.
        let mut beyond = f64::from_bits(radius.to_bits() + 1);
        for _ in 0..2000 {
            assert!(!holds(beyond, &numbers), "{program:?}: {beyond} beyond {radius}");
            beyond *= 1.01;
        }
    }
}

#[test]
fn nan_is_above_all_numbers() {
    use Step::*;
    // 1 - NaN > 0.7 holds.
    assert!(
        one(&[N, 0, D, Subtract as u8, N, 1, Greater as u8], &[1.0, 0.7])
            .unwrap()
            .nan
    );
    assert!(!one(&[D, N, 0, Less as u8], &[0.3]).unwrap().nan);
    // Both together: the second refuses NaN.
    let both = [N, 0, D, Subtract as u8, N, 1, Greater as u8, D, N, 0, Less as u8];
    assert!(!one(&both, &[1.0, 0.7]).unwrap().nan);
    let lower = [N, 0, D, Subtract as u8, N, 1, Greater as u8, D, N, 1, Greater as u8];
    assert!(one(&lower, &[1.0, 0.7]).unwrap().nan);
}

#[test]
fn poles_and_unknown_numbers_give_no_bound() {
    use Step::*;
    assert_eq!(one(&[N, 0, D, Divide as u8, N, 0, Greater as u8], &[1.0]), None);
    assert_eq!(
        one(
            &[N, 0, D, N, 1, Subtract as u8, Divide as u8, N, 0, Less as u8],
            &[1.0, 2.0]
        ),
        None
    );
    assert_eq!(one(&[D, N, 0, Divide as u8, N, 1, Less as u8], &[0.0, 1.0]), None);
    assert_eq!(
        one(
            &[D, N, 0, Subtract as u8, N, 1, Power as u8, N, 0, Less as u8],
            &[1.0, 2.0]
        ),
        None
    );
    // A factor of zero: for all or for none.
    assert_eq!(one(&[D, N, 0, Multiply as u8, N, 1, Less as u8], &[0.0, 1.0]), None);
    assert_eq!(
        radius(&[D, N, 0, Multiply as u8, N, 1, Greater as u8], &[0.0, 1.0]),
        Some(f64::NEG_INFINITY)
    );
}

#[test]
fn distances_from_something_else_do_not_count() {
    let program = [Step::From as u8, 0, D, N, 1, Step::Less as u8];
    let operands = |same| [Operand::Query(same), Operand::Number(0.5)];
    assert!(bound(&program, &operands(true)).unwrap().is_some());
    assert_eq!(bound(&program, &operands(false)).unwrap(), None);
    assert_eq!(bound(&program, &[Operand::Null, Operand::Number(0.5)]).unwrap(), None);
}

#[test]
fn other_bytes_are_refused() {
    let less = Step::Less as u8;
    let bad: [&[u8]; 9] = [
        &[D],
        &[less],
        &[D, less],
        &[D, N],
        &[D, N, 7, less],
        &[D, D, D, less],
        &[D, N, 0, less, D],
        &[99],
        &[Step::From as u8, 0, D, N, 0, less],
    ];
    for program in bad {
        assert!(bound(program, &[Operand::Number(1.0)]).is_err(), "{program:?}");
    }
    let deep: Vec<u8> = std::iter::repeat_n(D, DEPTH + 1).collect();
    assert!(bound(&deep, &[]).is_err());
    for (number, step) in Step::ALL.iter().enumerate() {
        assert_eq!(*step as usize, number);
    }
}
