//! The neighbors of a record: candidates for them, their selection, the lanes that hold them, and
//! links back.

pub(super) mod back_links;
pub(super) mod candidates;
pub(super) mod lanes;
pub(super) mod selection;
