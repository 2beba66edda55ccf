//! The few protobuf messages the simulator reads and writes, declared here by field number from the documents and not
//! taken from the client: a wrong number on one side must not be invisible on the other.
//!
//! Nested `Message`s are declared as bytes, so that what is unknown here passes through unchanged.

use prost::{Enumeration, Message};

/// `HandshakeMessage` (transport §3.3).
#[derive(Clone, PartialEq, Message)]
pub struct HandshakeMessage {
    #[prost(message, optional, tag = "2")]
    pub client_hello: Option<ClientHello>,
    #[prost(message, optional, tag = "3")]
    pub server_hello: Option<ServerHello>,
    #[prost(message, optional, tag = "4")]
    pub client_finish: Option<ClientFinish>,
}

/// Message 1 of every pattern.
#[derive(Clone, PartialEq, Message)]
pub struct ClientHello {
    #[prost(bytes = "vec", optional, tag = "1")]
    pub ephemeral: Option<Vec<u8>>,
    #[prost(bytes = "vec", optional, tag = "2")]
    pub static_key: Option<Vec<u8>>,
    #[prost(bytes = "vec", optional, tag = "3")]
    pub payload: Option<Vec<u8>>,
}

/// Message 2.
#[derive(Clone, PartialEq, Message)]
pub struct ServerHello {
    #[prost(bytes = "vec", optional, tag = "1")]
    pub ephemeral: Option<Vec<u8>>,
    #[prost(bytes = "vec", optional, tag = "2")]
    pub static_key: Option<Vec<u8>>,
    #[prost(bytes = "vec", optional, tag = "3")]
    pub payload: Option<Vec<u8>>,
}

/// Message 3 of XX and XXfallback.
#[derive(Clone, PartialEq, Message)]
pub struct ClientFinish {
    #[prost(bytes = "vec", optional, tag = "1")]
    pub static_key: Option<Vec<u8>>,
    #[prost(bytes = "vec", optional, tag = "2")]
    pub payload: Option<Vec<u8>>,
}

/// `CertChain` (transport §4).
#[derive(Clone, PartialEq, Message)]
pub struct CertChain {
    #[prost(message, optional, tag = "1")]
    pub leaf: Option<NoiseCertificate>,
    #[prost(message, optional, tag = "2")]
    pub intermediate: Option<NoiseCertificate>,
}

/// One signed certificate.
#[derive(Clone, PartialEq, Message)]
pub struct NoiseCertificate {
    #[prost(bytes = "vec", optional, tag = "1")]
    pub details: Option<Vec<u8>>,
    #[prost(bytes = "vec", optional, tag = "2")]
    pub signature: Option<Vec<u8>>,
}

/// What a certificate's signature covers. `issuer_serial` is written even when 0 (Baileys needs it).
#[derive(Clone, PartialEq, Message)]
pub struct CertDetails {
    #[prost(uint32, optional, tag = "1")]
    pub serial: Option<u32>,
    #[prost(uint32, optional, tag = "2")]
    pub issuer_serial: Option<u32>,
    #[prost(bytes = "vec", optional, tag = "3")]
    pub key: Option<Vec<u8>>,
    #[prost(uint64, optional, tag = "4")]
    pub not_before: Option<u64>,
    #[prost(uint64, optional, tag = "5")]
    pub not_after: Option<u64>,
}

/// `ClientPayload` (transport §5), the fields a companion uses.
#[derive(Clone, PartialEq, Message)]
pub struct ClientPayload {
    #[prost(uint64, optional, tag = "1")]
    pub username: Option<u64>,
    #[prost(bool, optional, tag = "3")]
    pub passive: Option<bool>,
    #[prost(message, optional, tag = "5")]
    pub user_agent: Option<UserAgent>,
    #[prost(message, optional, tag = "6")]
    pub web_info: Option<WebInfo>,
    #[prost(string, optional, tag = "7")]
    pub push_name: Option<String>,
    #[prost(int32, optional, tag = "12")]
    pub connect_type: Option<i32>,
    #[prost(int32, optional, tag = "13")]
    pub connect_reason: Option<i32>,
    #[prost(uint32, optional, tag = "18")]
    pub device: Option<u32>,
    #[prost(message, optional, tag = "19")]
    pub pairing: Option<DevicePairingData>,
    #[prost(int32, optional, tag = "24")]
    pub lc: Option<i32>,
    #[prost(bool, optional, tag = "33")]
    pub pull: Option<bool>,
    #[prost(bool, optional, tag = "41")]
    pub lid_db_migrated: Option<bool>,
}

