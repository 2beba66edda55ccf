//! Phone-number code pairing, the server's and the phone's side (pairing §5, §6, §9).

use amarula_core::crypto::cipher::ctr_apply;
use amarula_core::crypto::kdf::{hkdf_sha256, pbkdf2_sha256};
use amarula_core::crypto::{Aes256Gcm, KeyPair, PublicKey};
use amarula_core::wire::{Jid, Node};

use super::faults::CodeFault;
use super::pairing::ScanError;
use super::{AccountId, ConnId, Server};
use crate::codec::{Read as _, leaf};
use crate::time::SimTime;
use crate::violation::Rule;

const ITERATIONS: u32 = 131_072;

/// A device that asked for a code.
#[derive(Clone, Debug)]
pub(crate) struct CodeFlow {
    account: AccountId,
    wrapped: Vec<u8>,
    reference: Vec<u8>,
    ephemeral: Option<KeyPair>,
    companion: Option<PublicKey>,
    fault: Option<CodeFault>,
}

fn wrap_key(code: &str, salt: &[u8]) -> [u8; 32] {
    pbkdf2_sha256(code.as_bytes(), salt, ITERATIONS)
}

fn wrap(code: &str, public: &PublicKey, salt: [u8; 32], iv: [u8; 16]) -> Vec<u8> {
    let mut body = public.as_bytes().to_vec();
    ctr_apply(&wrap_key(code, &salt), &iv, &mut body);
    [&salt[..], &iv, &body].concat()
}

fn unwrap(code: &str, blob: &[u8]) -> Option<PublicKey> {
    let (salt, rest) = blob.split_at_checked(32)?;
    let (iv, body) = rest.split_at_checked(16)?;
    let mut body = body.to_vec();
    ctr_apply(&wrap_key(code, salt), iv.try_into().ok()?, &mut body);
    PublicKey::from_raw(&body).ok()
}

/// Opens the bundle of companion_finish: the ADV secret, or what the phone objects to.
fn open_bundle(
    bundle: &[u8],
    ephemeral: &KeyPair,
    companion_ephemeral: &PublicKey,
    account: &KeyPair,
    companion: &PublicKey,
) -> Result<[u8; 32], &'static str> {
    if bundle.len() != 156 {
        return Err("the key bundle is not 156 bytes");
    }
    let eph = ephemeral.agree(companion_ephemeral).map_err(|_| "low-order ephemeral")?;
    let key: [u8; 32] = hkdf_sha256(Some(&bundle[..32]), eph.expose(), b"link_code_pairing_key_bundle_encryption_key");
    let nonce: [u8; 12] = bundle[32..44].try_into().map_err(|_| "nonce")?;
    let mut plain = bundle[44..].to_vec();
    let len = Aes256Gcm::new(&key).open(&nonce, &[], &mut plain).map_err(|_| "the key bundle does not open")?;
    plain.truncate(len);
    if plain[..32] != companion.as_bytes()[..] {
        return Err("the bundle holds another companion identity");
    }
    if plain[32..64] != account.public.as_bytes()[..] {
        return Err("the bundle holds another account identity");
    }
    let idn = account.agree(companion).map_err(|_| "low-order identity")?;
    let ikm = [&eph.expose()[..], idn.expose(), &plain[64..96]].concat();
    Ok(hkdf_sha256(None, &ikm, b"adv_secret"))
}

impl Server {
    /// `<link_code_companion_reg>` of a client.
    pub(crate) fn link_code(&mut self, conn: ConnId, iq: &Node, request: &Node) {
        match request.text("stage").as_str() {
            "companion_hello" => self.companion_hello(conn, iq, request),
            "companion_finish" => self.companion_finish(conn, iq, request),
            _ => {
                self.object(Some(conn), None, Rule::Pairing, Some(iq), "unknown stage");
                self.iq_error(conn, iq, 400, None);
            }
        }
    }

