//! A server that says anything at any time: nothing panics, nothing is answered twice, and an honest server is served
//! again afterwards.

use amarula_core::crypto::Rng;
use amarula_core::engine::command::{Connect, Logout, RequestPairingCode};
use amarula_core::wire::{Jid, Node};
use amarula_sim::ServerConfig;
use amarula_sim::world::World;

const TAGS: &[&str] = &[
    "iq",
    "iq",
    "iq",
    "ib",
    "success",
    "ack",
    "receipt",
    "notification",
    "message",
    "presence",
    "chatstate",
    "call",
    "nonsense",
    "status",
];
const CHILDREN: &[&str] = &[
    "pair-device",
    "pair-success",
    "ref",
    "device-identity",
    "device",
    "platform",
    "client-props",
    "error",
    "count",
    "digest",
    "list",
    "id",
    "hash",
    "skey",
    "registration",
    "props",
    "prop",
    "privacy",
    "category",
    "offline",
    "offline_preview",
    "edge_routing",
    "routing_info",
    "dirty",
    "client_expiration",
    "link_code_companion_reg",
    "link_code_pairing_ref",
    "link_code_pairing_wrapped_primary_ephemeral_pub",
    "primary_identity_pub",
    "companion_reg_refresh",
    "identity",
    "composing",
    "paused",
    "enc",
    "ping",
    "xml-not-well-formed",
];
const KEYS: &[&str] = &[
    "id",
    "type",
    "from",
    "t",
    "xmlns",
    "lid",
    "jid",
    "count",
    "value",
    "code",
    "stage",
    "class",
    "timestamp",
    "offline",
    "name",
    "hash",
    "participant",
    "to",
    "config_code",
    "config_value",
];
const VALUES: &[&str] = &[
    "result",
    "error",
    "set",
    "get",
    "md",
    "encrypt",
    "link_code_companion_reg",
    "companion_reg_refresh",
    "primary_hello",
    "refresh_code",
    "0",
    "1",
    "7",
    "4294967296",
    "18446744073709551616",
    "-1",
    "",
    "urn:xmpp:ping",
    "groups",
    "account_sync",
    "message",
    "devices",
    "unavailable",
    "9435",
    "none",
    "readreceipts",
    "404",
];

fn pick<'a>(rng: &mut Rng, from: &[&'a str]) -> &'a str {
    from[rng.below(u32::try_from(from.len()).unwrap()) as usize]
}

fn node(rng: &mut Rng, tag: &str, ids: &[String], depth: u32) -> Node {
    let mut node = Node::new(tag);
    if rng.below(4) > 0 {
        node = node.attr("from", Jid::server());
    }
    for _ in 0..rng.below(5) {
        let key = pick(rng, KEYS);
        if node.get(key).is_some() {
            continue;
        }
        node = match rng.below(8) {
            0 => node.attr(key, Jid::pn("15550001").with_device(u16::try_from(rng.below(3)).unwrap())),
            1 => node.attr(key, Jid::lid("900001")),
            2 | 3 if !ids.is_empty() => {
                node.attr(key, ids[rng.below(u32::try_from(ids.len()).unwrap()) as usize].as_str())
            }
            _ => node.attr(key, pick(rng, VALUES)),
        };
    }
    if depth == 0 || rng.below(3) == 0 {
        let size = [0, 1, 3, 20, 32, 64, 80][rng.below(7) as usize];
        let mut bytes = vec![0; size];
        rng.fill(&mut bytes);
        return node.bytes(bytes);
    }
    for _ in 0..=rng.below(3) {
        let tag = pick(rng, CHILDREN);
        node = node.child(self::node(rng, tag, ids, depth - 1));
    }
    node
}

/// Ids of the client's own queries, so that answers of every kind hit open questions.
fn ids(world: &World) -> Vec<String> {
    let lines = world.server.trace().iter().rev().filter(|line| line.from_client);
    lines.filter_map(|line| line.node.get("id")).take(6).map(|id| id.to_string()).collect()
}

#[test]
fn anything_at_any_time() {
    for seed in 0..60u8 {
        let mut rng = Rng::from_seed([seed; 32]);
        let mut world = World::with(seed.into(), ServerConfig { trace: true, ..ServerConfig::default() });
        let account = world.server.add_account("15550001", "900001");
        let client = world.add_client(world.config());
        if seed % 2 == 0 {
            world.pair(client, account);
        } else {
            let _ = world.submit(client, Connect).unwrap();
            world.run_for(500);
        }
        for round in 0..400 {
            if let Some(conn) = world.conn(client) {
                let tag = pick(&mut rng, TAGS);
                let stanza = node(&mut rng, tag, &ids(&world), 3);
                world.server.send_raw(world.now(), conn, &stanza);
            }
            world.run_for([0, 1, 50, 900, 21_000][rng.below(5) as usize]);
            match round {
                100 => {
                    let phone = "15550001".into();
                    let _ = world.submit(client, RequestPairingCode { phone, custom_code: Some("ABCD1234".into()) });
                }
                _ if round % 50 == 0 => drop(world.submit(client, Connect)),
                _ => {}
            }
        }
        // An honest server again.
        world.break_connection(client);
        world.run_for(60_000);
        let _ = world.submit(client, Connect).unwrap();
        world.run_for(5_000);
        if !world.is_open(client) {
            if let Some(qr) = world.qr(client) {
                let _ = world.server.scan_qr(world.now(), account, &qr);
            }
            world.run_for(30 * 60_000);
        }
        // A device that the noise made log out or removed is a fair end; hanging is not.
        let _ = world.submit(client, Connect).unwrap();
        world.run_for(5_000);
        assert!(world.is_open(client) || world.qr(client).is_some(), "seed {seed}");
        if let Ok(ticket) = world.submit(client, Logout) {
            world.run_for(20_000);
            assert!(world.reply(client, ticket).is_some(), "seed {seed}");
        }
    }
}
