//! QR pairing, the server's and the phone's side (pairing §2 to §4, §9).

use amarula_core::crypto::{PublicKey, xeddsa};
use amarula_core::wire::{Jid, Node, Server as Domain};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use prost::Message as _;

use super::code::CodeFlow;
use super::conn::{Asked, Role};
use super::faults::PairingFault;
use super::outbox::Outbox;
use super::{Account, AccountId, Companion, ConnId, Server};
use crate::adv::{self, Signed};
use crate::codec::{Read as _, leaf};
use crate::proto::{AdvDeviceIdentity, AdvType, ClientPairingProps, ClientPayload, DevicePairingData, DeviceProps};
use crate::time::SimTime;
use crate::violation::Rule;

/// What a registration payload carries (transport §5.3).
#[derive(Clone, Debug)]
pub(crate) struct Material {
    pub(crate) registration_id: u32,
    pub(crate) identity: PublicKey,
    pub(crate) signed: (u32, PublicKey, Vec<u8>),
    pub(crate) name: String,
}

impl Material {
    pub(crate) fn read(data: &DevicePairingData) -> Result<Self, String> {
        let bytes = |field: &Option<Vec<u8>>| field.clone().unwrap_or_default();
        let id: [u8; 4] = bytes(&data.e_regid)[..].try_into().map_err(|_| "eRegid is not 4 bytes")?;
        let skey_id: [u8; 3] = bytes(&data.e_skey_id)[..].try_into().map_err(|_| "eSkeyId is not 3 bytes")?;
        let identity = PublicKey::from_raw(&bytes(&data.e_ident)).map_err(|_| "eIdent is not 32 bytes")?;
        let skey = PublicKey::from_raw(&bytes(&data.e_skey_val)).map_err(|_| "eSkeyVal is not 32 bytes")?;
        let signature = bytes(&data.e_skey_sig);
        if !xeddsa::verify(&identity, &[&skey.typed()], &signature) {
            return Err("eSkeySig does not verify over 05 and the key".to_owned());
        }
        let props = DeviceProps::decode(&bytes(&data.device_props)[..]).map_err(|_| "deviceProps do not parse")?;
        if props.platform_type.unwrap_or_default() == 0 {
            return Err("deviceProps has no platformType".to_owned());
        }
        let signed = (u32::from_be_bytes([0, skey_id[0], skey_id[1], skey_id[2]]), skey, signature);
        Ok(Self {
            registration_id: u32::from_be_bytes(id),
            identity,
            signed,
            name: props.os.filter(|os| !os.is_empty()).ok_or("deviceProps has no os")?,
        })
    }
}

/// A pair-success that waits for its answer.
#[derive(Clone, Debug)]
struct Offer {
    account: AccountId,
    device: u16,
    key_index: u32,
    signed: Signed,
    id: String,
}

/// State of an unpaired connection.
#[derive(Clone, Debug)]
pub(crate) struct Unpaired {
    pub(crate) material: Material,
    pub(crate) noise: PublicKey,
    refs: Vec<String>,
    ready: bool,
    offer: Option<Offer>,
    pub(crate) code: Option<CodeFlow>,
    pub(crate) outbox: Outbox,
}

/// The phone refuses a QR.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, thiserror::Error)]
#[non_exhaustive]
pub enum ScanError {
    /// Not of the form of pairing §2.3.
    #[error("not a WhatsApp QR text: {0}")]
    Malformed(&'static str),
    /// No connection shows this ref (any more).
    #[error("the QR is expired or unknown")]
    UnknownRef,
    /// The keys in the QR are not those of the connection that shows it.
    #[error("the keys in the QR are not the connection's")]
    WrongKeys,
    /// No such account.
    #[error("no such account")]
    NoAccount,
    /// No phone-code request is open for this account.
    #[error("no device asked for a code")]
    NoCode,
}

impl Server {
    pub(crate) fn registration(&mut self, conn: ConnId, noise: PublicKey, payload: &ClientPayload) {
        let Ok(material) = self.check_registration(conn, payload) else { return self.close(conn) };
        let refs: Vec<String> =
            (0..self.config.refs).map(|_| format!("2@{}", STANDARD.encode(self.rng.bytes::<48>()))).collect();
        let lifetime = 60_000 + 20_000 * (refs.len() as u64).saturating_sub(1);
        let id = self.stanza_id();
        let children = refs.iter().map(|text| leaf("ref", text));
        let node = Node::new("iq")
            .attr("from", Jid::server())
            .attr("type", "set")
            .attr("id", id.as_str())
            .attr("xmlns", "md")
            .child(Node::new("pair-device").children(children));
        let now = self.now;
        if let Some(state) = self.conns.get_mut(&conn) {
            state.expires = Some(now + lifetime);
            state.asked.insert(id, (Asked::PairDevice, now));
            state.role = Role::Unpaired(Box::new(Unpaired {
                material,
                noise,
                refs,
                ready: false,
                offer: None,
                code: None,
                outbox: Outbox::default(),
            }));
        }
        self.send(conn, &node);
    }

