//! `amvalidate` and `amadjustmembers`: a check of the members of an operator class, and their
//! dependencies.
//!
//! For each type of vectors a family has one operator, which orders by a distance, and its support
//! functions. For each type of filter columns a family has the operators that compare two values of
//! the type, perhaps others that compare values of two types, and the support function.

use std::ffi::{CStr, c_char};

use pgrx::pg_sys::SysCacheIdentifier;
use pgrx::{PgList, PgLogLevel, PgSqlErrorCode, ereport, pg_guard, pg_sys};

use super::filter;
use super::opclass::{Class, RETIRED, STRATEGY, SUPPORT, is_of_pgvector, is_retired};
use crate::compat::opfamily_can_sort_type;

#[pg_guard]
pub unsafe extern "C-unwind" fn amvalidate(opclass: pg_sys::Oid) -> bool {
    // SAFETY: PostgreSQL passes an operator class of this access method.
    unsafe {
        let class = row::<pg_sys::FormData_pg_opclass>(SysCacheIdentifier::CLAOID, opclass);
        let Some(class) = class else {
            return false;
        };
        let family = class.opcfamily;
        let name = row::<pg_sys::FormData_pg_opfamily>(SysCacheIdentifier::OPFAMILYOID, family);
        let method = text(pg_sys::get_am_name(class.opcmethod));
        let mut validation = Validation {
            method: method.clone(),
            oid: family,
            family: name.map_or_else(String::new, |family| text(family.opfname.data.as_ptr())),
            functions: rows(SysCacheIdentifier::AMPROCNUM, family),
            is_valid: true,
        };
        let operators = rows::<pg_sys::FormData_pg_amop>(SysCacheIdentifier::AMOPSTRATEGY, family);
        for function in validation.functions.clone() {
            validation.function(&function);
        }
        operators.iter().for_each(|operator| validation.operator(operator));
        let name = text(class.opcname.data.as_ptr());
        let value = class.opcintype;
        let support = validation.support(value);
        // A class of filter columns has several strategies.
        let filter = support.and_then(|function| filter::classes::Class::of_support(function));
        let (side, strategies) = match filter.and_then(filter::classes::Class::operators) {
            Some(operators) => (operators.left, operators.strategies()),
            None => (value, STRATEGY),
        };
        let is_there = |strategy: u16| {
            operators.iter().any(|operator| {
                (operator.amoplefttype, operator.amoprighttype) == (side, side)
                    && operator.amopstrategy == strategy as i16
            })
        };
        if !(STRATEGY..=strategies).all(is_there) {
            validation.object(&format!(
                "operator class \"{name}\" of access method {method} is missing operator(s)"
            ));
        }
        if support.is_none() {
            validation.object(&format!(
                "operator class \"{name}\" of access method {method} is missing support function {SUPPORT}"
            ));
        }
        if class.opckeytype != pg_sys::InvalidOid && class.opckeytype != value {
            validation.object(&format!(
                "operator class \"{name}\" of access method {method} has a storage type"
            ));
        }
        validation.is_valid
    }
}

/// A family under validation.
struct Validation {
    method: String,
    oid: pg_sys::Oid,
    family: String,
    functions: Vec<pg_sys::FormData_pg_amproc>,
    is_valid: bool,
}

impl Validation {
    /// Reports a fault.
    fn object(&mut self, what: &str) {
        self.is_valid = false;
        ereport!(
            PgLogLevel::INFO,
            PgSqlErrorCode::ERRCODE_INVALID_OBJECT_DEFINITION,
            what.to_owned()
        );
    }

    fn member(&mut self, what: &str) {
        let (family, method) = (&self.family, &self.method);
        self.object(&format!(
            "operator family \"{family}\" of access method {method} contains {what}"
        ));
    }

    /// The support function for a type.
    fn support(&self, value: pg_sys::Oid) -> Option<pg_sys::Oid> {
        let is_it = |function: &&pg_sys::FormData_pg_amproc| {
            function.amprocnum == SUPPORT as i16
                && function.amproclefttype == value
                && function.amprocrighttype == value
        };
        self.functions.iter().find(is_it).map(|function| function.amproc)
    }