/// `ClientPayload.UserAgent`.
#[derive(Clone, PartialEq, Message)]
pub struct UserAgent {
    #[prost(int32, optional, tag = "1")]
    pub platform: Option<i32>,
    #[prost(message, optional, tag = "2")]
    pub app_version: Option<AppVersion>,
    #[prost(string, optional, tag = "3")]
    pub mcc: Option<String>,
    #[prost(string, optional, tag = "4")]
    pub mnc: Option<String>,
    #[prost(string, optional, tag = "5")]
    pub os_version: Option<String>,
    #[prost(string, optional, tag = "7")]
    pub device: Option<String>,
    #[prost(string, optional, tag = "9")]
    pub phone_id: Option<String>,
    #[prost(int32, optional, tag = "10")]
    pub release_channel: Option<i32>,
    #[prost(string, optional, tag = "11")]
    pub language: Option<String>,
    #[prost(string, optional, tag = "12")]
    pub country: Option<String>,
}

/// A dotted version.
#[derive(Clone, Copy, PartialEq, Message)]
pub struct AppVersion {
    #[prost(uint32, optional, tag = "1")]
    pub primary: Option<u32>,
    #[prost(uint32, optional, tag = "2")]
    pub secondary: Option<u32>,
    #[prost(uint32, optional, tag = "3")]
    pub tertiary: Option<u32>,
}

/// `ClientPayload.WebInfo`.
#[derive(Clone, Copy, PartialEq, Message)]
pub struct WebInfo {
    #[prost(int32, optional, tag = "4")]
    pub sub_platform: Option<i32>,
}

/// `ClientPayload.DevicePairingRegistrationData` (transport §5.3).
#[derive(Clone, PartialEq, Message)]
pub struct DevicePairingData {
    #[prost(bytes = "vec", optional, tag = "1")]
    pub e_regid: Option<Vec<u8>>,
    #[prost(bytes = "vec", optional, tag = "2")]
    pub e_keytype: Option<Vec<u8>>,
    #[prost(bytes = "vec", optional, tag = "3")]
    pub e_ident: Option<Vec<u8>>,
    #[prost(bytes = "vec", optional, tag = "4")]
    pub e_skey_id: Option<Vec<u8>>,
    #[prost(bytes = "vec", optional, tag = "5")]
    pub e_skey_val: Option<Vec<u8>>,
    #[prost(bytes = "vec", optional, tag = "6")]
    pub e_skey_sig: Option<Vec<u8>>,
    #[prost(bytes = "vec", optional, tag = "7")]
    pub build_hash: Option<Vec<u8>>,
    #[prost(bytes = "vec", optional, tag = "8")]
    pub device_props: Option<Vec<u8>>,
}

/// `DeviceProps`.
#[derive(Clone, PartialEq, Message)]
pub struct DeviceProps {
    #[prost(string, optional, tag = "1")]
    pub os: Option<String>,
    #[prost(message, optional, tag = "2")]
    pub version: Option<AppVersion>,
    #[prost(int32, optional, tag = "3")]
    pub platform_type: Option<i32>,
    #[prost(bool, optional, tag = "4")]
    pub require_full_sync: Option<bool>,
}

/// `ADVEncryptionType` (pairing §3.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Enumeration)]
#[repr(i32)]
pub enum AdvType {
    /// The account and its devices encrypt end to end.
    E2ee = 0,
    /// Cloud-hosted.
    Hosted = 1,
}

