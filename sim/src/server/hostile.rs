//! What only a hostile server can do. For tests of clients.

use amarula_core::wire::Node;

use super::{AccountId, ConnId, DeviceKey, Server, ServerOutput};
use crate::codec::frame;
use crate::signal::Addr;
use crate::time::SimTime;

impl Server {
    /// Sends any bytes as the plaintext of a good frame.
    pub fn send_plaintext(&mut self, now: SimTime, conn: ConnId, plaintext: Vec<u8>) {
        self.advance(now);
        if let Some(tx) = self.conns.get_mut(&conn).and_then(|state| state.tx.as_mut()) {
            let bytes = frame(&tx.seal(plaintext));
            self.outputs.push_back(ServerOutput::Send(conn, bytes));
        }
    }

    /// Sends any bytes as they are, outside the cipher.
    pub fn send_bytes(&mut self, now: SimTime, conn: ConnId, bytes: Vec<u8>) {
        self.advance(now);
        self.outputs.push_back(ServerOutput::Send(conn, bytes));
    }

    /// What a phone would send to one device as the ciphertext of exactly these bytes, which should be padded: the type
    /// (`msg`, `pkmsg`) and the bytes of an `<enc>`.
    pub fn phone_encrypts(
        &mut self,
        now: SimTime,
        account: AccountId,
        target: DeviceKey,
        padded: &[u8],
    ) -> Option<Node> {
        self.advance(now);
        // Makes the session, if there is none; its ciphertext is not used.
        self.phone_encrypt(account, target, &[])?;
        let addr: Addr = (self.accounts.get(&target.0)?.lid.clone(), target.1);
        let (kind, bytes) = self.accounts.get_mut(&account)?.phone.endpoint.encrypt(&addr, padded).ok()?;
        Some(Node::new("enc").attr("v", "2").attr("type", kind.as_str()).bytes(bytes))
    }
}
