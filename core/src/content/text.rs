//! Text messages.

use alloc::vec::Vec;

use crate::address::Address;
use crate::wire::Str;

/// A text message.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Text {
    /// The text.
    pub body: Str,
    /// Users whose mention (`@number`) in the text is meant as one.
    pub mentions: Vec<Address>,
}

impl Text {
    /// Plain text.
    pub fn new(body: impl Into<Str>) -> Self {
        Self { body: body.into(), mentions: Vec::new() }
    }
}
