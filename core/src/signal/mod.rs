//! The Signal protocol as WhatsApp Web speaks it: message version 3, X3DH, double ratchet, sender keys.
//!
//! Pure and synchronous; knows nothing of the engine, of addresses or of storage. Functions take a record (a
//! [`SessionRecord`] per remote device, a [`SenderKeyRecord`] per group and sender) and keys, and give back bytes.
//! **Every error leaves the record exactly as it was**: what is received is tried against a shared reference first
//! and applied only when its MAC (or signature) and padding are right.
//!
//! Protocol facts: `protocol/signal.md`. All of it is checked against vectors made with `libsignal-node`, and against
//! the official library in `testvectors/oracle`.
//!
//! ```
//! use amarula_core::crypto::{KeyPair, Rng};
//! use amarula_core::signal::{self, *};
//!
//! let mut rng = Rng::from_seed([1; 32]);
//! let (alice, bob) = (KeyPair::generate(&mut rng), KeyPair::generate(&mut rng));
//! let alice = LocalIdentity { keys: &alice, registration_id: 11 };
//! let bob = LocalIdentity { keys: &bob, registration_id: 22 };
//!
//! // Bob publishes prekeys; Alice fetches them as a bundle and starts.
//! let signed = SignedPreKeyRecord::generate(1, bob.keys, 0, &mut rng);
//! let one_time = PreKeyRecord::generate(1, &mut rng);
//! let bundle = PreKeyBundle::of(&bob, &signed, Some(&one_time));
//! let mut to_bob = SessionRecord::new();
//! signal::initiate(&alice, &bundle, &mut to_bob, &mut rng)?;
//! let sent = signal::encrypt(&mut to_bob, b"hello")?;
//! assert_eq!(sent.kind, CiphertextKind::PreKey);
//!
//! // Bob asks which prekeys the message needs, loads them, decrypts.
//! let mut to_alice = SessionRecord::new();
//! let message = PreKeyMessage::parse(&sent.bytes)?;
//! let needed = signal::prekeys_needed(&to_alice, &message);
//! assert_eq!((needed.signed, needed.one_time), (Some(1), Some(1)));
//! let prekeys = LocalPreKeys { signed: &[signed], one_time: &[one_time] };
//! let got = signal::decrypt_prekey(&mut to_alice, &bob, &message, &prekeys, &mut rng, Forward::Peer)?;
//! assert_eq!(got.plaintext, b"hello");
//! assert_eq!(got.used_prekey, Some(1)); // delete it in the commit that stores `to_alice`
//! # Ok::<(), SignalError>(())
//! ```

mod chain;
mod error;
pub mod limits;
mod message;
mod prekey;
mod prekey_ids;
mod proto;
mod ratchet;
#[cfg(test)]
mod ratchet_tests;
mod record;
mod sender_key;
mod sender_message;
mod session;
mod state;
#[cfg(test)]
mod vectors;
mod x3dh;

pub use error::{ChainId, FailureResponse, MessageClass, PreKeyKind, RetryReason, SignalError};
pub use limits::Forward;
pub use message::{Ciphertext, CiphertextKind, PreKeyMessage, SignalMessage};
pub use prekey::{LocalPreKeys, OneTimePreKey, PreKeyBundle, PreKeyRecord, SignedPreKey, SignedPreKeyRecord};
pub use prekey_ids::{PreKeyIds, UploadRange};
pub use record::SessionRecord;
pub use sender_key::{Distributed, SenderKeyRecord};
pub use sender_message::{Distribution, SenderKeyMessage};
pub use session::{
    Decrypted, LocalIdentity, NeededPreKeys, SessionUsed, decrypt, decrypt_prekey, encrypt, initiate, prekeys_needed,
};
