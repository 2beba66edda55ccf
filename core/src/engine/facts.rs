//! What a plan may look at, and what comes of it.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;
use core::cell::RefCell;

use crate::error::Failure;
use crate::flows::query::{Finding, Query};
use crate::store::{Cache, Gap, Notes, View};
use crate::wire::Str;

/// What a plan may look at.
pub(crate) struct Facts<'a> {
    pub(crate) view: View<'a>,
    findings: &'a BTreeMap<Query, Finding>,
    needed: RefCell<BTreeSet<Query>>,
}

impl<'a> Facts<'a> {
    pub(crate) fn new(cache: &'a Cache, findings: &'a BTreeMap<Query, Finding>) -> Self {
        Self { view: View::new(cache), findings, needed: RefCell::default() }
    }

    /// The answer to a question that only the server can answer.
    ///
    /// # Errors
    /// [`Gap`] until it was asked and answered.
    pub(crate) fn ask(&self, query: &Query) -> Result<&Finding, Gap> {
        self.needed.borrow_mut().insert(query.clone());
        self.findings.get(query).ok_or(Gap)
    }

    /// What the plan has asked and looked at.
    pub(crate) fn into_notes(self) -> (BTreeSet<Query>, Notes) {
        (self.needed.into_inner(), self.view.into_notes())
    }
}

/// Why a plan did not come about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Stop {
    /// Facts are missing.
    Gap,
    /// It can never come about.
    Fail(Failure),
}

impl From<Gap> for Stop {
    fn from(_: Gap) -> Self {
        Self::Gap
    }
}

impl From<Failure> for Stop {
    fn from(failure: Failure) -> Self {
        Self::Fail(failure)
    }
}

/// What acting on a plan made.
pub(crate) enum Acted {
    /// A stanza whose ack is awaited.
    Sent {
        /// Its id.
        id: Str,
        /// As [`crate::engine::cx::encode_frame`] makes it.
        frame: Vec<u8>,
    },
    /// Done, with nothing to wait for.
    Finished,
}
