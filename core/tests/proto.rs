//! Encoding and decoding of protobuf messages, against bytes that other clients make.

use std::collections::BTreeMap;

use amarula_core::proto::{Message as _, wa};
use bytes::Bytes;

fn hex(text: &str) -> Bytes {
    let digits: Vec<u8> = text.bytes().filter(|b| !b.is_ascii_whitespace()).collect();
    let byte = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).expect("ASCII"), 16).expect("hexadecimal");
    digits.chunks(2).map(byte).collect()
}

/// Decodes, encodes, compares.
fn same_again<M: prost::Message + Default>(bytes: &Bytes) -> M {
    let message = M::decode(bytes.clone()).expect("decodes");
    assert_eq!(message.encode_to_vec(), *bytes);
    message
}

#[test]
fn text() {
    let message: wa::Message = same_again(&hex("0a0568656c6c6f"));
    assert_eq!(message, wa::Message { conversation: Some("hello".into()), ..Default::default() });
}

#[test]
fn a_reply_with_mentions_and_a_secret() {
    let quoted = wa::Message { conversation: Some("a question".into()), ..Default::default() };
    let context = wa::ContextInfo {
        stanza_id: Some("3EB0".into()),
        participant: Some("1234@lid".into()),
        quoted_message: Some(Box::new(quoted)),
        mentioned_jid: vec!["1@lid".into(), "2@lid".into()],
        expiration: Some(0),
        ..Default::default()
    };
    let reply = wa::message::ExtendedTextMessage {
        text: Some("an answer, @1 @2".into()),
        context_info: Some(Box::new(context)),
        preview_type: Some(wa::message::extended_text_message::PreviewType::Video as i32),
        ..Default::default()
    };
    let message = wa::Message {
        extended_text_message: Some(Box::new(reply)),
        message_context_info: Some(Box::new(wa::MessageContextInfo {
            message_secret: Some(Bytes::from_static(&[7; 32])),
            ..Default::default()
        })),
        ..Default::default()
    };
    let bytes = Bytes::from(message.encode_to_vec());
    assert_eq!(same_again::<wa::Message>(&bytes), message);
}

#[test]
fn payloads_are_not_copied() {
    let thumbnail = Bytes::from(vec![9; 5000]);
    let image = wa::message::ImageMessage { jpeg_thumbnail: Some(thumbnail), ..Default::default() };
    let message = wa::Message { image_message: Some(Box::new(image)), ..Default::default() };
    let bytes = Bytes::from(message.encode_to_vec());
    let decoded = wa::Message::decode(bytes.clone()).expect("decodes");
    let thumbnail = decoded.image_message.and_then(|image| image.jpeg_thumbnail).expect("a thumbnail");
    assert!(bytes.as_ptr_range().contains(&thumbnail.as_ptr()));
}

#[test]
fn unknown_fields_are_skipped_and_unknown_values_kept() {
    // Field 2047 of Message, then field 1.
    let message = wa::Message::decode(hex("fa7f03616263 0a0568656c6c6f")).expect("decodes");
    assert_eq!(message.conversation.as_deref(), Some("hello"));
    // ProtocolMessage.type = 99
    let control = wa::message::ProtocolMessage::decode(hex("1063")).expect("decodes");
    assert_eq!(control.r#type, Some(99));
    assert!(wa::message::protocol_message::Type::try_from(99).is_err());
}

#[test]
fn nesting_without_end_is_refused() {
    // Message.ephemeral_message.message.ephemeral_message. …
    let mut bytes = Vec::new();
    for _ in 0..200 {
        let mut outer = Vec::new();
        for tag in [1, 40] {
            prost::encoding::encode_key(tag, prost::encoding::WireType::LengthDelimited, &mut outer);
            prost::encoding::encode_varint(bytes.len() as u64, &mut outer);
            outer.append(&mut bytes);
            bytes = std::mem::take(&mut outer);
        }
    }
    assert!(wa::Message::decode(Bytes::from(bytes)).is_err());
}

#[test]
fn signal_on_the_wire() {
    let whisper = "0a21057b0d47d93427f8311160781c7c733fd89f88970aef490d8aa0ee19a4cb8a1b14
                   1000 1800 22106d72ff284c8431960a8b434be7e58366";
    let message: wa::WhisperMessage = same_again(&hex(whisper));
    assert_eq!((message.counter, message.previous_counter), (Some(0), Some(0)));

    let pre_key = format!(
        "0807 1221050faa684ed28867b97f4a6a2dee5df8ce974e76b7018e3f22a1c4cf2678570f20
         1a21057b4e909bbe7ffe44c465a220037d608ee35897d31ef972f07f74892cb0f73f13
         2242 33 {whisper} d7fb3eb308152b32 28d209 3001"
    );
    let message: wa::PreKeyWhisperMessage = same_again(&hex(&pre_key));
    assert_eq!(
        (message.registration_id, message.pre_key_id, message.signed_pre_key_id),
        (Some(1234), Some(7), Some(1))
    );

    let distribution = "0807 1000 1a207777777777777777777777777777777777777777777777777777777777777777
                        222105219e4d800da968d2a5fcb009c784f4746c7138edb9ee4844b739e830b05cf424";
    let message: wa::SenderKeyDistributionMessage = same_again(&hex(distribution));
    assert_eq!((message.id, message.iteration), (Some(7), Some(0)));
}

#[test]
fn signal_at_rest_has_the_official_numbers() {
    use wa::session_structure::{PendingPreKey, chain::MessageKey};
    let key = MessageKey { index: Some(1), seed: Some(Bytes::from_static(&[2])), ..Default::default() };
    assert_eq!(key.encode_to_vec(), hex("0801 2a0102"));
    let pending = PendingPreKey { signed_pre_key_id: Some(1), timestamp: Some(2), ..Default::default() };
    assert_eq!(pending.encode_to_vec(), hex("1801 2002"));
    let state = wa::SenderKeyStateStructure { chain_id: Some(1), message_version: Some(3), ..Default::default() };
    assert_eq!(state.encode_to_vec(), hex("0801 2803"));
}

#[test]
fn device_identities() {
    let identity: wa::AdvDeviceIdentity = same_again(&hex("08011080e2cfaa06180120002800"));
    assert_eq!((identity.timestamp, identity.account_type()), (Some(1_700_000_000), wa::AdvEncryptionType::E2ee));
    let list: wa::AdvKeyIndexList = same_again(&hex("08011080e2cfaa061802220201022800"));
    assert_eq!(list.valid_indexes, [1, 2]);
}

#[test]
fn maps_are_written_in_order() {
    let field = |min| wa::Field { min_version: Some(min), ..Default::default() };
    let config = wa::Config { field: BTreeMap::from([(2, field(5)), (1, field(4))]), version: Some(1) };
    let bytes = Bytes::from(config.encode_to_vec());
    assert_eq!(bytes, hex("0a0608011202 0804 0a0608021202 0805 1001"));
    assert_eq!(same_again::<wa::Config>(&bytes), config);
}

#[test]
fn structs_stay_small_enough_for_a_stack() {
    assert!(size_of::<wa::Message>() <= 1024);
    assert!(size_of::<wa::ContextInfo>() <= 1024);
    assert!(size_of::<wa::SyncActionValue>() <= 1024);
    assert!(size_of::<wa::WebMessageInfo>() <= 1024);
    assert!(size_of::<wa::message::ProtocolMessage>() <= 512);
}
