//! JIDs: the wire identity of users, devices, groups and services (`protocol/transport.md` §7).

use core::fmt;
use core::str::FromStr;

use compact_str::CompactString;

/// The domain of a JID.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Server {
    /// `s.whatsapp.net`: users by phone number ("PN"); with an empty user, the server itself.
    Pn,
    /// `lid`: users by hidden id.
    Lid,
    /// `hosted`: cloud-hosted companion of a phone-number user.
    Hosted,
    /// `hosted.lid`: cloud-hosted companion of a LID user.
    HostedLid,
    /// `g.us`: groups and communities.
    Group,
    /// `broadcast`: `status@broadcast` and broadcast lists.
    Broadcast,
    /// `newsletter`: channels.
    Newsletter,
    /// `bot`: AI bots.
    Bot,
    /// `call`: the call service.
    Call,
    /// `msgr`: Messenger users.
    Msgr,
    /// `interop`: users of third-party networks.
    Interop,
    /// A name this version does not know, kept as it came.
    Other(CompactString),
}

impl Server {
    /// The name on the wire.
    #[must_use]
    pub fn as_str(&self) -> &str {
        match self {
            Self::Pn => "s.whatsapp.net",
            Self::Lid => "lid",
            Self::Hosted => "hosted",
            Self::HostedLid => "hosted.lid",
            Self::Group => "g.us",
            Self::Broadcast => "broadcast",
            Self::Newsletter => "newsletter",
            Self::Bot => "bot",
            Self::Call => "call",
            Self::Msgr => "msgr",
            Self::Interop => "interop",
            Self::Other(name) => name,
        }
    }

    /// The server of this name. `c.us`, the old spelling, reads as [`Server::Pn`].
    #[must_use]
    pub fn from_name(name: &str) -> Self {
        match name {
            "s.whatsapp.net" | "c.us" => Self::Pn,
            "lid" => Self::Lid,
            "hosted" => Self::Hosted,
            "hosted.lid" => Self::HostedLid,
            "g.us" => Self::Group,
            "broadcast" => Self::Broadcast,
            "newsletter" => Self::Newsletter,
            "bot" => Self::Bot,
            "call" => Self::Call,
            "msgr" => Self::Msgr,
            "interop" => Self::Interop,
            other => Self::Other(other.into()),
        }
    }

    /// Whether JIDs of this server can carry a device part.
    #[must_use]
    pub fn has_devices(&self) -> bool {
        matches!(self, Self::Pn | Self::Lid | Self::Hosted | Self::HostedLid | Self::Msgr | Self::Interop)
    }
}

/// A wire identity. Device 0 is the phone and is not written; a group, a service or an account as a whole has device 0.
///
/// `Ord` is an arbitrary but fixed order, good for maps and for deterministic iteration.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Jid {
    /// Digits of a phone number or LID, a group id, …; empty for a server itself.
    pub user: CompactString,
    /// The domain.
    pub server: Server,
    /// Device number; 0 is the phone.
    pub device: u16,
    /// Only for [`Server::Interop`]: which network; 0 elsewhere.
    pub integrator: u16,
}

impl Jid {
    /// A JID without a device.
    pub fn new(user: impl Into<CompactString>, server: Server) -> Self {
        Self { user: user.into(), server, device: 0, integrator: 0 }
    }

    /// The chat server itself.
    #[must_use]
    pub const fn server() -> Self {
        Self { user: CompactString::const_new(""), server: Server::Pn, device: 0, integrator: 0 }
    }

    /// A phone-number user (international digits).
    pub fn pn(user: impl Into<CompactString>) -> Self {
        Self::new(user, Server::Pn)
    }

    /// A LID user.
    pub fn lid(user: impl Into<CompactString>) -> Self {
        Self::new(user, Server::Lid)
    }

    /// A group.
    pub fn group(id: impl Into<CompactString>) -> Self {
        Self::new(id, Server::Group)
    }

    /// `status@broadcast`.
    #[must_use]
    pub const fn status() -> Self {
        Self { user: CompactString::const_new("status"), server: Server::Broadcast, device: 0, integrator: 0 }
    }

    /// The same identity at another device.
    #[must_use]
    pub fn with_device(mut self, device: u16) -> Self {
        self.device = device;
        self
    }

