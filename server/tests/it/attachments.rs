//! Attachments over the socket.

use sealdesk_protocol::conversation::Action;
use sealdesk_protocol::ids::BlobId;
use sealdesk_protocol::wire::envelope::Class;
use sealdesk_protocol::wire::{BlobCreate, BlobRead, BlobWrite, Code, MAX_BLOB_CHUNK, ToClient};
use sealdesk_relay::clock::{DAY_MS, now_ms};
use sealdesk_relay::store::Store;
use sealdesk_relay::store::sled::SledStore;
use sha2::{Digest, Sha256};

use crate::client::{Client, Party, envelope, random};
use crate::harness::TestRelay;
use crate::talk::Talk;

const MIB: u64 = 1 << 20;

struct Blob {
    id: BlobId,
    token: [u8; 32],
    bytes: Vec<u8>,
}

impl Blob {
    fn new(length: usize) -> Self {
        let bytes = (0..length).map(|n| (n % 251) as u8).collect();
        Self { id: BlobId(random()), token: random(), bytes }
    }

    async fn create(&self, client: &mut Client, talk: &Talk, length: u64) -> Result<(u64, bool), Code> {
        let req = client.number();
        let token_hash = Sha256::digest(self.token).into();
        client.send(BlobCreate { req, conversation: talk.id, blob: self.id, length, token_hash }).await;
        status(client, req).await
    }

    async fn write(&self, client: &mut Client, offset: usize, length: usize) -> Result<(u64, bool), Code> {
        let req = client.number();
        let bytes = self.bytes[offset..offset + length].to_vec();
        client.send(BlobWrite { req, blob: self.id, offset: offset as u64, bytes }).await;
        status(client, req).await
    }

    async fn read(&self, client: &mut Client, token: [u8; 32], offset: u64) -> Result<Vec<u8>, Code> {
        let req = client.number();
        let length = MAX_BLOB_CHUNK as u32;
        client.send(BlobRead { req, blob: self.id, token, offset, length }).await;
        match client.answer(req).await {
            ToClient::BlobBytes(part) => Ok(part.bytes),
            ToClient::Error(error) => Err(error.code),
            other => panic!("{other:?}"),
        }
    }
}

