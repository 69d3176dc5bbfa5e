//! The vault under crashes, damage, deletion and rollback.

use sealdesk_client::testing::{Crash, World};
use sealdesk_client::{Command, Corrupt, FileBytes, Input, MessageState, Output, Part, Phase};
use sealdesk_protocol::conversation::content::{Kind, Text};
use sealdesk_protocol::conversation::statements::{Action, Statement};
use sealdesk_protocol::ids::{BlobId, StatementHash};
use sealdesk_protocol::wire::{Item, StatementItem};

use crate::raw::{Raw, consent, open_statement};

#[test]
fn killed_at_every_step_everything_is_still_said_once() {
    for crash in [Crash::BeforeCommit, Crash::AfterCommit] {
        for at in 1..40 {
            let mut world = World::new(at);
            let agent = world.add_agent("mira", "Mira");
            let customer = world.add_customer();
            world.pass(2_000);
            let id = world.conversation(customer);
            world.say(customer, id, "hello");
            world.settle_committing(customer);
            // From here on, one of them dies at its n-th write.
            world.clients[if at % 2 == 0 { agent } else { customer }].crash_in(at / 2, crash);
            world.pass(3_000);
            if world.phase(agent, &id) == Some(Phase::Active) {
                world.say(agent, id, "hi");
                world.pass(1_000);
            }
            world.pass(120_000);
            let told: Vec<String> =
                world.texts(agent, &id).into_iter().filter(|m| !m.0).map(|m| m.1).collect();
            assert_eq!(told, ["hello"], "{crash:?} at {at}");
            assert!(
                world.texts(customer, &id).iter().all(|m| !m.0 || m.2 == MessageState::Delivered),
                "{crash:?} at {at}: {:?}",
                world.texts(customer, &id)
            );
            assert_eq!(world.phase(customer, &id), Some(Phase::Active), "{crash:?} at {at}");
        }
    }
}

#[test]
fn a_restart_shows_the_same() {
    let (mut world, agent, customer, id) = World::talking(2);
    for n in 0..10 {
        world.say(if n % 3 == 0 { agent } else { customer }, id, &format!("text {n}"));
        world.pass(700);
    }
    for client in [agent, customer] {
        let (before, texts) =
            (world.clients[client].engine.conversation(&id).unwrap(), world.texts(client, &id));
        world.restart(client);
        assert_eq!(world.clients[client].engine.conversation(&id).unwrap(), before);
        assert_eq!(world.texts(client, &id), texts);
    }
    // Pages, newest first, of bounded size.
    let engine = &world.clients[agent].engine;
    assert_eq!(engine.page_names(&id, u64::MAX, 4).len(), 4);
    let messages = world.clients[agent].transcript(&id).unwrap();
    let places: Vec<u64> = messages.iter().map(|m| m.place).collect();
    assert_eq!(places, (1..=10).collect::<Vec<u64>>());
    assert_eq!(engine.page_names(&id, 3, 50).len(), 2);
}

#[test]
fn a_damaged_row_is_a_clear_error() {
    let (mut world, _, customer, _) = World::talking(3);
    let now = world.now();
    let rows = world.clients[customer].rows.clone();
    for name in rows.keys().filter(|n| sealdesk_client::is_hot(n.0[0])) {
        let mut damaged = rows.clone();
        *damaged.get_mut(name).unwrap().last_mut().unwrap() ^= 1;
        world.clients[customer].take_over(&damaged);
        let error = world.clients[customer].reopen(now).unwrap_err();
        assert!(matches!(error, Corrupt::Record(_) | Corrupt::WrongKey), "{error}");
    }
    // A whole missing row, where others rest on it.
    for kind in [0x01u8, 0x02, 0x03, 0x04, 0x05, 0x07, 0x08] {
        let mut missing = rows.clone();
        missing.retain(|n, _| n.0[0] != kind);
        world.clients[customer].take_over(&missing);
        assert!(world.clients[customer].reopen(now).is_err(), "kind {kind}");
    }
    world.clients[customer].take_over(&rows);
    assert_eq!(world.clients[customer].reopen(now), Ok(()));
}

#[test]
fn rows_of_a_later_copy_do_not_pass() {
    let (mut world, _, customer, id) = World::talking(4);
    let early = world.clients[customer].rows.clone();
    world.say(customer, id, "later");
    world.pass(1_000);
    let mut mixed = early;
    let later = world.clients[customer].rows.iter().filter(|(n, _)| n.0[0] == 0x08);
    mixed.extend(later.map(|(n, r)| (*n, r.clone())));
    world.clients[customer].take_over(&mixed);
    let now = world.now();
    assert_eq!(
        world.clients[customer].reopen(now),
        Err(Corrupt::Inconsistent("a record is newer than the vault"))
    );
}

