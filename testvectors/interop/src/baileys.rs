//! One Baileys client.

use std::path::PathBuf;
use std::sync::Arc;

use amarula_core::wire::Jid;
use amarula_sim::server::ClientProfile;
use amarula_sim::ws::LoopbackServer;
use serde_json::{Value, json};

use crate::Person;
use crate::program::{Program, has_creds};

/// A message that Baileys got, or that another device of its account sent.
#[derive(Clone, Debug)]
pub struct Inbound {
    /// Stanza id.
    pub id: String,
    /// The chat.
    pub chat: String,
    /// Its text; `None` if it could not be decrypted, or is none.
    pub text: Option<String>,
    /// Whether its own account sent it.
    pub from_me: bool,
    /// Whether it waited for this client.
    pub offline: bool,
}

impl Inbound {
    fn of(name: &str, data: &Value) -> Option<Self> {
        let text = |key: &str| data[key].as_str().unwrap_or_default().to_owned();
        (name == "message").then(|| Self {
            id: text("id"),
            chat: text("chat"),
            text: data["text"].as_str().map(str::to_owned),
            from_me: data["fromMe"] == true,
            offline: data["offline"] == true,
        })
    }
}

/// One Baileys client of a peer process.
pub struct Baileys {
    program: Arc<Program>,
    name: String,
    person: Person,
    device: u16,
    auth: PathBuf,
    url: String,
    root_key: String,
}

impl Baileys {
    pub(crate) fn new(
        program: Arc<Program>,
        name: &str,
        person: &Person,
        auth: PathBuf,
        server: &LoopbackServer,
    ) -> Self {
        Self {
            program,
            name: name.to_owned(),
            person: person.clone(),
            device: 0,
            auth,
            url: server.url_for(ClientProfile::Baileys),
            root_key: server.root_key().0.iter().map(|byte| format!("{byte:02x}")).collect(),
        }
    }

    /// Whose client it is.
    #[must_use]
    pub fn person(&self) -> &Person {
        &self.person
    }

    /// The device number it was linked as.
    #[must_use]
    pub fn device(&self) -> u16 {
        self.device
    }

    /// Its phone-number device JID.
    #[must_use]
    pub fn jid(&self) -> Jid {
        self.person.jid().with_device(self.device)
    }

    pub(crate) fn set_device(&mut self, device: u16) {
        self.device = device;
    }

    /// Starts it, with what its auth folder holds.
    pub fn start(&self) {
        let name = format!("Baileys {}", self.name);
        let params = json!({"authDir": self.auth, "url": self.url, "rootKeyHex": self.root_key, "name": name});
        self.call("start", &params);
    }

    /// Whether it was linked before.
    #[must_use]
    pub fn has_credentials(&self) -> bool {
        has_creds(&self.auth)
    }

    /// Waits for a QR code.
    #[must_use]
    pub fn qr(&self) -> String {
        self.event("a QR code", |name, data| (name == "qr").then(|| data["qr"].as_str().map(str::to_owned)).flatten())
    }

    /// Waits until it is logged in.
    pub fn wait_open(&self) {
        self.event("connection open", |name, data| (name == "connection" && data["state"] == "open").then_some(()));
    }

    /// Closes its connection; the auth folder stays.
    pub fn close(&self) {
        self.call("close", &json!({}));
    }

    /// Calls a method of the peer program.
    pub fn call(&self, method: &str, params: &Value) -> Value {
        self.program.call(&self.name, method, params)
    }

    /// Takes an event, past or future.
    pub fn event<T>(&self, what: &str, pick: impl FnMut(&str, &Value) -> Option<T>) -> T {
        self.program.event(&self.name, what, pick)
    }

    /// Sends a text; gives its id.
    pub fn send_text(&self, to: &Jid, text: &str) -> String {
        let sent = self.call("sendText", &json!({"to": to.to_string(), "text": text}));
        sent["id"].as_str().expect("an id").to_owned()
    }

    /// Waits for a message of somebody else's.
    pub fn text(&self, text: &str) -> Inbound {
        self.message(text, false)
    }

    /// Waits for the next message of somebody else's, in the order of arrival.
    ///
    /// # Panics
    /// If it is another one than this, or none comes.
    pub fn next_text(&self, text: &str) -> Inbound {
        let next = self.event(&format!("the next message, {text:?}"), |name, data| {
            Inbound::of(name, data).filter(|message| !message.from_me)
        });
        assert_eq!(next.text.as_deref(), Some(text), "the next message");
        next
    }

    /// Waits for the copy of what another device of its account sent.
    pub fn own_copy(&self, text: &str) -> Inbound {
        self.message(text, true)
    }

    fn message(&self, text: &str, from_me: bool) -> Inbound {
        let shown: String = text.chars().take(40).collect();
        self.event(&format!("the message {shown:?}"), |name, data| {
            Inbound::of(name, data)
                .filter(|message| message.text.as_deref() == Some(text) && message.from_me == from_me)
        })
    }

    /// Texts of others that nobody waited for yet.
    #[must_use]
    pub fn texts_left(&self) -> Vec<String> {
        self.program.left(&self.name, |name, data| {
            Inbound::of(name, data).filter(|message| !message.from_me).and_then(|message| message.text)
        })
    }

    /// Waits for a receipt of a message that it sent: the status `delivered` or `read`.
    pub fn receipt(&self, id: &str, status: &str) {
        self.event(&format!("the receipt {status} of {id}"), |name, data| {
            (name == "receipt" && data["id"] == id && data["status"] == status).then_some(())
        });
    }

    /// Waits until it asked (`out`) for a message again, or was asked (`in`).
    pub fn retry(&self, id: &str, direction: &str) {
        self.event(&format!("a retry {direction} of {id}"), |name, data| {
            (name == "retry" && data["id"] == id && data["direction"] == direction).then_some(())
        });
    }

    /// Waits until somebody's presence (`available`, `composing`, …) is told.
    pub fn presence(&self, chat: &Jid, presence: &str) {
        self.event(&format!("{presence} of {chat}"), |name, data| {
            let of: Jid = data["chat"].as_str()?.parse().ok()?;
            (name == "presence" && of.bare() == *chat && data["presence"] == presence).then_some(())
        });
    }

    /// Damages its session with a device (see the README).
    pub fn corrupt_session(&self, with: &Jid, how: &str) {
        self.call("corruptSession", &json!({"jid": with.to_string(), "how": how}));
    }
}
