//! Requests of clients: dispatch, and the small ones (transport §9, §11, §15, §16; messages §6.2).

use std::collections::BTreeMap;

use amarula_core::wire::{Jid, Node};

use super::conn::Conn;
use super::{ConnId, DeviceKey, Server};
use crate::codec::Read as _;
use crate::violation::Rule;

pub(crate) fn default_privacy() -> BTreeMap<String, String> {
    [
        ("last", "all"),
        ("online", "all"),
        ("profile", "all"),
        ("status", "all"),
        ("groupadd", "all"),
        ("readreceipts", "all"),
        ("calladd", "all"),
        ("messages", "all"),
        ("defense", "off"),
        ("stickers", "contacts"),
    ]
    .into_iter()
    .map(|(name, value)| (name.to_owned(), value.to_owned()))
    .collect()
}

impl Server {
    pub(crate) fn iq_result(&mut self, conn: ConnId, iq: &Node, child: Option<Node>) {
        let node = Node::new("iq")
            .attr("from", iq.jid("to").unwrap_or_else(Jid::server))
            .attr("type", "result")
            .attr("id", iq.text("id"))
            .child_opt(child);
        self.send(conn, &node);
    }

    pub(crate) fn iq_error(&mut self, conn: ConnId, iq: &Node, code: u16, backoff: Option<u32>) {
        let error = Node::new("error")
            .attr("code", u32::from(code))
            .attr("text", error_text(code))
            .attr_opt("backoff", backoff);
        let node = Node::new("iq")
            .attr("from", iq.jid("to").unwrap_or_else(Jid::server))
            .attr("type", "error")
            .attr("id", iq.text("id"))
            .child(error);
        self.send(conn, &node);
    }

    pub(crate) fn request(&mut self, conn: ConnId, iq: &Node) {
        let namespace = iq.text("xmlns");
        if self.faults.silent_iqs.contains(&namespace) {
            return;
        }
        if let Some((code, backoff)) = self.faults.iq_errors.remove(&namespace) {
            return self.iq_error(conn, iq, code, backoff);
        }
        if let Some(children) = self.faults.iq_results.remove(&namespace) {
            let result = Node::new("iq").attr("from", Jid::server()).attr("type", "result").attr("id", iq.text("id"));
            return self.send(conn, &result.children(children));
        }
        let set = iq.text("type") == "set";
        let device = self.conns.get(&conn).and_then(Conn::device);
        match (namespace.as_str(), device) {
            ("w:p", _) => {
                if !self.faults.ignore_pings {
                    let pong = Node::new("iq")
                        .attr("from", Jid::server())
                        .attr("type", "result")
                        .attr("id", iq.text("id"))
                        .attr("t", self.now.secs());
                    self.send(conn, &pong);
                }
            }
            ("md", None) => match iq.find("link_code_companion_reg") {
                Some(request) => self.link_code(conn, iq, request),
                None => {
                    self.object(Some(conn), None, Rule::Iq, Some(iq), "unknown md request on an unpaired connection");
                    self.iq_error(conn, iq, 400, None);
                }
            },
            (_, None) => {
                self.object(Some(conn), None, Rule::Unpaired, Some(iq), "a request that needs a login");
                self.iq_error(conn, iq, 401, None);
            }
            ("md", Some(key)) => self.companion_request(conn, key, iq),
            ("passive", Some(key)) if set => self.passive(conn, key, iq),
            ("encrypt", Some(key)) => self.encrypt_request(conn, key, iq),
            ("usync", Some(key)) => self.usync(conn, key, iq),
            ("abt", Some(_)) => self.props(conn, iq),
            ("blocklist", Some(key)) => self.blocklist(conn, key, iq),
            ("privacy", Some(key)) => self.privacy(conn, key, iq),
            ("urn:xmpp:whatsapp:dirty", Some(_)) if set => {
                if iq.find("clean").is_none_or(|clean| !clean.has("type")) {
                    self.object(Some(conn), None, Rule::Iq, Some(iq), "dirty without <clean type>");
                }
                self.iq_result(conn, iq, None);
            }
            ("w:g2", Some(key)) => self.group_request(conn, key, iq),
            (
                "w:stats" | "status" | "w:profile:picture" | "w:m" | "w:sync:app:state" | "newsletter" | "w:mex",
                Some(key),
            ) => {
                self.plain_answer(conn, key, iq);
            }
            _ => {
                self.object(Some(conn), None, Rule::Iq, Some(iq), format!("unknown namespace {namespace:?} or type"));
                self.iq_error(conn, iq, 501, None);
            }
        }
    }

