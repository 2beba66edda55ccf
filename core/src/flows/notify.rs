//! Notifications: something about an account changed.

use super::pair::Pair;
use super::people;
use super::prekeys::Prekeys;
use super::receipts;
use crate::engine::cx::Cx;
use crate::event::Event;
use crate::query::usync::device_jid;
use crate::store::records::{DeviceList, Identity, Session};
use crate::store::{Gap, View};
use crate::wire::{Jid, NodeRef, Server};

/// What a notification means.
pub(crate) enum Plan {
    /// The server's word on our own prekeys.
    Prekeys,
    /// A step of linking.
    Pairing,
    /// An account was registered anew: its canonical name.
    NewIdentity(Jid),
    /// The devices of an account changed.
    Devices {
        /// Canonical bare name.
        account: Jid,
        /// A device that was removed.
        removed: Option<Jid>,
        /// The other name of the account.
        alt: Option<Jid>,
    },
    /// Nothing we act on.
    Nothing,
}

pub(crate) fn plan(cx: &Cx, view: &View<'_>, node: NodeRef<'_>) -> Result<Plan, Gap> {
    let Some(from) = node.jid("from") else { return Ok(Plan::Nothing) };
    let kind = node.text("type").unwrap_or_default();
    Ok(match kind.as_str() {
        "link_code_companion_reg" | "companion_reg_refresh" | "passkey_prologue_request" | "crsc_continuation" => {
            Plan::Pairing
        }
        "encrypt" if from.is_server() => Plan::Prekeys,
        "encrypt" if node.child("identity").is_some() => {
            if from.device != 0 || !from.is_user() || cx.me().is_none_or(|me| me.is_me(&from)) {
                return Ok(Plan::Nothing);
            }
            let account = people::canonical(view, &from)?.bare();
            view.want::<Session>([&account, &from]);
            view.get::<Identity>(&account)?;
            view.get::<Identity>(&from)?;
            if let Some(lid) = node.jid("lid") {
                view.get::<Identity>(&lid)?;
            }
            view.get::<DeviceList>(&account)?;
            Plan::NewIdentity(account)
        }
        "devices" => {
            let alt = node.jid("lid").map(|lid| lid.bare());
            let account = match &alt {
                Some(lid) => lid.clone(),
                None => people::canonical(view, &from.bare())?,
            };
            people::want_mapping(view, &from)?;
            view.get::<DeviceList>(&account)?;
            let removed = node.child("remove").and_then(|remove| remove.child("device")).and_then(|d| d.jid("jid"));
            let removed = removed.filter(|device| device.device != 0 && device.same_account(&from));
            let removed =
                removed.map(|device| Jid { user: account.user.clone(), server: twin(&device, &account), ..device });
            Plan::Devices { account, removed, alt }
        }
        "account_sync" if node.child("devices").is_some() => {
            let Some(me) = cx.me().filter(|me| me.is_me(&from)) else { return Ok(Plan::Nothing) };
            let account = me.lid.as_ref().unwrap_or(&me.pn).bare();
            view.get::<DeviceList>(&account)?;
            Plan::Devices { account, removed: None, alt: None }
        }
        _ => Plan::Nothing,
    })
}

/// The server of a device of `account` that was named in the other namespace.
fn twin(device: &Jid, account: &Jid) -> Server {
    match (device.is_hosted(), account.is_lid()) {
        (true, true) => Server::HostedLid,
        (true, false) => Server::Hosted,
        (false, true) => Server::Lid,
        (false, false) => Server::Pn,
    }
}

pub(crate) fn act(plan: Plan, cx: &mut Cx, node: NodeRef<'_>, prekeys: &mut Prekeys, pair: &mut Pair) {
    match plan {
        Plan::Prekeys => prekeys.notified(cx, node),
        Plan::Pairing => pair.notified(cx, node),
        Plan::NewIdentity(account) => new_identity(cx, &account, node),
        Plan::Devices { account, removed, alt } => {
            if let (Some(alt), Some(from)) = (&alt, node.jid("from")) {
                people::learn(cx, alt, &from.bare());
            }
            // The change itself is not applied: the next send asks for the whole list. No list is begun from a change.
            let _ = cx.cache.update::<DeviceList, (), core::convert::Infallible>(&account, |list| {
                list.fetched_at = 0;
                if let Some(removed) = &removed {
                    list.devices.retain(|device| device.id != removed.device);
                }
                Ok(())
            });
            if let Some(removed) = &removed {
                cx.cache.delete::<Session>(removed);
            }
            cx.event(Event::DevicesChanged { address: account.into() });
        }
        Plan::Nothing => {}
    }
    receipts::ack(cx, node);
}

/// The phone of an account was registered anew: its keys are others now (`protocol/messages.md` §14).
fn new_identity(cx: &mut Cx, account: &Jid, node: NodeRef<'_>) {
    let names = [Some(account.clone()), node.jid("from"), node.jid("lid")];
    let mut known = false;
    for name in names.into_iter().flatten() {
        known |= cx.cache.get::<Identity>(&name).is_some();
        cx.cache.delete::<Session>(&name);
        cx.cache.delete::<Identity>(&name);
    }
    // The companions went with the old registration; a send under way still has a device to go to.
    if let Some(mut list) = cx.cache.get::<DeviceList>(account).cloned() {
        for device in list.devices.iter().filter(|device| device.id != 0) {
            let device = device_jid(account, device.id, device.hosted);
            cx.cache.delete::<Session>(&device);
            cx.cache.delete::<Identity>(&device);
        }
        list.devices.retain(|device| device.id == 0);
        list.fetched_at = 0;
        cx.cache.put(account, list);
    }
    if known {
        cx.event(Event::IdentityChanged { address: account.clone().into(), implicit: false });
    }
}
