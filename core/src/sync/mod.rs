//! Scratch.

pub mod action;
mod action_table;
