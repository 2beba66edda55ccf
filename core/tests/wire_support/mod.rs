//! A WhatsApp-like Noise responder and certificate maker, from the primitives and the tables of
//! `protocol/transport.md` §3–§4 alone: nothing here is shared with the client under test.
#![allow(dead_code, unreachable_pub, missing_docs)]

use amarula_core::crypto::{Aes256Gcm, KeyPair, PrivateKey, PublicKey, hash, kdf, xeddsa};
use amarula_core::wire::noise::schema::cert_chain::{NoiseCertificate, noise_certificate};
use amarula_core::wire::noise::schema::{CertChain, HandshakeMessage, handshake_message};
use prost::Message as _;

pub fn pair(byte: u8) -> KeyPair {
    KeyPair::from_private(PrivateKey::from_bytes([byte; 32]))
}

/// §3.1.
#[derive(Clone)]
pub struct Symmetric {
    pub h: [u8; 32],
    ck: [u8; 32],
    key: Option<[u8; 32]>,
    n: u32,
}

impl Symmetric {
    pub fn new(name: &str) -> Self {
        let mut h = [0; 32];
        if name.len() <= 32 {
            h[..name.len()].copy_from_slice(name.as_bytes());
        } else {
            h = hash::sha256(&[name.as_bytes()]);
        }
        let mut this = Self { h, ck: h, key: None, n: 0 };
        this.mix_hash(b"WA\x06\x03");
        this
    }

    pub fn mix_hash(&mut self, data: &[u8]) {
        self.h = hash::sha256(&[&self.h, data]);
    }

    pub fn mix_dh(&mut self, own: &KeyPair, other: &PublicKey) {
        let okm: [u8; 64] = kdf::hkdf_sha256(Some(&self.ck), own.agree(other).unwrap().expose(), b"");
        self.ck.copy_from_slice(&okm[..32]);
        self.key = Some(okm[32..].try_into().unwrap());
        self.n = 0;
    }

    fn nonce(&mut self) -> [u8; 12] {
        let mut nonce = [0; 12];
        nonce[8..].copy_from_slice(&self.n.to_be_bytes());
        self.n += 1;
        nonce
    }

    pub fn seal(&mut self, plain: &[u8]) -> Vec<u8> {
        let nonce = self.nonce();
        let mut out = plain.to_vec();
        let tag = Aes256Gcm::new(&self.key.unwrap()).seal(&nonce, &self.h, &mut out);
        out.extend_from_slice(&tag);
        self.mix_hash(&out);
        out
    }

    pub fn open(&mut self, sealed: &[u8]) -> Option<Vec<u8>> {
        let nonce = self.nonce();
        let mut out = sealed.to_vec();
        let len = Aes256Gcm::new(&self.key.unwrap()).open(&nonce, &self.h, &mut out).ok()?;
        out.truncate(len);
        self.mix_hash(sealed);
        Some(out)
    }

    /// Client→server key, server→client key.
    pub fn split(&self) -> ([u8; 32], [u8; 32]) {
        let okm: [u8; 64] = kdf::hkdf_sha256(Some(&self.ck), b"", b"");
        (okm[..32].try_into().unwrap(), okm[32..].try_into().unwrap())
    }
}

pub fn key(bytes: &[u8]) -> PublicKey {
    PublicKey::from_raw(bytes).unwrap()
}

/// A server with fixed keys and a fixed handshake payload.
#[derive(Clone)]
pub struct Server {
    pub ephemeral: KeyPair,
    pub static_key: KeyPair,
    pub payload: Vec<u8>,
}

/// What the server knows at the end.
#[derive(Debug, PartialEq, Eq)]
pub struct Finished {
    pub client_static: PublicKey,
    pub payload: Vec<u8>,
    pub to_server: [u8; 32],
    pub to_client: [u8; 32],
}

pub const XX: &str = "Noise_XX_25519_AESGCM_SHA256";
pub const XX_FALLBACK: &str = "Noise_XXfallback_25519_AESGCM_SHA256";
pub const IK: &str = "Noise_IK_25519_AESGCM_SHA256";

impl Server {
    pub fn new(payload: Vec<u8>) -> Self {
        Self { ephemeral: pair(0x33), static_key: pair(0x44), payload }
    }

