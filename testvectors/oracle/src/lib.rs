//! The two implementations behind one face, for the differential tests in `tests/`.
//!
//! What the official library cannot be asked: it refuses to *start* sessions of message version 3 (X3DH) in either
//! role, and its SenderKeyMessage has another layout than WhatsApp's. So sessions are started by ours and handed over
//! through the record format, and sender-key messages are compared by their parts and re-framed.

use std::time::SystemTime;

use futures_util::FutureExt as _;
pub use libsignal_protocol as official;
use official::{
    CiphertextMessage, DeviceId, IdentityKey, IdentityKeyPair, InMemSignalProtocolStore, PrivateKey, ProtocolAddress,
    PublicKey, SessionStore as _,
};
use rand::SeedableRng as _;
use rand::rngs::StdRng;

/// The official library with one session, taken from and given back in its storage form.
pub struct Official {
    pub store: InMemSignalProtocolStore,
    pub peer: ProtocolAddress,
    pub rng: StdRng,
}

impl Official {
    pub fn new(identity_private: &[u8; 32], registration_id: u32, seed: u64) -> Self {
        let private = PrivateKey::deserialize(identity_private).unwrap();
        let public: PublicKey = private.public_key().unwrap();
        let pair = IdentityKeyPair::new(IdentityKey::new(public), private);
        let store = InMemSignalProtocolStore::new(pair, registration_id).unwrap();
        let peer = ProtocolAddress::new("peer".into(), DeviceId::new(1).unwrap());
        Self { store, peer, rng: StdRng::seed_from_u64(seed) }
    }

    pub fn load(&mut self, record: &[u8]) {
        let record = official::SessionRecord::deserialize(record).unwrap();
        self.store.store_session(&self.peer, &record).now_or_never().unwrap().unwrap();
    }

    pub fn record(&self) -> Vec<u8> {
        let record = self.store.load_session(&self.peer).now_or_never().unwrap().unwrap().unwrap();
        record.serialize().unwrap()
    }

    pub fn encrypt(&mut self, plaintext: &[u8]) -> CiphertextMessage {
        let (sessions, identities) = (&mut self.store.session_store, &mut self.store.identity_store);
        official::message_encrypt(plaintext, &self.peer, sessions, identities, SystemTime::now(), &mut self.rng)
            .now_or_never()
            .unwrap()
            .unwrap()
    }

    pub fn decrypt(&mut self, message: &[u8]) -> Result<Vec<u8>, official::SignalProtocolError> {
        let message = official::SignalMessage::try_from(message)?;
        let (sessions, identities) = (&mut self.store.session_store, &mut self.store.identity_store);
        official::message_decrypt_signal(&message, &self.peer, sessions, identities, &mut self.rng)
            .now_or_never()
            .unwrap()
    }
}
