//! The client's side of the handshake: XX, IK, and the fallback from IK to XX (`protocol/transport.md` §3.4–§3.6).

use alloc::vec;
use alloc::vec::Vec;
use core::fmt;

use bytes::Bytes;
use prost::Message as _;
use snow::HandshakeState;
use snow::params::NoiseParams;
use zeroize::Zeroize as _;

use super::error::{HandshakeError, HandshakeFailure};
use super::resolver::Resolver;
use super::schema::{HandshakeMessage, handshake_message};
use super::transport::{RecvCipher, SendCipher};
use crate::crypto::aead::TAG_LEN;
use crate::crypto::{KeyPair, PublicKey};
use crate::wire::cert::{self, CertChain, CertError, Trust};
use crate::wire::frame::INTRO;

/// A handshake pattern.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Pattern {
    /// Full handshake: the server proves its static key.
    Xx,
    /// Resumption with a server key known from an earlier, verified chain.
    Ik,
    /// Full handshake after the server refused IK.
    XxFallback,
}

impl Pattern {
    const fn name(self) -> &'static str {
        match self {
            Self::Xx => "Noise_XX_25519_AESGCM_SHA256",
            Self::Ik => "Noise_IK_25519_AESGCM_SHA256",
            Self::XxFallback => "Noise_XXfallback_25519_AESGCM_SHA256",
        }
    }
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Xx => "XX",
            Self::Ik => "IK",
            Self::XxFallback => "XXfallback",
        })
    }
}

/// Length of a public key on the wire.
const KEY_LEN: usize = 32;

/// Length of an encrypted public key.
const SEALED_KEY_LEN: usize = KEY_LEN + TAG_LEN;

/// Longest Noise message, keys and tags included.
const MAX_MESSAGE: usize = 65_535;

/// A handshake between [`ClientHandshake::hello`] and [`ClientHandshake::receive`]. Plain data: the Noise state is
/// rebuilt from it when the server's answer arrives.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct ClientHandshake {
    /// The server's static key, where it is known: then the pattern is IK.
    server_static: Option<PublicKey>,
    ephemeral: KeyPair,
    static_key: KeyPair,
    payload: Bytes,
}

/// What a handshake ends in.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Established {
    /// A `HandshakeMessage` (clientFinish) to send as one frame; none if IK was accepted.
    pub reply: Option<Vec<u8>>,
    /// For every frame after `reply`.
    pub send: SendCipher,
    /// For every frame after the serverHello.
    pub recv: RecvCipher,
    /// How it went.
    pub pattern: Pattern,
    /// The chain that was verified in this handshake, to be cached for IK; none if IK was accepted.
    pub chain: Option<CertChain>,
}

impl ClientHandshake {
    /// A full handshake. `ephemeral` is fresh for every attempt; `static_key` is the registration's noise key; `payload`
    /// a serialized `ClientPayload`, sent once the server has proved itself.
    #[must_use]
    pub fn xx(ephemeral: KeyPair, static_key: KeyPair, payload: impl Into<Bytes>) -> Self {
        Self { server_static: None, ephemeral, static_key, payload: payload.into() }
    }

    /// A resumption. `server_static` comes from a verified, unexpired chain ([`CertChain::server_static`]). `payload`
    /// goes out in the first flight, which somebody in the middle could replay: nothing but a `ClientPayload`.
    #[must_use]
    pub fn ik(ephemeral: KeyPair, static_key: KeyPair, server_static: PublicKey, payload: impl Into<Bytes>) -> Self {
        Self { server_static: Some(server_static), ephemeral, static_key, payload: payload.into() }
    }

    /// The pattern it begins with.
    #[must_use]
    pub const fn pattern(&self) -> Pattern {
        if self.server_static.is_some() { Pattern::Ik } else { Pattern::Xx }
    }

    /// The `HandshakeMessage` (clientHello) to send as the first frame. The same bytes every time.
    ///
    /// # Errors
    /// Only of our own making, and only with IK: [`HandshakeFailure::PayloadTooLong`], or
    /// [`HandshakeFailure::LowOrder`] for a `server_static` that is no key.
    pub fn hello(&self) -> Result<Vec<u8>, HandshakeError> {
        let hello = match self.server_static {
            None => handshake_message::ClientHello {
                ephemeral: Some(Bytes::copy_from_slice(self.ephemeral.public.as_bytes())),
                ..Default::default()
            },
            Some(server_static) => {
                let (_, message) = self.ik_state(&server_static).map_err(|failure| failure.during(Pattern::Ik))?;
                handshake_message::ClientHello {
                    ephemeral: Some(message.slice(..KEY_LEN)),
                    r#static: Some(message.slice(KEY_LEN..KEY_LEN + SEALED_KEY_LEN)),
                    payload: Some(message.slice(KEY_LEN + SEALED_KEY_LEN..)),
                    ..Default::default()
                }
            }
        };
        Ok(HandshakeMessage { client_hello: Some(hello), ..Default::default() }.encode_to_vec())
    }