    fn companion_hello(&mut self, conn: ConnId, iq: &Node, request: &Node) {
        let wrapped = request.child_data("link_code_pairing_wrapped_companion_ephemeral_pub").to_vec();
        let noise = self.unpaired(conn).map(|unpaired| unpaired.noise.0.to_vec()).unwrap_or_default();
        let nonce = request.child_data("link_code_pairing_nonce");
        let platform = request.child_data("companion_platform_id");
        let display = String::from_utf8_lossy(request.child_data("companion_platform_display")).into_owned();
        let lenient = self.is_lenient_on(conn);
        let push = request.text("should_show_push_notification");
        let checks = [
            (wrapped.len() == 80, "the wrapped ephemeral is not 80 bytes"),
            (request.child_data("companion_server_auth_key_pub") == noise, "not the noise key of this connection"),
            (nonce == [0] || (lenient && nonce == b"0"), "the nonce is not one zero byte"),
            (platform.len() == 1 && b"123456789cdef".contains(&platform[0]), "unknown companion_platform_id"),
            (push == "true" || push == "false", "should_show_push_notification is not true or false"),
        ];
        for (ok, detail) in checks {
            if !ok {
                self.object(Some(conn), None, Rule::Pairing, Some(iq), detail);
            }
        }
        let fault = self.faults.code.take();
        if let Some(CodeFault::HelloError(code)) = fault {
            return self.iq_error(conn, iq, code, None);
        }
        if !valid_display(&display) {
            self.object(Some(conn), None, Rule::Pairing, Some(iq), format!("display {display:?} is not Browser (OS)"));
            return self.iq_error(conn, iq, 400, None);
        }
        let Some((account, 0)) = request.jid("jid").and_then(|jid| self.locate(&jid)) else {
            return self.iq_error(conn, iq, 400, None);
        };
        let reference = self.rng.bytes::<16>().to_vec();
        if let Some(unpaired) = self.unpaired(conn) {
            unpaired.code = Some(CodeFlow {
                account,
                wrapped,
                reference: reference.clone(),
                ephemeral: None,
                companion: None,
                fault,
            });
        }
        if fault == Some(CodeFault::HelloSilent) {
            return;
        }
        let answer = Node::new("link_code_companion_reg")
            .attr("stage", "companion_hello")
            .child(leaf("link_code_pairing_ref", reference));
        self.iq_result(conn, iq, Some(answer));
    }

    /// The user of `account` types the code that a companion shows. `code` may hold the dash.
    ///
    /// # Errors
    /// No device asked for a code of this number. A wrong code shows only later: pairing just does not go on.
    pub fn type_code(&mut self, now: SimTime, account: AccountId, code: &str) -> Result<(), ScanError> {
        self.advance(now);
        let code = code.replace('-', "");
        let found = self.conns.keys().copied().collect::<Vec<_>>().into_iter().rev().find(|conn| {
            self.unpaired(*conn)
                .is_some_and(|unpaired| unpaired.code.as_ref().is_some_and(|flow| flow.account == account))
        });
        let conn = found.ok_or(ScanError::NoCode)?;
        let ephemeral = KeyPair::generate(&mut self.rng);
        let blob = wrap(&code, &ephemeral.public, self.rng.bytes(), self.rng.bytes());
        let decoy = wrap(&code, &KeyPair::generate(&mut self.rng).public, self.rng.bytes(), self.rng.bytes());
        let identity = self.accounts.get(&account).ok_or(ScanError::NoAccount)?.phone.endpoint.identity().public;
        let flow = self.unpaired(conn).and_then(|unpaired| unpaired.code.as_mut()).ok_or(ScanError::NoCode)?;
        flow.companion = unwrap(&code, &flow.wrapped);
        flow.ephemeral = Some(ephemeral);
        let (fault, reference) = (flow.fault, flow.reference.clone());
        if let Some(CodeFault::Repeated(times)) = fault {
            for _ in 0..times {
                self.primary_hello(conn, &decoy, &identity, &reference);
            }
        }
        let reference = if fault == Some(CodeFault::WrongRef) { vec![0; 16] } else { reference };
        let blob = if fault == Some(CodeFault::ShortWrap) { &blob[..79] } else { &blob };
        self.primary_hello(conn, blob, &identity, &reference);
        Ok(())
    }

    fn primary_hello(&mut self, conn: ConnId, blob: &[u8], identity: &PublicKey, reference: &[u8]) {
        let hello = Node::new("link_code_companion_reg")
            .attr("stage", "primary_hello")
            .child(leaf("link_code_pairing_wrapped_primary_ephemeral_pub", blob))
            .child(leaf("primary_identity_pub", identity.as_bytes()))
            .child(leaf("link_code_pairing_ref", reference));
        self.notify_unpaired(conn, "link_code_companion_reg", hello);
    }

    fn companion_finish(&mut self, conn: ConnId, iq: &Node, request: &Node) {
        let Some(unpaired) = self.unpaired(conn) else { return };
        let identity = unpaired.material.identity;
        let Some(flow) = unpaired.code.take() else {
            self.object(Some(conn), None, Rule::Pairing, Some(iq), "companion_finish without companion_hello");
            return self.iq_error(conn, iq, 400, None);
        };
        if request.child_data("companion_identity_public") != identity.as_bytes() {
            self.object(Some(conn), None, Rule::Pairing, Some(iq), "companion_identity_public is not eIdent");
        }
        if request.child_data("link_code_pairing_ref") != flow.reference {
            self.object(Some(conn), None, Rule::Pairing, Some(iq), "companion_finish names another ref");
        }
        if request.jid("jid").and_then(|jid| self.locate(&jid)) != Some((flow.account, 0)) {
            self.object(Some(conn), None, Rule::Pairing, Some(iq), "companion_finish names another number");
        }
        match flow.fault {
            Some(CodeFault::FinishError(code)) => return self.iq_error(conn, iq, code, None),
            Some(CodeFault::FinishSilent) => return,
            _ => self.iq_result(conn, iq, None),
        }
        if flow.fault == Some(CodeFault::NoSuccess) {
            return;
        }
        let Some(account) = self.accounts.get(&flow.account).map(|account| account.phone.endpoint.identity().clone())
        else {
            return;
        };
        let bundle = request.child_data("link_code_pairing_wrapped_key_bundle");
        let opened = match (&flow.ephemeral, &flow.companion) {
            (Some(ephemeral), Some(companion)) => open_bundle(bundle, ephemeral, companion, &account, &identity),
            _ => Err("companion_finish before primary_hello"),
        };
        match opened {
            Ok(secret) => {
                let _ = self.offer(conn, flow.account, &secret);
            }
            // Either the user typed a wrong code (no fault of the client's) or the bundle is wrong: the test knows which.
            Err(detail) => self.object(Some(conn), None, Rule::Pairing, Some(iq), detail),
        }
    }

