//! VACUUM: bulk delete, repair of the neighbors of dead nodes, unreachable nodes, and the end of
//! the file.

pub mod bulk_delete;
pub mod reachability;
mod repair;
pub mod truncate;
