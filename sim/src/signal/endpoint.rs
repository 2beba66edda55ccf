//! The keys and sessions of one device (signal §4, §5).

use std::collections::BTreeMap;

use amarula_core::crypto::{KeyPair, PublicKey, Rng, xeddsa};

use super::sender_key::{SenderKeyState, SenderKeys};
use super::session::{PreKey, Session, TheirKeys};
use super::{Addr, EncType, SignalError};

/// A signed prekey.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct SignedPreKey {
    /// Its id.
    pub id: u32,
    /// The key.
    pub pair: KeyPair,
    /// By the identity, over `05 ‖ public`.
    pub signature: [u8; 64],
}

/// A prekey bundle, as the server hands it out (messages §3).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bundle {
    /// Registration id.
    pub registration_id: u32,
    /// Identity.
    pub identity: PublicKey,
    /// Signed prekey: id, key, signature.
    pub signed: (u32, PublicKey, Vec<u8>),
    /// One-time prekey: id, key.
    pub one_time: Option<(u32, PublicKey)>,
    /// Serialized `ADVSignedDeviceIdentity` of a companion.
    pub device_identity: Option<Vec<u8>>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
struct Record {
    current: Option<Session>,
    archived: Vec<Session>,
}

impl Record {
    fn set_current(&mut self, session: Session) {
        if let Some(mut old) = self.current.replace(session) {
            old.archive();
            self.archived.insert(0, old);
            self.archived.truncate(40);
        }
    }
}

/// A Signal device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    identity: KeyPair,
    registration_id: u32,
    signed: BTreeMap<u32, SignedPreKey>,
    one_time: BTreeMap<u32, KeyPair>,
    next_one_time: u32,
    records: BTreeMap<Addr, Record>,
    own_groups: BTreeMap<String, SenderKeyState>,
    groups: BTreeMap<(String, Addr), SenderKeys>,
}

impl Endpoint {
    /// A device with fresh keys and signed prekey 1.
    pub fn generate(rng: &mut Rng) -> Self {
        let identity = KeyPair::generate(rng);
        let mut out = Self {
            identity,
            registration_id: 1 + rng.below(16382),
            signed: BTreeMap::new(),
            one_time: BTreeMap::new(),
            next_one_time: 1,
            records: BTreeMap::new(),
            own_groups: BTreeMap::new(),
            groups: BTreeMap::new(),
        };
        out.rotate_signed(rng);
        out
    }

    /// The identity key pair.
    #[must_use]
    pub fn identity(&self) -> &KeyPair {
        &self.identity
    }

    /// The registration id.
    #[must_use]
    pub fn registration_id(&self) -> u32 {
        self.registration_id
    }

    /// Makes the next signed prekey; the last three stay usable.
    pub fn rotate_signed(&mut self, rng: &mut Rng) {
        let id = self.signed.last_key_value().map_or(1, |(id, _)| id + 1);
        let pair = KeyPair::generate(rng);
        let signature = xeddsa::sign(&self.identity.private, &[&pair.public.typed()], &rng.bytes());
        self.signed.insert(id, SignedPreKey { id, pair, signature });
        if self.signed.len() > 3 {
            self.signed.pop_first();
        }
    }

    /// A bundle with a fresh one-time prekey.
    pub fn bundle(&mut self, rng: &mut Rng) -> Bundle {
        let id = self.next_one_time;
        self.next_one_time += 1;
        let pair = KeyPair::generate(rng);
        let one_time = Some((id, pair.public));
        self.one_time.insert(id, pair);
        Bundle { one_time, ..self.bundle_without_one_time() }
    }

    /// A bundle of the signed prekey alone, as a server with an empty pool gives it.
    #[must_use]
    pub fn bundle_without_one_time(&self) -> Bundle {
        let signed = self.signed.last_key_value().map(|(_, key)| (key.id, key.pair.public, key.signature.to_vec()));
        Bundle {
            registration_id: self.registration_id,
            identity: self.identity.public,
            signed: signed.unwrap_or((0, self.identity.public, Vec::new())),
            one_time: None,
            device_identity: None,
        }
    }

    /// Whether there is a session to send on.
    #[must_use]
    pub fn has_session(&self, with: &Addr) -> bool {
        self.records.get(with).is_some_and(|record| record.current.is_some())
    }

    /// The current session.
    #[must_use]
    pub fn session(&self, with: &Addr) -> Option<&Session> {
        self.records.get(with)?.current.as_ref()
    }

    /// Sends no more on the current session with a device. What is under way on it can still be read.
    pub fn retire(&mut self, with: &Addr) {
        if let Some(record) = self.records.get_mut(with)
            && let Some(mut old) = record.current.take()
        {
            old.archive();
            record.archived.insert(0, old);
            record.archived.truncate(40);
        }
    }

    /// Forgets all sessions with a device.
    pub fn forget(&mut self, with: &Addr) {
        self.records.remove(with);
    }

    /// Forgets all sessions with a user's devices.
    pub fn forget_user(&mut self, user: &str) {
        self.records.retain(|addr, _| addr.0 != user);
    }

