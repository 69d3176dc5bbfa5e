//! One whole handshake and ratchet run with a seeded generator, pinned byte for byte.
//!
//! `SEALDESK_WRITE_VECTORS=1 cargo test -p sealdesk-protocol golden` writes the file anew: only after a deliberate change of
//! the protocol, with its version raised.

use std::fmt::Write as _;
use std::path::Path;

use sealdesk_protocol::fingerprint::SafetyNumber;
use sealdesk_protocol::ids::RootHash;

use crate::world::*;

const FILE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/vectors/session.hex");

fn run() -> String {
    let mut out = String::new();
    let mut line = |name: &str, bytes: &[u8]| {
        let hex: String = bytes.iter().map(|b| format!("{b:02x}")).collect();
        writeln!(out, "{name} = {hex}").unwrap();
    };
    let mut world = World::new(2026, true);
    for (name, device) in [("customer", &world.customer), ("agent", &world.agent)] {
        line(&format!("{name} ed25519"), &device.public().ed);
        line(&format!("{name} x25519"), &device.public().x);
        line(&format!("{name} hash"), device.hash().as_bytes());
        line(&format!("{name} mailbox"), device.public().mailbox().as_bytes());
    }
    line("bundle", &postcard::to_allocvec(&world.bundle()).unwrap());
    let mut customer = world.initiate();
    line("session", customer.id().as_bytes());
    let first = send(&mut customer, b"Hello", &mut world.rng);
    let second = send(&mut customer, b"Is anybody there?", &mut world.rng);
    line("customer 1", &first.encode());
    line("customer 2", &second.encode());
    let mut agent = world.accept(&first).unwrap().session;
    let answer = send(&mut agent, b"Good morning", &mut world.rng);
    line("agent 1", &answer.encode());
    assert_eq!(receive(&mut customer, &answer), Ok(b"Good morning".to_vec()));
    let third = send(&mut customer, b"My order is late", &mut world.rng);
    line("customer 3", &third.encode());
    assert_eq!(receive(&mut agent, &third), Ok(b"My order is late".to_vec()));
    let typing = customer.encrypt_ephemeral(b"typing", &mut world.rng).unwrap();
    line("customer typing", &typing.encode());
    line("customer state", &customer.to_stored());
    let (state, skipped) = freeze(&agent);
    line("agent state", &state);
    line("agent skipped 2", &skipped[0]);
    let (a, b) = (world.customer.hash(), world.agent.hash());
    let number = SafetyNumber::of(&RootHash([1; 32]), &binding().conversation, &a, &b);
    line("safety number", number.to_string().as_bytes());
    out
}

#[test]
fn golden_session() {
    let now = run();
    if std::env::var_os("SEALDESK_WRITE_VECTORS").is_some() {
        std::fs::create_dir_all(Path::new(FILE).parent().unwrap()).unwrap();
        std::fs::write(FILE, &now).unwrap();
    }
    let pinned = std::fs::read_to_string(FILE).unwrap();
    for (now, pinned) in now.lines().zip(pinned.lines()) {
        let name = now.split(" = ").next();
        assert!(now == pinned, "{name:?} differs from the pinned vector");
    }
    assert_eq!(now.lines().count(), pinned.lines().count());
}

/// A state stored by this version of the format is read by all later ones.
#[test]
fn golden_state_still_works() {
    let pinned = std::fs::read_to_string(FILE).unwrap();
    let get = |name: &str| -> Vec<u8> {
        let line = pinned.lines().find_map(|l| l.strip_prefix(name)?.strip_prefix(" = ")).unwrap();
        (0..line.len()).step_by(2).map(|i| u8::from_str_radix(&line[i..i + 2], 16).unwrap()).collect()
    };
    let mut customer = thaw(&(get("customer state"), Vec::new()));
    let mut agent = thaw(&(get("agent state"), vec![get("agent skipped 2")]));
    let late = sealdesk_protocol::wire::envelope::Envelope::decode(&get("customer 2")).unwrap();
    assert_eq!(receive(&mut agent, &late), Ok(b"Is anybody there?".to_vec()));
    let mut rng = rng(1);
    let answer = send(&mut agent, b"It is on its way", &mut rng);
    assert_eq!(receive(&mut customer, &answer), Ok(b"It is on its way".to_vec()));
}
