//! Statistics of a column of arrays: the parts of its rows that value lists name under a condition
//! ([`crate::filter::sets`]).

use pgrx::pg_sys;

use crate::filter::sets;

/// Elements of an array of a column without statistics, as keys have them (chosen, not measured).
const UNKNOWN_ELEMENTS: f64 = 4.0;

/// Elements of a longer array (chosen, not measured).
const LONG_ELEMENTS: f64 = 12.0;

/// The lists of one condition on arrays, in parts of the table's rows.
#[derive(Debug, Clone, Copy)]
pub struct SetStatistics {
    /// Number of lists, of elements, that the condition reads.
    pub lists: f64,
    /// Elements of a row in arrays whose keys have all of them.
    pub elements: f64,
    /// Share of the rows with longer arrays.
    pub long: f64,
}

impl SetStatistics {
    /// Those of a condition that reads the lists of so many elements of an array.
    ///
    /// # Safety
    /// `root` is the planner's state, and `array` an expression of its query.
    pub unsafe fn of(root: *mut pg_sys::PlannerInfo, array: *mut pg_sys::Node, lists: f64) -> SetStatistics {
        let mut statistics = SetStatistics {
            lists,
            elements: UNKNOWN_ELEMENTS,
            long: 0.0,
        };
        // SAFETY: as the caller promises; the slot's numbers are read while it is held, and
        // statistics are released.
        unsafe {
            let mut variable = pg_sys::VariableStatData::default();
            pg_sys::examine_variable(root, array, 0, &mut variable);
            if variable.statsTuple.is_null() {
                return statistics;
            }
            let (mut slot, kind) = (pg_sys::AttStatsSlot::default(), pg_sys::STATISTIC_KIND_DECHIST as i32);
            let (any, numbers) = (pg_sys::InvalidOid, pg_sys::ATTSTATSSLOT_NUMBERS as i32);
            if pg_sys::get_attstatsslot(&mut slot, variable.statsTuple, kind, any, numbers) {
                let row = pg_sys::GETSTRUCT(variable.statsTuple).cast::<pg_sys::FormData_pg_statistic>();
                let filled = 1.0 - f64::from((*row).stanullfrac);
                let count = usize::try_from(slot.nnumbers).unwrap_or(0);
                // The last number is the mean of all.
                if !slot.numbers.is_null() && count > 1 {
                    let counts = std::slice::from_raw_parts(slot.numbers, count - 1);
                    (statistics.elements, statistics.long) = of_histogram(counts);
                }
                statistics.elements *= filled;
                statistics.long *= filled;
                pg_sys::free_attstatsslot(&mut slot);
            }
            if let Some(release) = variable.freefunc {
                release(variable.statsTuple);
            }
        }
        statistics
    }
}

impl SetStatistics {
    /// Share of the rows whose lanes pass a test of elements that their arrays do not have.
    pub fn passed_in_vain(&self) -> f64 {
        let of_short = self.any(sets::passed_in_vain(self.of_one_short()));
        (1.0 - self.long) * of_short + self.long * self.long_in_vain()
    }

    /// Share of the rows that have entries in the lists because of other elements.
    pub fn listed_in_vain(&self) -> f64 {
        self.of_short() + self.long
    }

    /// Share of the rows with such entries that pass the test all the same.
    pub fn named_in_vain(&self) -> f64 {
        self.of_short() * sets::listed_in_vain(self.of_one_short()) + self.long * self.long_in_vain()
    }

    fn of_short(&self) -> f64 {
        self.lists * self.elements / f64::from(sets::LISTS)
    }

    /// Elements of an array that is not long.
    fn of_one_short(&self) -> f64 {
        self.elements / (1.0 - self.long).max(f64::MIN_POSITIVE)
    }

    fn long_in_vain(&self) -> f64 {
        self.any(sets::passed_in_vain(LONG_ELEMENTS))
    }

    /// Share that passes the test of any of the lists' elements, of the share that passes one.
    fn any(&self, one: f64) -> f64 {
        1.0 - (1.0 - one).powf(self.lists)
    }
}

/// The mean number of elements in arrays whose keys have all of them, in parts of all arrays, and
/// the share of longer ones: of the bounds of a histogram with as many arrays between any two
/// (`array_typanalyze.c`).
fn of_histogram(counts: &[f32]) -> (f64, f64) {
    let all = counts.len() as f64;
    let is_short = |count: &&f32| **count <= sets::MOST_ELEMENTS as f32;
    let short = counts.iter().filter(is_short);
    let (sum, number) = short.fold((0.0, 0.0), |(sum, number), &count| {
        (sum + f64::from(count), number + 1.0)
    });
    (sum / all, 1.0 - number / all)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_arrays_are_apart() {
        assert_eq!(of_histogram(&[3.0, 3.0]), (3.0, 0.0));
        assert_eq!(of_histogram(&[2.0, 4.0, 6.0, 9.0]), (3.0, 0.25));
        assert_eq!(of_histogram(&[20.0]), (0.0, 1.0));
    }
}
