//! Encrypting for devices: shared by everything that sends ciphertext.

use alloc::vec::Vec;

use bytes::Bytes;

use super::people::{self, SessionPlace};
use super::query::{Finding, Query};
use crate::adv::{self, AdvError};
use crate::crypto::PublicKey;
use crate::engine::cx::Cx;
use crate::engine::facts::{Facts, Stop};
use crate::event::Warning;
use crate::query::bundle::DeviceBundle;
use crate::signal::{self, Ciphertext, CiphertextKind, LocalIdentity, SessionRecord, SignalError};
use crate::store::records::{Identity, Session};
use crate::store::{Gap, View};
use crate::wire::{Jid, Node, Str};

/// A device to encrypt for.
#[derive(Clone, Debug)]
pub(crate) struct Target {
    /// Its name on the wire.
    pub(crate) wire: Jid,
    /// Its session.
    pub(crate) place: SessionPlace,
    /// What to start a session with, if there is none.
    pub(crate) bundle: Option<DeviceBundle>,
}

impl Target {
    /// Finds the session with a device or, if there is none, a bundle to start one. `None` if the server has no bundle: the
    /// device cannot be reached.
    ///
    /// # Errors
    /// [`Stop::Gap`] while facts are missing; a failure if the server could not be asked at all.
    pub(crate) fn find(facts: &Facts<'_>, wire: Jid, canonical: Jid) -> Result<Option<Self>, Stop> {
        want_account_key(&facts.view, &canonical)?;
        let place = SessionPlace::find(&facts.view, canonical)?;
        if place.ready {
            return Ok(Some(Self { wire, place, bundle: None }));
        }
        Ok(match facts.ask(&Query::Bundle(place.canonical.clone()))? {
            Finding::Bundle(bundle) => Some(Self { wire, place, bundle: Some((**bundle).clone()) }),
            finding => match finding.failure() {
                Some(failure) => return Err(failure.into()),
                None => None,
            },
        })
    }

    /// Encrypts a padded message for this device. The advanced session is written in the same transaction.
    ///
    /// # Errors
    /// The session is unchanged; another device may still be reached.
    pub(crate) fn encrypt(&self, cx: &mut Cx, padded: &[u8]) -> Result<Ciphertext, Unreachable> {
        self.place.settle(cx);
        let device = &self.place.canonical;
        if let Some(bundle) = &self.bundle {
            start_session(cx, device, bundle)?;
        }
        match cx.cache.update::<Session, _, _>(device, |session| signal::encrypt(&mut session.0, padded)) {
            Some(result) => result.map_err(Unreachable::Signal),
            None => Err(Unreachable::Signal(SignalError::NoSession)),
        }
    }
}

/// Why a device cannot be encrypted for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Unreachable {
    /// Its session, or its bundle's signature.
    #[error(transparent)]
    Signal(#[from] SignalError),
    /// It does not prove that it belongs to the account.
    #[error("the device does not prove that it belongs to the account: {0}")]
    Adv(#[from] AdvError),
}

/// Notes the record that [`verify_companion`] compares with.
pub(crate) fn want_account_key(view: &View<'_>, device: &Jid) -> Result<(), Gap> {
    if device.device != 0 {
        view.get::<Identity>(&device.bare())?;
    }
    Ok(())
}

/// Checks that a companion belongs to its account (`protocol/pairing.md` §10): its identity key is signed by the identity
/// key of the account's phone. Without the phone's key, or without a proof, nothing can be said: that is no refusal.
pub(crate) fn verify_companion(
    cx: &Cx,
    device: &Jid,
    identity: &PublicKey,
    proof: Option<&[u8]>,
) -> Result<(), AdvError> {
    if device.device == 0 {
        return Ok(());
    }
    let Some(proof) = proof else { return Ok(()) };
    let own = cx.me().filter(|me| me.is_me(device)).map(|me| me.account_key);
    let account_key = own.or_else(|| cx.cache.get::<Identity>(&device.bare()).map(|identity| identity.0));
    adv::verify_companion(proof, identity, account_key.as_ref(), device.is_hosted()).map(|_| ())
}

/// Starts a session from a bundle, unless another flow has started one meanwhile.
fn start_session(cx: &mut Cx, device: &Jid, bundle: &DeviceBundle) -> Result<(), Unreachable> {
    if cx.cache.get::<Session>(device).is_some_and(|session| session.0.has_current()) {
        return Ok(());
    }
    replace_session(cx, device, bundle)
}

/// Starts a session from a bundle; one that is there is archived.
pub(crate) fn replace_session(cx: &mut Cx, device: &Jid, bundle: &DeviceBundle) -> Result<(), Unreachable> {
    verify_companion(cx, device, &bundle.bundle.identity, bundle.device_identity.as_deref())?;
    let mut record = cx.cache.get::<Session>(device).map_or_else(SessionRecord::new, |session| session.0.clone());
    let Some(account) = cx.cache.get::<crate::store::records::Account>(&()) else {
        return Err(SignalError::NoSession.into());
    };
    let local = LocalIdentity { keys: &account.identity, registration_id: account.registration_id };
    signal::initiate(&local, &bundle.bundle, &mut record, &mut cx.rng)?;
    cx.cache.put(device, Session(record));
    people::trust(cx, device, bundle.bundle.identity);
    Ok(())
}

/// An `<enc>` node.
pub(crate) fn enc(ciphertext: Ciphertext, media: Option<&'static str>, hide: bool) -> Node {
    Node::new("enc")
        .attr("v", "2")
        .attr("type", if ciphertext.kind == CiphertextKind::PreKey { "pkmsg" } else { "msg" })
        .attr_opt("mediatype", media)
        .attr_opt("decrypt-fail", hide.then_some("hide"))
        .bytes(ciphertext.bytes)
}

/// `<device-identity>`: proves to the other side that this device belongs to the account.
pub(crate) fn device_identity(cx: &Cx) -> Option<Node> {
    let adv: Bytes = cx.me()?.adv.clone();
    Some(Node::new("device-identity").bytes(adv))
}

/// The operator should know of a device that could not be encrypted for.
pub(crate) fn warn_unreachable(cx: &mut Cx, device: &Jid, error: &Unreachable) {
    let what: Str = compact_str::format_compact!("cannot encrypt for {device}: {error}");
    cx.warn(Warning::BadStanza { what });
}

/// Names of devices as the sent-message record keeps them.
pub(crate) fn device_names(devices: &[Jid]) -> Vec<alloc::string::String> {
    use alloc::string::ToString;
    devices.iter().map(ToString::to_string).collect()
}
