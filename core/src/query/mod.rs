//! Scratch.

pub mod mex;
mod mex_table;
