//! X3DH and the double ratchet (signal §2, §3).

use amarula_core::crypto::cipher::{cbc_decrypt, cbc_encrypt};
use amarula_core::crypto::kdf::hkdf_sha256;
use amarula_core::crypto::mac::hmac_sha256;
use amarula_core::crypto::{KeyPair, PublicKey, Rng, equal};
use prost::Message as _;

use super::SignalError;
use super::chain::{Chain, MessageKeys};
use crate::proto::{PreKeyWhisperMessage, WhisperMessage};

/// The version byte of everything.
pub const VERSION: u8 = 0x33;

/// What a bundle gives to whoever starts a session.
#[derive(Clone, Debug)]
pub struct TheirKeys {
    /// Identity.
    pub identity: PublicKey,
    /// Signed prekey and its id.
    pub signed: (u32, PublicKey),
    /// One-time prekey and its id.
    pub one_time: Option<(u32, PublicKey)>,
    /// Registration id.
    pub registration_id: u32,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Pending {
    one_time: Option<u32>,
    signed: u32,
}

/// One session of one pair of devices.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Session {
    local: PublicKey,
    remote: PublicKey,
    root: [u8; 32],
    sending: Option<(KeyPair, Chain)>,
    receiving: Vec<(PublicKey, Chain)>,
    previous: u32,
    base_key: PublicKey,
    pending: Option<Pending>,
    registration_id: u32,
}

fn root_step(root: &[u8; 32], pair: &KeyPair, remote: &PublicKey) -> Result<([u8; 32], [u8; 32]), SignalError> {
    let shared = pair.agree(remote).map_err(|_| SignalError::LowOrder)?;
    Ok(halves(&hkdf_sha256::<64>(Some(root), shared.expose(), b"WhisperRatchet")))
}

fn halves(okm: &[u8; 64]) -> ([u8; 32], [u8; 32]) {
    let (mut a, mut b) = ([0; 32], [0; 32]);
    a.copy_from_slice(&okm[..32]);
    b.copy_from_slice(&okm[32..]);
    (a, b)
}

fn x3dh(pairs: &[(&KeyPair, &PublicKey)]) -> Result<([u8; 32], [u8; 32]), SignalError> {
    let mut ikm = vec![0xff; 32];
    for (pair, public) in pairs {
        ikm.extend_from_slice(pair.agree(public).map_err(|_| SignalError::LowOrder)?.expose());
    }
    Ok(halves(&hkdf_sha256::<64>(None, &ikm, b"WhisperText")))
}

impl Session {
    /// Starts a session from a bundle (whose signature was checked), with a given base and ratchet key.
    ///
    /// # Errors
    /// A low-order key in the bundle.
    pub fn initiate(
        identity: &KeyPair,
        base: &KeyPair,
        ratchet: KeyPair,
        theirs: &TheirKeys,
    ) -> Result<Self, SignalError> {
        let spk = &theirs.signed.1;
        let mut pairs = vec![(identity, spk), (base, &theirs.identity), (base, spk)];
        if let Some((_, one_time)) = &theirs.one_time {
            pairs.push((base, one_time));
        }
        let (root0, _chain0) = x3dh(&pairs)?;
        let (root, sending) = root_step(&root0, &ratchet, spk)?;
        Ok(Self {
            local: identity.public,
            remote: theirs.identity,
            root,
            sending: Some((ratchet, Chain::new(sending, 0))),
            receiving: Vec::new(),
            previous: 0,
            base_key: base.public,
            pending: Some(Pending { one_time: theirs.one_time.map(|(id, _)| id), signed: theirs.signed.0 }),
            registration_id: theirs.registration_id,
        })
    }

    /// The responder's half, before the first message is decrypted.
    ///
    /// # Errors
    /// A low-order key.
    pub fn respond(
        identity: &KeyPair,
        signed: &KeyPair,
        one_time: Option<&KeyPair>,
        remote: PublicKey,
        base_key: PublicKey,
        registration_id: u32,
    ) -> Result<Self, SignalError> {
        let mut pairs = vec![(signed, &remote), (identity, &base_key), (signed, &base_key)];
        if let Some(one_time) = one_time {
            pairs.push((one_time, &base_key));
        }
        let (root, chain0) = x3dh(&pairs)?;
        Ok(Self {
            local: identity.public,
            remote,
            root,
            // Never used for traffic: the first message makes a DH step with the signed prekey.
            sending: Some((signed.clone(), Chain::new(chain0, 0))),
            receiving: Vec::new(),
            previous: 0,
            base_key,
            pending: None,
            registration_id,
        })
    }