    /// Answers a clientHello with the full handshake of this name.
    pub fn full(&self, name: &str, client_hello: &[u8]) -> (Vec<u8>, Pending) {
        let hello = HandshakeMessage::decode(client_hello).unwrap().client_hello.unwrap();
        let e = key(&hello.ephemeral.unwrap());
        let mut state = Symmetric::new(name);
        state.mix_hash(e.as_bytes());
        state.mix_hash(self.ephemeral.public.as_bytes());
        state.mix_dh(&self.ephemeral, &e);
        let sealed_static = state.seal(self.static_key.public.as_bytes());
        state.mix_dh(&self.static_key, &e);
        let payload = state.seal(&self.payload);
        let answer = server_hello(self.ephemeral.public.as_bytes(), Some(sealed_static), payload);
        (answer, Pending { state, ephemeral: self.ephemeral.clone() })
    }

    /// Reads an IK clientHello and accepts it.
    pub fn resume(&self, client_hello: &[u8]) -> Option<(Vec<u8>, Finished)> {
        let hello = HandshakeMessage::decode(client_hello).unwrap().client_hello.unwrap();
        let e = key(&hello.ephemeral.unwrap());
        let mut state = Symmetric::new(IK);
        state.mix_hash(self.static_key.public.as_bytes());
        state.mix_hash(e.as_bytes());
        state.mix_dh(&self.static_key, &e);
        let client_static = key(&state.open(&hello.r#static?)?);
        state.mix_dh(&self.static_key, &client_static);
        let payload = state.open(&hello.payload?)?;
        state.mix_hash(self.ephemeral.public.as_bytes());
        state.mix_dh(&self.ephemeral, &e);
        state.mix_dh(&self.ephemeral, &client_static);
        let sealed = state.seal(&self.payload);
        let (to_server, to_client) = state.split();
        let answer = server_hello(self.ephemeral.public.as_bytes(), None, sealed);
        Some((answer, Finished { client_static, payload, to_server, to_client }))
    }
}

pub fn server_hello(ephemeral: &[u8], sealed_static: Option<Vec<u8>>, payload: Vec<u8>) -> Vec<u8> {
    let hello = handshake_message::ServerHello {
        ephemeral: Some(ephemeral.to_vec().into()),
        r#static: sealed_static.map(Into::into),
        payload: Some(payload.into()),
        ..Default::default()
    };
    HandshakeMessage { server_hello: Some(hello), ..Default::default() }.encode_to_vec()
}

/// A full handshake that waits for clientFinish.
pub struct Pending {
    pub state: Symmetric,
    ephemeral: KeyPair,
}

impl Pending {
    pub fn finish(mut self, client_finish: &[u8]) -> Option<Finished> {
        let finish = HandshakeMessage::decode(client_finish).ok()?.client_finish?;
        let client_static = key(&self.state.open(&finish.r#static?)?);
        self.state.mix_dh(&self.ephemeral, &client_static);
        let payload = self.state.open(&finish.payload?)?;
        let (to_server, to_client) = self.state.split();
        Some(Finished { client_static, payload, to_server, to_client })
    }
}

/// A chain for the server key `44…`, root `99…`, valid from 1000 to 2000; change it, then [`Chain::build`].
#[derive(Clone)]
pub struct Chain {
    pub root: KeyPair,
    pub intermediate_signer: KeyPair,
    pub leaf_signer: KeyPair,
    pub intermediate: noise_certificate::Details,
    pub leaf: noise_certificate::Details,
}

impl Chain {
    pub fn good() -> Self {
        let details = |serial, issuer_serial, key: KeyPair| noise_certificate::Details {
            serial: Some(serial),
            issuer_serial: Some(issuer_serial),
            key: Some(key.public.as_bytes().to_vec().into()),
            not_before: Some(1000),
            not_after: Some(2000),
        };
        Self {
            root: pair(0x99),
            intermediate_signer: pair(0x99),
            leaf_signer: pair(0xaa),
            intermediate: details(7, 0, pair(0xaa)),
            leaf: details(8, 7, pair(0x44)),
        }
    }

    pub fn message(&self) -> CertChain {
        let sign = |details: &noise_certificate::Details, signer: &KeyPair| {
            let details = details.encode_to_vec();
            let signature = xeddsa::sign(&signer.private, &[&details], &[0x5a; 64]);
            Some(NoiseCertificate { details: Some(details.into()), signature: Some(signature.to_vec().into()) })
        };
        CertChain {
            leaf: sign(&self.leaf, &self.leaf_signer),
            intermediate: sign(&self.intermediate, &self.intermediate_signer),
        }
    }

    pub fn build(&self) -> Vec<u8> {
        self.message().encode_to_vec()
    }
}