    /// The phone asks unpaired companions for a new ADV secret (pairing §6). `rotate_form` uses the other child.
    pub fn refresh_pairing(&mut self, now: SimTime, conn: ConnId, rotate_form: bool) {
        self.advance(now);
        let child = if rotate_form { "pair-device-rotate-qr" } else { "companion_reg_refresh" };
        self.notify_unpaired(conn, "companion_reg_refresh", Node::new(child));
    }

    /// The phone asks for a new code (pairing §5.4 `refresh_code`).
    pub fn refresh_code(&mut self, now: SimTime, conn: ConnId, force: bool) {
        self.advance(now);
        let reference =
            self.unpaired(conn).and_then(|unpaired| unpaired.code.as_ref()).map(|code| code.reference.clone());
        let node = Node::new("link_code_companion_reg")
            .attr("stage", "refresh_code")
            .attr("force_manual_refresh", if force { "true" } else { "false" })
            .child(leaf("link_code_pairing_ref", reference.unwrap_or_default()));
        self.notify_unpaired(conn, "link_code_companion_reg", node);
    }

    /// A notification on an unpaired connection.
    pub fn notify_unpaired(&mut self, conn: ConnId, kind: &str, child: Node) {
        let node = Node::new("notification")
            .attr("from", Jid::server())
            .attr("type", kind)
            .attr("id", self.stanza_id())
            .attr("t", self.now.secs())
            .child(child);
        let now = self.now;
        if let Some(unpaired) = self.unpaired(conn) {
            let seq = unpaired.outbox.push(node.clone());
            if let Some(entry) = unpaired.outbox.entries.get_mut(&seq) {
                entry.state = super::outbox::State::Sent { conn, at: now, reported: false };
            }
        }
        self.send(conn, &node);
    }
}

fn valid_display(text: &str) -> bool {
    let browsers = ["Chrome", "Edge", "Firefox", "IE", "Opera", "Safari"];
    let systems = ["Windows", "Mac OS", "Linux", "Android", "iOS", "Ubuntu", "Fedora", "Debian"];
    text.strip_suffix(')')
        .and_then(|text| text.split_once(" ("))
        .is_some_and(|(browser, system)| browsers.contains(&browser) && systems.contains(&system))
}

#[cfg(test)]
mod tests {
    use amarula_core::crypto::{KeyPair, PrivateKey};

    use super::{open_bundle, unwrap, wrap, wrap_key};

    fn pair(byte: u8) -> KeyPair {
        KeyPair::from_private(PrivateKey::from_bytes([byte; 32]))
    }

    /// pairing §12.
    #[test]
    fn vectors() {
        assert_eq!(
            hex::encode(wrap_key("ABCD1234", &[1; 32])),
            "81ea77b9286e9570dbe03aceb563e60e2957bcf8126d6dfd727694cea80b5baa"
        );
        let blob = wrap("ABCD1234", &pair(0x11).public, [1; 32], [2; 16]);
        assert_eq!(hex::encode(&blob[48..]), "71ea4004a409dab23a8315f8de41f0d61187dba2adea13ba961bb1c3b95faaaa");
        assert_eq!(unwrap("ABCD1234", &blob), Some(pair(0x11).public));

        let key: [u8; 32] = hex::decode("38ab3807e2cadac3ee72e3f97964b695771c948541a4e33a8c6b0477bea492d9")
            .unwrap()
            .try_into()
            .unwrap();
        let mut plain = [pair(0x22).public.0, pair(0x44).public.0, [5; 32]].concat();
        let tag = amarula_core::crypto::Aes256Gcm::new(&key).seal(&[7; 12], &[], &mut plain);
        assert_eq!(hex::encode(tag), "cb669b05232695cfce9074efbb240d26");
        let bundle = [&[6; 32][..], &[7; 12], &plain, &tag].concat();
        let secret = open_bundle(&bundle, &pair(0x33), &pair(0x11).public, &pair(0x44), &pair(0x22).public).unwrap();
        assert_eq!(hex::encode(secret), "0eaa30765e970ce9fa8ec227a3e59e58b4bcffca09fb458c0478b7dcc1b6dba5");
    }
}
