//! The user under which inspecting functions run the code of an index.
//!
//! Expressions and conditions of an index are its owner's code; a caller names an index and no
//! code, and may be a superuser. So the code runs as the owner and in a security-restricted
//! operation, as under CREATE INDEX, REINDEX, VACUUM and `contrib/amcheck`. The search_path is one
//! that the caller cannot influence, because the owner has privileges that the caller may lack.

use std::ffi::CStr;

use pgrx::pg_sys;

/// The path of maintenance commands from PostgreSQL 17 on (`GUC_SAFE_SEARCH_PATH`).
const SAFE_PATH: &CStr = c"pg_catalog, pg_temp";

/// User, security context and settings as they were: restored on drop. An error leaves that to the
/// abort of the (sub)transaction.
pub struct RunAs {
    user: pg_sys::Oid,
    context: i32,
    level: i32,
}

impl RunAs {
    /// The caller, with a safe search_path.
    ///
    /// # Safety
    /// Called in a transaction.
    pub unsafe fn caller() -> RunAs {
        let (mut user, mut context) = (pg_sys::InvalidOid, 0);
        // SAFETY: as the caller promises.
        let level = unsafe {
            pg_sys::GetUserIdAndSecContext(&mut user, &mut context);
            pg_sys::NewGUCNestLevel()
        };
        let run_as = RunAs { user, context, level };
        run_as.set(c"search_path", SAFE_PATH);
        run_as
    }

    /// The owner of a table, in a security-restricted operation.
    ///
    /// # Safety
    /// `heap` is an open table.
    pub unsafe fn owner(heap: pg_sys::Relation) -> RunAs {
        // SAFETY: as the caller promises.
        unsafe {
            let run_as = RunAs::caller();
            let context = run_as.context | pg_sys::SECURITY_RESTRICTED_OPERATION as i32;
            pg_sys::SetUserIdAndSecContext((*(*heap).rd_rel).relowner, context);
            run_as
        }
    }

    /// Sets a setting until the guard is dropped, also one for superusers.
    pub fn set(&self, name: &CStr, value: &CStr) {
        // SAFETY: called within the nest level that the guard has begun; names and values are text.
        unsafe {
            pg_sys::set_config_option(
                name.as_ptr(),
                value.as_ptr(),
                pg_sys::GucContext::PGC_SUSET,
                pg_sys::GucSource::PGC_S_SESSION,
                pg_sys::GucAction::GUC_ACTION_SAVE,
                true,
                0,
                false,
            );
        }
    }
}

impl Drop for RunAs {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            // SAFETY: the level is the one that `RunAs` began; code that ran in it has ended all
            // deeper levels.
            unsafe {
                pg_sys::AtEOXact_GUC(false, self.level);
                pg_sys::SetUserIdAndSecContext(self.user, self.context);
            }
        }
    }
}
