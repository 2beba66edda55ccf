//! `ClientPayload`: what we say of ourselves at login and at registration (`protocol/transport.md` §5).

use alloc::string::ToString;
use alloc::vec::Vec;

use bytes::Bytes;
use compact_str::format_compact;
use prost::Message as _;

use crate::config::{Browser, Config};
use crate::crypto::hash;
use crate::proto::wa::{self, client_payload, device_props};
use crate::signal::SignedPreKeyRecord;
use crate::store::records::{Account, Me};

/// The payload of a linked device.
pub(crate) fn login(config: &Config, me: &Me, logins: u32) -> Vec<u8> {
    wa::ClientPayload {
        username: me.pn.user.parse().ok(),
        device: Some(me.pn.device.into()),
        passive: Some(true),
        pull: Some(true),
        lid_db_migrated: Some(true),
        lc: Some(i32::try_from(logins).unwrap_or(i32::MAX)),
        push_name: me.push_name.as_ref().or(config.push_name.as_ref()).map(ToString::to_string),
        ..common(config)
    }
    .encode_to_vec()
}

/// The payload of a device that wants to be linked.
pub(crate) fn registration(config: &Config, account: &Account, signed: &SignedPreKeyRecord) -> Vec<u8> {
    let (primary, secondary, tertiary) = config.version;
    let version = format_compact!("{primary}.{secondary}.{tertiary}");
    let data = client_payload::DevicePairingRegistrationData {
        e_regid: Some(copy(&account.registration_id.to_be_bytes())),
        e_keytype: Some(copy(&[crate::crypto::curve::KEY_TYPE])),
        e_ident: Some(copy(account.identity.public.as_bytes())),
        e_skey_id: Some(copy(&signed.id.to_be_bytes()[1..])),
        e_skey_val: Some(copy(signed.keys.public.as_bytes())),
        e_skey_sig: Some(copy(&signed.signature)),
        build_hash: Some(copy(&hash::md5(version.as_bytes()))),
        device_props: Some(device_props(config).into()),
    };
    wa::ClientPayload { passive: Some(false), pull: Some(false), device_pairing_data: Some(data), ..common(config) }
        .encode_to_vec()
}

fn common(config: &Config) -> wa::ClientPayload {
    use client_payload::{UserAgent, WebInfo, user_agent, web_info};
    let (primary, secondary, tertiary) = config.version;
    wa::ClientPayload {
        user_agent: Some(UserAgent {
            platform: Some(user_agent::Platform::Web.into()),
            app_version: Some(user_agent::AppVersion {
                primary: Some(primary),
                secondary: Some(secondary),
                tertiary: Some(tertiary),
                ..Default::default()
            }),
            mcc: Some("000".into()),
            mnc: Some("000".into()),
            os_version: Some("0.1".into()),
            device: Some("Desktop".into()),
            os_build_number: Some("0.1".into()),
            release_channel: Some(user_agent::ReleaseChannel::Release.into()),
            locale_language_iso6391: Some(config.locale.0.to_string()),
            locale_country_iso31661_alpha2: Some(config.locale.1.to_string()),
            ..Default::default()
        }),
        web_info: Some(WebInfo {
            web_sub_platform: Some(web_info::WebSubPlatform::WebBrowser.into()),
            ..Default::default()
        }),
        connect_type: Some(client_payload::ConnectType::WifiUnknown.into()),
        connect_reason: Some(client_payload::ConnectReason::UserActivated.into()),
        ..Default::default()
    }
}

fn device_props(config: &Config) -> Vec<u8> {
    let history = device_props::HistorySyncConfig {
        storage_quota_mb: Some(10_240),
        inline_initial_payload_in_e2ee_msg: Some(true),
        support_call_log_history: Some(true),
        support_bot_user_agent_chat_history: Some(true),
        support_cag_reactions_and_polls: Some(true),
        support_biz_hosted_msg: Some(true),
        support_recent_sync_chunk_message_count_tuning: Some(true),
        support_hosted_group_msg: Some(true),
        support_fbid_bot_chat_history: Some(true),
        support_message_association: Some(true),
        support_group_history: Some(true),
        support_manus_history: Some(true),
        support_hatch_history: Some(true),
        ..Default::default()
    };
    wa::DeviceProps {
        os: Some(config.device_name.to_string()),
        version: Some(device_props::AppVersion {
            primary: Some(0),
            secondary: Some(1),
            tertiary: Some(0),
            ..Default::default()
        }),
        platform_type: Some(platform_type(config.browser).into()),
        require_full_sync: Some(config.full_history),
        history_sync_config: Some(history),
    }
    .encode_to_vec()
}

pub(crate) fn platform_type(browser: Browser) -> device_props::PlatformType {
    use device_props::PlatformType;
    match browser {
        Browser::Chrome => PlatformType::Chrome,
        Browser::Firefox => PlatformType::Firefox,
        Browser::Edge => PlatformType::Edge,
        Browser::Opera => PlatformType::Opera,
        Browser::Safari => PlatformType::Safari,
    }
}

/// The client type of QR texts and pairing codes (`protocol/pairing.md` §2.3).
pub(crate) fn client_type(browser: Browser) -> char {
    match browser {
        Browser::Chrome => '1',
        Browser::Edge => '2',
        Browser::Firefox => '3',
        Browser::Opera => '5',
        Browser::Safari => '6',
    }
}

/// The browser's name as the server wants to see it in phone-code pairing.
pub(crate) fn browser_name(browser: Browser) -> &'static str {
    match browser {
        Browser::Chrome => "Chrome",
        Browser::Edge => "Edge",
        Browser::Firefox => "Firefox",
        Browser::Opera => "Opera",
        Browser::Safari => "Safari",
    }
}

fn copy(bytes: &[u8]) -> Bytes {
    Bytes::copy_from_slice(bytes)
}
