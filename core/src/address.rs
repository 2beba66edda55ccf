//! Who a consumer talks to: `Address`, the friendly face of a JID.

use core::fmt;
use core::str::FromStr;

use crate::wire::{Jid, JidError, Server, Str};

/// What kind of peer an [`Address`] names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Kind {
    /// A user by phone number.
    PhoneNumber,
    /// A user by hidden id.
    Lid,
    /// A group or community.
    Group,
    /// A broadcast list.
    Broadcast,
    /// Status posts (`status@broadcast`).
    Status,
    /// A channel.
    Newsletter,
    /// A cloud-hosted companion of a phone-number user.
    Hosted,
    /// A cloud-hosted companion of a LID user.
    HostedLid,
    /// An AI bot.
    Bot,
    /// The call service.
    Call,
    /// Anything else, kept by its JID.
    Other,
}

/// A user, group or service, as the consumer sees it. Made from text, from a phone number, or taken from an event.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Address(Jid);

impl Address {
    /// A user by international phone number. Punctuation (`+`, spaces, dashes, brackets) is dropped.
    #[must_use]
    pub fn phone(number: &str) -> Self {
        Self(Jid::pn(number.chars().filter(char::is_ascii_digit).collect::<Str>()))
    }

    /// A user by hidden id.
    #[must_use]
    pub fn lid(user: &str) -> Self {
        Self(Jid::lid(user))
    }

    /// A group by its id (without `@g.us`).
    #[must_use]
    pub fn group(id: &str) -> Self {
        Self(Jid::group(id))
    }

    /// The user part: phone digits, LID digits, group id.
    #[must_use]
    pub fn user(&self) -> &str {
        &self.0.user
    }

    /// Device number, 0 for the phone and for an account as a whole.
    #[must_use]
    pub fn device(&self) -> u16 {
        self.0.device
    }

    /// Which kind of peer this is.
    #[must_use]
    pub fn kind(&self) -> Kind {
        match self.0.server {
            Server::Pn => Kind::PhoneNumber,
            Server::Lid => Kind::Lid,
            Server::Group => Kind::Group,
            Server::Broadcast if self.0.user == "status" => Kind::Status,
            Server::Broadcast => Kind::Broadcast,
            Server::Newsletter => Kind::Newsletter,
            Server::Hosted => Kind::Hosted,
            Server::HostedLid => Kind::HostedLid,
            Server::Bot => Kind::Bot,
            Server::Call => Kind::Call,
            _ => Kind::Other,
        }
    }

    /// Without the device part.
    #[must_use]
    pub fn bare(&self) -> Self {
        Self(self.0.bare())
    }

    /// Same account, any device. Phone number and LID of one person are different here; a mapping joins them.
    #[must_use]
    pub fn same_account(&self, other: &Self) -> bool {
        self.0.same_account(&other.0)
    }

    /// The wire identity.
    #[must_use]
    pub fn jid(&self) -> &Jid {
        &self.0
    }
}

impl From<Jid> for Address {
    fn from(jid: Jid) -> Self {
        Self(jid)
    }
}

impl From<Address> for Jid {
    fn from(address: Address) -> Self {
        address.0
    }
}

impl FromStr for Address {
    type Err = JidError;

    /// A JID, or a bare phone number (`+1 555 000 0001`).
    fn from_str(text: &str) -> Result<Self, JidError> {
        let number = text.strip_prefix('+').unwrap_or(text);
        if number.chars().any(|c| c.is_ascii_digit())
            && number.chars().all(|c| c.is_ascii_digit() || matches!(c, ' ' | '-' | '(' | ')'))
        {
            return Ok(Self::phone(number));
        }
        text.parse().map(Self)
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

impl fmt::Debug for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}
