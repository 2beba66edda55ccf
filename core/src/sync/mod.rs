//! App state: what the account's devices keep in common.

pub mod action;
mod action_table;
