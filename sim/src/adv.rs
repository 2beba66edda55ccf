//! ADV: how an account vouches for its companions (pairing §3, §9, §10, §11).

use amarula_core::crypto::mac::hmac_sha256;
use amarula_core::crypto::{PrivateKey, PublicKey, xeddsa};
use prost::Message as _;

use crate::proto::{AdvDeviceIdentity, AdvHmac, AdvKeyIndexList, AdvSignedIdentity, AdvSignedKeyIndexList, AdvType};

/// Prefix of an account signature.
pub const ACCOUNT: [u8; 2] = [6, 0];
/// Prefix of a companion's device signature.
pub const DEVICE: [u8; 2] = [6, 1];
/// Prefix of a key-index list's signature.
pub const KEY_INDEX: [u8; 2] = [6, 2];
/// Prefix of a hosted account's signature (and of its HMAC).
pub const HOSTED_ACCOUNT: [u8; 2] = [6, 5];

/// What one `pair-success` is made of.
#[derive(Clone, Debug)]
pub struct Signed {
    /// Bytes of `ADVDeviceIdentity`.
    pub details: Vec<u8>,
    /// The account's signature.
    pub account_signature: [u8; 64],
    /// Bytes of `ADVSignedDeviceIdentityHMAC`: the content of `<device-identity>`.
    pub container: Vec<u8>,
}

/// Signs a companion as the phone does.
#[must_use]
pub fn sign_companion(
    account: &PrivateKey,
    companion: &PublicKey,
    details: &AdvDeviceIdentity,
    outer: AdvType,
    adv_secret: &[u8],
    random: &[u8; 64],
) -> Signed {
    let prefix = if details.device_type == Some(AdvType::Hosted as i32) { HOSTED_ACCOUNT } else { ACCOUNT };
    let details = details.encode_to_vec();
    let account_signature = xeddsa::sign(account, &[&prefix, &details, companion.as_bytes()], random);
    let container = container(account, &details, &account_signature, outer, adv_secret);
    Signed { details, account_signature, container }
}

/// Wraps a signed identity under the ADV secret.
#[must_use]
pub fn container(
    account: &PrivateKey,
    details: &[u8],
    account_signature: &[u8],
    outer: AdvType,
    adv_secret: &[u8],
) -> Vec<u8> {
    let signed = AdvSignedIdentity {
        details: Some(details.to_vec()),
        account_signature_key: Some(account.public().as_bytes().to_vec()),
        account_signature: Some(account_signature.to_vec()),
        device_signature: None,
    }
    .encode_to_vec();
    let prefix: &[u8] = if outer == AdvType::Hosted { &HOSTED_ACCOUNT } else { &[] };
    let hmac = hmac_sha256(adv_secret, &[prefix, &signed]).to_vec();
    AdvHmac { details: Some(signed), hmac: Some(hmac), account_type: Some(outer as i32) }.encode_to_vec()
}

/// Checks what a companion answered (pairing §9 "check answer").
///
/// # Errors
/// What is wrong with it.
pub fn check_answer(
    account: &PrivateKey,
    companion: &PublicKey,
    signed: &Signed,
    answer: &[u8],
) -> Result<AdvSignedIdentity, &'static str> {
    let mut answer = AdvSignedIdentity::decode(answer).map_err(|_| "the device identity does not parse")?;
    if answer.account_signature_key.as_ref().is_some_and(|key| !key.is_empty()) {
        return Err("accountSignatureKey must be left out");
    }
    if answer.details.as_deref() != Some(&signed.details[..]) {
        return Err("details are not the bytes that were signed");
    }
    if answer.account_signature.as_deref() != Some(&signed.account_signature[..]) {
        return Err("the account signature was changed");
    }
    let signature = answer.device_signature.as_deref().ok_or("no device signature")?;
    let public = account.public();
    if !xeddsa::verify(companion, &[&DEVICE, &signed.details, companion.as_bytes(), public.as_bytes()], signature) {
        return Err("the device signature does not verify");
    }
    answer.account_signature_key = Some(public.as_bytes().to_vec());
    Ok(answer)
}

/// Checks the `<device-identity>` beside a `pkmsg` or in a bundle (pairing §10 rules 4 to 7).
///
/// # Errors
/// What is wrong with it.
pub fn check_identity(
    account: &PublicKey,
    companion: &PublicKey,
    blob: &[u8],
) -> Result<AdvDeviceIdentity, &'static str> {
    let signed = AdvSignedIdentity::decode(blob).map_err(|_| "the device identity does not parse")?;
    if signed.account_signature_key.as_ref().is_some_and(|key| !key.is_empty() && key != account.as_bytes()) {
        return Err("accountSignatureKey is not the account's");
    }
    let details = signed.details.as_deref().ok_or("no details")?;
    let parsed = AdvDeviceIdentity::decode(details).map_err(|_| "details do not parse")?;
    let prefix = if parsed.device_type == Some(AdvType::Hosted as i32) { HOSTED_ACCOUNT } else { ACCOUNT };
    let by_account = signed.account_signature.as_deref().unwrap_or_default();
    if !xeddsa::verify(account, &[&prefix, details, companion.as_bytes()], by_account) {
        return Err("the account signature does not verify");
    }
    let by_device = signed.device_signature.as_deref().unwrap_or_default();
    if !xeddsa::verify(companion, &[&DEVICE, details, companion.as_bytes(), account.as_bytes()], by_device) {
        return Err("the device signature does not verify");
    }
    Ok(parsed)
}