#[test]
fn nothing_readable_is_in_the_rows_and_deleting_shreds() {
    let (mut world, agent, customer, id) = World::talking(5);
    world.say(customer, id, "a secret that nobody may find");
    world.pass(2_000);
    for client in [agent, customer] {
        for row in world.clients[client].rows.values() {
            assert!(!row.windows(6).any(|w| w == b"secret" || w == b"genera"));
        }
    }
    let before = world.clients[customer].rows.clone();
    world.clients[customer].command(Command::Delete { conversation: id });
    world.settle();
    assert!(world.clients[customer].engine.conversations().is_empty());
    let left = &world.clients[customer].rows;
    assert_eq!(left.len(), 2, "description and generation stay: {:?}", left.keys().collect::<Vec<_>>());
    // What an old page still holds does not open without the key's row.
    let mut stale = before;
    stale.retain(|name, _| name.0[0] != 0x03);
    let now = world.now();
    let kept = world.clients[customer].rows.clone();
    world.clients[customer].take_over(&stale);
    assert!(world.clients[customer].reopen(now).is_err());
    world.clients[customer].take_over(&kept);
    assert_eq!(world.clients[customer].reopen(now), Ok(()));
    let again = world.conversation(customer);
    world.pass(5_000);
    assert_eq!(world.phase(customer, &again), Some(Phase::Active));
}

#[test]
fn what_still_arrives_of_a_deleted_conversation_is_ignored() {
    let (mut world, agent, customer, id) = World::talking(9);
    world.clients[agent].command(Command::Delete { conversation: id });
    world.settle();
    world.say(customer, id, "are you there?");
    world.clients[customer].command(Command::Close { conversation: id });
    world.pass(30_000);
    assert!(world.clients[agent].engine.conversations().is_empty());
    assert_eq!(world.relay.stored_items(), 0);
    let waiting = world.clients[agent].rows.keys().filter(|n| n.0[0] == 0x0f).count();
    assert_eq!(waiting, 0, "nothing waits for a statement that will not come");
    // The open statement once more, from a restored relay.
    world.relay.restore();
    world.disconnect_all();
    world.pass(30_000);
    assert!(world.clients[agent].engine.conversations().is_empty());
}

#[test]
fn org_json_never_goes_back() {
    let mut world = World::new(6);
    let customer = world.add_customer();
    let old = world.org.verified();
    world.org.settings.version = 2;
    world.org.revoke(3, world.org.now, Vec::new());
    let new = world.org.verified();
    world.clients[customer].command(Command::UpdateOrg { org: Box::new(new.clone()) });
    world.settle();
    world.clients[customer].command(Command::UpdateOrg { org: Box::new(old.clone()) });
    world.settle();
    assert_eq!(world.problems(customer), ["org_refused"]);
    assert_eq!(world.clients[customer].engine.floor().revocations.number(), 3);
    let now = world.now();
    world.clients[customer].set_org(old);
    assert_eq!(world.clients[customer].reopen(now), Err(Corrupt::OrganisationRollback));
    let other = World::new(77).org.verified();
    world.clients[customer].set_org(other);
    assert_eq!(world.clients[customer].reopen(now), Err(Corrupt::ForeignOrganisation));
    world.clients[customer].set_org(new);
    assert_eq!(world.clients[customer].reopen(now), Ok(()));
}

/// A vault that was opened with a newer org.json has seen it, though nobody told it of another one while it was open.
#[test]
fn org_json_that_a_vault_was_opened_with_is_remembered() {
    let mut world = World::new(6);
    let customer = world.add_customer();
    let issuers = world.org.verified();
    world.org.next_issuer(8);
    let second = world.org.verified();
    world.org.revoke(3, world.org.now, Vec::new());
    let listed = world.org.verified();
    let now = world.now();
    for (newer, older) in [(&second, &issuers), (&listed, &second)] {
        world.clients[customer].set_org(newer.clone());
        assert_eq!(world.clients[customer].reopen(now), Ok(()));
        let before = world.clients[customer].written.0;
        world.settle();
        assert_eq!(world.clients[customer].written.0 - before, 2, "the description, and the generation");
        world.clients[customer].set_org(older.clone());
        assert_eq!(world.clients[customer].reopen(now), Err(Corrupt::OrganisationRollback));
        world.clients[customer].set_org(newer.clone());
        assert_eq!(world.clients[customer].reopen(now), Ok(()));
        let before = world.clients[customer].written.0;
        world.settle();
        assert_eq!(world.clients[customer].written.0, before, "nothing is newer");
    }
}