    /// The initiator's base key: names the session.
    #[must_use]
    pub fn base_key(&self) -> &PublicKey {
        &self.base_key
    }

    /// The peer's identity.
    #[must_use]
    pub fn remote_identity(&self) -> &PublicKey {
        &self.remote
    }

    /// The peer's registration id.
    #[must_use]
    pub fn registration_id(&self) -> u32 {
        self.registration_id
    }

    /// Whether nothing of the peer was decrypted yet.
    #[must_use]
    pub fn is_pending(&self) -> bool {
        self.pending.is_some()
    }

    /// No longer asks to be built: what archiving does.
    pub fn archive(&mut self) {
        self.pending = None;
    }

    fn mac(key: &[u8; 32], from: &PublicKey, to: &PublicKey, signed: &[u8]) -> [u8; 32] {
        hmac_sha256(key, &[&from.typed(), &to.typed(), signed])
    }

    /// Encrypts; `own_registration_id` goes into a `pkmsg`. Whether it is one is the second value.
    ///
    /// # Errors
    /// There is no sending chain.
    pub fn encrypt(&mut self, plaintext: &[u8], own_registration_id: u32) -> Result<(Vec<u8>, bool), SignalError> {
        let (pair, chain) = self.sending.as_mut().ok_or(SignalError::NoSession)?;
        let (counter, seed) = chain.next_seed();
        let keys = MessageKeys::of(&seed);
        let mut out = vec![VERSION];
        WhisperMessage {
            ratchet_key: Some(pair.public.typed().to_vec()),
            counter: Some(counter),
            previous_counter: Some(self.previous),
            ciphertext: Some(cbc_encrypt(&keys.cipher, &keys.iv, plaintext)),
        }
        .encode(&mut out)
        .map_err(|_| SignalError::Malformed("encode"))?;
        let mac = Self::mac(&keys.mac, &self.local, &self.remote, &out);
        out.extend_from_slice(&mac[..8]);
        let Some(pending) = &self.pending else { return Ok((out, false)) };
        let mut outer = vec![VERSION];
        PreKeyWhisperMessage {
            pre_key_id: pending.one_time,
            base_key: Some(self.base_key.typed().to_vec()),
            identity_key: Some(self.local.typed().to_vec()),
            message: Some(out),
            registration_id: Some(own_registration_id),
            signed_pre_key_id: Some(pending.signed),
        }
        .encode(&mut outer)
        .map_err(|_| SignalError::Malformed("encode"))?;
        Ok((outer, true))
    }

    /// Decrypts a WhisperMessage. On an error nothing has changed.
    ///
    /// # Errors
    /// [`SignalError`].
    pub fn decrypt(&mut self, bytes: &[u8], rng: &mut Rng) -> Result<Vec<u8>, SignalError> {
        let mut next = self.clone();
        let plaintext = next.try_decrypt(bytes, rng)?;
        *self = next;
        Ok(plaintext)
    }

    fn try_decrypt(&mut self, bytes: &[u8], rng: &mut Rng) -> Result<Vec<u8>, SignalError> {
        let parsed = Whisper::parse(bytes)?;
        let known = self.receiving.iter().position(|(key, _)| *key == parsed.ratchet_key);
        let at = match known {
            Some(at) => at,
            None => self.dh_step(parsed.ratchet_key, KeyPair::generate(rng))?,
        };
        let seed = self.receiving[at].1.seed_of(parsed.counter)?;
        let keys = MessageKeys::of(&seed);
        let mac = Self::mac(&keys.mac, &self.remote, &self.local, parsed.signed);
        if !equal(&mac[..8], parsed.mac) {
            return Err(SignalError::BadMac);
        }
        let plaintext = cbc_decrypt(&keys.cipher, &keys.iv, &parsed.ciphertext)
            .map_err(|_| SignalError::Malformed("AES padding"))?;
        self.pending = None;
        Ok(plaintext)
    }

    fn dh_step(&mut self, theirs: PublicKey, fresh: KeyPair) -> Result<usize, SignalError> {
        let Some((ours, old)) = self.sending.take() else { return Err(SignalError::NoSession) };
        let (root, receiving) = root_step(&self.root, &ours, &theirs)?;
        let (root, sending) = root_step(&root, &fresh, &theirs)?;
        self.root = root;
        self.previous = old.index().saturating_sub(1);
        self.sending = Some((fresh, Chain::new(sending, 0)));
        self.receiving.push((theirs, Chain::new(receiving, 0)));
        if self.receiving.len() > 5 {
            self.receiving.remove(0);
        }
        Ok(self.receiving.len() - 1)
    }

