//! Envelopes from device to device: order, offline recipients, repetition, replacement, who may write.

use std::collections::BTreeSet;

use sealdesk_protocol::conversation::Action;
use sealdesk_protocol::wire::envelope::Envelope;
use sealdesk_protocol::wire::{
    Addressed, BlobCreate, BlobRead, BlobWrite, Code, MAX_BLOB_CHUNK, Position, Reason, SendEphemeral,
    ToClient,
};
use sealdesk_tests::company::Company;
use sealdesk_tests::device::{Device, random};
use sealdesk_tests::pair::Pair;
use sealdesk_tests::relay::Relay;
use sealdesk_tests::talk::post;
use sealdesk_tests::until;

async fn start() -> (Company, Relay) {
    let company = Company::new(11);
    let relay = Relay::start(&company, |_| {}).await;
    (company, relay)
}

#[tokio::test]
async fn messages_go_both_ways_in_order() {
    let (mut company, relay) = start().await;
    let Pair { mut customer, mut agent } = Pair::meet(&mut company, &relay, "mira").await;
    for round in 0..5 {
        for n in 0..20 {
            customer.begin(&format!("question {round}.{n}")).await;
        }
        for n in 0..20 {
            assert_eq!(agent.hear().await, format!("question {round}.{n}"));
        }
        agent.say(&format!("answer {round}")).await.unwrap();
        assert_eq!(customer.hear().await, format!("answer {round}"));
    }
    customer.connection.settle().await;
    relay.stop().await;
}

#[tokio::test]
async fn an_offline_recipient_gets_everything_in_order_and_once() {
    let (mut company, relay) = start().await;
    let Pair { mut customer, mut agent } = Pair::meet(&mut company, &relay, "mira").await;
    agent.connection.settle().await;
    agent.connection.leave().await;
    for n in 0..150 {
        customer.say(&format!("message {n}")).await.expect("stored for an offline recipient");
    }
    agent.connection = agent.device.connect(&relay).await;
    let mut positions = Vec::new();
    for n in 0..150 {
        let delivered = agent.connection.delivery().await;
        assert_eq!(agent.side.unseal(&delivered.item).unwrap(), format!("message {n}").into_bytes());
        positions.push(delivered.position);
    }
    assert!(positions.is_sorted() && positions.iter().collect::<BTreeSet<_>>().len() == 150);

    // Nothing was acknowledged: all of it comes again. Half is acknowledged: the other half comes again.
    agent.reconnect(&relay).await;
    assert_eq!(agent.connection.delivery().await.position, positions[0]);
    agent.connection.ack(positions[74]).await;
    agent.connection.settle().await;
    agent.reconnect(&relay).await;
    assert_eq!(agent.connection.delivery().await.position, positions[75]);
    agent.connection.ack(positions[149]).await;
    agent.connection.settle().await;
    agent.reconnect(&relay).await;
    customer.say("the next").await.unwrap();
    let next = agent.connection.delivery().await;
    assert_eq!(agent.side.unseal(&next.item).unwrap(), b"the next");
    assert!(next.position > positions[149]);
}

#[tokio::test]
async fn acknowledging_another_store_epoch_deletes_nothing() {
    let (mut company, relay) = start().await;
    let Pair { mut customer, mut agent } = Pair::meet(&mut company, &relay, "mira").await;
    customer.say("keep me").await.unwrap();
    let Position { store_epoch, seq } = agent.connection.delivery().await.position;
    agent.connection.ack(Position { store_epoch: store_epoch + 1, seq }).await;
    agent.connection.ack(Position { store_epoch: 0, seq: u64::MAX }).await;
    agent.connection.settle().await;
    agent.reconnect(&relay).await;
    assert_eq!(agent.hear().await, "keep me");
}

#[tokio::test]
async fn a_repeated_envelope_is_stored_once() {
    let (mut company, relay) = start().await;
    let Pair { mut customer, mut agent } = Pair::meet(&mut company, &relay, "mira").await;
    let sealed = customer.side.seal(b"only once");
    for _ in 0..5 {
        let answer = customer.connection.request(sealed.clone()).await;
        assert!(matches!(answer, Ok(ToClient::Done(_))), "a repetition is done as well: {answer:?}");
    }
    // Over a new connection, too: retries after a lost answer.
    customer.reconnect(&relay).await;
    customer.connection.request(sealed).await.unwrap();
    customer.say("after it").await.unwrap();
    assert_eq!(agent.hear().await, "only once");
    assert_eq!(agent.hear().await, "after it");
}

#[tokio::test]
async fn a_second_connection_replaces_the_first_which_is_told() {
    let (mut company, relay) = start().await;
    let Pair { mut customer, mut agent } = Pair::meet(&mut company, &relay, "mira").await;
    let newer = agent.device.connect(&relay).await;
    let older = std::mem::replace(&mut agent.connection, newer);
    let (reason, _) = older.farewell().await;
    assert_eq!(reason, Some(Reason::Replaced));
    customer.say("to the newer one").await.unwrap();
    assert_eq!(agent.hear().await, "to the newer one");
    until(async || (relay.metric("sealdesk_devices").await == 2).then_some(())).await;
}

