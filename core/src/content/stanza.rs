//! What a stanza says of its content: `type`, `mediatype`, `edit`, `decrypt-fail` (`protocol/messages.md` §5).

use crate::proto::wa::message::{
    ProtocolMessage, SecretEncryptedMessage, protocol_message, secret_encrypted_message::SecretEncType,
};
use crate::proto::wa::{self, KeepType, Message, MessageKey};

/// Attributes that follow from the content.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct StanzaAttrs {
    /// The stanza's `type`.
    pub kind: &'static str,
    /// The `mediatype` of each `<enc>`.
    pub media: Option<&'static str>,
    /// The stanza's `edit`.
    pub edit: Option<u8>,
    /// `decrypt-fail="hide"` on each `<enc>`.
    pub hide_failure: bool,
}

impl StanzaAttrs {
    /// Of a message, wrappers included.
    #[must_use]
    pub fn of(message: &Message) -> Self {
        let inner = unwrap(message);
        let media = if message.lottie_sticker_message.is_some() { Some("sticker") } else { media_type(inner) };
        let kind = match kind(inner) {
            // Without a media type the server refuses or drops it.
            "media" if media.is_none() => "text",
            kind => kind,
        };
        Self { kind, media, edit: edit(inner), hide_failure: hides_failure(inner) }
    }
}

/// The content inside wrappers. `edited_message` is content, not a wrapper.
#[must_use]
pub fn unwrap(message: &Message) -> &Message {
    let mut message = message;
    // Each step goes one level down in a tree that the decoder has limited.
    loop {
        let wrappers = [
            &message.ephemeral_message,
            &message.view_once_message,
            &message.view_once_message_v2,
            &message.view_once_message_v2_extension,
            &message.document_with_caption_message,
            &message.group_mentioned_message,
            &message.bot_invoke_message,
            &message.associated_child_message,
            &message.poll_creation_option_image_message,
            &message.event_cover_image,
            &message.group_status_message,
            &message.group_status_message_v2,
            &message.group_status_mention_message,
            &message.status_mention_message,
            &message.status_add_yours,
            &message.question_message,
            &message.question_reply_message,
            &message.spoiler_message,
            &message.lottie_sticker_message,
            &message.limit_sharing_message,
            &message.newsletter_admin_profile_message,
            &message.newsletter_admin_profile_message_v2,
            &message.poll_creation_message_v4,
        ];
        let inner = wrappers.into_iter().flatten().find_map(|wrapper| wrapper.message.as_deref());
        let sent = message.device_sent_message.as_deref().and_then(|sent| sent.message.as_deref());
        match inner.or(sent) {
            Some(inner) => message = inner,
            None => return message,
        }
    }
}

fn secret_kind(message: &Message) -> Option<SecretEncType> {
    let secret: &SecretEncryptedMessage = message.secret_encrypted_message.as_deref()?;
    SecretEncType::try_from(secret.secret_enc_type?).ok()
}

fn kind(m: &Message) -> &'static str {
    if m.reaction_message.is_some() || m.enc_reaction_message.is_some() {
        return "reaction";
    }
    let secret = secret_kind(m);
    if m.event_message.is_some() || m.enc_event_response_message.is_some() || secret == Some(SecretEncType::EventEdit) {
        return "event";
    }
    if m.poll_creation_message.is_some()
        || m.poll_creation_message_v2.is_some()
        || m.poll_creation_message_v3.is_some()
        || m.poll_creation_message_v5.is_some()
        || m.poll_update_message.is_some()
        || matches!(secret, Some(SecretEncType::PollEdit | SecretEncType::PollAddOption))
    {
        return "poll";
    }
    let is_text = m.conversation.is_some()
        || m.protocol_message.is_some()
        || m.keep_in_chat_message.is_some()
        || m.edited_message.is_some()
        || m.pin_in_chat_message.is_some()
        || m.interactive_message.is_some()
        || m.template_button_reply_message.is_some()
        || m.request_phone_number_message.is_some()
        || m.enc_comment_message.is_some()
        || m.newsletter_admin_invite_message.is_some()
        || m.newsletter_follower_invite_message_v2.is_some()
        || m.message_history_notice.is_some()
        || m.album_message.is_some()
        || secret == Some(SecretEncType::MessageEdit)
        || m.send_payment_message.is_some()
        || m.request_payment_message.is_some()
        || m.decline_payment_request_message.is_some()
        || m.cancel_payment_request_message.is_some()
        || m.payment_invite_message.is_some()
        || m.poll_result_snapshot_message.is_some()
        || m.extended_text_message.as_deref().is_some_and(|text| !has_link(text));
    if is_text { "text" } else { "media" }
}

fn has_link(text: &wa::message::ExtendedTextMessage) -> bool {
    text.matched_text.as_deref().is_some_and(|link| !link.trim().is_empty())
}

fn media_type(m: &Message) -> Option<&'static str> {
    if m.image_message.is_some() {
        return Some("image");
    }
    if let Some(video) = &m.video_message {
        return Some(if video.gif_playback == Some(true) { "gif" } else { "video" });
    }
    if let Some(audio) = &m.audio_message {
        return Some(if audio.ptt == Some(true) { "ptt" } else { "audio" });
    }
    if let Some(location) = &m.location_message {
        return Some(if location.is_live == Some(true) { "livelocation" } else { "location" });
    }
    if m.extended_text_message.as_deref().is_some_and(has_link) {
        return Some("url");
    }
    let table: [(bool, &'static str); 15] = [
        (m.ptv_message.is_some(), "ptv"),
        (m.document_message.is_some(), "document"),
        (m.sticker_message.is_some(), "sticker"),
        (m.sticker_pack_message.is_some(), "sticker_pack"),
        (m.live_location_message.is_some(), "livelocation"),
        (m.contact_message.is_some(), "vcard"),
        (m.contacts_array_message.is_some(), "contact_array"),
        (m.group_invite_message.is_some(), "url"),
        (m.list_message.is_some(), "list"),
        (m.list_response_message.is_some(), "list_response"),
        (m.buttons_response_message.is_some(), "buttons_response"),
        (m.order_message.is_some(), "order"),
        (m.product_message.is_some(), "product"),
        (m.interactive_response_message.is_some(), "native_flow_response"),
        (m.message_history_bundle.is_some(), "group_history"),
    ];
    table.into_iter().find_map(|(present, name)| present.then_some(name))
}