/// `ADVSignedDeviceIdentityHMAC`.
#[derive(Clone, PartialEq, Message)]
pub struct AdvHmac {
    #[prost(bytes = "vec", optional, tag = "1")]
    pub details: Option<Vec<u8>>,
    #[prost(bytes = "vec", optional, tag = "2")]
    pub hmac: Option<Vec<u8>>,
    #[prost(enumeration = "AdvType", optional, tag = "3")]
    pub account_type: Option<i32>,
}

/// `ADVSignedDeviceIdentity`.
#[derive(Clone, PartialEq, Eq, Hash, Message)]
pub struct AdvSignedIdentity {
    #[prost(bytes = "vec", optional, tag = "1")]
    pub details: Option<Vec<u8>>,
    #[prost(bytes = "vec", optional, tag = "2")]
    pub account_signature_key: Option<Vec<u8>>,
    #[prost(bytes = "vec", optional, tag = "3")]
    pub account_signature: Option<Vec<u8>>,
    #[prost(bytes = "vec", optional, tag = "4")]
    pub device_signature: Option<Vec<u8>>,
}

/// `ADVDeviceIdentity`.
#[derive(Clone, Copy, PartialEq, Message)]
pub struct AdvDeviceIdentity {
    #[prost(uint32, optional, tag = "1")]
    pub raw_id: Option<u32>,
    #[prost(uint64, optional, tag = "2")]
    pub timestamp: Option<u64>,
    #[prost(uint32, optional, tag = "3")]
    pub key_index: Option<u32>,
    #[prost(enumeration = "AdvType", optional, tag = "4")]
    pub account_type: Option<i32>,
    #[prost(enumeration = "AdvType", optional, tag = "5")]
    pub device_type: Option<i32>,
}

/// `ADVKeyIndexList` (pairing §11).
#[derive(Clone, PartialEq, Message)]
pub struct AdvKeyIndexList {
    #[prost(uint32, optional, tag = "1")]
    pub raw_id: Option<u32>,
    #[prost(uint64, optional, tag = "2")]
    pub timestamp: Option<u64>,
    #[prost(uint32, optional, tag = "3")]
    pub current_index: Option<u32>,
    #[prost(uint32, repeated, tag = "4")]
    pub valid_indexes: Vec<u32>,
    #[prost(enumeration = "AdvType", optional, tag = "5")]
    pub account_type: Option<i32>,
}

/// `ADVSignedKeyIndexList`.
#[derive(Clone, PartialEq, Message)]
pub struct AdvSignedKeyIndexList {
    #[prost(bytes = "vec", optional, tag = "1")]
    pub details: Option<Vec<u8>>,
    #[prost(bytes = "vec", optional, tag = "2")]
    pub account_signature: Option<Vec<u8>>,
    #[prost(bytes = "vec", optional, tag = "3")]
    pub account_signature_key: Option<Vec<u8>>,
}

/// `ClientPairingProps` (pairing §3.6).
#[derive(Clone, Copy, PartialEq, Message)]
pub struct ClientPairingProps {
    #[prost(bool, optional, tag = "1")]
    pub is_chat_db_lid_migrated: Option<bool>,
    #[prost(bool, optional, tag = "2")]
    pub is_syncd_pure_lid_session: Option<bool>,
}

/// `WhisperMessage` (signal §3.1).
#[derive(Clone, PartialEq, Message)]
pub struct WhisperMessage {
    #[prost(bytes = "vec", optional, tag = "1")]
    pub ratchet_key: Option<Vec<u8>>,
    #[prost(uint32, optional, tag = "2")]
    pub counter: Option<u32>,
    #[prost(uint32, optional, tag = "3")]
    pub previous_counter: Option<u32>,
    #[prost(bytes = "vec", optional, tag = "4")]
    pub ciphertext: Option<Vec<u8>>,
}

