//! How a simulated server behaves.

/// Which Noise patterns the server takes (transport §3.5 to §3.7).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum IkPolicy {
    /// Accept an IK hello that opens.
    #[default]
    Accept,
    /// Refuse every IK hello: answer with an XXfallback.
    Refuse,
}

/// Whose habits are tolerated. What the strict profile objects to and this one does not is listed at
/// [`ClientProfile::Baileys`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ClientProfile {
    /// As the documents say to do it.
    #[default]
    Strict,
    /// Baileys 7.0.0-rc14. Tolerated; S = seen here with the strict profile, D = known from the documents only:
    /// 1. an empty `<presence/>`, or one with only `name`, after every creds update, also before pairing is through (S);
    /// 2. `from` on `chatstate`, `id` on `presence`, `t` on the `<tctoken>` of a presence (S), `from` on presence (D);
    /// 3. the nonce of `companion_hello` is the text `0` (S);
    /// 4. a phone's retry receipt is answered by sending to everybody again under the same id (S, messages §10.3), with a
    ///    second copy in `<participants>` in the resend to a companion (S);
    /// 5. no `phash` on group messages, and the sender key also goes to the sending device itself, with a device-identity
    ///    for a `pkmsg` that only that copy may be (S, interop §5);
    /// 6. `expiration` on group messages (D);
    /// 7. nack 487/500 after a retry receipt (S, messages §11.5); message acks echo `type`, lack other echoes, come twice (D,
    ///    transport §14.1);
    /// 8. `error="0"` in a retry receipt (S); `inactive` or no type, whatever the presence says, no `context=status` (D);
    /// 9. registration id 0 (D);
    /// 10. `previous_counter` −1 (D, signal §3);
    /// 11. a PN chat from a migrated account: Baileys addresses as its caller wrote (D, messages §4);
    /// 12. retries of undisturbed messages, since interop tests damage Baileys' own store (S).
    Baileys,
}

/// Configuration of a [`super::Server`]. Every field has a working default.
#[derive(Clone, Debug)]
pub struct ServerConfig {
    /// The only randomness there is.
    pub seed: [u8; 32],
    /// Noise patterns taken.
    pub ik: IkPolicy,
    /// Whose habits are tolerated on connections that do not say otherwise ([`super::Server::connect_as`]).
    pub profile: ClientProfile,
    /// Send frames compressed (flag 02).
    pub compress: bool,
    /// Oldest client revision (`tertiary`) that is not answered `<failure reason=405>`; 0 takes all.
    pub min_revision: u32,
    /// How many refs a pair-device carries.
    pub refs: usize,
    /// How many backlog stanzas are sent before the first `offline_batch` (transport §9 row 6).
    pub primer: usize,
    /// Whether the backlog stops after the primer until the client asks with `<offline_batch>`.
    pub needs_offline_batch: bool,
    /// After how many milliseconds an unanswered stanza is a violation.
    pub ack_deadline: u64,
    /// For so many milliseconds after the server told of a device, a client may still send without a copy for it. 0 is
    /// right where answers arrive at once; with latency between, a send and an answer can cross.
    pub fanout_grace: u64,
    /// Whether such a stanza also ends the stream with `<stream:error><ack/>` (transport §12.1).
    pub enforce_acks: bool,
    /// Every how many milliseconds the server pings an idle logged-in client; 0 never.
    pub ping_interval: u64,
    /// How long a ping may stay unanswered before the connection is dropped.
    pub ping_deadline: u64,
    /// Whether all 1:1 chats of new accounts are addressed by LID (`ClientPairingProps.isChatDbLidMigrated`).
    pub lid_migrated: bool,
    /// Remaining one-time prekeys at which the server asks for more (messages §1).
    pub low_prekeys: usize,
    /// Routing info to hand out after login (`<ib><edge_routing>`), if any.
    pub edge_routing: Option<Vec<u8>>,
    /// AB props handed out: (code, value).
    pub props: Vec<(u32, String)>,
    /// Keep a transcript of all stanzas.
    pub trace: bool,
}

impl Default for ServerConfig {
    fn default() -> Self {
        Self {
            seed: [0; 32],
            ik: IkPolicy::Accept,
            profile: ClientProfile::Strict,
            compress: false,
            min_revision: 0,
            refs: 6,
            primer: 5,
            needs_offline_batch: true,
            ack_deadline: 60_000,
            fanout_grace: 0,
            enforce_acks: false,
            ping_interval: 0,
            ping_deadline: 20_000,
            lid_migrated: false,
            low_prekeys: 5,
            edge_routing: None,
            props: Vec::new(),
            trace: false,
        }
    }
}
