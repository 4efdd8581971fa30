//! Distance kernels and their choice at run time. Knows no PostgreSQL.
