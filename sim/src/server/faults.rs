//! What a test can make the server (or the phone behind it) do wrong, or do as the real one does on a bad day.
//!
//! Counters count from 1 and are armed for the n-th event from now on; each is used once.

use std::collections::BTreeMap;

use amarula_core::wire::Node;

use crate::certs::CertFault;

/// What goes wrong with the next pairing (pairing §9 "Negative cases").
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum PairingFault {
    /// The HMAC is made with another secret.
    WrongHmac,
    /// Outer account type HOSTED (and so the HMAC prefix), signed inner device type E2EE: valid.
    HostedOuter,
    /// Both HOSTED: valid.
    HostedBoth,
    /// The account signature does not verify.
    BadAccountSignature,
    /// `keyIndex` is missing in the details.
    NoKeyIndex,
    /// There is no `<device-identity>`.
    NoDeviceIdentity,
    /// `<device>` has no `lid`.
    NoLid,
    /// pair-success is sent twice.
    SuccessTwice,
    /// The connection stays open without 515.
    No515,
    /// The connection is closed without 515.
    CloseWithout515,
    /// The socket closes as soon as the pair-success is sent: whatever is answered is lost.
    CloseBeforeAnswer,
    /// The first login is refused with 401.
    FirstLogin401,
}

/// What goes wrong with the next phone-code pairing (pairing §9).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum CodeFault {
    /// companion_hello is answered with this IQ error.
    HelloError(u16),
    /// companion_hello is not answered.
    HelloSilent,
    /// primary_hello names another ref.
    WrongRef,
    /// primary_hello comes with a wrapped key of 79 bytes.
    ShortWrap,
    /// primary_hello comes this many times before the right one, with keys that cannot be right.
    Repeated(u8),
    /// companion_finish is answered with an IQ error.
    FinishError(u16),
    /// companion_finish is not answered.
    FinishSilent,
    /// companion_finish is answered, but no pair-success follows.
    NoSuccess,
}

/// What goes wrong with one delivery to a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum DeliveryFault {
    /// One bit of the first ciphertext is flipped.
    Damage,
    /// The stanza is lost on this connection (it stays queued and comes again after a reconnect).
    Lose,
    /// The stanza comes twice.
    Duplicate,
    /// The stanza comes after the next one.
    Delay,
}

/// What goes wrong with the answer to one message of a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum AckFault {
    /// The message is delivered, but no ack is sent.
    Drop,
    /// The message is refused with this code and not delivered.
    Error(u16),
    /// The message and its ack are both lost, as if the frame had not arrived.
    LoseMessage,
    /// The ack says `refresh_lid="true"`.
    RefreshLid,
    /// The ack's phash is another one.
    WrongPhash,
}

/// Armed faults of a server. See [`super::Server::faults`].
#[derive(Clone, Debug, Default)]
pub struct Faults {
    /// The certificate chain of the next handshakes is bad in this way.
    pub certificate: Option<CertFault>,
    /// Damage the serverHello (a tag that does not verify) of the next handshake.
    pub damage_hello: bool,
    /// Answer the next handshake with silence.
    pub silent_handshake: bool,
    /// Next pairing.
    pub pairing: Option<PairingFault>,
    /// Next phone-code pairing.
    pub code: Option<CodeFault>,
    /// The next login is answered `<failure reason=…>` with these attributes.
    pub login_failure: Option<(u16, Vec<(String, String)>)>,
    /// The next login is answered with this stream error code.
    pub login_stream_error: Option<u16>,
    /// Do not answer IQs of these namespaces.
    pub silent_iqs: Vec<String>,
    /// Answer the next IQ of a namespace with this error code and backoff seconds.
    pub iq_errors: BTreeMap<String, (u16, Option<u32>)>,
    /// Answer the next IQ of a namespace with a result that holds exactly these children.
    pub iq_results: BTreeMap<String, Vec<Node>>,
    /// Client pings stay unanswered.
    pub ignore_pings: bool,
    pub(crate) deliveries: u64,
    pub(crate) messages: u64,
    pub(crate) on_delivery: BTreeMap<u64, DeliveryFault>,
    pub(crate) on_message: BTreeMap<u64, AckFault>,
    pub(crate) first_login_401: bool,
}

impl Faults {
    /// Arms `fault` for the `n`-th delivery of a `<message>` to a client from now on (1 is the next).
    pub fn on_delivery(&mut self, n: u64, fault: DeliveryFault) {
        self.on_delivery.insert(self.deliveries + n, fault);
    }

    /// Arms `fault` for the `n`-th `<message>` of a client from now on (1 is the next).
    pub fn on_message(&mut self, n: u64, fault: AckFault) {
        self.on_message.insert(self.messages + n, fault);
    }

    /// Nothing more goes wrong with deliveries and messages.
    pub fn disarm(&mut self) {
        self.on_delivery.clear();
        self.on_message.clear();
    }

    pub(crate) fn next_delivery(&mut self) -> Option<DeliveryFault> {
        self.deliveries += 1;
        self.on_delivery.remove(&self.deliveries)
    }

    pub(crate) fn next_message(&mut self) -> Option<AckFault> {
        self.messages += 1;
        self.on_message.remove(&self.messages)
    }
}
