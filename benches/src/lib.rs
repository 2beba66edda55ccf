//! What the benchmarks measure with: typical stanzas, a linked engine, a server that can shake hands.

use amarula_core::wire::{Jid, Node};

#[path = "../../core/tests/engine_support/mod.rs"]
pub mod engine_support;
#[path = "../../core/tests/wire_support/mod.rs"]
pub mod wire_support;

/// An inbound text message: one ciphertext of 200 bytes.
#[must_use]
pub fn message_stanza() -> Node {
    Node::new("message")
        .attr("from", Jid::lid("236395184570386").with_device(3))
        .attr("id", "3EB0A9253FA64269E11C9D")
        .attr("type", "text")
        .attr("t", 1_764_814_151u32)
        .attr("notify", "Some Body")
        .attr("addressing_mode", "lid")
        .attr("sender_pn", Jid::pn("15550000001"))
        .child(Node::new("enc").attr("v", "2").attr("type", "msg").bytes(vec![7; 200]))
}

/// The answer to a device query for `users` users: a phone and two companions each, LID, signed key-index list.
#[must_use]
pub fn usync_answer(users: u64) -> Node {
    let user = |n: u64| {
        let device = |id: u32| Node::new("device").attr("id", id).attr("key-index", id);
        let list = Node::new("device-list")
            .attr("hash", format!("2:{n:08}"))
            .child(Node::new("device").attr("id", 0u32))
            .children([7, 12].map(device));
        let keys = Node::new("key-index-list").attr("ts", 1_764_814_151u32).bytes(vec![9; 120]);
        Node::new("user")
            .attr("jid", Jid::pn((15_550_000_000 + n).to_string()))
            .child(Node::new("devices").child(list).child(keys))
            .child(Node::new("lid").attr("val", Jid::lid((236_395_184_570_000 + n).to_string())))
    };
    Node::new("iq").attr("from", Jid::server()).attr("id", "26.3-7").attr("type", "result").child(
        Node::new("usync")
            .attr("context", "message")
            .attr("index", 0u32)
            .attr("last", "true")
            .attr("mode", "query")
            .attr("sid", "26.3-8")
            .child(Node::new("list").children((0..users).map(user))),
    )
}
