//! The Noise responder, by hand from transport §3: XX, IK (accepted or refused) and the XXfallback that follows.

use amarula_core::crypto::hash::sha256;
use amarula_core::crypto::kdf::hkdf_sha256;
use amarula_core::crypto::{Aes256Gcm, CryptoError, KeyPair, PublicKey};

/// `WA`, protocol 6, token dictionary 3: what opens every connection and starts the transcript.
pub const PROLOGUE: [u8; 4] = [0x57, 0x41, 0x06, 0x03];

/// Which transcript name starts the handshake.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pattern {
    /// Full handshake.
    Xx,
    /// Resume with a known server key.
    Ik,
    /// What a refused IK becomes.
    XxFallback,
}

impl Pattern {
    const fn name(self) -> &'static [u8] {
        match self {
            Self::Xx => b"Noise_XX_25519_AESGCM_SHA256",
            Self::Ik => b"Noise_IK_25519_AESGCM_SHA256",
            Self::XxFallback => b"Noise_XXfallback_25519_AESGCM_SHA256",
        }
    }
}

/// The symmetric state of transport §3.1. Serves both roles (the tests play the initiator with it).
#[derive(Clone, Debug)]
pub struct Symmetric {
    h: [u8; 32],
    ck: [u8; 32],
    key: Option<[u8; 32]>,
    n: u32,
}

impl Symmetric {
    /// Init(name, prologue).
    #[must_use]
    pub fn new(pattern: Pattern) -> Self {
        let name = pattern.name();
        let mut h = [0; 32];
        if name.len() <= 32 {
            h[..name.len()].copy_from_slice(name);
        } else {
            h = sha256(&[name]);
        }
        let mut state = Self { h, ck: h, key: None, n: 0 };
        state.mix_hash(&PROLOGUE);
        state
    }

    /// The transcript hash.
    #[must_use]
    pub fn hash(&self) -> &[u8; 32] {
        &self.h
    }

    /// MixHash.
    pub fn mix_hash(&mut self, data: &[u8]) {
        self.h = sha256(&[&self.h, data]);
    }

    /// MixKey with the Diffie-Hellman of `pair` and `public`.
    ///
    /// # Errors
    /// A low-order point.
    pub fn mix_dh(&mut self, pair: &KeyPair, public: &PublicKey) -> Result<(), CryptoError> {
        let shared = pair.agree(public)?;
        let okm: [u8; 64] = hkdf_sha256(Some(&self.ck), shared.expose(), b"");
        self.ck.copy_from_slice(&okm[..32]);
        let mut key = [0; 32];
        key.copy_from_slice(&okm[32..]);
        self.key = Some(key);
        self.n = 0;
        Ok(())
    }

    /// EncryptAndHash.
    pub fn encrypt(&mut self, plaintext: &[u8]) -> Vec<u8> {
        let mut out = plaintext.to_vec();
        if let Some(key) = self.key {
            let tag = Aes256Gcm::new(&key).seal(&nonce(self.n), &self.h, &mut out);
            out.extend_from_slice(&tag);
            self.n += 1;
        }
        self.mix_hash(&out);
        out
    }

    /// DecryptAndHash.
    ///
    /// # Errors
    /// The tag does not verify; then nothing was mixed.
    pub fn decrypt(&mut self, ciphertext: &[u8]) -> Result<Vec<u8>, CryptoError> {
        let key = self.key.ok_or(CryptoError::Malformed)?;
        let mut data = ciphertext.to_vec();
        let len = Aes256Gcm::new(&key).open(&nonce(self.n), &self.h, &mut data)?;
        data.truncate(len);
        self.n += 1;
        self.mix_hash(ciphertext);
        Ok(data)
    }

    /// Split: (client→server key, server→client key).
    #[must_use]
    pub fn split(&self) -> ([u8; 32], [u8; 32]) {
        let okm: [u8; 64] = hkdf_sha256(Some(&self.ck), b"", b"");
        let (mut c2s, mut s2c) = ([0; 32], [0; 32]);
        c2s.copy_from_slice(&okm[..32]);
        s2c.copy_from_slice(&okm[32..]);
        (c2s, s2c)
    }
}

/// 8 zero bytes and a 32-bit big-endian counter.
#[must_use]
pub fn nonce(n: u32) -> [u8; 12] {
    let mut out = [0; 12];
    out[8..].copy_from_slice(&n.to_be_bytes());
    out
}

/// One direction of the transport phase.
#[derive(Clone, Debug)]
pub struct Cipher {
    key: Aes256Gcm,
    n: u32,
}

impl Cipher {
    /// A direction with this key, counter 0.
    #[must_use]
    pub fn new(key: &[u8; 32]) -> Self {
        Self { key: Aes256Gcm::new(key), n: 0 }
    }

    /// Encrypts one frame body.
    pub fn seal(&mut self, mut body: Vec<u8>) -> Vec<u8> {
        let tag = self.key.seal(&nonce(self.n), &[], &mut body);
        self.n += 1;
        body.extend_from_slice(&tag);
        body
    }

