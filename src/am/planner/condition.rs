//! Conditions on the distance by which a scan is ordered, as programs (`am::bound`).
//!
//! ```text
//! SELECT .. WHERE 1 - (embedding <=> $1) > 0.7 ORDER BY embedding <=> $1
//! ```
//!
//! For PostgreSQL this is a condition on a number, of which the index knows nothing: the scan would
//! go on until it has read the whole index, with every row refused. A condition is understood if it
//! compares an expression of the distance with an expression of numbers that are the same for all
//! rows, and if both consist of built-in functions that are monotone in each argument, with the
//! distance in one place. The condition stays in the plan and decides about each row.
//!
//! The distance need not be written as in ORDER BY: a function may stand for its operator, and a
//! value from a parameter or a sub-select may be equal without being the same expression, which the
//! scan finds out when it knows both values.
//!
//! Nothing here may make a statement fail. So the executor evaluates only constants, parameters and
//! sub-selects of conditions before there is a row; the scan does the arithmetic (`am::bound`).

use pgrx::pg_sys::NodeTag;
use pgrx::{PgList, is_a, pg_sys};

use crate::am::bound::{DEPTH, Step};
use crate::am::radius_key::{self, MAX_OPERANDS};

/// The conditions of a scan.
pub struct Conditions {
    distance: Distance,
    /// The program, and the expressions of its operands.
    pub program: Vec<u8>,
    pub operands: Vec<*mut pg_sys::Node>,
}

/// The distance by which a scan is ordered.
#[derive(Clone, Copy)]
struct Distance {
    function: pg_sys::Oid,
    column: *mut pg_sys::Node,
    query: *mut pg_sys::Node,
    /// Whether the operator is its own commutator.
    is_symmetric: bool,
}

impl Conditions {
    /// An empty list of conditions; none if `written` is not an operator with two operands.
    ///
    /// # Safety
    /// `written` is an expression of a plan.
    pub unsafe fn of(written: *mut pg_sys::Node) -> Option<Conditions> {
        // SAFETY: as the caller promises; nodes are read by their tags.
        unsafe {
            if !is_a(written, NodeTag::T_OpExpr) {
                return None;
            }
            let operator = (*written.cast::<pg_sys::OpExpr>()).opno;
            let (function, [column, query]) = binary(written)?;
            Some(Conditions {
                distance: Distance {
                    function,
                    column,
                    query,
                    is_symmetric: pg_sys::get_commutator(operator) == operator,
                },
                program: Vec::new(),
                operands: Vec::new(),
            })
        }
    }

    pub fn is_empty(&self) -> bool {
        self.program.is_empty()
    }

    /// Adds a condition if it is a condition on the distance.
    ///
    /// # Safety
    /// `condition` is an expression of the same node of a plan.
    pub unsafe fn add(&mut self, condition: *mut pg_sys::Node) {
        let (program, operands) = (self.program.len(), self.operands.len());
        // SAFETY: as the caller promises.
        if unsafe { self.comparison(condition) }.is_none() {
            self.program.truncate(program);
            self.operands.truncate(operands);
        }
    }

    /// Adds an operand and returns its number.
    pub fn operand(&mut self, node: *mut pg_sys::Node) -> Option<u8> {
        let number = self.operands.len();
        if number >= MAX_OPERANDS {
            return None;
        }
        self.operands.push(node);
        u8::try_from(number).ok()
    }

    unsafe fn comparison(&mut self, condition: *mut pg_sys::Node) -> Option<()> {
        // SAFETY: the caller has an expression.
        unsafe {
            let (function, operands) = binary(condition)?;
            let mut written = Written {
                conditions: self,
                steps: Vec::new(),
                distances: 0,
                from: None,
            };
            for operand in operands {
                written.expression(operand, 0)?;
            }
            let Written {
                steps,
                distances: 1,
                from,
                ..
            } = written
            else {
                return None;
            };
            let from = match from {
                Some(query) => vec![Step::From as u8, self.operand(query)?],
                None => Vec::new(),
            };
            // An equal value is neither below nor above.
            for comparison in comparisons(function)? {
                self.program.extend(from.iter().chain(&steps));
                self.program.push(*comparison as u8);
            }
            Some(())
        }
    }
}

