//! The page store on shared buffers.
