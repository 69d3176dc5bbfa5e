//! Attachments: sealed once, uploaded over interruptions, checked before they are opened.

use sealdesk_client::testing::World;
use sealdesk_client::{Command, Event, Part, TransferState};
use sealdesk_protocol::conversation::MessageId;
use sealdesk_protocol::conversation::content::Kind;
use sealdesk_protocol::ids::{BlobId, ConversationId};

const BLOB: BlobId = BlobId([9; 16]);

fn content(length: usize) -> Vec<u8> {
    (0..length).map(|n| (n % 251) as u8).collect()
}

fn send(world: &mut World, client: usize, id: ConversationId, bytes: Vec<u8>) -> u64 {
    let length = bytes.len() as u64;
    world.clients[client].files.insert((BLOB, Part::File), bytes);
    let (name, media_type) = ("bill.pdf".into(), "application/pdf".into());
    world.clients[client].command(Command::SendFile {
        conversation: id,
        name,
        media_type,
        length,
        transfer: BLOB,
    })
}

fn received(world: &World, client: usize, id: &ConversationId) -> Option<MessageId> {
    let messages = world.clients[client].transcript(id).unwrap();
    messages.into_iter().find(|m| matches!(m.kind, Kind::Attachment(_)) && !m.mine).map(|m| m.id)
}

fn failed(world: &World, client: usize) -> Vec<&'static str> {
    let events = world.clients[client].events.iter();
    events
        .filter_map(|e| match e {
            Event::Transfer { state: TransferState::Failed(problem), .. } => Some(problem.code),
            _ => None,
        })
        .collect()
}

#[test]
fn files_of_every_size_arrive_as_they_were() {
    for (seed, length) in [(1, 0), (2, 1), (3, 32 * 1024), (4, 32 * 1024 + 1), (5, 300_000)] {
        let (mut world, agent, customer, id) = World::talking(seed);
        let command = send(&mut world, customer, id, content(length));
        world.pass(5_000);
        let done = |e: &Event| matches!(e, Event::Done { id, message: Some(_), .. } if *id == command);
        assert!(world.clients[customer].events.iter().any(done), "{length}");
        let message = received(&world, agent, &id).unwrap();
        let save = world.clients[agent].command(Command::SaveFile { conversation: id, message });
        world.pass(5_000);
        assert!(
            world.clients[agent].events.iter().any(|e| matches!(e, Event::Done { id, .. } if *id == save))
        );
        assert_eq!(world.clients[agent].files.get(&(BLOB, Part::File)), Some(&content(length)), "{length}");
        for client in [agent, customer] {
            assert!(!world.clients[client].files.contains_key(&(BLOB, Part::Spool)), "spools are dropped");
        }
        // The relay saw ciphertext only, longer than the file.
        let plain = content(length);
        assert!(
            length < 16 || world.relay.envelopes.iter().all(|e| !e.windows(16).any(|w| w == &plain[..16]))
        );
    }
}

#[test]
fn an_upload_goes_on_where_it_stopped() {
    let (mut world, agent, customer, id) = World::talking(6);
    send(&mut world, customer, id, content(400_000));
    world.up = false;
    world.disconnect_all();
    world.settle();
    let spool = world.clients[customer].files[&(BLOB, Part::Spool)].clone();
    // The file changes and the program dies: the spool is what goes up.
    world.clients[customer].files.insert((BLOB, Part::File), vec![0; 400_000]);
    world.restart(customer);
    world.up = true;
    world.cut = Some(7);
    world.pass(60_000);
    world.cut = None;
    world.pass(120_000);
    let message = received(&world, agent, &id).unwrap();
    world.clients[agent].command(Command::SaveFile { conversation: id, message });
    world.pass(10_000);
    assert_eq!(world.clients[agent].files.get(&(BLOB, Part::File)), Some(&content(400_000)));
    assert!(spool.len() > 400_000);
}

#[test]
fn an_altered_attachment_is_never_opened() {
    let (mut world, agent, customer, id) = World::talking(7);
    send(&mut world, customer, id, content(100_000));
    world.pass(5_000);
    world.relay.damage_blob(&BLOB);
    let message = received(&world, agent, &id).unwrap();
    world.clients[agent].command(Command::SaveFile { conversation: id, message });
    world.pass(5_000);
    assert_eq!(failed(&world, agent), ["attachment_altered"]);
    assert!(!world.clients[agent].files.contains_key(&(BLOB, Part::File)), "nothing was written");
}

#[test]
fn files_that_cannot_be_sent_fail_clearly() {
    let (mut world, _, customer, id) = World::talking(8);
    send(&mut world, customer, id, content(2 << 20));
    world.settle();
    assert_eq!(world.problems(customer), ["blob_too_large"]);
    // Shorter than announced.
    world.clients[customer].files.insert((BLOB, Part::File), content(10));
    let (name, media_type) = ("a".into(), "text/plain".into());
    world.clients[customer].command(Command::SendFile {
        conversation: id,
        name,
        media_type,
        length: 50_000,
        transfer: BLOB,
    });
    world.pass(1_000);
    assert_eq!(failed(&world, customer), ["file_changed"]);
    // Gone.
    world.clients[customer].files.clear();
    let (name, media_type) = ("a".into(), "text/plain".into());
    world.clients[customer].command(Command::SendFile {
        conversation: id,
        name,
        media_type,
        length: 5,
        transfer: BLOB,
    });
    world.pass(1_000);
    assert_eq!(failed(&world, customer), ["file_changed", "local_file"]);
    assert_eq!(world.clients[customer].transcript(&id).unwrap().len(), 0, "no message without its file");
}
