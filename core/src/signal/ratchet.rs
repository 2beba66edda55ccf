//! The double ratchet on one session (`protocol/signal.md` §3): opening only looks, accepting changes.

use alloc::vec::Vec;

use zeroize::Zeroizing;

use super::chain::{Advance, Chain, KeySource, MessageKeys, Secret, Skipped};
use super::error::{ChainId, SignalError};
use super::limits::RECEIVER_CHAINS;
use super::message::SignalMessage;
use super::state::{ReceiverChain, SenderChain, SessionState};
use super::x3dh::split;
use crate::crypto::{KeyPair, PublicKey, SharedSecret, kdf};

/// `KDF_RK`: the next root key, and the chain key that branches off.
pub(super) fn root_step(root: &Secret, secret: &SharedSecret) -> (Secret, Secret) {
    split(&Zeroizing::new(kdf::hkdf_sha256::<64>(Some(&root.0), secret.expose(), b"WhisperRatchet")))
}

/// A message that one session can decrypt, and what becomes of the session then.
pub(super) struct Opened {
    pub(super) plaintext: Vec<u8>,
    change: Change,
}

/// What accepting a message does to the receiving side.
enum Change {
    /// It is on the receiver chain at this position.
    Known(usize, Advance),
    /// It is on a new chain: the Diffie-Hellman ratchet turns.
    Turn { ratchet_key: PublicKey, root: Secret, advance: Advance },
}

impl SessionState {
    /// Decrypts `message` without changing the session. The MAC is checked before the cipher is touched, and nothing
    /// of the message is believed before that.
    pub(super) fn open(&self, message: &SignalMessage<'_>, limit: u32) -> Result<Opened, SignalError> {
        let (keys, change) = self.find(message, limit)?;
        let keys = MessageKeys::of(&keys);
        if !message.verify(&keys, &self.remote_identity, &self.local_identity) {
            return Err(SignalError::BadMac);
        }
        Ok(Opened { plaintext: keys.decrypt(message.ciphertext)?, change })
    }

    fn find(&self, message: &SignalMessage<'_>, limit: u32) -> Result<(KeySource, Change), SignalError> {
        let ratchet_key = message.ratchet_key;
        let id = ChainId::Ratchet(ratchet_key);
        // The newest chain is last, and the likeliest.
        if let Some(position) = self.receivers.iter().rposition(|chain| chain.ratchet_key == ratchet_key) {
            let receiver = &self.receivers[position];
            let found = Chain::seek(receiver.chain.as_ref(), &receiver.skipped, message.counter, limit, id)?;
            return Ok((found.keys, Change::Known(position, found.advance)));
        }
        if message.counter > limit {
            // Known before the Diffie-Hellman, so it costs none.
            return Err(SignalError::FutureMessage { ahead: message.counter });
        }
        let sender = self.sender.as_ref().ok_or(SignalError::InvalidMessage)?;
        let (root, chain) = root_step(&self.root, &sender.pair.agree(&ratchet_key)?);
        let found = Chain::seek(Some(&Chain::start(chain)), &Skipped::default(), message.counter, limit, id)?;
        Ok((found.keys, Change::Turn { ratchet_key, root, advance: found.advance }))
    }

    /// Applies what [`Self::open`] found, and gives the plaintext. `fresh` makes the new ratchet key, if one is due.
    pub(super) fn accept(
        &mut self,
        opened: Opened,
        fresh: &mut dyn FnMut() -> KeyPair,
    ) -> Result<Vec<u8>, SignalError> {
        match opened.change {
            Change::Known(position, advance) => {
                if let Some(receiver) = self.receivers.get_mut(position) {
                    advance.apply(&mut receiver.chain, &mut receiver.skipped);
                }
            }
            Change::Turn { ratchet_key, root, advance } => {
                let pair = fresh();
                let (root, sending) = root_step(&root, &pair.agree(&ratchet_key)?);
                // Nothing fails from here on.
                let mut receiver = ReceiverChain { ratchet_key, chain: None, skipped: Skipped::default() };
                advance.apply(&mut receiver.chain, &mut receiver.skipped);
                while self.receivers.len() >= RECEIVER_CHAINS {
                    self.receivers.remove(0);
                }
                self.receivers.push(receiver);
                // The last number used on the old chain, 0 when there was none. Never −1: it breaks libsignal-node.
                let old = self.sender.as_ref().and_then(|sender| sender.chain.as_ref());
                self.previous_counter = old.map_or(0, |chain| chain.index.saturating_sub(1));
                self.root = root;
                self.sender = Some(SenderChain { pair, chain: Some(Chain::start(sending)) });
            }
        }
        self.pending = None;
        Ok(opened.plaintext)
    }

    /// Encrypts the next WhisperMessage and advances the sending chain.
    pub(super) fn seal(&mut self, plaintext: &[u8]) -> Result<Vec<u8>, SignalError> {
        let sender = self.sender.as_mut().ok_or(SignalError::CannotSend)?;
        let chain = sender.chain.as_mut().ok_or(SignalError::CannotSend)?;
        let next = chain.next()?;
        let message = SignalMessage::build(
            &MessageKeys::of_seed(&chain.seed()),
            &self.local_identity,
            &self.remote_identity,
            &sender.pair.public,
            [chain.index, self.previous_counter],
            plaintext,
        );
        *chain = next;
        Ok(message)
    }
}
