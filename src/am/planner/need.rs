//! Order and number of the rows that a node above a scan needs of it.

use pgrx::pg_sys;

use crate::am::radius_key::Mode;

/// Share of a node's rows that is read.
#[derive(Debug, Clone, Copy)]
pub enum Reading {
    All,
    /// As many rows as a LIMIT says, which by the planner's estimate are all.
    AllByEstimate,
    /// Some rows.
    Some(Number),
}

/// Number of the rows that are read of a node.
#[derive(Debug, Clone, Copy)]
pub enum Number {
    Unknown,
    Known(f64),
    /// It is known when the statement runs.
    Given(Given),
}

/// Number of the rows down to a LIMIT as a sum: of a number, and of expressions for the counts of
/// LIMIT, where NULL means all rows, and OFFSET, where it means none.
#[derive(Debug, Clone, Copy)]
pub struct Given {
    pub known: f64,
    pub limit: Option<*mut pg_sys::Node>,
    pub offset: Option<*mut pg_sys::Node>,
}

/// Weight of the order of a node's rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Order {
    /// The order is passed on.
    Shown,
    /// The order decides which of several inputs is read next.
    Merged,
    /// Adjacent rows are compared. A late row may be in the wrong place, but no row is lost.
    Compared,
    /// Values are computed from the order of all rows that are read, so also from late rows where
    /// rows are refused.
    Counted,
    /// Results are wrong if the order is.
    ReliedOn,
}

/// Rows and order that are needed of a node.
#[derive(Debug, Clone, Copy)]
pub struct Need {
    pub reading: Reading,
    pub order: Order,
    /// Whether rows may be read to the end although not all are counted on: a client may fetch them
    /// all, or a node may refuse them.
    pub may_end: bool,
    /// Share of these rows that is likely read of the node; 0 if it is not known. Nodes that are
    /// merged have a part each.
    pub share: f64,
}

impl Need {
    /// All rows.
    pub const ALL: Need = Need {
        reading: Reading::All,
        order: Order::Shown,
        may_end: true,
        share: 1.0,
    };
    /// Rows one after another, as long as the client fetches them.
    pub const FETCHED: Need = Need {
        reading: Reading::Some(Number::Unknown),
        order: Order::Shown,
        may_end: true,
        share: 0.0,
    };

    /// Mode of a scan. With `has_radius` a condition ends the scan; with `is_filtered` rows are
    /// refused.
    pub fn mode(self, has_radius: bool, is_filtered: bool) -> Mode {
        match (self.reading, self.order) {
            (Reading::All, _) => Mode::Exact,
            (Reading::AllByEstimate, _) if !has_radius => Mode::Exact,
            (_, Order::Shown) => Mode::Fast,
            (_, Order::Merged) => Mode::Strict,
            (_, Order::Compared) => Mode::Reordered,
            (_, Order::Counted) if !is_filtered => Mode::Reordered,
            (_, Order::Counted | Order::ReliedOn) => Mode::Exact,
        }
    }

    /// The number of rows, if it is known or will be.
    pub fn rows(self) -> Option<Given> {
        match self.reading {
            Reading::Some(Number::Given(given)) => Some(given),
            Reading::Some(Number::Known(known)) => Some(Given {
                known,
                limit: None,
                offset: None,
            }),
            _ => None,
        }
    }

    /// Need of a node that refuses some of its rows.
    pub fn filtered(self) -> Need {
        let need = match self.order {
            Order::Counted => self.at_least(Order::ReliedOn),
            _ => self,
        };
        Need { may_end: true, ..need }
    }

    /// Need of a node that computes values from the order of its rows. With `reads_all` it reads
    /// all of them before its first row.
    pub fn counted(self, reads_all: bool) -> Need {
        match (reads_all, self.may_end) {
            (true, _) => Need::ALL,
            (false, true) => self.at_least(Order::ReliedOn),
            (false, false) => self.at_least(Order::Counted),
        }
    }

    /// Need of a node of which likely this share of the rows is read.
    pub fn of_share(self, share: f64) -> Need {
        Need {
            share: self.share * share,
            ..self
        }
    }

    pub fn at_least(self, order: Order) -> Need {
        Need {
            order: self.order.max(order),
            ..self
        }
    }
}