    /// The account as a whole: device removed, hosted servers read as the account's own.
    #[must_use]
    pub fn bare(&self) -> Self {
        let server = match self.server {
            Server::Hosted => Server::Pn,
            Server::HostedLid => Server::Lid,
            ref other => other.clone(),
        };
        Self { user: self.user.clone(), server, device: 0, integrator: self.integrator }
    }

    /// Whether the text form names this JID and no other. What comes from the wire can be otherwise (a device separator
    /// inside a user, say) and is refused where JIDs are read.
    #[must_use]
    pub fn is_well_formed(&self) -> bool {
        let named = !self.user.is_empty() || (self.device == 0 && self.server.as_str().contains('.'));
        named && self.has_plain_name() && (self.device == 0 || self.server.has_devices())
    }

    /// Whether user and server hold nothing that means something else in the text form.
    pub(super) fn has_plain_name(&self) -> bool {
        let plain = |c: char| !(c.is_whitespace() || c.is_control() || matches!(c, '@' | ':' | '|'));
        let user = match self.server {
            // An old way of writing agents and devices.
            Server::Pn => !self.user.contains('.'),
            Server::Interop => !self.user.contains('-'),
            Server::Other(ref name) => {
                !name.is_empty() && name.chars().all(plain) && Server::from_name(name) == self.server
            }
            _ => true,
        };
        user && self.user.chars().all(plain)
    }

    /// Whether this is the chat server.
    #[must_use]
    pub fn is_server(&self) -> bool {
        self.user.is_empty() && self.server == Server::Pn
    }

    /// A person, by phone number or LID (their phone, a companion, or the account as a whole).
    #[must_use]
    pub fn is_user(&self) -> bool {
        !self.user.is_empty() && matches!(self.server, Server::Pn | Server::Lid | Server::Hosted | Server::HostedLid)
    }

    /// Phone-number namespace.
    #[must_use]
    pub fn is_pn(&self) -> bool {
        matches!(self.server, Server::Pn | Server::Hosted) && !self.user.is_empty()
    }

    /// LID namespace.
    #[must_use]
    pub fn is_lid(&self) -> bool {
        matches!(self.server, Server::Lid | Server::HostedLid)
    }

    /// Cloud-hosted companion.
    #[must_use]
    pub fn is_hosted(&self) -> bool {
        matches!(self.server, Server::Hosted | Server::HostedLid)
    }

    /// A group or community.
    #[must_use]
    pub fn is_group(&self) -> bool {
        self.server == Server::Group
    }

    /// `status@broadcast`.
    #[must_use]
    pub fn is_status(&self) -> bool {
        self.server == Server::Broadcast && self.user == "status"
    }

    /// Same person and namespace, any device.
    #[must_use]
    pub fn same_account(&self, other: &Self) -> bool {
        self.user == other.user && self.bare().server == other.bare().server
    }
}

impl fmt::Display for Jid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.server == Server::Interop && self.integrator != 0 {
            write!(f, "{}-", self.integrator)?;
        }
        f.write_str(&self.user)?;
        if self.device != 0 {
            write!(f, ":{}", self.device)?;
        }
        if !self.user.is_empty() {
            f.write_str("@")?;
        }
        f.write_str(self.server.as_str())
    }
}

impl fmt::Debug for Jid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A text that is no JID.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
#[non_exhaustive]
pub enum JidError {
    /// No server part, or an empty one.
    #[error("a JID needs a server: user@server")]
    NoServer,
    /// More than one `@`.
    #[error("a JID has one @")]
    ManyAts,
    /// The device is no decimal number up to 65535, or the server has no devices.
    #[error("the device part of a JID is a number, on a server that has devices")]
    BadDevice,
    /// The user part is missing or holds characters no user has.
    #[error("the user part of a JID is missing or holds a forbidden character")]
    BadUser,
}

impl FromStr for Jid {
    type Err = JidError;

