//! Our primitives, for `snow`.

use alloc::boxed::Box;
use alloc::vec::Vec;

use snow::params::{CipherChoice, DHChoice, HashChoice};
use snow::resolvers::CryptoResolver;
use snow::types::{Cipher, Dh, Hash, Random};

use crate::crypto::aead::TAG_LEN;
use crate::crypto::{Aes256Gcm, KeyPair, PrivateKey, PublicKey, hash, mac};

/// X25519, AES-256-GCM, SHA-256, and no randomness: every ephemeral key is given.
pub(super) struct Resolver;

impl CryptoResolver for Resolver {
    fn resolve_rng(&self) -> Option<Box<dyn Random>> {
        Some(Box::new(NoRandom))
    }

    fn resolve_dh(&self, choice: &DHChoice) -> Option<Box<dyn Dh>> {
        match choice {
            DHChoice::Curve25519 => Some(Box::new(X25519(KeyPair::from_private(PrivateKey::from_bytes([0; 32]))))),
            _ => None,
        }
    }

    fn resolve_hash(&self, choice: &HashChoice) -> Option<Box<dyn Hash>> {
        match choice {
            HashChoice::SHA256 => Some(Box::<Sha256>::default()),
            _ => None,
        }
    }

    fn resolve_cipher(&self, choice: &CipherChoice) -> Option<Box<dyn Cipher>> {
        match choice {
            CipherChoice::AESGCM => Some(Box::<Gcm>::default()),
            _ => None,
        }
    }
}

struct NoRandom;

impl Random for NoRandom {
    fn try_fill_bytes(&mut self, _dest: &mut [u8]) -> Result<(), snow::Error> {
        Err(snow::Error::Rng)
    }
}

struct X25519(KeyPair);

impl Dh for X25519 {
    fn name(&self) -> &'static str {
        "25519"
    }

    fn pub_len(&self) -> usize {
        32
    }

    fn priv_len(&self) -> usize {
        32
    }

    fn set(&mut self, privkey: &[u8]) {
        if let Ok(private) = PrivateKey::from_slice(privkey) {
            self.0 = KeyPair::from_private(private);
        }
    }

    fn generate(&mut self, _rng: &mut dyn Random) -> Result<(), snow::Error> {
        Err(snow::Error::Rng)
    }

    fn pubkey(&self) -> &[u8] {
        self.0.public.as_bytes()
    }

    fn privkey(&self) -> &[u8] {
        self.0.private.expose()
    }

    fn dh(&self, pubkey: &[u8], out: &mut [u8]) -> Result<(), snow::Error> {
        let public = pubkey.get(..32).ok_or(snow::Error::Dh)?;
        let public = PublicKey::from_raw(public).map_err(|_| snow::Error::Dh)?;
        let shared = self.0.agree(&public).map_err(|_| snow::Error::Dh)?;
        out.get_mut(..32).ok_or(snow::Error::Dh)?.copy_from_slice(shared.expose());
        Ok(())
    }
}

/// SHA-256 with one exception. A Noise message always ends with its payload mixed into the hash, even an empty one;
/// WhatsApp leaves that out for message 1 of XX, whose payload is empty and not yet encrypted (`protocol/transport.md`
/// §3.1). Nothing else in our patterns hashes a 32-byte state with nothing after it, so leaving the state as it is for
/// exactly that input is the same as leaving the step out.
#[derive(Default)]
struct Sha256 {
    input: Vec<u8>,
    parts: usize,
    ends_empty: bool,
}

impl Hash for Sha256 {
    fn name(&self) -> &'static str {
        "SHA256"
    }

    fn block_len(&self) -> usize {
        64
    }

    fn hash_len(&self) -> usize {
        32
    }

    fn reset(&mut self) {
        self.input.clear();
        self.parts = 0;
        self.ends_empty = false;
    }

    fn input(&mut self, data: &[u8]) {
        self.input.extend_from_slice(data);
        self.parts += 1;
        self.ends_empty = data.is_empty();
    }

    fn result(&mut self, out: &mut [u8]) {
        let is_empty_payload = self.parts == 2 && self.ends_empty && self.input.len() == 32;
        let digest = hash::sha256(&[&self.input]);
        let result: &[u8] = if is_empty_payload { &self.input } else { &digest };
        out.iter_mut().zip(result).for_each(|(out, byte)| *out = *byte);
        self.reset();
    }

    fn hmac(&mut self, key: &[u8], data: &[u8], out: &mut [u8]) {
        // Keys come in buffers of the longest hash's length; ours are 32 bytes, and zeros behind them change nothing.
        let digest = mac::hmac_sha256(key, &[data]);
        out.iter_mut().zip(digest).for_each(|(out, byte)| *out = byte);
    }
}

#[derive(Default)]
struct Gcm(Option<Aes256Gcm>);

/// Eight zero bytes and a 32-bit counter equal Noise's four and a 64-bit one: a handshake never gets that far.
fn nonce(n: u64) -> [u8; 12] {
    let mut nonce = [0; 12];
    nonce[4..].copy_from_slice(&n.to_be_bytes());
    nonce
}

impl Cipher for Gcm {
    fn name(&self) -> &'static str {
        "AESGCM"
    }

    fn set(&mut self, key: &[u8; 32]) {
        self.0 = Some(Aes256Gcm::new(key));
    }

    fn encrypt(&self, n: u64, authtext: &[u8], plaintext: &[u8], out: &mut [u8]) -> usize {
        let len = plaintext.len() + TAG_LEN;
        let (Some(key), Some(out)) = (&self.0, out.get_mut(..len)) else { return 0 };
        let (body, tag) = out.split_at_mut(plaintext.len());
        body.copy_from_slice(plaintext);
        tag.copy_from_slice(&key.seal(&nonce(n), authtext, body));
        len
    }

    fn decrypt(&self, n: u64, authtext: &[u8], ciphertext: &[u8], out: &mut [u8]) -> Result<usize, snow::Error> {
        let key = self.0.as_ref().ok_or(snow::Error::Decrypt)?;
        let mut data = ciphertext.to_vec();
        let len = key.open(&nonce(n), authtext, &mut data).map_err(|_| snow::Error::Decrypt)?;
        let (Some(plain), Some(out)) = (data.get(..len), out.get_mut(..len)) else { return Err(snow::Error::Decrypt) };
        out.copy_from_slice(plain);
        Ok(len)
    }
}
