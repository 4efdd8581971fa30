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
    /// The expression of a LIMIT gives it when the statement runs; NULL means all rows.
    Given(*mut pg_sys::Node),
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
}

impl Need {
    /// All rows.
    pub const ALL: Need = Need {
        reading: Reading::All,
        order: Order::Shown,
    };
    /// Rows one after another, as long as the client fetches them.
    pub const FETCHED: Need = Need {
        reading: Reading::Some(Number::Unknown),
        order: Order::Shown,
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

    /// The expression of a LIMIT with a number that is not known yet.
    pub fn limit(self) -> Option<*mut pg_sys::Node> {
        match self.reading {
            Reading::Some(Number::Given(limit)) => Some(limit),
            _ => None,
        }
    }

    /// The number of rows, if it is known.
    pub fn rows(self) -> Option<f64> {
        match self.reading {
            Reading::Some(Number::Known(rows)) => Some(rows),
            _ => None,
        }
    }

    /// Need of a node that refuses some of its rows.
    pub fn filtered(self) -> Need {
        match self.order {
            Order::Counted => self.at_least(Order::ReliedOn),
            _ => self,
        }
    }

    pub fn at_least(self, order: Order) -> Need {
        Need {
            order: self.order.max(order),
            ..self
        }
    }
}