/// A signed key-index list.
#[must_use]
pub fn sign_key_index(account: &PrivateKey, list: &AdvKeyIndexList, random: &[u8; 64]) -> Vec<u8> {
    let details = list.encode_to_vec();
    let signature = xeddsa::sign(account, &[&KEY_INDEX, &details], random).to_vec();
    AdvSignedKeyIndexList { details: Some(details), account_signature: Some(signature), account_signature_key: None }
        .encode_to_vec()
}

#[cfg(test)]
mod tests {
    use amarula_core::crypto::{PrivateKey, hash::sha256, xeddsa};
    use prost::Message as _;

    use super::{check_answer, check_identity, sign_companion, sign_key_index};
    use crate::proto::{
        AdvDeviceIdentity, AdvHmac, AdvKeyIndexList, AdvSignedIdentity, AdvSignedKeyIndexList, AdvType,
    };

    const RANDOM: [u8; 64] = [0x5a; 64];

    fn key(byte: u8) -> PrivateKey {
        PrivateKey::from_bytes([byte; 32])
    }

    fn details(device_type: AdvType) -> AdvDeviceIdentity {
        AdvDeviceIdentity {
            raw_id: Some(1),
            timestamp: Some(1_700_000_000),
            key_index: Some(1),
            account_type: Some(device_type as i32),
            device_type: Some(device_type as i32),
        }
    }

    /// pairing §12.
    #[test]
    fn vectors() {
        let signed = sign_companion(
            &key(0x44),
            &key(0x22).public(),
            &details(AdvType::E2ee),
            AdvType::E2ee,
            &[0x0a; 32],
            &RANDOM,
        );
        assert_eq!(hex::encode(&signed.details), "08011080e2cfaa06180120002800");
        assert_eq!(signed.container.len(), 154);
        let container = AdvHmac::decode(&signed.container[..]).unwrap();
        assert_eq!(
            hex::encode(container.hmac.unwrap()),
            "e4a7f195d1dda2b526e9f4c18515ea3e1155db34b35885e7ce926fbc6ae05164"
        );
        assert_eq!(
            hex::encode(signed.account_signature),
            "c643e58b7e322daba954d7e23712f4df0a0649ded92596faedb79acd470eaa050cabc370adbce0fcd3e03976dfea488f1c3c69bf0daf19cf095af68c3c061e8d"
        );
        let device_signature = hex::decode("90e5464e02c01bc26d72ce89a98ef26a3a50a47e3e1137d39cedf098ee495803b562e98dd0f9f7dbce9429d55a00a2a14b660d575321332701af631ff757c503").unwrap();
        let answer = AdvSignedIdentity {
            details: Some(signed.details.clone()),
            account_signature_key: None,
            account_signature: Some(signed.account_signature.to_vec()),
            device_signature: Some(device_signature),
        }
        .encode_to_vec();
        assert_eq!(hex::encode(sha256(&[&answer])), "57ae7ed0355ff7a25ef9d7ff2a8219aec73fb5af06478ba51fa8324a11caa047");
        let full = check_answer(&key(0x44), &key(0x22).public(), &signed, &answer).unwrap().encode_to_vec();
        assert!(check_identity(&key(0x44).public(), &key(0x22).public(), &full).is_ok());
        assert!(check_identity(&key(0x44).public(), &key(0x23).public(), &full).is_err());
        let with_key = AdvSignedIdentity {
            account_signature_key: Some(vec![1; 32]),
            ..AdvSignedIdentity::decode(&answer[..]).unwrap()
        };
        assert!(check_answer(&key(0x44), &key(0x22).public(), &signed, &with_key.encode_to_vec()).is_err());
    }

    /// pairing §12, hosted.
    #[test]
    fn hosted_vector() {
        let signed = sign_companion(
            &key(0x44),
            &key(0x22).public(),
            &details(AdvType::Hosted),
            AdvType::Hosted,
            &[0x0a; 32],
            &RANDOM,
        );
        assert_eq!(
            hex::encode(AdvHmac::decode(&signed.container[..]).unwrap().hmac.unwrap()),
            "52bfd451cae1a8d0d513e33d20715b4b154a824f3d5836e758135f754abb17cb"
        );
        assert!(hex::encode(signed.account_signature).starts_with("dbbfd549b85fdd2b50cfca9f21e35180"));
    }

    /// pairing §12, last row.
    #[test]
    fn key_index_vector() {
        let list = AdvKeyIndexList {
            raw_id: Some(1),
            timestamp: Some(1_700_000_000),
            current_index: Some(2),
            valid_indexes: vec![1, 2],
            account_type: Some(AdvType::E2ee as i32),
        };
        let bytes = sign_key_index(&key(0x44), &list, &RANDOM);
        let signed = AdvSignedKeyIndexList::decode(&bytes[..]).unwrap();
        let details = signed.details.unwrap();
        assert_eq!(hex::encode(&details), "08011080e2cfaa061802220201022800");
        let signature = signed.account_signature.unwrap();
        assert!(hex::encode(&signature).starts_with("dcbb47470899df9095843743da851e40"));
        assert!(xeddsa::verify(&key(0x44).public(), &[&[6, 2], &details], &signature));
    }
}
