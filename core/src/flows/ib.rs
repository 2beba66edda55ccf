//! Info bulletins (`protocol/transport.md` §10).

use super::login::Login;
use crate::engine::cx::Cx;
use crate::wire::NodeRef;

/// `<ib>`.
pub(crate) fn received(_cx: &mut Cx, _login: &mut Login, _node: NodeRef<'_>) {}
