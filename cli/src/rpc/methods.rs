//! The methods: what there is, what each takes, and what it does.

use amarula_core::Address;
use amarula_core::content::{Outgoing, Text};
use amarula_core::engine::command::{ChatState, Presence};
use amarula_core::event::DeliveryId;
use amarula_io::SendOptions;
use amarula_store::{FileStore, Store as _};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use super::params::Reader;
use super::protocol::{Error, METHOD_NOT_FOUND, Params};
use super::service::Service;
use crate::events;
use crate::options::Driver;
use crate::problem::Problem;

/// A method, as `methods` lists it. A parameter with a `?` may be left out; their order is that of positional ones.
struct Method {
    name: &'static str,
    params: &'static [&'static str],
    result: &'static str,
    about: &'static str,
}

macro_rules! methods {
    ($($name:literal($($param:literal),*) -> $result:literal, $about:literal;)*) => {
        const METHODS: &[Method] =
            &[$(Method { name: $name, params: &[$($param),*], result: $result, about: $about }),*];
    };
}

methods! {
    "connect"() -> "null", "Start the client, connect, and stay connected. Events come from now on.";
    "disconnect"() -> "null", "Close the connection and stay away. The account stays linked.";
    "reconnect"() -> "null", "Close the connection and make a new one.";
    "networkChanged"() -> "null", "The network changed: try at once instead of waiting.";
    "requestPairingCode"("phone", "code?") -> "{code}", "A code that links this device when typed on the phone.";
    "logout"() -> "{confirmed}", "Unlink this device and forget its keys.";
    "sendText"("to", "text", "mentions?", "id?", "reference?") -> "{id, to, timestamp, devices}", "Send a text.";
    "send"("to", "message", "id?", "reference?") -> "{id, to, timestamp, devices}", "Send any message: a base64 Message protobuf.";
    "markRead"("chat", "ids", "sender?") -> "null", "Tell the sender that messages were read. In groups with their sender.";
    "setPresence"("presence") -> "null", "Be shown as available or unavailable.";
    "sendChatState"("to", "state") -> "null", "Show in a chat: composing, recording, paused.";
    "subscribePresence"("to") -> "null", "Be told when a user is online.";
    "confirm"("delivery") -> "null", "The event of this delivery was dealt with: it does not come again.";
    "state"() -> "{connection, profile, driver, paired, pn, lid, pushName}", "How things are.";
    "profiles"() -> "[name]", "The stored profiles.";
    "methods"() -> "[{name, params, result, about}]", "This list.";
    "shutdown"() -> "null", "End the client in order, answer, and exit.";
}

/// One call, its parameters understood.
#[derive(Debug)]
pub(crate) enum Call {
    Connect,
    Disconnect,
    Reconnect,
    NetworkChanged,
    RequestPairingCode { phone: String, code: Option<String> },
    Logout,
    Send { to: Address, content: Outgoing, options: SendOptions },
    MarkRead { chat: Address, ids: Vec<String>, sender: Option<Address> },
    SetPresence(Presence),
    SendChatState { to: Address, state: ChatState },
    SubscribePresence(Address),
    Confirm(DeliveryId),
    State,
    Profiles,
    Methods,
    Shutdown,
}