    pub(crate) fn unpaired(&mut self, conn: ConnId) -> Option<&mut Unpaired> {
        match &mut self.conns.get_mut(&conn)?.role {
            Role::Unpaired(unpaired) => Some(unpaired),
            _ => None,
        }
    }

    pub(crate) fn pair_device_answered(&mut self, conn: ConnId) {
        if let Some(unpaired) = self.unpaired(conn) {
            unpaired.ready = true;
        }
    }

    /// The refs that an unpaired connection may show now.
    #[must_use]
    pub fn refs(&self, conn: ConnId) -> Vec<String> {
        match self.conns.get(&conn).map(|conn| &conn.role) {
            Some(Role::Unpaired(unpaired)) => unpaired.refs.clone(),
            _ => Vec::new(),
        }
    }

    /// Whether a connection shows this QR text and has answered the refs, so that it can be scanned: over a real socket
    /// the text can be known to a test before the answer is here.
    #[must_use]
    pub fn can_scan(&self, qr: &str) -> bool {
        self.conns.values().any(|state| match &state.role {
            Role::Unpaired(unpaired) => unpaired.ready && unpaired.refs.iter().any(|reference| qr.contains(reference)),
            _ => false,
        })
    }

    /// The phone of `account` scans a QR text (pairing §9 "scan"), and links the device that shows it.
    ///
    /// # Errors
    /// [`ScanError`]: what the phone's user would be told.
    pub fn scan_qr(&mut self, now: SimTime, account: AccountId, qr: &str) -> Result<u16, ScanError> {
        self.advance(now);
        let text = qr
            .strip_prefix("https://wa.me/settings/linked_devices#")
            .ok_or(ScanError::Malformed("the wa.me prefix is missing"))?;
        let fields: Vec<&str> = text.split(',').collect();
        let [reference, noise, identity, secret, client_type] = fields[..] else {
            return Err(ScanError::Malformed("not 5 fields"));
        };
        let key = |text: &str, what| {
            STANDARD.decode(text).ok().filter(|key| key.len() == 32).ok_or(ScanError::Malformed(what))
        };
        let noise = key(noise, "noise key")?;
        let identity = key(identity, "identity key")?;
        let secret = key(secret, "ADV secret")?;
        if client_type.len() != 1 || !"123456789cdef".contains(client_type) {
            return Err(ScanError::Malformed("client type"));
        }
        let shows =
            |role: &Role| matches!(role, Role::Unpaired(unpaired) if unpaired.refs.iter().any(|r| r == reference));
        let found = self.conns.iter().find(|(_, state)| shows(&state.role)).map(|(id, _)| *id);
        let conn = found.ok_or(ScanError::UnknownRef)?;
        let unpaired = self.unpaired(conn).ok_or(ScanError::UnknownRef)?;
        if unpaired.noise.as_bytes()[..] != noise || unpaired.material.identity.as_bytes()[..] != identity {
            self.object(Some(conn), None, Rule::Pairing, None, "the QR's keys are not those of the connection");
            return Err(ScanError::WrongKeys);
        }
        if !unpaired.ready {
            self.object(Some(conn), None, Rule::Pairing, None, "pair-device was not answered before the QR was shown");
        }
        self.offer(conn, account, &secret)
    }

    /// Signs the companion and sends pair-success.
    pub(crate) fn offer(&mut self, conn: ConnId, account: AccountId, secret: &[u8]) -> Result<u16, ScanError> {
        let fault = self.faults.pairing.take();
        let is = |kind| fault == Some(kind);
        let random = self.rng.bytes();
        let wrong_secret: [u8; 32] = self.rng.bytes();
        let id = self.stanza_id();
        let now = self.now.secs();
        let identity = self.unpaired(conn).map(|unpaired| unpaired.material.identity).ok_or(ScanError::UnknownRef)?;
        let owner = self.accounts.get_mut(&account).ok_or(ScanError::NoAccount)?;
        let device = (1..).find(|id| !owner.companions.contains_key(id)).unwrap_or(1);
        let key_index = owner.phone.take_key_index();
        let hosted = if is(PairingFault::HostedBoth) { AdvType::Hosted } else { AdvType::E2ee };
        let outer =
            if is(PairingFault::HostedBoth) || is(PairingFault::HostedOuter) { AdvType::Hosted } else { AdvType::E2ee };
        let details = AdvDeviceIdentity {
            raw_id: Some(owner.phone.raw_id()),
            timestamp: Some(now),
            key_index: (!is(PairingFault::NoKeyIndex)).then_some(key_index),
            account_type: Some(hosted as i32),
            device_type: Some(hosted as i32),
        };
        let private = owner.phone.endpoint.identity().private.clone();
        let secret = if is(PairingFault::WrongHmac) { &wrong_secret[..] } else { secret };
        let mut signed = adv::sign_companion(&private, &identity, &details, outer, secret, &random);
        if is(PairingFault::BadAccountSignature) {
            signed.account_signature[5] ^= 1;
            signed.container = adv::container(&private, &signed.details, &signed.account_signature, outer, secret);
        }
        let node = pair_success(owner, device, &id, now, &signed, fault);
        if let Some(unpaired) = self.unpaired(conn) {
            unpaired.offer = Some(Offer { account, device, key_index, signed, id: id.clone() });
        }
        let at = self.now;
        if let Some(state) = self.conns.get_mut(&conn) {
            state.asked.insert(id, (Asked::PairSuccess, at));
        }
        self.faults.pairing = fault.filter(|fault| {
            use PairingFault::{CloseWithout515, FirstLogin401, No515};
            matches!(fault, No515 | CloseWithout515 | FirstLogin401)
        });
        self.send(conn, &node);
        if is(PairingFault::SuccessTwice) {
            self.send(conn, &node);
        }
        if is(PairingFault::CloseBeforeAnswer) {
            // The companion may have stored its identity; the account never sees the answer, so its login gets 401.
            self.close(conn);
        }
        Ok(device)
    }