    /// Decrypts one frame body.
    ///
    /// # Errors
    /// The tag does not verify.
    pub fn open(&mut self, mut body: Vec<u8>) -> Result<Vec<u8>, CryptoError> {
        let len = self.key.open(&nonce(self.n), &[], &mut body)?;
        self.n += 1;
        body.truncate(len);
        Ok(body)
    }
}

/// What the responder knows after message 1 of XX (or of a refused IK) and needs for message 3.
#[derive(Clone, Debug)]
pub struct AwaitFinish {
    symmetric: Symmetric,
    ephemeral: KeyPair,
}

/// Server's parts of message 2.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HelloParts {
    /// The server's ephemeral key.
    pub ephemeral: [u8; 32],
    /// Encrypted static key; absent when an IK was accepted.
    pub static_key: Option<Vec<u8>>,
    /// Encrypted certificate chain.
    pub payload: Vec<u8>,
}

/// Steps 0 to 5 of §3.4 from the server's side: answers the client's ephemeral.
///
/// # Errors
/// A low-order client key.
pub fn respond_xx(
    pattern: Pattern,
    client_ephemeral: &PublicKey,
    ephemeral: KeyPair,
    server: &KeyPair,
    payload: &[u8],
) -> Result<(HelloParts, AwaitFinish), CryptoError> {
    let mut symmetric = Symmetric::new(pattern);
    symmetric.mix_hash(client_ephemeral.as_bytes());
    symmetric.mix_hash(ephemeral.public.as_bytes());
    symmetric.mix_dh(&ephemeral, client_ephemeral)?;
    let static_key = symmetric.encrypt(server.public.as_bytes());
    symmetric.mix_dh(server, client_ephemeral)?;
    let payload = symmetric.encrypt(payload);
    let parts = HelloParts { ephemeral: *ephemeral.public.as_bytes(), static_key: Some(static_key), payload };
    Ok((parts, AwaitFinish { symmetric, ephemeral }))
}

impl AwaitFinish {
    /// Steps 6 to 8: the client's static key, its payload and the finished transcript.
    ///
    /// # Errors
    /// A tag that does not verify, a static key of another length, a low-order key.
    pub fn finish(mut self, static_key: &[u8], payload: &[u8]) -> Result<(PublicKey, Vec<u8>, Symmetric), CryptoError> {
        let client_static = PublicKey::from_raw(&self.symmetric.decrypt(static_key)?)?;
        self.symmetric.mix_dh(&self.ephemeral, &client_static)?;
        let payload = self.symmetric.decrypt(payload)?;
        Ok((client_static, payload, self.symmetric))
    }
}

/// What an IK hello carried, once opened (§3.5 steps 0 and 1).
#[derive(Clone, Debug)]
pub struct IkHello {
    symmetric: Symmetric,
    client_ephemeral: PublicKey,
    /// The client's static key.
    pub client_static: PublicKey,
    /// The serialized `ClientPayload`.
    pub payload: Vec<u8>,
}

/// Opens an IK hello made for `server`.
///
/// # Errors
/// It was made for another server key, or is damaged.
pub fn open_ik(
    server: &KeyPair,
    client_ephemeral: &PublicKey,
    static_key: &[u8],
    payload: &[u8],
) -> Result<IkHello, CryptoError> {
    let mut symmetric = Symmetric::new(Pattern::Ik);
    symmetric.mix_hash(server.public.as_bytes());
    symmetric.mix_hash(client_ephemeral.as_bytes());
    symmetric.mix_dh(server, client_ephemeral)?;
    let client_static = PublicKey::from_raw(&symmetric.decrypt(static_key)?)?;
    symmetric.mix_dh(server, &client_static)?;
    let payload = symmetric.decrypt(payload)?;
    Ok(IkHello { symmetric, client_ephemeral: *client_ephemeral, client_static, payload })
}

impl IkHello {
    /// Accepts: message 2 without a static key (§3.5 step 4).
    ///
    /// # Errors
    /// A low-order client key.
    pub fn accept(mut self, ephemeral: &KeyPair, payload: &[u8]) -> Result<(HelloParts, Symmetric), CryptoError> {
        self.symmetric.mix_hash(ephemeral.public.as_bytes());
        self.symmetric.mix_dh(ephemeral, &self.client_ephemeral)?;
        self.symmetric.mix_dh(ephemeral, &self.client_static)?;
        let payload = self.symmetric.encrypt(payload);
        Ok((HelloParts { ephemeral: *ephemeral.public.as_bytes(), static_key: None, payload }, self.symmetric))
    }
}

#[cfg(test)]
mod tests {
    use amarula_core::crypto::{KeyPair, PrivateKey};

    use super::{Pattern, Symmetric, open_ik, respond_xx};

    fn pair(byte: u8) -> KeyPair {
        KeyPair::from_private(PrivateKey::from_bytes([byte; 32]))
    }

    fn bin(text: &str) -> Vec<u8> {
        hex::decode(text).unwrap()
    }

