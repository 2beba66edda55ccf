//! Queries to the server, one family a file: what is asked, how it is written, how the answer is read.

pub mod bundle;
pub mod mex;
mod mex_table;
pub mod usync;