    /// For vectors: the next DH step uses this key pair instead of a random one.
    ///
    /// # Errors
    /// As [`Self::decrypt`].
    #[cfg(test)]
    pub(crate) fn decrypt_with_ratchet(&mut self, bytes: &[u8], fresh: KeyPair) -> Result<Vec<u8>, SignalError> {
        let parsed = Whisper::parse(bytes)?;
        self.dh_step(parsed.ratchet_key, fresh)?;
        self.try_decrypt(bytes, &mut Rng::from_seed([0; 32]))
    }
}

/// A parsed WhisperMessage.
#[derive(Clone, Debug)]
pub struct Whisper<'a> {
    /// The sender's ratchet key.
    pub ratchet_key: PublicKey,
    /// Its counter.
    pub counter: u32,
    /// The last counter of the chain before.
    pub previous: u32,
    /// What the MAC covers, identities aside.
    pub signed: &'a [u8],
    /// The 8 bytes of it.
    pub mac: &'a [u8],
    /// AES-CBC blocks.
    pub ciphertext: Vec<u8>,
}

impl<'a> Whisper<'a> {
    /// Strict: version `33`, all four fields, whole blocks.
    ///
    /// # Errors
    /// [`SignalError::Version`], [`SignalError::Malformed`].
    pub fn parse(bytes: &'a [u8]) -> Result<Self, SignalError> {
        let (&version, _) = bytes.split_first().ok_or(SignalError::Malformed("empty"))?;
        if version != VERSION {
            return Err(SignalError::Version(version));
        }
        let len = bytes.len().checked_sub(8).filter(|len| *len > 1).ok_or(SignalError::Malformed("too short"))?;
        let (signed, mac) = bytes.split_at(len);
        let message = WhisperMessage::decode(&signed[1..]).map_err(|_| SignalError::Malformed("WhisperMessage"))?;
        let key = message.ratchet_key.ok_or(SignalError::Malformed("no ratchet key"))?;
        let ratchet_key = PublicKey::from_typed(&key).map_err(|_| SignalError::Malformed("ratchet key"))?;
        let counter = message.counter.ok_or(SignalError::Malformed("no counter"))?;
        let previous = message.previous_counter.ok_or(SignalError::Malformed("no previous counter"))?;
        let ciphertext = message.ciphertext.ok_or(SignalError::Malformed("no ciphertext"))?;
        if ciphertext.is_empty() || ciphertext.len() % 16 != 0 {
            return Err(SignalError::Malformed("ciphertext is not whole blocks"));
        }
        Ok(Self { ratchet_key, counter, previous, signed, mac, ciphertext })
    }
}

/// A parsed PreKeyWhisperMessage.
#[derive(Clone, Debug)]
pub struct PreKey {
    /// Which one-time prekey was used.
    pub one_time: Option<u32>,
    /// Which signed prekey was used.
    pub signed: u32,
    /// The initiator's base key.
    pub base_key: PublicKey,
    /// The initiator's identity.
    pub identity: PublicKey,
    /// The initiator's registration id.
    pub registration_id: u32,
    /// The WhisperMessage inside.
    pub message: Vec<u8>,
}

impl PreKey {
    /// Strict: version `33`, every field but the one-time id.
    ///
    /// # Errors
    /// [`SignalError::Version`], [`SignalError::Malformed`].
    pub fn parse(bytes: &[u8]) -> Result<Self, SignalError> {
        let (&version, rest) = bytes.split_first().ok_or(SignalError::Malformed("empty"))?;
        if version != VERSION {
            return Err(SignalError::Version(version));
        }
        let outer = PreKeyWhisperMessage::decode(rest).map_err(|_| SignalError::Malformed("PreKeyWhisperMessage"))?;
        let key = |bytes: Option<Vec<u8>>, what| {
            PublicKey::from_typed(&bytes.unwrap_or_default()).map_err(|_| SignalError::Malformed(what))
        };
        if outer.pre_key_id == Some(0) {
            return Err(SignalError::Malformed("one-time prekey id 0"));
        }
        Ok(Self {
            one_time: outer.pre_key_id,
            signed: outer.signed_pre_key_id.ok_or(SignalError::Malformed("no signed prekey id"))?,
            base_key: key(outer.base_key, "base key")?,
            identity: key(outer.identity_key, "identity key")?,
            registration_id: outer.registration_id.ok_or(SignalError::Malformed("no registration id"))?,
            message: outer.message.ok_or(SignalError::Malformed("no message"))?,
        })
    }
}

#[cfg(test)]
#[path = "session_tests.rs"]
mod tests;
