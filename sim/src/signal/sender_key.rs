//! Sender keys of groups (signal §6).

use amarula_core::crypto::cipher::{cbc_decrypt, cbc_encrypt};
use amarula_core::crypto::kdf::hkdf_sha256;
use amarula_core::crypto::{KeyPair, PublicKey, Rng, xeddsa};
use prost::Message as _;

use super::SignalError;
use super::chain::Chain;
use super::session::VERSION;
use crate::proto::{SenderKeyDistribution, SenderKeyMessage};

/// One chain of one sender in one group.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct SenderKeyState {
    id: u32,
    signing: PublicKey,
    own: Option<KeyPair>,
    chain: Chain,
}

/// What is known of one sender in one group: newest state first, at most 5.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct SenderKeys(Vec<SenderKeyState>);

fn keys(seed: &[u8; 32]) -> ([u8; 16], [u8; 32]) {
    let okm: [u8; 48] = hkdf_sha256(None, seed, b"WhisperGroup");
    let (mut iv, mut cipher) = ([0; 16], [0; 32]);
    iv.copy_from_slice(&okm[..16]);
    cipher.copy_from_slice(&okm[16..]);
    (iv, cipher)
}

impl SenderKeyState {
    /// An own key.
    pub fn generate(rng: &mut Rng) -> Self {
        let id = u32::from_be_bytes(rng.bytes()) >> 1;
        Self::with(id, rng.bytes(), KeyPair::generate(rng))
    }

    /// An own key of these parts.
    #[must_use]
    pub fn with(id: u32, chain_key: [u8; 32], pair: KeyPair) -> Self {
        Self { id, signing: pair.public, own: Some(pair), chain: Chain::new(chain_key, 0) }
    }

    /// Its distribution message, for the next iteration.
    #[must_use]
    pub fn distribution(&self) -> Vec<u8> {
        let mut out = vec![VERSION];
        out.extend(
            SenderKeyDistribution {
                id: Some(self.id),
                iteration: Some(self.chain.index()),
                chain_key: Some(self.chain.key().to_vec()),
                signing_key: Some(self.signing.typed().to_vec()),
            }
            .encode_to_vec(),
        );
        out
    }

    /// Encrypts and signs with 64 random bytes.
    ///
    /// # Errors
    /// This is somebody else's key.
    pub fn encrypt(&mut self, plaintext: &[u8], random: &[u8; 64]) -> Result<Vec<u8>, SignalError> {
        let own = self.own.as_ref().ok_or(SignalError::NoSenderKey)?;
        let (iteration, seed) = self.chain.next_seed();
        let (iv, cipher) = keys(&seed);
        let mut out = vec![VERSION];
        out.extend(
            SenderKeyMessage {
                id: Some(self.id),
                iteration: Some(iteration),
                ciphertext: Some(cbc_encrypt(&cipher, &iv, plaintext)),
            }
            .encode_to_vec(),
        );
        let signature = xeddsa::sign(&own.private, &[&out], random);
        out.extend_from_slice(&signature);
        Ok(out)
    }
}

impl SenderKeys {
    /// Takes in a distribution message; a known (id, signing key) is not rewound.
    ///
    /// # Errors
    /// Malformed.
    pub fn learn(&mut self, bytes: &[u8]) -> Result<(), SignalError> {
        let body = match bytes.split_first() {
            Some((&VERSION, body)) => body,
            Some((&version, _)) => return Err(SignalError::Version(version)),
            None => return Err(SignalError::Malformed("empty")),
        };
        let parsed = SenderKeyDistribution::decode(body).map_err(|_| SignalError::Malformed("SKDM"))?;
        let signing = PublicKey::from_typed(&parsed.signing_key.unwrap_or_default())
            .map_err(|_| SignalError::Malformed("signing key"))?;
        let chain_key = parsed.chain_key.unwrap_or_default();
        let chain_key = chain_key[..].try_into().map_err(|_| SignalError::Malformed("chain key"))?;
        let id = parsed.id.ok_or(SignalError::Malformed("no id"))?;
        let iteration = parsed.iteration.ok_or(SignalError::Malformed("no iteration"))?;
        if self.0.iter().any(|state| state.id == id && state.signing == signing) {
            return Ok(());
        }
        self.0.retain(|state| state.id != id);
        self.0.insert(0, SenderKeyState { id, signing, own: None, chain: Chain::new(chain_key, iteration) });
        self.0.truncate(5);
        Ok(())
    }