    pub(crate) fn pair_success_answered(&mut self, conn: ConnId, node: &Node) {
        let Some(unpaired) = self.unpaired(conn) else { return };
        let (Some(offer), material, noise) = (unpaired.offer.take(), unpaired.material.clone(), unpaired.noise) else {
            return self.object(Some(conn), None, Rule::Pairing, Some(node), "a second answer to pair-success");
        };
        if offer.id != node.text("id") {
            self.object(Some(conn), None, Rule::Pairing, Some(node), "the answer names another pair-success");
        }
        if node.text("type") == "error" {
            let error = node.find("error");
            let code = error.and_then(|error| error.number("code")).unwrap_or_default();
            if !matches!(code, 401 | 500) || error.is_none_or(|error| !error.has("text")) {
                self.object(Some(conn), None, Rule::Pairing, Some(node), "refusal is not <error code=401|500 text>");
            }
            return self.close(conn);
        }
        let identity = node.find("pair-device-sign").and_then(|sign| sign.find("device-identity"));
        let Some(identity) = identity else {
            self.object(Some(conn), None, Rule::Pairing, Some(node), "no pair-device-sign with device-identity");
            return self.close(conn);
        };
        if identity.number("key-index") != Some(u64::from(offer.key_index)) {
            self.object(Some(conn), None, Rule::Pairing, Some(node), "key-index is not the signed one");
        }
        let profile = self.profile_on(conn);
        let Some(account) = self.accounts.get_mut(&offer.account) else { return };
        let private = account.phone.endpoint.identity().private.clone();
        let full = match adv::check_answer(&private, &material.identity, &offer.signed, identity.data()) {
            Ok(full) => full,
            Err(detail) => {
                self.object(Some(conn), None, Rule::Pairing, Some(node), detail);
                return self.close(conn);
            }
        };
        let now = self.now.secs();
        account.list_changed = now.max(account.list_changed + 1);
        let companion = Companion {
            key_index: offer.key_index,
            noise,
            identity: material.identity,
            registration_id: material.registration_id,
            adv: full,
            all_signed: std::iter::once((material.signed.0, material.signed.1)).collect(),
            signed: material.signed,
            one_time: std::collections::BTreeMap::new(),
            name: material.name,
            logged_in: false,
            available: false,
            conn: None,
            login_counter: None,
            all_one_time: std::collections::BTreeMap::new(),
            outbox: Outbox::default(),
            sent: std::collections::BTreeMap::new(),
            resend_asked: std::collections::BTreeMap::new(),
            retries: std::collections::BTreeMap::new(),
            told: std::collections::BTreeMap::new(),
            profile,
            asked_for_prekeys: false,
            app_push_name: None,
            disturbed: false,
        };
        account.companions.insert(offer.device, companion);
        self.announce_add((offer.account, offer.device));
        let fault = self.faults.pairing.take();
        self.faults.first_login_401 = fault == Some(PairingFault::FirstLogin401);
        match fault {
            Some(PairingFault::No515) => {}
            Some(PairingFault::CloseWithout515) => self.close(conn),
            _ => self.stream_error(conn, Node::new("stream:error").attr("code", 515)),
        }
    }
}

fn pair_success(
    owner: &Account,
    device: u16,
    id: &str,
    now: u64,
    signed: &Signed,
    fault: Option<PairingFault>,
) -> Node {
    let is = |kind| fault == Some(kind);
    let lid = (!is(PairingFault::NoLid)).then(|| owner.device_jid(&Domain::Lid, device));
    let props = ClientPairingProps {
        is_chat_db_lid_migrated: Some(owner.lid_migrated),
        is_syncd_pure_lid_session: Some(false),
    };
    let container = (!is(PairingFault::NoDeviceIdentity)).then(|| leaf("device-identity", &signed.container));
    let success = Node::new("pair-success")
        .child_opt(container)
        .child_opt(owner.business_name.as_ref().map(|name| Node::new("biz").attr("name", name.as_str())))
        .child(Node::new("device").attr("jid", owner.device_jid(&Domain::Pn, device)).attr_opt("lid", lid))
        .child(Node::new("platform").attr("name", "android"))
        .child(leaf("client-props", props.encode_to_vec()));
    Node::new("iq")
        .attr("from", Jid::server())
        .attr("type", "set")
        .attr("id", id)
        .attr("xmlns", "md")
        .attr("t", now)
        .child(success)
}