    /// The class of ours that stands for a class of pgvector, if the family has one for a type.
    ///
    /// # Safety
    /// Called in a transaction.
    unsafe fn class_of_pgvector(&self, value: pg_sys::Oid) -> Option<&'static Class> {
        // SAFETY: as the caller promises.
        unsafe {
            let operator = pg_sys::get_opfamily_member(self.oid, value, value, STRATEGY as i16);
            let class = Class::of_pgvector(self.support(value)?, operator)?;
            class.is_for(value).then_some(class)
        }
    }

    /// # Safety
    /// The function is one of a family.
    unsafe fn function(&mut self, function: &pg_sys::FormData_pg_amproc) {
        // SAFETY: as the caller promises.
        unsafe {
            let name = text(pg_sys::format_procedure(function.amproc));
            let (value, number) = (function.amproclefttype, function.amprocnum);
            if value != function.amprocrighttype {
                return self.member(&format!("function {name} with different left and right input types"));
            }
            let is_ours = match u16::try_from(number) {
                Ok(SUPPORT) if self.class_of_pgvector(value).is_some() => true,
                Ok(SUPPORT) => {
                    if !takes(function.amproc, &[pg_sys::INTERNALOID]) {
                        return self.member(&format!(
                            "function {name} with wrong signature for support number {number}"
                        ));
                    }
                    let of_filter = filter::classes::Class::of_support(function.amproc);
                    Class::of_support(function.amproc).is_some_and(|class| class.is_for(value))
                        || of_filter.is_some_and(|class| class.value == value)
                }
                Ok(RETIRED) if is_retired(function.amproc) => true,
                Ok(_) if self.class_of_pgvector(value).is_some() => is_of_pgvector(function.amproc),
                _ => return self.member(&format!("function {name} with invalid support number {number}")),
            };
            if !is_ours {
                self.member(&format!(
                    "function {name}, which is not one of the extension for this type"
                ));
            }
        }
    }

    /// # Safety
    /// Called in a transaction.
    unsafe fn is_of_filters(&self) -> bool {
        let is_filter = |function: &pg_sys::FormData_pg_amproc| {
            // SAFETY: as the caller promises.
            function.amprocnum == SUPPORT as i16
                && unsafe { filter::classes::Class::of_support(function.amproc) }.is_some()
        };
        self.functions.iter().any(is_filter)
    }

    /// An operator of a family of filter columns: one of ours, with the strategy that it has in
    /// ours, between types of which at least the left one has a class in the family.
    ///
    /// # Safety
    /// The operator is one of a family.
    unsafe fn comparison(&mut self, member: &pg_sys::FormData_pg_amop) {
        // SAFETY: as the caller promises.
        unsafe {
            let name = text(pg_sys::format_operator(member.amopopr));
            if member.amoppurpose as u8 != pg_sys::AMOP_SEARCH {
                return self.member(&format!("operator {name}, which is not a search operator"));
            }
            let (left, right) = (member.amoplefttype, member.amoprighttype);
            let Some(operators) = filter::classes::operators_between(left, right) else {
                return self.member(&format!("operator {name} with wrong signature"));
            };
            let strategy = member.amopstrategy;
            let function = u16::try_from(strategy)
                .ok()
                .and_then(|strategy| operators.function(strategy));
            let Some(function) = function else {
                return self.member(&format!("operator {name} with invalid strategy number {strategy}"));
            };
            if pg_sys::get_opcode(member.amopopr) != function {
                return self.member(&format!("operator {name}, which is not the one of strategy {strategy}"));
            }
            let is_of_left = |function: &pg_sys::FormData_pg_amproc| {
                function.amprocnum == SUPPORT as i16
                    && filter::classes::Class::of_support(function.amproc).is_some_and(|class| {
                        class.value == function.amproclefttype
                            && class.operators().is_some_and(|operators| operators.left == left)
                    })
            };
            if !self.functions.iter().any(is_of_left) {
                self.member(&format!("operator {name} of a type without support function {SUPPORT}"));
            }
        }
    }

    /// # Safety
    /// The operator is one of a family.
    unsafe fn operator(&mut self, member: &pg_sys::FormData_pg_amop) {
        // SAFETY: as the caller promises.
        unsafe {
            if self.is_of_filters() {
                return self.comparison(member);
            }
            let name = text(pg_sys::format_operator(member.amopopr));
            let strategy = member.amopstrategy;
            if strategy != STRATEGY as i16 {
                self.member(&format!("operator {name} with invalid strategy number {strategy}"));
            }
            if member.amoppurpose as u8 != pg_sys::AMOP_ORDER {
                return self.member(&format!("operator {name}, which is not an ordering operator"));
            }
            if !opfamily_can_sort_type(member.amopsortfamily, pg_sys::FLOAT8OID) {
                self.member(&format!(
                    "incorrect ORDER BY opfamily specification for operator {name}"
                ));
            }
            let (left, right) = (member.amoplefttype, member.amoprighttype);
            let operator = row::<pg_sys::FormData_pg_operator>(SysCacheIdentifier::OPEROID, member.amopopr);
            let has_signature = |operator: pg_sys::FormData_pg_operator| {
                operator.oprkind as u8 == b'b'
                    && (operator.oprleft, operator.oprright) == (left, right)
                    && operator.oprresult == pg_sys::FLOAT8OID
            };
            if left != right || !operator.is_some_and(has_signature) {
                return self.member(&format!("operator {name} with wrong signature"));
            }
            let class = self.support(left).and_then(|function| Class::of_support(function));
            if class.is_some_and(|class| !class.is_distance(member.amopopr)) {
                self.member(&format!(
                    "operator {name}, which is not the distance that support function {SUPPORT} is for"
                ));
            }
        }
    }
}

