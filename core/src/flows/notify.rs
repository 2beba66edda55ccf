//! Notifications.

use crate::engine::cx::Cx;
use crate::flows::pair::Pair;
use crate::flows::prekeys::Prekeys;
use crate::store::{Gap, View};
use crate::wire::NodeRef;

pub(crate) struct Plan;

pub(crate) fn plan(_cx: &Cx, _view: &View<'_>, _node: NodeRef<'_>) -> Result<Plan, Gap> {
    Ok(Plan)
}

pub(crate) fn act(_plan: Plan, cx: &mut Cx, node: NodeRef<'_>, prekeys: &mut Prekeys, pair: &mut Pair) {
    prekeys.notified(cx, node);
    pair.notified(cx, node);
}