    /// Takes the server's answer (the body of its first frame). `now` is Unix time in seconds, for the certificates,
    /// which are verified before our static key and payload are put into the reply. Frames that follow the answer belong
    /// to the transport phase, even if they came in the same WebSocket message.
    ///
    /// # Errors
    /// [`HandshakeError`]; the connection must be closed without another byte.
    pub fn receive(self, server_hello: &[u8], trust: &Trust, now: u64) -> Result<Established, HandshakeError> {
        self.receive_with(server_hello, |server_static, chain| cert::verify(chain, server_static, trust, now).map(Some))
    }

    /// [`Self::receive`] with any verifier. Not public: nothing outside tests may weaken the check.
    pub(super) fn receive_with(
        self,
        server_hello: &[u8],
        verify: impl FnOnce(&PublicKey, Bytes) -> Result<Option<CertChain>, CertError>,
    ) -> Result<Established, HandshakeError> {
        let begun = self.pattern();
        let hello = ServerHello::read(server_hello).map_err(|failure| failure.during(begun))?;
        match (self.server_static, hello.sealed_static) {
            (None, None) => Err(HandshakeFailure::Field("static").during(Pattern::Xx)),
            (None, Some(sealed)) => self.finish_xx(Pattern::Xx, &hello, &sealed, verify),
            (Some(_), Some(sealed)) => self.finish_xx(Pattern::XxFallback, &hello, &sealed, verify),
            (Some(server_static), None) => self.finish_ik(&server_static, &hello),
        }
    }

    fn finish_xx(
        &self,
        pattern: Pattern,
        hello: &ServerHello,
        sealed_static: &[u8; SEALED_KEY_LEN],
        verify: impl FnOnce(&PublicKey, Bytes) -> Result<Option<CertChain>, CertError>,
    ) -> Result<Established, HandshakeError> {
        let fail = |failure: HandshakeFailure| failure.during(pattern);
        let mut state = self.state(pattern, None).map_err(fail)?;
        write(&mut state, &[]).map_err(fail)?;
        let chain = read(&mut state, &[&hello.ephemeral, sealed_static, &hello.payload]).map_err(fail)?;
        let server_static = state.get_remote_static().and_then(|key| PublicKey::from_raw(key).ok());
        let server_static = server_static.ok_or(fail(HandshakeFailure::Field("static")))?;
        let chain = verify(&server_static, chain.into()).map_err(|error| fail(error.into()))?;

        let message = Bytes::from(write(&mut state, &self.payload).map_err(fail)?);
        let finish = handshake_message::ClientFinish {
            r#static: Some(message.slice(..SEALED_KEY_LEN)),
            payload: Some(message.slice(SEALED_KEY_LEN..)),
            ..Default::default()
        };
        let reply = HandshakeMessage { client_finish: Some(finish), ..Default::default() }.encode_to_vec();
        Ok(establish(state, pattern, Some(reply), chain))
    }

    fn finish_ik(&self, server_static: &PublicKey, hello: &ServerHello) -> Result<Established, HandshakeError> {
        let fail = |failure: HandshakeFailure| failure.during(Pattern::Ik);
        let (mut state, _) = self.ik_state(server_static).map_err(fail)?;
        // The plaintext is a chain again; we have verified one for this key already.
        read(&mut state, &[&hello.ephemeral, &hello.payload]).map_err(fail)?;
        Ok(establish(state, Pattern::Ik, None, None))
    }

    /// The IK state after message 1, and message 1.
    fn ik_state(&self, server_static: &PublicKey) -> Result<(HandshakeState, Bytes), HandshakeFailure> {
        let mut state = self.state(Pattern::Ik, Some(server_static))?;
        let message = write(&mut state, &self.payload)?;
        Ok((state, message.into()))
    }

