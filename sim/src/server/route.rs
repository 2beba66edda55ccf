//! Where each stanza of a client goes.

use amarula_core::wire::Node;

use super::conn::{Asked, Role};
use super::{ClientProfile, ConnId, DeviceKey, Server, grammar};
use crate::codec::Read as _;
use crate::violation::Rule;

impl Server {
    pub(crate) fn stanza(&mut self, conn: ConnId, node: &Node) {
        if node.tag == "xmlstreamend" {
            return self.close(conn);
        }
        for detail in grammar::check(node, self.profile_on(conn)) {
            self.object(Some(conn), None, Rule::Grammar, Some(node), detail);
        }
        let role = match self.conns.get(&conn).map(|state| &state.role) {
            Some(Role::Device(key)) => Some(*key),
            Some(Role::Unpaired(_)) => None,
            _ => return,
        };
        match (node.tag.as_str(), role) {
            ("iq", _) => self.iq_stanza(conn, node),
            ("ack", None) => self.ack_unpaired(conn, node),
            ("ib", _) => self.info_bulletin(conn, node),
            ("presence", None) if self.is_lenient_on(conn) => {}
            (_, None) => self.object(Some(conn), None, Rule::Unpaired, Some(node), "not allowed before pairing"),
            ("message", Some(key)) => self.message(Some(conn), key, node),
            ("receipt", Some(key)) => self.receipt(conn, key, node),
            ("ack", Some(key)) => self.ack(conn, key, node),
            ("presence", Some(key)) => self.presence(conn, key, node),
            ("chatstate", Some(key)) => self.chatstate(conn, key, node),
            _ => {}
        }
    }

    fn iq_stanza(&mut self, conn: ConnId, node: &Node) {
        match node.text("type").as_str() {
            "result" | "error" => self.answered(conn, node),
            "get" | "set" => {
                let id = node.text("id");
                let fresh = self.conns.get_mut(&conn).is_some_and(|state| state.ids.insert(id));
                if !fresh {
                    self.object(Some(conn), None, Rule::DuplicateId, Some(node), "an IQ id was used before");
                }
                self.request(conn, node);
            }
            _ => self.object(Some(conn), None, Rule::Grammar, Some(node), "IQ type is none of get, set, result, error"),
        }
    }

    fn answered(&mut self, conn: ConnId, node: &Node) {
        let id = node.text("id");
        let asked = self.conns.get_mut(&conn).and_then(|state| state.asked.remove(&id));
        if node.jid("to").is_none_or(|to| !to.is_server()) {
            self.object(Some(conn), None, Rule::Grammar, Some(node), "an answer goes to the server");
        }
        match asked {
            None => {
                self.object(
                    Some(conn),
                    None,
                    Rule::Iq,
                    Some(node),
                    "answers no request of the server, or a second time",
                );
            }
            Some((Asked::Ping, _)) => {}
            Some((Asked::PairDevice, _)) if node.text("type") == "result" => self.pair_device_answered(conn),
            Some((Asked::PairDevice, _)) => {
                self.object(Some(conn), None, Rule::Pairing, Some(node), "pair-device was refused");
            }
            Some((Asked::PairSuccess, _)) => self.pair_success_answered(conn, node),
        }
    }

    fn info_bulletin(&mut self, conn: ConnId, node: &Node) {
        let [child] = node.nodes() else {
            return self.object(Some(conn), None, Rule::Grammar, Some(node), "<ib> of a client has one child");
        };
        match child.tag.as_str() {
            "unified_session" if child.number("id").is_none_or(|id| id >= 604_800_000) => {
                self.object(Some(conn), None, Rule::Grammar, Some(node), "unified_session id is not below a week");
            }
            "offline_batch" => {
                let Some(count) = child.number("count") else {
                    return self.object(Some(conn), None, Rule::Grammar, Some(node), "offline_batch without a count");
                };
                if let Some(key) = self.conns.get(&conn).and_then(super::conn::Conn::device) {
                    self.offline_batch(conn, key, usize::try_from(count).unwrap_or(usize::MAX));
                }
            }
            _ => {}
        }
    }

    /// Whose habits are tolerated on a connection.
    pub(crate) fn profile_on(&self, conn: ConnId) -> ClientProfile {
        self.conns.get(&conn).map_or(self.config.profile, |state| state.profile)
    }

    pub(crate) fn is_lenient_on(&self, conn: ConnId) -> bool {
        self.profile_on(conn) == ClientProfile::Baileys
    }

    /// Whether the device is one whose habits are tolerated. Phones are not.
    pub(crate) fn is_lenient(&self, key: DeviceKey) -> bool {
        self.companion(key).is_some_and(|companion| companion.profile == ClientProfile::Baileys)
    }

    pub(crate) fn conn_of(&self, key: DeviceKey) -> Option<ConnId> {
        self.companion(key)?.conn
    }
}