#[test]
fn the_wrong_key_opens_nothing() {
    let mut world = World::new(7);
    let customer = world.add_customer();
    world.clients[customer].set_key([0xee; 32]);
    let now = world.now();
    assert_eq!(world.clients[customer].reopen(now), Err(Corrupt::WrongKey));
}

#[test]
fn debug_shows_neither_keys_nor_texts() {
    let (mut world, agent, customer, id) = World::talking(8);
    world.say(customer, id, "unspeakable");
    world.pass(1_000);
    let shown = format!("{:?} {:?}", world.clients[agent].engine, world.clients[customer].engine);
    assert!(!shown.contains("unspeakable"));
    let view = world.clients[agent].transcript(&id).unwrap();
    assert!(matches!(view[0].kind, Kind::Text(_)) && !format!("{view:?}").contains("unspeakable"));
    let command = Command::Send { conversation: id, kind: view[0].kind.clone() };
    assert!(!format!("{command:?}").contains("unspeakable"));
    let (transfer, bytes) = (BlobId([1; 16]), FileBytes(b"unspeakable".to_vec()));
    let name = Text("unspeakable.pdf".into());
    let file = Command::SendFile { conversation: id, name, media_type: String::new(), length: 1, transfer };
    let read = Input::Chunk { transfer, part: Part::File, offset: 0, bytes: bytes.clone() };
    let write = Output::WriteChunk { transfer, part: Part::File, offset: 0, bytes };
    let shown = format!("{file:?} {read:?} {write:?}");
    assert!(!shown.contains("unspeakable") && !shown.contains("117, 110"), "{shown}");
}

/// A machine that was enrolled anew keeps the conversations of its device before, whatever is said about them to the new one.
#[test]
fn a_conversation_of_the_device_before_is_not_begun_again() {
    let mut raw = Raw::new(10);
    raw.say(&Raw::text(1, "long ago"));
    let old = raw.agent_device();
    let rows = raw.world.clients[raw.agent].rows.clone();
    raw.say(&Raw::text(2, "seen by the newer copy only"));
    raw.world.clients[raw.agent].take_over(&rows);
    raw.world.restart(raw.agent);
    raw.world.pass(60_000);
    let fresh = raw.world.clients[raw.agent].engine.agent_public().unwrap();
    assert_ne!(fresh.hash(), old);
    let chain = raw.world.org.agent_chain("mira", "Mira", fresh);
    raw.world.clients[raw.agent].command(Command::InstallCertificate { chain });
    raw.world.pass(5_000);
    let consent = consent(&raw.world, &raw.secret, raw.id);
    let again = open_statement(&raw.world, raw.agent, &raw.secret, &consent).sign(&raw.secret);
    raw.inject(Item::Statement(StatementItem { statement: again, agent: None, consent: Some(consent) }));
    raw.world.restart(raw.agent);
    raw.world.pass(1_000);
    assert_eq!(raw.shown(), ["long ago"]);
}

/// What an agent's device could not use of a conversation goes with it: it was decrypted.
#[test]
fn deleting_takes_what_was_set_aside_along() {
    let mut raw = Raw::new(11);
    raw.say(&Raw::text(1, "one"));
    raw.say(&Raw::text(1, "another"));
    let action = Action::Close { current: StatementHash([7; 32]), heads: Vec::new() };
    let orphan = Statement {
        root: raw.world.org.root_hash(),
        conversation: raw.id,
        epoch: 1,
        signer: raw.secret.hash(),
        time: 0,
        expires: u64::MAX,
        action,
    };
    let statement = orphan.sign(&raw.secret);
    raw.inject(Item::Statement(StatementItem { statement, agent: None, consent: None }));
    let rows = |raw: &Raw, kind| raw.world.clients[raw.agent].rows.keys().filter(|n| n.0[0] == kind).count();
    assert_eq!((rows(&raw, 0x81), rows(&raw, 0x0f)), (1, 1));
    raw.world.clients[raw.agent].command(Command::Delete { conversation: raw.id });
    raw.world.settle();
    assert_eq!((rows(&raw, 0x81), rows(&raw, 0x0f)), (0, 0));
}