#[tokio::test]
async fn a_stopped_relay_keeps_what_it_accepted() {
    let (mut company, relay) = start().await;
    let Pair { mut customer, mut agent } = Pair::meet(&mut company, &relay, "mira").await;
    customer.say("before the stop").await.unwrap();
    let before = agent.connection.delivery().await;
    let stopped = tokio::join!(relay.stop(), agent.connection.farewell()).1;
    assert_eq!(stopped.0, Some(Reason::ShuttingDown), "clients are told");
    let relay = Relay::start(&company, |_| {}).await;
    agent.connection = agent.device.connect(&relay).await;
    let again = agent.connection.delivery().await;
    assert_eq!(again, before, "the same item at the same place");
    assert_eq!(agent.side.unseal(&again.item).unwrap(), b"before the stop");
    customer.reconnect(&relay).await;
    customer.say("after the start").await.unwrap();
    assert!(agent.connection.delivery().await.position > before.position);
}

#[tokio::test]
async fn only_listed_devices_write_and_only_to_each_other() {
    let (mut company, relay) = start().await;
    let Pair { mut customer, mut agent } = Pair::meet(&mut company, &relay, "mira").await;
    let sealed = customer.side.seal(b"x");
    let mut outsider = Device::new().connect(&relay).await;
    assert_eq!(outsider.request(sealed.clone()).await.unwrap_err(), Code::NotListed);

    // A listed device writes neither to itself nor to a stranger.
    let mut to_self = sealed.clone();
    to_self.message.to = customer.device.mailbox();
    assert_eq!(customer.connection.request(to_self).await.unwrap_err(), Code::NotListed);
    let mut to_stranger = sealed.clone();
    to_stranger.message.to = Device::new().mailbox();
    assert_eq!(customer.connection.request(to_stranger).await.unwrap_err(), Code::NotListed);

    // The envelope has to name the mailbox that the frame names, be well-formed, and of class store.
    let mut bent = sealed.clone();
    bent.message.envelope[3] ^= 1;
    assert_eq!(customer.connection.request(bent).await.unwrap_err(), Code::Malformed);
    let mut cut = sealed.clone();
    cut.message.envelope.truncate(100);
    assert_eq!(customer.connection.request(cut).await.unwrap_err(), Code::Malformed);
    let mut unknown = sealed.clone();
    unknown.conversation.0[0] ^= 1;
    assert_eq!(customer.connection.request(unknown).await.unwrap_err(), Code::UnknownConversation);
    let typing = customer.side.session.encrypt_ephemeral(b"t", &mut random()).unwrap();
    let mut ephemeral = sealed.clone();
    ephemeral.message = Addressed { to: typing.mailbox, envelope: typing.encode() };
    assert_eq!(customer.connection.request(ephemeral).await.unwrap_err(), Code::Malformed);

    customer.connection.request(sealed).await.unwrap();
    assert_eq!(agent.hear().await, "x", "nothing of the above arrived");
}

#[tokio::test]
async fn typing_reaches_a_connected_peer_and_is_never_stored() {
    let (mut company, relay) = start().await;
    let Pair { mut customer, mut agent } = Pair::meet(&mut company, &relay, "mira").await;
    let frame = |customer: &sealdesk_tests::pair::Person, text: &[u8]| {
        let envelope = customer.side.session.encrypt_ephemeral(text, &mut random()).unwrap();
        let message = Addressed { to: envelope.mailbox, envelope: envelope.encode() };
        SendEphemeral { conversation: customer.side.conversation, message }
    };
    // The agent learns the chain's key from a stored message of it.
    customer.say("now I type").await.unwrap();
    assert_eq!(agent.hear().await, "now I type");
    let typing = frame(&customer, b"typing");
    customer.connection.send(typing).await;
    let heard = agent.connection.find(|frame| match frame {
        ToClient::Ephemeral(ephemeral) => Some(Envelope::decode(&ephemeral.envelope).unwrap()),
        _ => None,
    });
    let heard = heard.await;
    assert_eq!(agent.side.session.decrypt_ephemeral(&heard).unwrap(), b"typing");

    agent.connection.settle().await;
    agent.connection.leave().await;
    let unseen = frame(&customer, b"nobody is there");
    customer.connection.send(unseen).await;
    customer.say("stored").await.unwrap();
    agent.connection = agent.device.connect(&relay).await;
    assert_eq!(agent.hear().await, "stored");
    agent.connection.settle().await;
    let (_, rest) = {
        agent.connection.send_message(tokio_tungstenite::tungstenite::Message::Close(None)).await;
        agent.connection.farewell().await
    };
    assert!(!rest.iter().any(|frame| matches!(frame, ToClient::Ephemeral(_))), "{rest:?}");
}