    /// Strict: what is not a JID is an error, never device 0. `@server` and `server` both name a server itself.
    fn from_str(text: &str) -> Result<Self, JidError> {
        let (local, server) = match text.split_once('@') {
            Some((local, server)) => (local, server),
            None => ("", text),
        };
        if server.contains('@') {
            return Err(JidError::ManyAts);
        }
        // Without an @ only a server name is left, and those have a dot; a bare number is a mistake worth an error.
        if server.is_empty() || (!text.contains('@') && !text.contains('.')) {
            return Err(JidError::NoServer);
        }
        let server = Server::from_name(server);
        let (user, device) = match local.rsplit_once(':') {
            Some((user, device)) => (user, Some(device)),
            None => (local, None),
        };
        let (user, device) = match (device, &server) {
            (Some(_), server) if !server.has_devices() => return Err(JidError::BadDevice),
            (Some(device), _) => (strip_agent(user, &server), parse_device(device)?),
            // An old way of writing the device of a phone-number user.
            (None, Server::Pn) => match user.split_once('.') {
                Some((user, device)) => (user, parse_device(device)?),
                None => (user, 0),
            },
            (None, _) => (user, 0),
        };
        let (user, integrator) = match server {
            Server::Interop => match user.split_once('-') {
                Some((integrator, user)) => (user, integrator.parse().map_err(|_| JidError::BadUser)?),
                None => (user, 0),
            },
            _ => (user, 0),
        };
        let jid = Self { user: user.into(), server, device, integrator };
        // What is read here becomes the name of records: two texts must not name one, nor one text nothing.
        if jid.is_well_formed() { Ok(jid) } else { Err(JidError::BadUser) }
    }
}

/// On a phone number, `user.agent:device` carries an obsolete agent number.
fn strip_agent<'a>(user: &'a str, server: &Server) -> &'a str {
    match server {
        Server::Pn => user.split_once('.').map_or(user, |(user, _agent)| user),
        _ => user,
    }
}

fn parse_device(text: &str) -> Result<u16, JidError> {
    if text.is_empty() || !text.bytes().all(|b| b.is_ascii_digit()) {
        return Err(JidError::BadDevice);
    }
    text.parse().map_err(|_| JidError::BadDevice)
}

#[cfg(test)]
mod tests {
    use std::string::ToString as _;

    use super::{Jid, JidError, Server};

    #[test]
    fn text_forms() {
        for text in [
            "15550000001@s.whatsapp.net",
            "15550000001:7@s.whatsapp.net",
            "236395184570386:77@lid",
            "1.5@lid",
            "15550000001:99@hosted",
            "120363021033254949@g.us",
            "status@broadcast",
            "s.whatsapp.net",
            "g.us",
            "1@future.example",
        ] {
            assert_eq!(text.parse::<Jid>().unwrap().to_string(), text);
        }
        assert_eq!("@s.whatsapp.net".parse::<Jid>().unwrap(), Jid::server());
        assert_eq!("1555@c.us".parse::<Jid>().unwrap(), Jid::pn("1555"));
        assert_eq!("1555.0:3@s.whatsapp.net".parse::<Jid>().unwrap(), Jid::pn("1555").with_device(3));
        assert_eq!("1555.2@s.whatsapp.net".parse::<Jid>().unwrap(), Jid::pn("1555").with_device(2));
    }

    #[test]
    fn what_is_no_jid_is_refused() {
        for (text, error) in [
            ("", JidError::NoServer),
            ("15550000001", JidError::NoServer),
            ("1@", JidError::NoServer),
            ("1@2@lid", JidError::ManyAts),
            ("1:x@lid", JidError::BadDevice),
            ("1:@lid", JidError::BadDevice),
            ("1:-1@lid", JidError::BadDevice),
            ("1:65536@lid", JidError::BadDevice),
            ("1:1@g.us", JidError::BadDevice),
            ("1 2@lid", JidError::BadUser),
            (":1@lid", JidError::BadUser),
            ("@lid", JidError::BadUser),
            ("1|2@lid", JidError::BadUser),
            ("0-5-9@interop", JidError::BadUser),
            ("1@a:b", JidError::BadUser),
        ] {
            assert_eq!(text.parse::<Jid>(), Err(error), "{text}");
        }
    }

    #[test]
    fn accounts() {
        let hosted = Jid::new("1", Server::HostedLid).with_device(99);
        assert_eq!(hosted.bare(), Jid::lid("1"));
        assert!(hosted.same_account(&Jid::lid("1").with_device(4)));
        assert!(!hosted.same_account(&Jid::pn("1")));
    }
}
