//! Attachments: sealed once, uploaded over interruptions, checked before they are opened.

use sealdesk_client::testing::World;
use sealdesk_client::{Command, Event, Part, Phase, TransferState};
use sealdesk_protocol::conversation::MessageId;
use sealdesk_protocol::conversation::content::{Kind, Text};
use sealdesk_protocol::ids::{BlobId, ConversationId};
use sealdesk_protocol::wire::{BlobBytes, Code};

const BLOB: BlobId = BlobId([9; 16]);

fn content(length: usize) -> Vec<u8> {
    (0..length).map(|n| (n % 251) as u8).collect()
}

fn send(world: &mut World, client: usize, id: ConversationId, bytes: Vec<u8>) -> u64 {
    let length = bytes.len() as u64;
    world.clients[client].files.insert((BLOB, Part::File), bytes);
    let (name, media_type) = (Text("bill.pdf".into()), "application/pdf".into());
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

fn uploaded(world: &World, client: usize) -> Option<MessageId> {
    world.clients[client].events.iter().find_map(|e| match e {
        Event::Transfer { state: TransferState::Uploaded(message), .. } => Some(*message),
        _ => None,
    })
}

/// Nothing of the file is left at the sender, and the other side never heard of it.
fn left_nothing(world: &World, [agent, customer]: [usize; 2], id: &ConversationId) {
    for client in [agent, customer] {
        let files = world.clients[client].transcript(id).unwrap();
        assert!(files.iter().all(|m| !matches!(m.kind, Kind::Attachment(_))));
    }
    assert!(world.clients[customer].engine.conversation(id).unwrap().uploads.is_empty());
    assert!(!world.clients[customer].files.contains_key(&(BLOB, Part::Spool)), "the spool is dropped");
    assert!(world.clients[customer].engine.is_with_relay());
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
        let done = |e: &Event| matches!(e, Event::Done { id, .. } if *id == command);
        assert!(world.clients[customer].events.iter().any(done), "{length}");
        assert_eq!(uploaded(&world, customer), received(&world, agent, &id), "{length}");
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
fn the_message_waits_for_its_file_and_nothing_else_does() {
    let (mut world, agent, customer, id) = World::talking(9);
    world.relay.refuse_writes = Some(Code::Unavailable);
    send(&mut world, customer, id, content(100_000));
    world.say(customer, id, "the bill follows");
    world.pass(10_000);
    assert_eq!(world.texts(agent, &id).len(), 1, "texts are not held up");
    assert_eq!(received(&world, agent, &id), None);
    assert!(!world.clients[customer].engine.is_with_relay(), "a program stays until the file is there");
    let view = world.clients[customer].engine.conversation(&id).unwrap();
    let shown: Vec<(&str, u64)> = view.uploads.iter().map(|u| (u.name.as_str(), u.length)).collect();
    assert_eq!(shown, [("bill.pdf", 100_000)], "shown at once");
    // Also after a restart.
    world.restart(customer);
    assert_eq!(world.clients[customer].engine.conversation(&id).unwrap().uploads, view.uploads);
    world.relay.refuse_writes = None;
    world.pass(10_000);
    assert_eq!(uploaded(&world, customer), received(&world, agent, &id));
    let text = world.clients[agent].transcript(&id).unwrap()[0].id;
    assert!(received(&world, agent, &id).unwrap().counter > text.counter, "counted when it left");
    assert!(world.clients[customer].engine.conversation(&id).unwrap().uploads.is_empty());
    assert!(world.clients[customer].engine.is_with_relay());
}

#[test]
fn what_the_relay_refuses_for_good_leaves_no_message_and_can_be_tried_again() {
    for (seed, code) in [(10, Code::BlobTooLarge), (11, Code::Unknown), (12, Code::Conflict)] {
        let (mut world, agent, customer, id) = World::talking(seed);
        world.relay.refuse_writes = Some(code);
        send(&mut world, customer, id, content(100_000));
        world.pass(120_000);
        assert_eq!(failed(&world, customer), [code.as_str()]);
        left_nothing(&world, [agent, customer], &id);
        world.restart(customer);
        left_nothing(&world, [agent, customer], &id);
        world.relay.refuse_writes = None;
        world.relay.forget_blobs();
        send(&mut world, customer, id, content(100_000));
        world.pass(10_000);
        assert!(received(&world, agent, &id).is_some(), "{code:?}");
    }
}

#[test]
fn a_conversation_that_ends_takes_its_uploads_along() {
    let (mut world, agent, customer, id) = World::talking(13);
    world.relay.refuse_writes = Some(Code::Unavailable);
    send(&mut world, customer, id, content(100_000));
    world.pass(2_000);
    world.clients[agent].command(Command::Close { conversation: id });
    world.pass(30_000);
    assert_eq!(failed(&world, customer), ["closed"]);
    left_nothing(&world, [agent, customer], &id);
}

#[test]
fn a_spool_that_cannot_be_read_fails_the_upload() {
    let (mut world, agent, customer, id) = World::talking(14);
    world.up = false;
    world.disconnect_all();
    send(&mut world, customer, id, content(100_000));
    world.settle();
    world.clients[customer].files.clear();
    world.restart(customer);
    world.up = true;
    world.pass(60_000);
    assert_eq!(failed(&world, customer), ["local_file"]);
    left_nothing(&world, [agent, customer], &id);
}

#[test]
fn a_close_waits_for_files_as_long_as_they_move() {
    let (mut world, agent, customer, id) = World::talking(15);
    world.relay.refuse_writes = Some(Code::Unavailable);
    send(&mut world, customer, id, content(100_000));
    world.clients[customer].command(Command::Close { conversation: id });
    world.pass(5_000);
    assert_ne!(world.phase(customer, &id), Some(Phase::Closed));
    world.relay.refuse_writes = None;
    world.pass(10_000);
    assert_eq!(world.phase(agent, &id), Some(Phase::Closed));
    assert!(received(&world, agent, &id).is_some());
    assert_eq!(failed(&world, customer), Vec::<&str>::new());
    // One that does not move is given up.
    let (mut world, agent, customer, id) = World::talking(16);
    world.relay.refuse_writes = Some(Code::Unavailable);
    send(&mut world, customer, id, content(100_000));
    world.clients[customer].command(Command::Close { conversation: id });
    world.pass(60_000);
    assert_eq!(world.phase(agent, &id), Some(Phase::Closed));
    assert_eq!(failed(&world, customer), ["closed"]);
    left_nothing(&world, [agent, customer], &id);
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
fn a_relay_that_lies_of_parts_makes_no_file() {
    type Lie = (&'static str, fn(&mut BlobBytes));
    let lies: [Lie; 5] = [
        ("longer in all", |part| part.total += 1),
        ("another's", |part| part.blob = BlobId([1; 16])),
        ("a part too short", |part| part.bytes.truncate(part.bytes.len() - 1)),
        ("a part too long", |part| part.bytes.push(0)),
        ("other bytes", |part| part.bytes[0] ^= 1),
    ];
    for (what, lie) in lies {
        let (mut world, agent, customer, id) = World::talking(17);
        send(&mut world, customer, id, content(100_000));
        world.pass(5_000);
        world.relay.lie_of_parts = Some(lie);
        let message = received(&world, agent, &id).unwrap();
        let save = world.clients[agent].command(Command::SaveFile { conversation: id, message });
        world.pass(5_000);
        assert_eq!(failed(&world, agent), ["attachment_altered"], "{what}");
        assert!(!world.clients[agent].files.contains_key(&(BLOB, Part::File)), "{what}");
        assert!(!world.clients[agent].files.contains_key(&(BLOB, Part::Spool)), "{what}");
        let events = &world.clients[agent].events;
        assert!(events.iter().any(|e| matches!(e, Event::Failed { id, .. } if *id == save)), "{what}");
    }
}

#[test]
fn parts_that_come_out_of_order_are_asked_for_again() {
    let (mut world, agent, customer, id) = World::talking(18);
    send(&mut world, customer, id, content(300_000));
    world.pass(5_000);
    world.relay.lie_of_parts = Some(|part| part.offset += 1);
    let message = received(&world, agent, &id).unwrap();
    world.clients[agent].command(Command::SaveFile { conversation: id, message });
    world.pass(10_000);
    assert!(failed(&world, agent).is_empty());
    assert!(!world.clients[agent].files.contains_key(&(BLOB, Part::File)));
    world.relay.lie_of_parts = None;
    world.pass(10_000);
    assert_eq!(world.clients[agent].files.get(&(BLOB, Part::File)), Some(&content(300_000)));
}

#[test]
fn files_that_cannot_be_sent_fail_clearly() {
    let (mut world, _, customer, id) = World::talking(8);
    send(&mut world, customer, id, content(2 << 20));
    world.settle();
    assert_eq!(world.problems(customer), ["blob_too_large"]);
    // Shorter than announced.
    world.clients[customer].files.insert((BLOB, Part::File), content(10));
    let (name, media_type) = (Text("a".into()), "text/plain".into());
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
    let (name, media_type) = (Text("a".into()), "text/plain".into());
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

/// A disk may be slower than the relay: what it was read for is over when it comes.
#[test]
fn a_chunk_that_was_read_when_the_relay_had_refused_does_not_stop_an_upload() {
    // How many reads are answered late, and whether so late that the relay has all of it.
    for (late, very) in [(1, false), (2, false), (4, false), (2, true), (4, true)] {
        let (mut world, agent, customer, id) = World::talking(30);
        world.clients[customer].hold_reads = Some(Part::Spool);
        send(&mut world, customer, id, content(400_000));
        world.pass(1_000);
        // Four are being read; some reach the relay, which is busy.
        world.relay.refuse_writes = Some(Code::RateLimited);
        world.clients[customer].release_chunks(4 - late);
        world.settle();
        if late == 4 {
            world.disconnect_all();
            world.settle();
        }
        world.relay.refuse_writes = None;
        world.clients[customer].hold_reads = None;
        if !very {
            world.clients[customer].release_chunks(usize::MAX);
        }
        world.pass(2_000);
        let connections = world.relay.counts["Authenticate"];
        world.pass(10_000);
        assert!(uploaded(&world, customer).is_some(), "{late} came late, {very}");
        world.clients[customer].release_chunks(usize::MAX);
        world.pass(2_000);
        assert_eq!(world.relay.counts["Authenticate"], connections, "by this connection");
        assert!(received(&world, agent, &id).is_some());
        assert_eq!(failed(&world, customer), [""; 0]);
    }
}

/// A slow disk slows the download down: nothing piles up in memory.
#[test]
fn a_download_waits_for_what_is_not_stored() {
    let (mut world, agent, customer, id) = World::talking(118);
    let bytes = content(12 * 32 * 1024);
    send(&mut world, customer, id, bytes.clone());
    world.pass(10_000);
    let message = received(&world, agent, &id).unwrap();
    world.clients[agent].hold_writes = Some(Part::Spool);
    world.clients[agent].command(Command::SaveFile { conversation: id, message });
    let before = world.relay.counts.get("BlobRead").copied().unwrap_or(0);
    world.pass(20_000);
    assert_eq!(world.relay.counts["BlobRead"] - before, 4);
    world.clients[agent].release_chunks(1);
    world.pass(20_000);
    assert_eq!(world.relay.counts["BlobRead"] - before, 5, "one for each that is stored");
    world.clients[agent].hold_writes = None;
    world.clients[agent].release_chunks(usize::MAX);
    world.pass(20_000);
    assert_eq!(world.clients[agent].files[&(BLOB, Part::File)], bytes);
}