    /// Starts a session.
    ///
    /// # Errors
    /// The signed prekey's signature does not verify, or a low-order key.
    pub fn process_bundle(&mut self, with: &Addr, bundle: &Bundle, rng: &mut Rng) -> Result<(), SignalError> {
        if !xeddsa::verify(&bundle.identity, &[&bundle.signed.1.typed()], &bundle.signed.2) {
            return Err(SignalError::BadSignature);
        }
        let theirs = TheirKeys {
            identity: bundle.identity,
            signed: (bundle.signed.0, bundle.signed.1),
            one_time: bundle.one_time,
            registration_id: bundle.registration_id,
        };
        let session = Session::initiate(&self.identity, &KeyPair::generate(rng), KeyPair::generate(rng), &theirs)?;
        self.records.entry(with.clone()).or_default().set_current(session);
        Ok(())
    }

    /// Encrypts on the current session.
    ///
    /// # Errors
    /// There is none.
    pub fn encrypt(&mut self, with: &Addr, plaintext: &[u8]) -> Result<(EncType, Vec<u8>), SignalError> {
        let session =
            self.records.get_mut(with).and_then(|record| record.current.as_mut()).ok_or(SignalError::NoSession)?;
        let (bytes, is_prekey) = session.encrypt(plaintext, self.registration_id)?;
        Ok((if is_prekey { EncType::PkMsg } else { EncType::Msg }, bytes))
    }

    /// Decrypts. On an error nothing has changed.
    ///
    /// # Errors
    /// [`SignalError`].
    pub fn decrypt(&mut self, from: &Addr, kind: EncType, bytes: &[u8], rng: &mut Rng) -> Result<Vec<u8>, SignalError> {
        match kind {
            EncType::Msg => self.decrypt_msg(from, bytes, rng),
            EncType::PkMsg => self.decrypt_prekey(from, &PreKey::parse(bytes)?, rng),
        }
    }

    fn decrypt_prekey(&mut self, from: &Addr, outer: &PreKey, rng: &mut Rng) -> Result<Vec<u8>, SignalError> {
        let mut record = self.records.get(from).cloned().unwrap_or_default();
        if let Some(current) = record.current.as_mut().filter(|session| *session.base_key() == outer.base_key) {
            let plaintext = current.decrypt(&outer.message, rng)?;
            self.records.insert(from.clone(), record);
            return Ok(plaintext);
        }
        if let Some(at) = record.archived.iter().position(|session| *session.base_key() == outer.base_key) {
            let plaintext = record.archived[at].decrypt(&outer.message, rng)?;
            let session = record.archived.remove(at);
            record.set_current(session);
            self.records.insert(from.clone(), record);
            return Ok(plaintext);
        }
        let signed = self.signed.get(&outer.signed).ok_or(SignalError::UnknownSignedPreKey(outer.signed))?;
        let one_time = match outer.one_time {
            Some(id) => Some(self.one_time.get(&id).ok_or(SignalError::UnknownPreKey(id))?),
            None => None,
        };
        let mut session = Session::respond(
            &self.identity,
            &signed.pair,
            one_time,
            outer.identity,
            outer.base_key,
            outer.registration_id,
        )?;
        let plaintext = session.decrypt(&outer.message, rng)?;
        record.set_current(session);
        self.records.insert(from.clone(), record);
        if let Some(id) = outer.one_time {
            self.one_time.remove(&id);
        }
        Ok(plaintext)
    }

    fn decrypt_msg(&mut self, from: &Addr, bytes: &[u8], rng: &mut Rng) -> Result<Vec<u8>, SignalError> {
        let record = self.records.get_mut(from).ok_or(SignalError::NoSession)?;
        let mut worst = SignalError::NoSession;
        let count = record.archived.len();
        for at in 0..=count {
            let session = match at {
                0 => record.current.as_mut(),
                _ => record.archived.get_mut(at - 1),
            };
            let Some(session) = session else { continue };
            match session.decrypt(bytes, rng) {
                Ok(plaintext) => {
                    if at > 0 {
                        let session = record.archived.remove(at - 1);
                        record.set_current(session);
                    }
                    return Ok(plaintext);
                }
                Err(SignalError::Duplicate) => worst = SignalError::Duplicate,
                Err(error) if worst != SignalError::Duplicate => worst = error,
                Err(_) => {}
            }
        }
        Err(worst)
    }

    /// The own sender key of a group and whether it is new.
    pub fn own_sender_key(&mut self, group: &str, rng: &mut Rng) -> (&mut SenderKeyState, bool) {
        let is_new = !self.own_groups.contains_key(group);
        let state = self.own_groups.entry(group.to_owned()).or_insert_with(|| SenderKeyState::generate(rng));
        (state, is_new)
    }

    /// Forgets the own sender key of a group.
    pub fn rotate_sender_key(&mut self, group: &str) {
        self.own_groups.remove(group);
    }

    /// Takes in a distribution message.
    ///
    /// # Errors
    /// Malformed.
    pub fn learn_sender_key(&mut self, group: &str, from: &Addr, bytes: &[u8]) -> Result<(), SignalError> {
        self.groups.entry((group.to_owned(), from.clone())).or_default().learn(bytes)
    }

    /// Decrypts a group message.
    ///
    /// # Errors
    /// [`SignalError`].
    pub fn decrypt_group(&mut self, group: &str, from: &Addr, bytes: &[u8]) -> Result<Vec<u8>, SignalError> {
        self.groups.get_mut(&(group.to_owned(), from.clone())).ok_or(SignalError::NoSenderKey)?.decrypt(bytes)
    }
}
