//! Sending a message again, to one device that could not decrypt it.

use crate::engine::cx::Cx;
use crate::engine::runner::{Acted, Facts, Stop};
use crate::flows::send::SendError;

/// A resend.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Resend {}

pub(crate) struct Plan;

impl Resend {
    pub(crate) fn same(&self, _other: &Self) -> bool {
        false
    }

    pub(crate) fn plan(&self, _cx: &Cx, _facts: &Facts<'_>) -> Result<Plan, Stop> {
        Err(Stop::Gap)
    }

    pub(crate) fn act(&self, _plan: Plan, _cx: &mut Cx) -> Result<Acted, SendError> {
        Ok(Acted::Finished)
    }
}