/// `PreKeyWhisperMessage` (signal §3.2).
#[derive(Clone, PartialEq, Message)]
pub struct PreKeyWhisperMessage {
    #[prost(uint32, optional, tag = "1")]
    pub pre_key_id: Option<u32>,
    #[prost(bytes = "vec", optional, tag = "2")]
    pub base_key: Option<Vec<u8>>,
    #[prost(bytes = "vec", optional, tag = "3")]
    pub identity_key: Option<Vec<u8>>,
    #[prost(bytes = "vec", optional, tag = "4")]
    pub message: Option<Vec<u8>>,
    #[prost(uint32, optional, tag = "5")]
    pub registration_id: Option<u32>,
    #[prost(uint32, optional, tag = "6")]
    pub signed_pre_key_id: Option<u32>,
}

/// `SenderKeyDistributionMessage` (signal §6).
#[derive(Clone, PartialEq, Message)]
pub struct SenderKeyDistribution {
    #[prost(uint32, optional, tag = "1")]
    pub id: Option<u32>,
    #[prost(uint32, optional, tag = "2")]
    pub iteration: Option<u32>,
    #[prost(bytes = "vec", optional, tag = "3")]
    pub chain_key: Option<Vec<u8>>,
    #[prost(bytes = "vec", optional, tag = "4")]
    pub signing_key: Option<Vec<u8>>,
}

/// `SenderKeyMessage` (signal §6).
#[derive(Clone, PartialEq, Message)]
pub struct SenderKeyMessage {
    #[prost(uint32, optional, tag = "1")]
    pub id: Option<u32>,
    #[prost(uint32, optional, tag = "2")]
    pub iteration: Option<u32>,
    #[prost(bytes = "vec", optional, tag = "3")]
    pub ciphertext: Option<Vec<u8>>,
}

/// The parts of `Message` that a phone without a screen looks at.
#[derive(Clone, PartialEq, Message)]
pub struct ChatMessage {
    #[prost(string, optional, tag = "1")]
    pub conversation: Option<String>,
    #[prost(message, optional, tag = "2")]
    pub sender_key_distribution: Option<ChatSenderKey>,
    #[prost(message, optional, tag = "6")]
    pub extended_text: Option<ChatExtendedText>,
    #[prost(bytes = "vec", optional, tag = "12")]
    pub protocol: Option<Vec<u8>>,
    #[prost(message, optional, tag = "31")]
    pub device_sent: Option<ChatDeviceSent>,
    #[prost(bytes = "vec", optional, tag = "35")]
    pub context_info: Option<Vec<u8>>,
}

/// `Message.SenderKeyDistributionMessage`.
#[derive(Clone, PartialEq, Message)]
pub struct ChatSenderKey {
    #[prost(string, optional, tag = "1")]
    pub group_id: Option<String>,
    #[prost(bytes = "vec", optional, tag = "2")]
    pub axolotl: Option<Vec<u8>>,
}

/// `Message.ExtendedTextMessage`.
#[derive(Clone, PartialEq, Message)]
pub struct ChatExtendedText {
    #[prost(string, optional, tag = "1")]
    pub text: Option<String>,
}

/// `Message.DeviceSentMessage`.
#[derive(Clone, PartialEq, Message)]
pub struct ChatDeviceSent {
    #[prost(string, optional, tag = "1")]
    pub destination_jid: Option<String>,
    #[prost(bytes = "vec", optional, tag = "2")]
    pub message: Option<Vec<u8>>,
    #[prost(string, optional, tag = "3")]
    pub phash: Option<String>,
}

/// The text of an encoded `Message`, if it is a plain or extended text.
#[must_use]
pub fn text_of(message: &[u8]) -> Option<String> {
    let message = ChatMessage::decode(message).ok()?;
    message.conversation.or_else(|| message.extended_text.and_then(|extended| extended.text))
}

/// An encoded `Message` that holds `text` as its conversation.
#[must_use]
pub fn text_message(text: &str) -> Vec<u8> {
    ChatMessage { conversation: Some(text.to_owned()), ..ChatMessage::default() }.encode_to_vec()
}