    /// Verifies and decrypts. On an error nothing has changed.
    ///
    /// # Errors
    /// [`SignalError`].
    pub fn decrypt(&mut self, bytes: &[u8]) -> Result<Vec<u8>, SignalError> {
        let parsed = GroupCipher::parse(bytes)?;
        let state = self.0.iter_mut().find(|state| state.id == parsed.id).ok_or(SignalError::NoSenderKey)?;
        if !xeddsa::verify(&state.signing, &[parsed.signed], parsed.signature) {
            return Err(SignalError::BadSignature);
        }
        let mut chain = state.chain.clone();
        let (iv, cipher) = keys(&chain.seed_of(parsed.iteration)?);
        let plaintext =
            cbc_decrypt(&cipher, &iv, &parsed.ciphertext).map_err(|_| SignalError::Malformed("AES padding"))?;
        state.chain = chain;
        Ok(plaintext)
    }
}

/// A parsed SenderKeyMessage.
#[derive(Clone, Debug)]
pub struct GroupCipher<'a> {
    /// Key id.
    pub id: u32,
    /// Iteration.
    pub iteration: u32,
    /// AES-CBC blocks.
    pub ciphertext: Vec<u8>,
    /// What the signature covers.
    pub signed: &'a [u8],
    /// The signature.
    pub signature: &'a [u8],
}

impl<'a> GroupCipher<'a> {
    /// Strict: version `33`, all three fields.
    ///
    /// # Errors
    /// [`SignalError::Version`], [`SignalError::Malformed`].
    pub fn parse(bytes: &'a [u8]) -> Result<Self, SignalError> {
        let len = bytes.len().checked_sub(64).filter(|len| *len > 1).ok_or(SignalError::Malformed("too short"))?;
        let (signed, signature) = bytes.split_at(len);
        if signed[0] != VERSION {
            return Err(SignalError::Version(signed[0]));
        }
        let message = SenderKeyMessage::decode(&signed[1..]).map_err(|_| SignalError::Malformed("SenderKeyMessage"))?;
        let ciphertext = message.ciphertext.ok_or(SignalError::Malformed("no ciphertext"))?;
        if ciphertext.is_empty() || ciphertext.len() % 16 != 0 {
            return Err(SignalError::Malformed("ciphertext is not whole blocks"));
        }
        Ok(Self {
            id: message.id.ok_or(SignalError::Malformed("no id"))?,
            iteration: message.iteration.ok_or(SignalError::Malformed("no iteration"))?,
            ciphertext,
            signed,
            signature,
        })
    }
}

#[cfg(test)]
mod tests {
    use amarula_core::crypto::{KeyPair, PrivateKey};

    use super::{SenderKeyState, SenderKeys};
    use crate::signal::SignalError;

    /// signal §9.
    #[test]
    fn vectors() {
        let pair = KeyPair::from_private(PrivateKey::from_bytes([0x66; 32]));
        let mut own = SenderKeyState::with(7, [0x77; 32], pair);
        let skdm = own.distribution();
        assert_eq!(
            hex::encode(&skdm),
            "33080710001a207777777777777777777777777777777777777777777777777777777777777777222105219e4d800da968d2a5fcb009c784f4746c7138edb9ee4844b739e830b05cf424"
        );
        let plain = hex::decode("0a0568656c6c6f030303").unwrap();
        let first = own.encrypt(&plain, &[0x5a; 64]).unwrap();
        assert_eq!(
            hex::encode(&first),
            "33080710001a10cd8e3fb346eb3489b0d2ae891165a8ac8a0a63985bd7f09f0a45a4788a1f0184bd459913414d28749d54e69b51a08b9f92f95e5abe7da0889f1b2e4a08998584223ba81898fa5adf714b76108605a580"
        );
        let mut theirs = SenderKeys::default();
        assert_eq!(theirs.decrypt(&first), Err(SignalError::NoSenderKey));
        theirs.learn(&skdm).unwrap();
        let mut damaged = first.clone();
        damaged[20] ^= 1;
        assert_eq!(theirs.decrypt(&damaged), Err(SignalError::BadSignature));
        assert_eq!(theirs.decrypt(&first).unwrap(), plain);
        theirs.learn(&skdm).unwrap();
        assert_eq!(theirs.decrypt(&first), Err(SignalError::Duplicate));
        let second = own.encrypt(&plain, &[1; 64]).unwrap();
        assert_eq!(theirs.decrypt(&second).unwrap(), plain);
    }
}
