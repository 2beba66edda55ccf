//! Whom a profile is linked to, read from its stored account record without an engine: for tools that list profiles.

use bytes::Bytes;

use super::key::RecordKey;
use super::record::{Record as _, record_key};
use super::records::Account;
use crate::address::Address;
use crate::wire::Str;

/// The account that a profile is linked to.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct OwnAccount {
    /// Own phone-number address with device.
    pub pn: Address,
    /// Own LID address with device.
    pub lid: Option<Address>,
    /// Our own name as others see it, if the phone has sent one.
    pub push_name: Option<Str>,
    /// Platform of the phone.
    pub platform: Str,
}

/// The stored account record cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
#[error("the stored account cannot be read; restore a backup, or clear the profile and pair again")]
pub struct CorruptAccount;

impl OwnAccount {
    /// Where the record is. **Its value holds the private keys.**
    #[must_use]
    pub fn key() -> RecordKey {
        record_key::<Account>(&())
    }

    /// What the record says. `None` if no account is linked.
    ///
    /// # Errors
    /// [`CorruptAccount`].
    pub fn read(record: &Bytes) -> Result<Option<Self>, CorruptAccount> {
        let account = Account::decode(record).ok_or(CorruptAccount)?;
        Ok(account.me.map(|me| Self {
            pn: me.pn.into(),
            lid: me.lid.map(Into::into),
            push_name: me.push_name,
            platform: me.platform,
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn garbage_is_told() {
        assert_eq!(OwnAccount::read(&Bytes::from_static(b"no account")), Err(CorruptAccount));
        assert_eq!(OwnAccount::key().key, "account");
    }
}
