//! One person, two names: LID and phone number (`protocol/messages.md` §4). Sessions, identities and device lists belong
//! to the canonical name, the LID when it is known.

use crate::engine::cx::Cx;
use crate::event::{Event, Warning};
use crate::store::records::{Identity, LidOfPn, PnOfLid, Session};
use crate::store::{Gap, View};
use crate::wire::{Jid, Server, Str};

/// The canonical name of a user or device.
///
/// # Errors
/// [`Gap`] while the mapping is not known.
pub(crate) fn canonical(view: &View<'_>, jid: &Jid) -> Result<Jid, Gap> {
    let server = match jid.server {
        Server::Pn => Server::Lid,
        Server::Hosted => Server::HostedLid,
        _ => return Ok(jid.clone()),
    };
    if jid.user.is_empty() {
        return Ok(jid.clone());
    }
    Ok(match view.get::<LidOfPn>(&jid.user)? {
        Some(LidOfPn(user)) => Jid { user: user.clone(), server, ..jid.clone() },
        None => jid.clone(),
    })
}

/// The phone-number name of a user or device, if it is known.
///
/// # Errors
/// [`Gap`] while the mapping is not known.
pub(crate) fn phone_number(view: &View<'_>, jid: &Jid) -> Result<Option<Jid>, Gap> {
    let server = match jid.server {
        Server::Lid => Server::Pn,
        Server::HostedLid => Server::Hosted,
        _ => return Ok(jid.is_pn().then(|| jid.clone())),
    };
    Ok(view.get::<PnOfLid>(&jid.user)?.map(|PnOfLid(user)| Jid { user: user.clone(), server, ..jid.clone() }))
}

/// Where the session with a device is, and where it should be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct SessionPlace {
    /// The canonical name of the device: where the session is stored from now on.
    pub(crate) canonical: Jid,
    /// An older name under which it still is stored.
    pub(crate) moved_from: Option<Jid>,
    /// Whether there is a session that can send.
    pub(crate) ready: bool,
    /// The device's phone-number name, if it is known.
    pub(crate) pn: Option<Jid>,
}

impl SessionPlace {
    /// Finds the session with a device, given by its canonical name.
    ///
    /// # Errors
    /// [`Gap`] while the records are not known.
    pub(crate) fn find(view: &View<'_>, canonical: Jid) -> Result<Self, Gap> {
        let older = phone_number(view, &canonical);
        Self::find_with(view, canonical, older?)
    }

    /// As [`SessionPlace::find`], with the device's phone-number name given.
    ///
    /// # Errors
    /// As there.
    pub(crate) fn find_with(view: &View<'_>, canonical: Jid, pn: Option<Jid>) -> Result<Self, Gap> {
        let current = view.get::<Session>(&canonical);
        let identity = view.get::<Identity>(&canonical);
        if let Some(session) = current? {
            identity?;
            let ready = session.0.has_current();
            return Ok(Self { canonical, moved_from: None, ready, pn });
        }
        identity?;
        // A session made before the LID was known.
        let older = match &pn {
            Some(pn) if *pn != canonical => pn.clone(),
            _ => return Ok(Self { canonical, moved_from: None, ready: false, pn }),
        };
        let session = view.get::<Session>(&older);
        let identity = view.get::<Identity>(&older)?;
        let ready = session?.is_some_and(|session| session.0.has_current());
        let moved_from = (session?.is_some() || identity.is_some()).then_some(older);
        Ok(Self { canonical, moved_from, ready, pn })
    }

    /// Moves the session to its canonical name, if it is not there.
    pub(crate) fn settle(&self, cx: &mut Cx) {
        let Some(older) = &self.moved_from else { return };
        if let Some(session) = cx.cache.get::<Session>(older).cloned() {
            cx.cache.put(&self.canonical, session);
            cx.cache.delete::<Session>(older);
        }
        if let Some(identity) = cx.cache.get::<Identity>(older).copied() {
            if cx.cache.get::<Identity>(&self.canonical).is_none() {
                cx.cache.put(&self.canonical, identity);
            }
            cx.cache.delete::<Identity>(older);
        }
    }
}

/// Takes note that a LID and a phone number are one person. The newest word counts. Both records should be in memory, so
/// that nothing is written and told twice.
pub(crate) fn learn(cx: &mut Cx, a: &Jid, b: &Jid) {
    let (lid, pn) = match (a.is_lid(), b.is_pn(), b.is_lid(), a.is_pn()) {
        (true, true, ..) => (a, b),
        (.., true, true) => (b, a),
        _ => return,
    };
    let known = cx.cache.get::<LidOfPn>(&pn.user).is_some_and(|record| record.0 == lid.user)
        && cx.cache.get::<PnOfLid>(&lid.user).is_some_and(|record| record.0 == pn.user);
    if known || lid.user.is_empty() || pn.user.is_empty() {
        return;
    }
    // Who we are is learned at linking and login: nobody else becomes us, nor we somebody else.
    if let Some(me) = cx.me() {
        let (our_pn, our_lid) = (me.pn.same_account(pn), me.lid.as_ref().map(|mine| mine.same_account(lid)));
        if our_lid == Some(true) && our_pn {
            return;
        }
        if our_lid == Some(true) || (our_pn && our_lid.is_some()) {
            return cx.warn(Warning::BadStanza { what: Str::const_new("another name for our own account") });
        }
    }
    cx.cache.put(&pn.user, LidOfPn(lid.user.clone()));
    cx.cache.put(&lid.user, PnOfLid(pn.user.clone()));
    cx.event(Event::LidMapping { lid: lid.bare().into(), pn: pn.bare().into() });
}

/// Notes what [`learn`] will look at.
pub(crate) fn want_mapping(view: &View<'_>, jid: &Jid) -> Result<(), Gap> {
    if jid.is_pn() {
        view.get::<LidOfPn>(&jid.user)?;
    } else if jid.is_lid() {
        view.get::<PnOfLid>(&jid.user)?;
    }
    Ok(())
}

/// What an identity key seen for a device means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Trust {
    /// The first one ever seen.
    First,
    /// The known one.
    Same,
    /// Another one than before.
    Changed,
}

/// Trust on first use: records an authenticated identity key and tells the consumer when it changed.
pub(crate) fn trust(cx: &mut Cx, device: &Jid, key: crate::crypto::PublicKey) -> Trust {
    let trust = match cx.cache.get::<Identity>(device) {
        None => Trust::First,
        Some(Identity(known)) if *known == key => return Trust::Same,
        Some(_) => Trust::Changed,
    };
    cx.cache.put(device, Identity(key));
    if trust == Trust::Changed {
        cx.event(Event::IdentityChanged { address: device.clone().into(), implicit: true });
    }
    trust
}