/// A condition under construction.
struct Written<'a> {
    conditions: &'a mut Conditions,
    steps: Vec<u8>,
    /// Occurrences of the distance.
    distances: usize,
    /// The other query in the distance, if it is not the query of ORDER BY.
    from: Option<*mut pg_sys::Node>,
}

impl Written<'_> {
    /// # Safety
    /// `node` is an expression of the plan.
    unsafe fn expression(&mut self, node: *mut pg_sys::Node, depth: usize) -> Option<()> {
        // SAFETY: as the caller promises; nodes are read by their tags.
        unsafe {
            let node = without_relabelling(node);
            if let Some(query) = self.conditions.distance.of(node) {
                self.from = query;
                self.distances += 1;
                self.steps.push(Step::Distance as u8);
                return Some(());
            }
            let number = pg_sys::exprType(node);
            if is_safe(node) && radius_key::is_number(number) {
                let operand = self.conditions.operand(node)?;
                self.steps.extend([Step::Operand as u8, operand]);
                if matches!(number, pg_sys::NUMERICOID | pg_sys::INT8OID) {
                    self.steps.push(Step::Numeric as u8);
                }
                return Some(());
            }
            // A number on the stack for each level above, and two here.
            if depth + 2 >= DEPTH {
                return None;
            }
            let (function, arguments) = call(node)?;
            match (u32::from(function), arguments.as_slice()) {
                (pg_sys::F_ROUND_NUMERIC_INT4, &[number, digits]) => {
                    self.expression(number, depth)?;
                    self.round(i32::try_from(constant(digits)?).ok()?)
                }
                (pg_sys::F_NUMERIC_NUMERIC_INT4, &[number, typmod]) => {
                    self.expression(number, depth)?;
                    // A scale of 11 bits with its sign, in the modifier less the header's size.
                    let scale = (constant(typmod)? - i64::from(pg_sys::VARHDRSZ as i32)) & 0x7ff;
                    self.round(i32::try_from((scale ^ 1024) - 1024).ok()?)
                }
                (pg_sys::F_DROUND | pg_sys::F_ROUND_FLOAT8, &[number]) => {
                    self.expression(number, depth)?;
                    self.round(0)
                }
                (function, arguments) => {
                    let (count, steps) = steps(function)?;
                    if arguments.len() != count {
                        return None;
                    }
                    for (i, argument) in arguments.iter().enumerate() {
                        self.expression(*argument, depth + i)?;
                    }
                    self.steps.extend(steps.iter().map(|step| *step as u8));
                    Some(())
                }
            }
        }
    }

    fn round(&mut self, digits: i32) -> Option<()> {
        let digits = i8::try_from(digits).ok()?;
        self.steps.extend([Step::Round as u8, digits as u8]);
        Some(())
    }
}

impl Distance {
    /// Whether an expression is the distance, and if so, the other query that stands in the place
    /// of the query of ORDER BY.
    unsafe fn of(&self, node: *mut pg_sys::Node) -> Option<Option<*mut pg_sys::Node>> {
        // SAFETY: the caller has an expression.
        unsafe {
            let (function, [left, right]) = binary(node)?;
            if function != self.function {
                return None;
            }
            let equal = |a: *mut pg_sys::Node, b: *mut pg_sys::Node| pg_sys::equal(a.cast(), b.cast());
            let query = if equal(left, self.column) {
                right
            } else if self.is_symmetric && equal(right, self.column) {
                left
            } else {
                return None;
            };
            if equal(query, self.query) {
                Some(None)
            } else {
                let same_type = pg_sys::exprType(query) == pg_sys::exprType(self.query);
                (same_type && is_safe(query)).then_some(Some(query))
            }
        }
    }
}