    /// transport §17.
    #[test]
    fn xx_vector() {
        let mut symmetric = Symmetric::new(Pattern::Xx);
        assert_eq!(hex::encode(symmetric.hash()), "ffff0c9267310966f1311170c04b38c79504285bf5edf763e5c946492a50a755");
        symmetric.mix_hash(pair(0x11).public.as_bytes());
        assert_eq!(hex::encode(symmetric.hash()), "6c9ea30317f933b43ebefedd04d07fa1428b9530c67179ef1189ce3a91089bae");
        let (hello, wait) = respond_xx(Pattern::Xx, &pair(0x11).public, pair(0x33), &pair(0x44), b"cert").unwrap();
        assert_eq!(
            hex::encode(hello.static_key.unwrap()),
            "76c390387466635d58f0323bdcbe69099601a1a274074852c87a5a56adbc2200326ad89abf7d0428235760e33dfb7358"
        );
        assert_eq!(hex::encode(hello.payload), "4198e7f434e3479b9ecb31c52288329abbfe7a08");
        let (client, payload, end) = wait
            .finish(
                &bin(
                    "b9cb19690dfcfb9a42e033388870388167c822982ffe1d4ef4c15a4d3e5d9d414a26a2963509b6a27122d42e77bcb230",
                ),
                &bin("30057c7a804bf70e5dcd47da528d95bc11f00b8b90248e"),
            )
            .unwrap();
        assert_eq!((client, payload.as_slice()), (pair(0x22).public, &b"payload"[..]));
        assert_eq!(hex::encode(end.hash()), "337eafbd8511e87c1cd846bb479421e88c9a78b18c28ab46bb4cd3297b667e43");
        let (c2s, s2c) = end.split();
        assert_eq!(hex::encode(c2s), "eb2fe0bed643c43335b1354ec654dc80e37916a5b95f315e54435ddd476ef060");
        assert_eq!(hex::encode(s2c), "f6363bb26e6e9cb20ac77b14b6ec4ee9c92f3f1d9d1397468bb4ea23bed9d1d8");
    }

    /// transport §17.
    #[test]
    fn xxfallback_vector() {
        assert_eq!(
            hex::encode(Symmetric::new(Pattern::XxFallback).hash()),
            "413766ac503c04676506bebddd691cfd5fe1087956a1150b2d235c16bd23512c"
        );
        let (hello, wait) =
            respond_xx(Pattern::XxFallback, &pair(0x11).public, pair(0x33), &pair(0x44), b"cert").unwrap();
        assert_eq!(
            hex::encode(hello.static_key.unwrap()),
            "2f361e8fe5de68ba4e4182e23912d12654352f4b4067731143a74fa919fded02781dd8e623354e4362bdbb4254c6f400"
        );
        assert_eq!(hex::encode(hello.payload), "8dad99a09798d0421126164373e0b269cc413797");
        let (_, payload, end) = wait
            .finish(
                &bin(
                    "595de5c24b8df4b1c84086da28c454d2a7aa538b152f1126e4fa9ed2e274057905b6334d163a77db18610dcd97886040",
                ),
                &bin("beeb2f005eb78daca7b73a3109f97bbad65fd9c0733605"),
            )
            .unwrap();
        assert_eq!(payload, b"payload");
        let (c2s, s2c) = end.split();
        assert_eq!(hex::encode(c2s), "5c5562e36c4236a6f28a6a145763e97bb4fff55cbf9a29718cd3f6cbc17a0f43");
        assert_eq!(hex::encode(s2c), "8a7a23d4cb5374e872eb0b4f4417b4abc0b143fd26a86fd1ac1840f01c88e83e");
    }

    /// transport §17.
    #[test]
    fn ik_vector() {
        assert_eq!(
            hex::encode(Symmetric::new(Pattern::Ik).hash()),
            "79eca0f8a583e558e3219b22fb5483c3f82f82ef2d5aa21bb1828021c3780501"
        );
        let hello = open_ik(
            &pair(0x44),
            &pair(0x11).public,
            &bin("f8fb23d0bdc4256cec5aa162b2c205a63d8860b4d8f0e944a0a74a62dbbbfff2e02726c3db18e0d3dc1fcb179e7684f9"),
            &bin("d350ec2e49d7c0300693c61a1fff97b719aa9ddf986d65"),
        )
        .unwrap();
        assert_eq!((hello.client_static, hello.payload.as_slice()), (pair(0x22).public, &b"payload"[..]));
        let (parts, end) = hello.accept(&pair(0x33), b"cert").unwrap();
        assert_eq!(hex::encode(parts.payload), "d538729bc328ed5bab59c6c4eaa0ff8f711c9921");
        let (c2s, s2c) = end.split();
        assert_eq!(hex::encode(c2s), "4505bca89840e8353c7a507f67df28b4c37d8f0aa0648691aebe1a1db0fe49ca");
        assert_eq!(hex::encode(s2c), "517eeb56b31270157a3f12a996f575481ecf63d4f4a4176fe8293184b056145b");
    }
}