/// The call that a request asks for.
pub(crate) fn call(method: &str, params: Params) -> Result<Call, Error> {
    // The name that JSON-RPC reserves for this.
    let method = if method == "rpc.discover" { "methods" } else { method };
    let Some(found) = METHODS.iter().find(|found| found.name == method) else {
        return Err(Error::new(METHOD_NOT_FOUND, format!("Method not found: {method:?}; `methods` lists them")));
    };
    let mut params = Reader::new(found.params, params)?;
    let call = match method {
        "connect" => Call::Connect,
        "disconnect" => Call::Disconnect,
        "reconnect" => Call::Reconnect,
        "networkChanged" => Call::NetworkChanged,
        "requestPairingCode" => {
            let phone: String = params.text("phone")?.chars().filter(|c| !" +-()".contains(*c)).collect();
            Call::RequestPairingCode { phone, code: params.maybe_text("code")? }
        }
        "logout" => Call::Logout,
        "sendText" => {
            let mut text = Text::new(params.text("text")?);
            text.mentions = params.maybe_addresses("mentions")?;
            Call::Send { to: params.address("to")?, content: Outgoing::Text(text), options: options(&mut params)? }
        }
        "send" => {
            let message = STANDARD
                .decode(params.text("message")?)
                .map_err(|error| Error::params(format!("message: not base64: {error}")))?;
            let content = Outgoing::Raw(message.into());
            Call::Send { to: params.address("to")?, content, options: options(&mut params)? }
        }
        "markRead" => Call::MarkRead {
            chat: params.address("chat")?,
            ids: params.texts("ids")?,
            sender: params.maybe_address("sender")?,
        },
        "setPresence" => match params.text("presence")?.as_str() {
            "available" => Call::SetPresence(Presence::Available),
            "unavailable" => Call::SetPresence(Presence::Unavailable),
            _ => return Err(Error::params("presence: available or unavailable")),
        },
        "sendChatState" => {
            let state = events::parse_chat_state(&params.text("state")?)
                .ok_or_else(|| Error::params("state: composing, recording or paused"))?;
            Call::SendChatState { to: params.address("to")?, state }
        }
        "subscribePresence" => Call::SubscribePresence(params.address("to")?),
        "confirm" => Call::Confirm(DeliveryId(params.number("delivery")?)),
        "state" => Call::State,
        "profiles" => Call::Profiles,
        "shutdown" => Call::Shutdown,
        _ => Call::Methods,
    };
    params.finish()?;
    Ok(call)
}

fn options(params: &mut Reader) -> Result<SendOptions, Error> {
    let mut options = SendOptions::new();
    if let Some(id) = params.maybe_text("id")? {
        options = options.id(id);
    }
    if let Some(reference) = params.maybe_text("reference")? {
        options = options.reference(reference);
    }
    Ok(options)
}

impl Call {
    /// Calls of one lane keep their order. `None`: to be carried out before anything later is begun.
    pub(crate) fn lane(&self) -> Option<String> {
        Some(match self {
            Self::Connect | Self::Disconnect | Self::Reconnect | Self::NetworkChanged => return None,
            Self::Logout | Self::Shutdown => "connection".to_owned(),
            Self::RequestPairingCode { .. } => "pairing".to_owned(),
            Self::Send { to, .. } | Self::SendChatState { to, .. } => format!("chat {to}"),
            Self::MarkRead { chat, .. } => format!("read {chat}"),
            Self::SetPresence(_) | Self::SubscribePresence(_) => "presence".to_owned(),
            Self::Confirm(_) => "confirm".to_owned(),
            Self::State | Self::Profiles | Self::Methods => "state".to_owned(),
        })
    }

    /// Does it.
    pub(crate) fn carry_out(&self, service: &Service) -> Result<Value, Error> {
        let client = service.client();
        match self {
            Self::Connect => service.connect()?,
            Self::Disconnect => client.disconnect()?,
            Self::Reconnect => client.reconnect()?,
            Self::NetworkChanged => client.network_changed()?,
            Self::RequestPairingCode { phone, code } => {
                let code = client.request_pairing_code(phone, code.as_deref())?;
                return Ok(json!({"code": code.code.as_str()}));
            }
            Self::Logout => return Ok(json!({"confirmed": client.logout()?.confirmed})),
            Self::Send { to, content, options } => {
                return Ok(events::sent(&client.send(to, content.clone(), options.clone())?));
            }
            Self::MarkRead { chat, ids, sender } => client.mark_read(chat, sender.as_ref(), ids)?,
            Self::SetPresence(presence) => client.set_presence(*presence)?,
            Self::SendChatState { to, state } => client.send_chat_state(to, *state)?,
            Self::SubscribePresence(to) => client.subscribe_presence(to)?,
            Self::Confirm(delivery) => client.confirm(*delivery)?,
            Self::State => return state(service),
            Self::Profiles => return profiles(service),
            Self::Methods => return Ok(list()),
            Self::Shutdown => client.shutdown()?,
        }
        Ok(Value::Null)
    }
}