/// Whether a function takes the expected arguments and returns `internal`.
///
/// # Safety
/// Called in a transaction, with an existing function.
unsafe fn takes(function: pg_sys::Oid, expected: &[pg_sys::Oid]) -> bool {
    let (mut arguments, mut count) = (std::ptr::null_mut(), 0);
    // SAFETY: as the caller promises; the array of arguments has the length that the row gives.
    unsafe {
        let returned = pg_sys::get_func_signature(function, &mut arguments, &mut count);
        let is = |i: usize| *arguments.add(i) == expected[i];
        returned == pg_sys::INTERNALOID && count as usize == expected.len() && (0..expected.len()).all(is)
    }
}

/// A row of a catalog.
///
/// # Safety
/// `T` is the structure of the rows of that cache, and the cache has one OID as its key.
unsafe fn row<T: Copy>(cache: SysCacheIdentifier::Type, key: pg_sys::Oid) -> Option<T> {
    // SAFETY: as the caller promises; the row is copied before it is released.
    unsafe {
        let tuple = pg_sys::SearchSysCache1(cache as i32, key.into());
        if tuple.is_null() {
            return None;
        }
        let row = *pg_sys::GETSTRUCT(tuple).cast::<T>();
        pg_sys::ReleaseSysCache(tuple);
        Some(row)
    }
}

/// The members of a family.
///
/// # Safety
/// `T` is the structure of the rows of that cache, and the family is its first key.
unsafe fn rows<T: Copy>(cache: SysCacheIdentifier::Type, family: pg_sys::Oid) -> Vec<T> {
    let none = pg_sys::Datum::from(0);
    // SAFETY: as the caller promises; the rows are copied before the list is released.
    unsafe {
        let list = pg_sys::SearchSysCacheList(cache as i32, 1, family.into(), none, none);
        let members = (*list).members.as_ptr();
        let rows = (0..(*list).n_members as usize).map(|i| {
            let tuple = &raw mut (**members.add(i)).tuple;
            *pg_sys::GETSTRUCT(tuple).cast::<T>()
        });
        let rows = rows.collect();
        pg_sys::ReleaseCatCacheList(list);
        rows
    }
}

/// # Safety
/// `text` ends with a zero byte.
unsafe fn text(text: *const c_char) -> String {
    // SAFETY: as the caller promises.
    unsafe { CStr::from_ptr(text) }.to_string_lossy().into_owned()
}

/// A class owns its operator and its support functions; later members of a family depend on the
/// family.
#[pg_guard]
pub unsafe extern "C-unwind" fn amadjustmembers(
    family: pg_sys::Oid,
    opclass: pg_sys::Oid,
    operators: *mut pg_sys::List,
    functions: *mut pg_sys::List,
) {
    // SAFETY: PostgreSQL passes lists of new members.
    unsafe {
        for list in [operators, functions] {
            for member in PgList::<pg_sys::OpFamilyMember>::from_pg(list).iter_ptr() {
                let is_of_class = opclass != pg_sys::InvalidOid && (*member).lefttype == (*member).righttype;
                (*member).ref_is_hard = is_of_class;
                (*member).ref_is_family = !is_of_class;
                (*member).refobjid = if is_of_class { opclass } else { family };
            }
        }
    }
}
