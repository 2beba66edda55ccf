//! XEdDSA and X25519, both directions, on random keys and messages; prekey records.

use amarula_core::crypto::{KeyPair, Rng, xeddsa};
use amarula_core::signal::{PreKeyRecord, SignedPreKeyRecord};
use amarula_oracle::official::{self, GenericSignedPreKey as _};
use rand::SeedableRng as _;

#[test]
fn both_directions() {
    let mut rng = Rng::from_seed([1; 32]);
    let mut their_rng = rand::rngs::StdRng::seed_from_u64(1);
    let mut sign_bits = [0; 2];
    for len in 0..200usize {
        let ours = KeyPair::generate(&mut rng);
        let theirs = official::PrivateKey::deserialize(ours.private.expose()).unwrap();
        let their_public = theirs.public_key().unwrap();
        assert_eq!(their_public.serialize().as_ref(), ours.public.typed());
        let mut message = vec![0; len];
        rng.fill(&mut message);

        let signature = xeddsa::sign(&ours.private, &[&message], &rng.bytes());
        sign_bits[usize::from(signature[63] >> 7)] += 1;
        assert!(their_public.verify_signature(&message, &signature));
        let signature = theirs.calculate_signature(&message, &mut their_rng).unwrap();
        assert!(xeddsa::verify(&ours.public, &[&message], &signature));
        let mut bad = signature.to_vec();
        bad[len % 64] ^= 1 << (len % 8);
        assert!(!xeddsa::verify(&ours.public, &[&message], &bad));
        assert!(!their_public.verify_signature(&message, &bad));

        let other = KeyPair::generate(&mut rng);
        let other_public = official::PublicKey::deserialize(&other.public.typed()).unwrap();
        let agreed = theirs.calculate_agreement(&other_public).unwrap();
        assert_eq!(*agreed, *ours.agree(&other.public).unwrap().expose());
    }
    assert!(sign_bits.iter().all(|count| *count > 50), "both sign bits are met: {sign_bits:?}");
}

#[test]
fn prekey_records() {
    let mut rng = Rng::from_seed([2; 32]);
    let identity = KeyPair::generate(&mut rng);
    let one_time = PreKeyRecord::generate(77, &mut rng);
    let theirs = official::PreKeyRecord::deserialize(&one_time.encode()).unwrap();
    assert_eq!(theirs.serialize().unwrap(), one_time.encode());
    let signed = SignedPreKeyRecord::generate(5, &identity, 1_790_000_000_123, &mut rng);
    let theirs = official::SignedPreKeyRecord::deserialize(&signed.encode()).unwrap();
    assert_eq!(theirs.timestamp().unwrap().epoch_millis(), signed.created_ms);
    assert_eq!(theirs.serialize().unwrap(), signed.encode());
    assert_eq!(SignedPreKeyRecord::decode(&theirs.serialize().unwrap()).unwrap(), signed);
}
