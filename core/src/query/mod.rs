//! Queries to the server, one family a file: what is asked, how it is written, how the answer is read.

pub mod mex;
mod mex_table;