/// The comparisons of a built-in function for numbers.
fn comparisons(function: pg_sys::Oid) -> Option<&'static [Step]> {
    use pg_sys::*;
    Some(match u32::from(function) {
        F_FLOAT8LT | F_FLOAT84LT | F_FLOAT48LT | F_FLOAT4LT | F_NUMERIC_LT => &[Step::Less],
        F_FLOAT8LE | F_FLOAT84LE | F_FLOAT48LE | F_FLOAT4LE | F_NUMERIC_LE => &[Step::LessOrEqual],
        F_FLOAT8GT | F_FLOAT84GT | F_FLOAT48GT | F_FLOAT4GT | F_NUMERIC_GT => &[Step::Greater],
        F_FLOAT8GE | F_FLOAT84GE | F_FLOAT48GE | F_FLOAT4GE | F_NUMERIC_GE => &[Step::GreaterOrEqual],
        F_FLOAT8EQ | F_FLOAT84EQ | F_FLOAT48EQ | F_FLOAT4EQ | F_NUMERIC_EQ => {
            &[Step::LessOrEqual, Step::GreaterOrEqual]
        }
        _ => return None,
    })
}

/// Number of arguments of a built-in function, and the steps of a program that stand for it. Casts
/// between numbers only round.
fn steps(function: u32) -> Option<(usize, &'static [Step])> {
    use Step::*;
    use pg_sys::*;
    Some(match function {
        F_FLOAT8PL | F_FLOAT84PL | F_FLOAT48PL | F_INT4PL => (2, &[Add]),
        F_FLOAT8MI | F_FLOAT84MI | F_FLOAT48MI | F_INT4MI => (2, &[Subtract]),
        F_FLOAT8MUL | F_FLOAT84MUL | F_FLOAT48MUL | F_INT4MUL => (2, &[Multiply]),
        F_FLOAT8DIV | F_FLOAT84DIV | F_FLOAT48DIV => (2, &[Divide]),
        F_FLOAT4PL => (2, &[Add, Real]),
        F_FLOAT4MI => (2, &[Subtract, Real]),
        F_FLOAT4MUL => (2, &[Multiply, Real]),
        F_FLOAT4DIV => (2, &[Divide, Real]),
        F_NUMERIC_ADD | F_INT8PL => (2, &[Add, Numeric]),
        F_NUMERIC_SUB | F_INT8MI => (2, &[Subtract, Numeric]),
        F_NUMERIC_MUL | F_INT8MUL => (2, &[Multiply, Numeric]),
        F_NUMERIC_DIV => (2, &[Divide, Numeric]),
        F_FLOAT8UM | F_FLOAT4UM | F_NUMERIC_UMINUS | F_INT4UM | F_INT8UM => (1, &[Negate]),
        F_FLOAT8UP | F_FLOAT4UP | F_NUMERIC_UPLUS | F_INT4UP | F_INT8UP => (1, &[]),
        F_DSQRT | F_SQRT_FLOAT8 => (1, &[SquareRoot]),
        F_DPOW | F_POW_FLOAT8_FLOAT8 | F_POWER_FLOAT8_FLOAT8 => (2, &[Power]),
        F_DEXP | F_EXP_FLOAT8 => (1, &[Exponential]),
        F_DLOG1 | F_LN_FLOAT8 => (1, &[Logarithm]),
        F_FLOAT8_FLOAT4 | F_FLOAT8_INT2 | F_FLOAT8_INT4 | F_FLOAT8_NUMERIC | F_INT8_INT2 | F_INT8_INT4
        | F_INT4_INT2 | F_FLOAT4_INT2 => (1, &[]),
        F_FLOAT8_INT8 | F_NUMERIC_INT2 | F_NUMERIC_INT4 | F_NUMERIC_INT8 | F_NUMERIC_FLOAT8 => (1, &[Numeric]),
        F_FLOAT4_FLOAT8 | F_FLOAT4_INT4 | F_FLOAT4_INT8 | F_FLOAT4_NUMERIC => (1, &[Real]),
        _ => return None,
    })
}