async fn status(client: &mut Client, req: u32) -> Result<(u64, bool), Code> {
    match client.answer(req).await {
        ToClient::BlobStatus(status) => Ok((status.stored, status.complete)),
        ToClient::Error(error) => Err(error.code),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn written_in_order_resumed_and_read_with_the_capability() {
    let mut relay = TestRelay::start().await;
    let (mut customer, mut agent) = (relay.customer().await, relay.agent("mira").await);
    let talk = Talk::opened(&relay.organisation, &mut customer, &mut agent, "mira").await;
    let chunk = MAX_BLOB_CHUNK;
    let blob = Blob::new(2 * chunk + 100);
    let total = blob.bytes.len() as u64;
    assert_eq!(blob.write(&mut customer, 0, 10).await, Err(Code::UnknownBlob), "not announced");
    assert_eq!(blob.create(&mut customer, &talk, total).await, Ok((0, false)));
    assert_eq!(blob.write(&mut customer, 0, chunk).await, Ok((chunk as u64, false)));
    assert_eq!(
        blob.write(&mut customer, 10, chunk).await,
        Ok((chunk as u64, false)),
        "not where it ends: told where"
    );
    assert_eq!(blob.write(&mut agent, chunk, chunk).await, Err(Code::BlobRefused), "somebody else's");
    assert_eq!(blob.read(&mut agent, blob.token, 0).await, Err(Code::UnknownBlob), "not whole yet");

    relay.stop().await;
    relay.launch().await;
    let mut customer = customer.reconnect(relay.address, Party::Customer).await;
    let goes_on = blob.create(&mut customer, &talk, total).await;
    assert_eq!(goes_on, Ok((0, false)), "the last chunk is asked for again after a restart");
    assert_eq!(blob.write(&mut customer, 0, chunk).await, Ok((chunk as u64, false)));
    assert_eq!(blob.write(&mut customer, chunk, chunk).await, Ok((2 * chunk as u64, false)));
    assert_eq!(blob.write(&mut customer, 2 * chunk, 100).await, Ok((total, true)));
    assert_eq!(blob.write(&mut customer, 2 * chunk, 100).await, Ok((total, true)), "again: as it is");
    assert_eq!(blob.create(&mut customer, &talk, total).await, Ok((total, true)));
    assert_eq!(blob.create(&mut customer, &talk, total + 1).await, Err(Code::BlobRefused), "another length");

    let chain = relay.organisation.chain(&relay.organisation.certificate("mira", &agent.device));
    let mut agent = agent.reconnect(relay.address, Party::Agent(chain)).await;
    let mut read = Vec::new();
    while read.len() < blob.bytes.len() {
        read.extend(blob.read(&mut agent, blob.token, read.len() as u64).await.unwrap());
    }
    assert_eq!(read, blob.bytes);
    assert_eq!(blob.read(&mut agent, random(), 0).await, Err(Code::BlobRefused), "wrong capability");
    let hash: [u8; 32] = Sha256::digest(blob.token).into();
    assert_eq!(
        blob.read(&mut agent, hash, 0).await,
        Err(Code::BlobRefused),
        "what the disk holds does not open it"
    );
    assert_eq!(relay.metric("blob_bytes").await, 2 * chunk as u64 + 100);
    std::fs::remove_file(relay.raw.data.join("blobs").join(blob.id.to_string())).unwrap();
    let lost = blob.read(&mut agent, blob.token, 0).await;
    assert_eq!(lost, Err(Code::UnknownBlob), "lost for good: nobody waits for it");
}

#[tokio::test]
async fn who_may_announce_and_how_much() {
    let relay = TestRelay::with(|raw, _| {
        raw.limits.attachment_mib = 1;
        raw.limits.attachments_per_hour = 2;
    })
    .await;
    let (mut customer, mut agent) = (relay.customer().await, relay.agent("mira").await);
    let talk = Talk::opened(&relay.organisation, &mut customer, &mut agent, "mira").await;
    let mut stranger = relay.customer().await;
    assert_eq!(Blob::new(1).create(&mut stranger, &talk, 1).await, Err(Code::NotListed));
    let large = Blob::new(1);
    assert_eq!(large.create(&mut customer, &talk, (1 << 20) + 1).await, Err(Code::BlobTooLarge));
    assert_eq!(large.create(&mut customer, &talk, 0).await, Err(Code::BlobTooLarge));
    let blob = Blob::new(100);
    assert_eq!(blob.create(&mut customer, &talk, 50).await, Ok((0, false)));
    assert_eq!(blob.write(&mut customer, 0, 51).await, Err(Code::BlobTooLarge), "more than announced");
    assert_eq!(blob.write(&mut customer, 0, 0).await, Err(Code::TooLarge), "nothing");
    assert_eq!(blob.write(&mut customer, 0, 1).await, Err(Code::Malformed), "no flush for each byte");
    assert_eq!(blob.create(&mut agent, &talk, 50).await, Err(Code::BlobRefused), "the id is taken");
    Blob::new(1).create(&mut customer, &talk, 1).await.unwrap();
    assert_eq!(Blob::new(1).create(&mut customer, &talk, 1).await, Err(Code::RateLimited));
}

#[tokio::test]
async fn all_attachments_of_a_conversation_have_a_limit_together() {
    let mut relay = TestRelay::with(|raw, _| {
        (raw.limits.attachment_mib, raw.limits.conversation_attachments_mib) = (2, 2);
    })
    .await;
    let (mut customer, mut agent) = (relay.customer().await, relay.agent("mira").await);
    let talk = Talk::opened(&relay.organisation, &mut customer, &mut agent, "mira").await;
    let first = Blob::new(1);
    first.create(&mut customer, &talk, MIB).await.unwrap();
    first.create(&mut customer, &talk, MIB).await.unwrap();
    relay.stop().await;
    relay.launch().await;
    let mut customer = customer.reconnect(relay.address, Party::Customer).await;
    assert_eq!(Blob::new(1).create(&mut customer, &talk, MIB + 1).await, Err(Code::AttachmentsFull));
    Blob::new(1).create(&mut customer, &talk, MIB).await.unwrap();
    assert_eq!(Blob::new(1).create(&mut customer, &talk, 1).await, Err(Code::AttachmentsFull));
    let chain = relay.organisation.chain(&relay.organisation.certificate("mira", &agent.device));
    let mut agent = agent.reconnect(relay.address, Party::Agent(chain)).await;
    let other = Talk::opened(&relay.organisation, &mut customer, &mut agent, "mira").await;
    Blob::new(1).create(&mut customer, &other, MIB).await.unwrap();
}

#[tokio::test]
async fn an_upload_cut_off_before_its_last_step_goes_on_and_stray_files_go() {
    let mut relay = TestRelay::start().await;
    let (mut customer, mut agent) = (relay.customer().await, relay.agent("mira").await);
    let talk = Talk::opened(&relay.organisation, &mut customer, &mut agent, "mira").await;
    let blob = Blob::new(MAX_BLOB_CHUNK + 100);
    let total = blob.bytes.len() as u64;
    blob.create(&mut customer, &talk, total).await.unwrap();
    relay.stop().await;
    let folder = relay.raw.data.join("blobs");
    std::fs::write(folder.join(format!("{}.part", blob.id)), &blob.bytes).unwrap();
    let strays = [folder.join(BlobId([9; 16]).to_string()), folder.join(format!("{}.part", BlobId([8; 16])))];
    strays.iter().for_each(|path| std::fs::write(path, "left behind").unwrap());
    relay.launch().await;
    let mut customer = customer.reconnect(relay.address, Party::Customer).await;
    assert!(strays.iter().all(|path| !path.exists()));
    let (stored, complete) = blob.create(&mut customer, &talk, total).await.unwrap();
    assert_eq!((stored, complete), (MAX_BLOB_CHUNK as u64, false));
    assert_eq!(blob.write(&mut customer, MAX_BLOB_CHUNK, 100).await, Ok((total, true)));
    let read = blob.read(&mut customer, blob.token, MAX_BLOB_CHUNK as u64).await.unwrap();
    assert_eq!(read, blob.bytes[MAX_BLOB_CHUNK..]);
}

async fn announce(client: &mut Client, talk: &Talk, length: u64) -> Result<(u64, bool), Code> {
    Blob::new(1).create(client, talk, length).await
}

async fn accept(agent: &mut Client, talk: &Talk) {
    agent.post(talk, 1, Action::Accept { current: talk.epoch_statement }).await.unwrap();
}

#[tokio::test]
async fn a_customer_announces_little_before_an_agent_accepts() {
    let relay = TestRelay::with(|raw, _| raw.limits.unaccepted_attachments_mib = 2).await;
    let (mut customer, mut agent) = (relay.customer().await, relay.agent("mira").await);
    let talk = Talk::opened(&relay.organisation, &mut customer, &mut agent, "mira").await;
    announce(&mut customer, &talk, MIB).await.unwrap();
    assert_eq!(announce(&mut customer, &talk, MIB + 1).await, Err(Code::RateLimited), "it waits");
    announce(&mut customer, &talk, MIB).await.unwrap();
    assert_eq!(announce(&mut customer, &talk, 1).await, Err(Code::RateLimited));
    announce(&mut agent, &talk, 3 * MIB).await.unwrap();
    accept(&mut agent, &talk).await;
    announce(&mut customer, &talk, 50 * MIB).await.unwrap();
}

#[tokio::test]
async fn all_attachments_of_a_relay_have_a_limit_together_and_messages_go_on() {
    let mut relay = TestRelay::with(|raw, _| {
        (raw.limits.attachment_mib, raw.limits.attachments_mib) = (3, 3);
    })
    .await;
    let (mut customer, mut agent) = (relay.customer().await, relay.agent("mira").await);
    let mut other = relay.customer().await;
    let talk = Talk::opened(&relay.organisation, &mut customer, &mut agent, "mira").await;
    let theirs = Talk::opened(&relay.organisation, &mut other, &mut agent, "mira").await;
    let first = Blob::new(1);
    first.create(&mut customer, &talk, 2 * MIB).await.unwrap();
    first.create(&mut customer, &talk, 2 * MIB).await.unwrap();
    assert_eq!(announce(&mut other, &theirs, MIB + 1).await, Err(Code::AttachmentsFull));
    relay.until_metric("attachment_bytes", 2 * MIB).await;

    relay.stop().await;
    relay.launch().await;
    relay.until_metric("attachment_bytes", 2 * MIB).await;
    let mut other = other.reconnect(relay.address, Party::Customer).await;
    assert_eq!(announce(&mut other, &theirs, MIB + 1).await, Err(Code::AttachmentsFull));
    announce(&mut other, &theirs, MIB).await.unwrap();
    assert_eq!(announce(&mut other, &theirs, 1).await, Err(Code::AttachmentsFull));
    other.send_envelope(&theirs, envelope(agent.mailbox(), Class::Store)).await.unwrap();
}

#[tokio::test]
async fn bytes_of_attachments_are_limited_by_device_and_by_network() {
    let relay = TestRelay::with(|raw, _| {
        raw.limits.attachment_mib = 4;
        raw.limits.attachments_mib_per_hour = 5;
        raw.limits.attachments_mib_per_prefix_hour = 7;
    })
    .await;
    let (mut customer, mut agent) = (relay.customer().await, relay.agent("mira").await);
    let mut other = relay.customer().await;
    let talk = Talk::opened(&relay.organisation, &mut customer, &mut agent, "mira").await;
    let theirs = Talk::opened(&relay.organisation, &mut other, &mut agent, "mira").await;
    announce(&mut customer, &talk, 4 * MIB).await.unwrap();
    assert_eq!(announce(&mut customer, &talk, 2 * MIB).await, Err(Code::RateLimited), "the device's");
    assert_eq!(announce(&mut other, &theirs, 4 * MIB).await, Err(Code::RateLimited), "the network's");
    announce(&mut agent, &theirs, 4 * MIB).await.unwrap();
    assert_eq!(relay.metric("rate_limited").await, 2);
}

#[tokio::test]
async fn a_close_ends_what_is_not_whole() {
    let mut relay = TestRelay::start().await;
    let (mut customer, mut agent) = (relay.customer().await, relay.agent("mira").await);
    let talk = Talk::opened(&relay.organisation, &mut customer, &mut agent, "mira").await;
    let open = Talk::opened(&relay.organisation, &mut customer, &mut agent, "mira").await;
    accept(&mut agent, &talk).await;
    let (whole, half) = (Blob::new(100), Blob::new(MAX_BLOB_CHUNK + 100));
    let total = half.bytes.len() as u64;
    whole.create(&mut customer, &talk, 100).await.unwrap();
    assert_eq!(whole.write(&mut customer, 0, 100).await, Ok((100, true)));
    half.create(&mut customer, &talk, total).await.unwrap();
    half.write(&mut customer, 0, MAX_BLOB_CHUNK).await.unwrap();
    let close = Action::Close { current: talk.epoch_statement, heads: Vec::new() };
    agent.post(&talk, 1, close).await.unwrap();
    assert_eq!(half.write(&mut customer, MAX_BLOB_CHUNK, 100).await, Err(Code::Closed));
    assert_eq!(half.create(&mut customer, &talk, total).await, Err(Code::Closed));
    assert_eq!(half.create(&mut customer, &open, total).await, Err(Code::Closed), "by no other way");
    assert_eq!(announce(&mut customer, &talk, 1).await, Err(Code::Closed));
    assert_eq!(whole.create(&mut customer, &talk, 100).await, Ok((100, true)), "whole: as it is");
    assert_eq!(whole.read(&mut agent, whole.token, 0).await.unwrap(), whole.bytes);

    relay.stop().await;
    relay.launch().await;
    let mut customer = customer.reconnect(relay.address, Party::Customer).await;
    let unannounced = half.write(&mut customer, 0, MAX_BLOB_CHUNK).await;
    assert_eq!(unannounced, Err(Code::UnknownBlob), "each connection announces before it writes");
    assert_eq!(half.create(&mut customer, &talk, total).await, Err(Code::Closed));
}

#[tokio::test]
async fn attachments_stop_before_messages_do() {
    let mut relay = TestRelay::start().await;
    let (mut customer, mut agent) = (relay.customer().await, relay.agent("mira").await);
    let talk = Talk::opened(&relay.organisation, &mut customer, &mut agent, "mira").await;
    let blob = Blob::new(100);
    blob.create(&mut customer, &talk, 100).await.unwrap();
    relay.stop().await;
    let disk = rustix::fs::statvfs(&relay.raw.data).unwrap();
    let free_mib = (disk.f_bavail * disk.f_frsize) >> 20;
    relay.raw.store.min_free_mib = u32::try_from(free_mib / 4 * 3).unwrap();
    relay.launch().await;
    let mut customer = customer.reconnect(relay.address, Party::Customer).await;
    assert_eq!(announce(&mut customer, &talk, 1).await, Err(Code::Unavailable));
    blob.create(&mut customer, &talk, 100).await.unwrap();
    assert_eq!(blob.write(&mut customer, 0, 100).await, Err(Code::Unavailable));
    customer.send_envelope(&talk, envelope(agent.mailbox(), Class::Store)).await.unwrap();
}

#[tokio::test]
async fn what_is_not_whole_is_given_up_after_a_day() {
    let mut relay = TestRelay::start().await;
    let (mut customer, mut agent) = (relay.customer().await, relay.agent("mira").await);
    let talk = Talk::opened(&relay.organisation, &mut customer, &mut agent, "mira").await;
    let (whole, announced) = (Blob::new(9), Blob::new(9));
    announced.create(&mut customer, &talk, 9).await.unwrap();
    whole.create(&mut customer, &talk, 9).await.unwrap();
    whole.write(&mut customer, 0, 9).await.unwrap();
    relay.stop().await;
    let store = SledStore::open(&relay.store_options()).unwrap();
    let days = async |blob: &Blob| {
        let left = store.blob(blob.id).await.unwrap().unwrap().expires_ms - now_ms();
        left.div_ceil(DAY_MS)
    };
    assert_eq!((days(&announced).await, days(&whole).await), (1, 30));
}