    /// Requests the simulator knows of but holds no data for.
    fn plain_answer(&mut self, conn: ConnId, _key: DeviceKey, iq: &Node) {
        match iq.text("xmlns").as_str() {
            "w:sync:app:state" => {
                let collections = iq.find("sync").map(|sync| sync.all("collection")).unwrap_or_default();
                let answers = collections.into_iter().map(|collection| {
                    Node::new("collection")
                        .attr("name", collection.text("name"))
                        .attr("type", "result")
                        .attr("version", collection.number("version").unwrap_or_default())
                });
                self.iq_result(conn, iq, Some(Node::new("sync").children(answers)));
            }
            "w:profile:picture" => self.iq_error(conn, iq, 404, None),
            "w:m" => {
                let media = Node::new("media_conn")
                    .attr("auth", "sim")
                    .attr("ttl", 3600)
                    .attr("auth_ttl", 21600)
                    .attr("max_buckets", 12)
                    .child(Node::new("host").attr("hostname", "127.0.0.1"));
                self.iq_result(conn, iq, Some(media));
            }
            _ => self.iq_result(conn, iq, None),
        }
    }

    fn companion_request(&mut self, conn: ConnId, key: DeviceKey, iq: &Node) {
        let Some(remove) = iq.find("remove-companion-device") else {
            self.object(Some(conn), None, Rule::Iq, Some(iq), "unknown md request");
            return self.iq_error(conn, iq, 400, None);
        };
        let target = remove.jid("jid").and_then(|jid| self.locate(&jid));
        if target != Some(key) || remove.jid("jid").is_some_and(|jid| !jid.is_pn()) {
            self.object(Some(conn), None, Rule::Iq, Some(iq), "a companion removes itself, by its PN device JID");
            return self.iq_error(conn, iq, 403, None);
        }
        if !remove.has("reason") {
            self.object(Some(conn), None, Rule::Iq, Some(iq), "remove-companion-device without a reason");
        }
        self.iq_result(conn, iq, None);
        self.remove_companion(key);
    }

    fn passive(&mut self, conn: ConnId, key: DeviceKey, iq: &Node) {
        self.iq_result(conn, iq, None);
        if iq.find("active").is_some() {
            self.activate(conn, key);
        } else if iq.find("passive").is_some() {
            if let Some(state) = self.conns.get_mut(&conn) {
                state.active = false;
            }
        } else {
            self.object(Some(conn), None, Rule::Iq, Some(iq), "neither <active/> nor <passive/>");
        }
    }

    fn props(&mut self, conn: ConnId, iq: &Node) {
        if iq.find("props").is_none_or(|props| props.text("protocol") != "1") {
            self.object(Some(conn), None, Rule::Iq, Some(iq), "props without protocol 1");
        }
        let props = self
            .config
            .props
            .iter()
            .map(|(code, value)| Node::new("prop").attr("config_code", *code).attr("config_value", value.as_str()));
        let node = Node::new("props")
            .attr("protocol", 1)
            .attr("ab_key", "sim")
            .attr("hash", "simhash")
            .attr("refresh", 86400)
            .attr("refresh_id", 1)
            .children(props);
        self.iq_result(conn, iq, Some(node));
    }

    fn blocklist(&mut self, conn: ConnId, key: DeviceKey, iq: &Node) {
        let Some(account) = self.accounts.get_mut(&key.0) else { return };
        if iq.text("type") == "set"
            && let Some(item) = iq.find("item").and_then(|item| Some((item.text("action"), item.jid("jid")?)))
        {
            account.blocklist.retain(|jid| *jid != item.1);
            if item.0 == "block" {
                account.blocklist.push(item.1);
            }
        }
        let items = account.blocklist.iter().map(|jid| Node::new("item").attr("jid", jid)).collect::<Vec<_>>();
        self.iq_result(conn, iq, Some(Node::new("list").attr("dhash", "1").children(items)));
    }

    fn privacy(&mut self, conn: ConnId, key: DeviceKey, iq: &Node) {
        if let Some(tokens) = iq.find("tokens") {
            return self.privacy_tokens(conn, key, iq, &tokens.all("token").into_iter().cloned().collect::<Vec<_>>());
        }
        let Some(account) = self.accounts.get_mut(&key.0) else { return };
        let Some(request) = iq.find("privacy") else {
            self.object(Some(conn), None, Rule::Iq, Some(iq), "neither <privacy/> nor <tokens/>");
            return self.iq_error(conn, iq, 400, None);
        };
        for category in request.all("category") {
            account.privacy.insert(category.text("name"), category.text("value"));
        }
        let categories = account
            .privacy
            .iter()
            .map(|(name, value)| Node::new("category").attr("name", name.as_str()).attr("value", value.as_str()))
            .collect::<Vec<_>>();
        self.iq_result(conn, iq, Some(Node::new("privacy").children(categories)));
    }
}

fn error_text(code: u16) -> &'static str {
    match code {
        400 => "bad-request",
        401 => "not-authorized",
        403 => "forbidden",
        404 => "item-not-found",
        405 => "not-allowed",
        406 => "not-acceptable",
        410 => "gone",
        419 => "resource-limit",
        423 => "locked",
        429 => "rate-overlimit",
        452 => "feature-not-available",
        500 => "internal-server-error",
        501 => "feature-not-implemented",
        503 => "service-unavailable",
        _ => "error",
    }
}