#[tokio::test]
async fn after_a_close_nothing_new_begins_and_late_mail_still_arrives() {
    let (mut company, relay) = start().await;
    let Pair { mut customer, mut agent } = Pair::meet(&mut company, &relay, "mira").await;
    let close = agent.side.note(&agent.device, |current| Action::Close { current, heads: Vec::new() });
    let id = agent.side.conversation;
    post(&mut agent.connection, id, close.clone(), Vec::new()).await.unwrap();
    assert!(matches!(customer.learn(&agent.device).await.action, Action::Close { .. }));
    assert!(customer.side.governance.closed().is_some());
    customer.say("written before I knew").await.expect("taken until the time to live");
    assert_eq!(agent.hear().await, "written before I knew");

    post(&mut agent.connection, id, close, Vec::new()).await.expect("a repetition is done");
    let second = customer.side.note(&customer.device, |current| Action::Close { current, heads: Vec::new() });
    assert_eq!(post(&mut customer.connection, id, second, Vec::new()).await.unwrap_err(), Code::Closed);
    let blob = sealdesk_protocol::ids::BlobId([1; 16]);
    let create = BlobCreate { req: 0, conversation: id, blob, length: 10, token_hash: [0; 32] };
    assert_eq!(customer.connection.request(create).await.unwrap_err(), Code::Closed);
}

#[tokio::test]
async fn attachments_need_their_capability_and_resume_where_they_stopped() {
    let (mut company, relay) = start().await;
    let Pair { mut customer, mut agent } = Pair::meet(&mut company, &relay, "mira").await;
    let blob = sealdesk_protocol::ids::BlobId([7; 16]);
    let token = [9; 32];
    let bytes: Vec<u8> = (0..MAX_BLOB_CHUNK * 2 + 5).map(|n| (n % 251) as u8).collect();
    let create = BlobCreate {
        req: 0,
        conversation: customer.side.conversation,
        blob,
        length: bytes.len() as u64,
        token_hash: sealdesk_protocol::crypto::kdf::sha256(&token),
    };
    let status = |answer| match answer {
        Ok(ToClient::BlobStatus(status)) => (status.stored, status.complete),
        other => panic!("a status, not {other:?}"),
    };
    let write = |at: usize| BlobWrite {
        req: 0,
        blob,
        offset: at as u64,
        bytes: bytes[at..bytes.len().min(at + MAX_BLOB_CHUNK)].to_vec(),
    };
    let read = |token: [u8; 32], offset: u64| BlobRead { req: 0, blob, token, offset, length: 1 << 20 };
    assert_eq!(status(customer.connection.request(create.clone()).await), (0, false));
    assert_eq!(status(customer.connection.request(write(0)).await), (MAX_BLOB_CHUNK as u64, false));
    assert_eq!(agent.connection.request(read(token, 0)).await.unwrap_err(), Code::UnknownBlob, "not whole");
    assert_eq!(agent.connection.request(write(MAX_BLOB_CHUNK)).await.unwrap_err(), Code::BlobRefused);

    // A gap is not written; another connection goes on where it stopped.
    assert_eq!(status(customer.connection.request(write(2 * MAX_BLOB_CHUNK)).await).0, MAX_BLOB_CHUNK as u64);
    customer.reconnect(&relay).await;
    assert_eq!(status(customer.connection.request(create.clone()).await), (MAX_BLOB_CHUNK as u64, false));
    status(customer.connection.request(write(MAX_BLOB_CHUNK)).await);
    let whole = status(customer.connection.request(write(2 * MAX_BLOB_CHUNK)).await);
    assert_eq!(whole, (bytes.len() as u64, true));

    let mut got = Vec::new();
    while got.len() < bytes.len() {
        match agent.connection.request(read(token, got.len() as u64)).await {
            Ok(ToClient::BlobBytes(part)) => {
                assert!(!part.bytes.is_empty() && part.total == bytes.len() as u64);
                got.extend(part.bytes);
            }
            other => panic!("bytes, not {other:?}"),
        }
    }
    assert_eq!(got, bytes);
    assert_eq!(agent.connection.request(read([8; 32], 0)).await.unwrap_err(), Code::BlobRefused);
    let outsider = BlobCreate { blob: sealdesk_protocol::ids::BlobId([8; 16]), ..create.clone() };
    let mut stranger = Device::new().connect(&relay).await;
    assert_eq!(stranger.request(outsider).await.unwrap_err(), Code::NotListed);
    let huge = BlobCreate { blob: sealdesk_protocol::ids::BlobId([9; 16]), length: 101 << 20, ..create };
    assert_eq!(customer.connection.request(huge).await.unwrap_err(), Code::BlobTooLarge);
}