    /// A state before message 1. XXfallback differs from XX in its name only: the client's ephemeral, there a
    /// "pre-message", is hashed just as message 1 of WhatsApp's XX is.
    fn state(&self, pattern: Pattern, server_static: Option<&PublicKey>) -> Result<HandshakeState, HandshakeFailure> {
        let parsed = if pattern == Pattern::XxFallback { Pattern::Xx } else { pattern };
        let mut params: NoiseParams = parsed.name().parse().map_err(failure)?;
        params.name = pattern.name().into();
        let mut builder = snow::Builder::with_resolver(params, alloc::boxed::Box::new(Resolver))
            .prologue(&INTRO)
            .map_err(failure)?
            .local_private_key(self.static_key.private.expose())
            .map_err(failure)?
            .fixed_ephemeral_key_for_testing_only(self.ephemeral.private.expose());
        if let Some(server_static) = server_static {
            builder = builder.remote_public_key(server_static.as_bytes()).map_err(failure)?;
        }
        builder.build_initiator().map_err(failure)
    }
}

/// Shows the pattern only.
impl fmt::Debug for ClientHandshake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClientHandshake").field("pattern", &self.pattern()).finish_non_exhaustive()
    }
}

impl fmt::Debug for Established {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Established")
            .field("pattern", &self.pattern)
            .field("reply", &self.reply.as_ref().map(Vec::len))
            .field("chain", &self.chain)
            .finish_non_exhaustive()
    }
}

/// A serverHello whose lengths are in order.
struct ServerHello {
    ephemeral: [u8; KEY_LEN],
    sealed_static: Option<[u8; SEALED_KEY_LEN]>,
    payload: Bytes,
}

impl ServerHello {
    fn read(bytes: &[u8]) -> Result<Self, HandshakeFailure> {
        let message = HandshakeMessage::decode(bytes).map_err(|_| HandshakeFailure::Malformed)?;
        let hello = message.server_hello.ok_or(HandshakeFailure::Malformed)?;
        let ephemeral = hello.ephemeral.as_deref().and_then(|key| key.try_into().ok());
        let sealed_static = hello.r#static.as_deref().map(TryInto::try_into).transpose();
        let longest = MAX_MESSAGE - KEY_LEN - SEALED_KEY_LEN;
        let payload = hello.payload.filter(|payload| (TAG_LEN..=longest).contains(&payload.len()));
        Ok(Self {
            ephemeral: ephemeral.ok_or(HandshakeFailure::Field("ephemeral"))?,
            sealed_static: sealed_static.map_err(|_| HandshakeFailure::Field("static"))?,
            payload: payload.ok_or(HandshakeFailure::Field("payload"))?,
        })
    }
}

/// Writes the next message.
fn write(state: &mut HandshakeState, payload: &[u8]) -> Result<Vec<u8>, HandshakeFailure> {
    let room = KEY_LEN + SEALED_KEY_LEN + payload.len() + TAG_LEN;
    if room > MAX_MESSAGE {
        return Err(HandshakeFailure::PayloadTooLong);
    }
    let mut message = vec![0; room];
    let len = state.write_message(payload, &mut message).map_err(failure)?;
    message.truncate(len);
    Ok(message)
}

/// Reads the next message, given in parts, and answers its payload.
fn read(state: &mut HandshakeState, parts: &[&[u8]]) -> Result<Vec<u8>, HandshakeFailure> {
    let message = parts.concat();
    let mut payload = vec![0; message.len()];
    let len = state.read_message(&message, &mut payload).map_err(failure)?;
    payload.truncate(len);
    Ok(payload)
}

fn establish(
    mut state: HandshakeState,
    pattern: Pattern,
    reply: Option<Vec<u8>>,
    chain: Option<CertChain>,
) -> Established {
    let (mut send, mut recv) = state.dangerously_get_raw_split();
    let established = Established { reply, send: SendCipher::new(&send), recv: RecvCipher::new(&recv), pattern, chain };
    send.zeroize();
    recv.zeroize();
    established
}

fn failure(error: snow::Error) -> HandshakeFailure {
    match error {
        snow::Error::Decrypt => HandshakeFailure::BadTag,
        snow::Error::Dh => HandshakeFailure::LowOrder,
        // The rest are mistakes of ours in driving the state machine; the tests go through every pattern.
        _ => HandshakeFailure::Malformed,
    }
}

impl HandshakeFailure {
    const fn during(self, pattern: Pattern) -> HandshakeError {
        HandshakeError { pattern, failure: self }
    }
}