fn list() -> Value {
    METHODS
        .iter()
        .map(|method| {
            json!({"name": method.name, "params": method.params, "result": method.result, "about": method.about})
        })
        .collect()
}

fn state(service: &Service) -> Result<Value, Error> {
    let own = service.client().own_account()?;
    Ok(json!({
        "connection": service.connection(),
        "profile": service.client().profile(),
        "driver": match service.common().driver {
            Driver::Tokio => "tokio",
            Driver::Blocking => "blocking",
        },
        "version": env!("CARGO_PKG_VERSION"),
        "paired": own.is_some(),
        "pn": own.as_ref().map(|own| own.pn.to_string()),
        "lid": own.as_ref().and_then(|own| own.lid.as_ref()).map(ToString::to_string),
        "pushName": own.as_ref().and_then(|own| own.push_name.as_deref()),
    }))
}

fn profiles(service: &Service) -> Result<Value, Error> {
    let store = FileStore::open(&service.common().data_dir).map_err(Problem::from)?;
    let list = store.list_profiles().map_err(Problem::from)?;
    Ok(list.iter().map(|profile| profile.as_str()).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rpc::protocol::INVALID_PARAMS;

    fn named(value: Value) -> Params {
        let Value::Object(map) = value else { panic!("an object") };
        Params::Named(map)
    }

    #[test]
    fn every_method_is_understood() {
        let some = json!({
            "phone": "+1 555 000 0001", "to": "15550000001", "text": "x", "message": "CgF4", "chat": "15550000001",
            "ids": ["a"], "presence": "available", "state": "paused", "delivery": 1,
        });
        for method in METHODS {
            let given = method.params.iter().filter_map(|name| Some(((*name).to_owned(), some.get(*name)?.clone())));
            let made =
                call(method.name, Params::Named(given.collect())).unwrap_or_else(|e| panic!("{}: {e:?}", method.name));
            assert_eq!(matches!(made, Call::Methods), method.name == "methods", "{}", method.name);
        }
        assert!(matches!(call("rpc.discover", named(json!({}))), Ok(Call::Methods)));
    }

    #[test]
    fn wrong_parameters_are_told() {
        let code = |method, params| call(method, params).expect_err("refused").code();
        assert_eq!(code("nothing", named(json!({}))), METHOD_NOT_FOUND);
        assert_eq!(code("sendText", named(json!({"to": "1"}))), INVALID_PARAMS);
        assert_eq!(code("sendText", named(json!({"to": "nobody", "text": "x"}))), INVALID_PARAMS);
        assert_eq!(code("sendText", named(json!({"to": "1", "text": 5}))), INVALID_PARAMS);
        assert_eq!(code("sendText", named(json!({"to": "1", "text": "x", "txet": 1}))), INVALID_PARAMS);
        assert_eq!(code("send", named(json!({"to": "1", "message": "*"}))), INVALID_PARAMS);
        assert_eq!(code("confirm", named(json!({"delivery": -1}))), INVALID_PARAMS);
        assert_eq!(code("setPresence", Params::Positional(vec![json!("away")])), INVALID_PARAMS);
        assert_eq!(code("state", Params::Positional(vec![json!(1)])), INVALID_PARAMS);
    }

    #[test]
    fn positional_parameters() {
        let made = call("sendText", Params::Positional(vec![json!("15550000001"), json!("hi")]));
        assert!(matches!(made, Ok(Call::Send { .. })), "{made:?}");
    }
}