/// Whether an expression can be evaluated before there is a row: it raises no error, except errors
/// of a sub-select.
///
/// # Safety
/// `node` is an expression of a plan.
pub unsafe fn is_safe(node: *mut pg_sys::Node) -> bool {
    // SAFETY: as the caller promises; nodes are read by their tags.
    unsafe {
        match (*node).type_ {
            NodeTag::T_Const => true,
            NodeTag::T_Param => {
                let kind = (*node.cast::<pg_sys::Param>()).paramkind;
                kind == pg_sys::ParamKind::PARAM_EXTERN || kind == pg_sys::ParamKind::PARAM_EXEC
            }
            NodeTag::T_RelabelType => is_safe((*node.cast::<pg_sys::RelabelType>()).arg.cast()),
            NodeTag::T_CoalesceExpr => all_safe((*node.cast::<pg_sys::CoalesceExpr>()).args),
            NodeTag::T_MinMaxExpr => {
                let choice = node.cast::<pg_sys::MinMaxExpr>();
                radius_key::is_number((*choice).minmaxtype) && all_safe((*choice).args)
            }
            _ => false,
        }
    }
}

unsafe fn all_safe(nodes: *mut pg_sys::List) -> bool {
    // SAFETY: the caller has a list of expressions.
    unsafe {
        PgList::<pg_sys::Node>::from_pg(nodes)
            .iter_ptr()
            .all(|node| is_safe(node))
    }
}

/// An integer constant of the query.
unsafe fn constant(node: *mut pg_sys::Node) -> Option<i64> {
    // SAFETY: the caller has an expression; nodes are read by their tags.
    unsafe {
        let constant = node.cast::<pg_sys::Const>();
        let known =
            is_a(node, NodeTag::T_Const) && (*constant).consttype == pg_sys::INT4OID && !(*constant).constisnull;
        known.then(|| i64::from((*constant).constvalue.value() as i32))
    }
}

/// Strips nodes that only relabel the same bytes with another type.
///
/// # Safety
/// `node` is an expression of a plan.
pub unsafe fn without_relabelling(mut node: *mut pg_sys::Node) -> *mut pg_sys::Node {
    // SAFETY: as the caller promises; nodes are read by their tags.
    unsafe {
        while is_a(node, NodeTag::T_RelabelType) {
            node = (*node.cast::<pg_sys::RelabelType>()).arg.cast();
        }
        node
    }
}

/// The function that a node calls, as an operator or by its name, and its arguments.
///
/// # Safety
/// `node` is an expression of a plan.
pub unsafe fn call(node: *mut pg_sys::Node) -> Option<(pg_sys::Oid, Vec<*mut pg_sys::Node>)> {
    // SAFETY: as the caller promises; nodes are read by their tags.
    unsafe {
        let (function, arguments) = match (*node).type_ {
            NodeTag::T_OpExpr => {
                let operation = node.cast::<pg_sys::OpExpr>();
                ((*operation).opfuncid, (*operation).args)
            }
            NodeTag::T_FuncExpr => {
                let called = node.cast::<pg_sys::FuncExpr>();
                ((*called).funcid, (*called).args)
            }
            _ => return None,
        };
        Some((
            function,
            PgList::<pg_sys::Node>::from_pg(arguments).iter_ptr().collect(),
        ))
    }
}

unsafe fn binary(node: *mut pg_sys::Node) -> Option<(pg_sys::Oid, [*mut pg_sys::Node; 2])> {
    // SAFETY: as the caller of this promises.
    let (function, arguments) = unsafe { call(node)? };
    Some((function, arguments.try_into().ok()?))
}