fn protocol_kind(protocol: &ProtocolMessage) -> Option<protocol_message::Type> {
    protocol_message::Type::try_from(protocol.r#type?).ok()
}

fn edit(m: &Message) -> Option<u8> {
    let from_me = |key: Option<&MessageKey>| key.is_some_and(|key| key.from_me == Some(true));
    if m.edited_message.is_some() {
        return Some(1);
    }
    if let Some(protocol) = &m.protocol_message {
        return match protocol_kind(protocol) {
            Some(protocol_message::Type::MessageEdit) => Some(1),
            Some(protocol_message::Type::Revoke) => Some(if from_me(protocol.key.as_deref()) { 7 } else { 8 }),
            _ => None,
        };
    }
    if matches!(secret_kind(m), Some(SecretEncType::MessageEdit | SecretEncType::EventEdit)) {
        return Some(1);
    }
    if m.pin_in_chat_message.is_some() {
        return Some(2);
    }
    if m.reaction_message.as_deref().is_some_and(|reaction| reaction.text.as_deref().unwrap_or("").is_empty()) {
        return Some(7);
    }
    let undone = m
        .keep_in_chat_message
        .as_deref()
        .is_some_and(|keep| keep.keep_type == Some(KeepType::UndoKeepForAll.into()) && from_me(keep.key.as_ref()));
    undone.then_some(7)
}

fn hides_failure(m: &Message) -> bool {
    let protocol = m.protocol_message.as_deref().and_then(protocol_kind);
    m.reaction_message.is_some()
        || m.enc_reaction_message.is_some()
        || m.pin_in_chat_message.is_some()
        || m.keep_in_chat_message.is_some()
        || m.enc_event_response_message.is_some()
        || m.poll_update_message.is_some()
        || m.message_history_notice.is_some()
        || m.conditional_reveal_message.is_some()
        || m.edited_message.is_some()
        || secret_kind(m).is_some()
        || matches!(
            protocol,
            Some(
                protocol_message::Type::MessageEdit
                    | protocol_message::Type::EphemeralSyncResponse
                    | protocol_message::Type::RequestWelcomeMessage
                    | protocol_message::Type::GroupMemberLabelChange
            )
        )
}

#[cfg(test)]
mod tests {
    use alloc::boxed::Box;

    use super::StanzaAttrs;
    use crate::proto::wa::message::{
        self, AudioMessage, ExtendedTextMessage, FutureProofMessage, ImageMessage, ProtocolMessage, ReactionMessage,
    };
    use crate::proto::wa::{Message, MessageKey};

    fn attrs(message: Message) -> (&'static str, Option<&'static str>, Option<u8>, bool) {
        let attrs = StanzaAttrs::of(&message);
        (attrs.kind, attrs.media, attrs.edit, attrs.hide_failure)
    }

    #[test]
    fn rows_of_the_tables() {
        let text =
            |text: ExtendedTextMessage| Message { extended_text_message: Some(Box::new(text)), ..<_>::default() };
        assert_eq!(attrs(Message { conversation: Some("hi".into()), ..<_>::default() }), ("text", None, None, false));
        assert_eq!(attrs(text(<_>::default())), ("text", None, None, false));
        let link = ExtendedTextMessage { matched_text: Some("https://example.org".into()), ..<_>::default() };
        assert_eq!(attrs(text(link)), ("media", Some("url"), None, false));
        let voice = AudioMessage { ptt: Some(true), ..<_>::default() };
        let voice = Message { audio_message: Some(Box::new(voice)), ..<_>::default() };
        assert_eq!(attrs(voice), ("media", Some("ptt"), None, false));
        let image = Message { image_message: Some(Box::new(ImageMessage::default())), ..<_>::default() };
        let wrapped = FutureProofMessage { message: Some(Box::new(image)) };
        let once = Message { view_once_message_v2: Some(Box::new(wrapped)), ..<_>::default() };
        assert_eq!(attrs(once), ("media", Some("image"), None, false));
        let reaction = |emoji: &str| Message {
            reaction_message: Some(Box::new(ReactionMessage { text: Some(emoji.into()), ..<_>::default() })),
            ..<_>::default()
        };
        assert_eq!(attrs(reaction("x")), ("reaction", None, None, true));
        assert_eq!(attrs(reaction("")), ("reaction", None, Some(7), true));
        // Nothing known: text, since media without a type is dropped.
        assert_eq!(attrs(Message::default()), ("text", None, None, false));
    }

    #[test]
    fn a_revoke_never_hides_its_failure() {
        for (from_me, edit) in [(true, 7), (false, 8)] {
            let protocol = ProtocolMessage {
                key: Some(Box::new(MessageKey { from_me: Some(from_me), ..<_>::default() })),
                r#type: Some(message::protocol_message::Type::Revoke.into()),
                ..<_>::default()
            };
            let revoke = Message { protocol_message: Some(Box::new(protocol)), ..<_>::default() };
            assert_eq!(attrs(revoke), ("text", None, Some(edit), false));
        }
    }
}
