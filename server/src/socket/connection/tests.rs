use core::pin::Pin;
use core::task::{Context, Poll};
use std::io;

use sealdesk_protocol::crypto::identity::DeviceSecret;
use sealdesk_protocol::ids::BlobId;
use sealdesk_protocol::wire::{BlobRead, Deliver, Item, MAX_BLOB_CHUNK, Party, Position};
use sha2::{Digest, Sha256};
use tokio::io::{DuplexStream, ReadBuf};
use tokio_tungstenite::tungstenite::protocol::Role;

use super::*;
use crate::store::BlobRecord;
use crate::testing::organisation::rng;
use crate::testing::{Running, authenticated};

#[test]
fn a_delivery_is_the_frame_of_the_table() {
    let item = Item::Envelope(vec![7; 300]);
    let stored = postcard::to_allocvec(&item).unwrap();
    for (store_epoch, seq) in [(1, 1), (u32::MAX, u64::MAX), (1_763_000_000, 300)] {
        let frame = ToClient::from(Deliver { position: Position { store_epoch, seq }, item: item.clone() });
        assert_eq!([delivery(store_epoch, seq), stored.clone()].concat(), frame.encode().unwrap());
    }
}

/// A socket that notes the most bytes which were to be written at once.
struct Noting {
    inner: DuplexStream,
    most: usize,
}

impl AsyncRead for Noting {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_read(cx, buf)
    }
}

impl AsyncWrite for Noting {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.most = self.most.max(bytes.len());
        Pin::new(&mut self.inner).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }
}

/// However many answers one round could make, they do not gather in memory.
#[tokio::test]
async fn no_more_is_answered_than_is_written() {
    const READS: usize = 40;
    let running = Running::start().await;
    let (relay, blob, token) = (&running.relay, BlobId([1; 16]), [2; 32]);
    let bytes = vec![3; MAX_BLOB_CHUNK];
    let length = bytes.len() as u64;
    relay.blobs.write(blob, 0, bytes, length).await.unwrap();
    let record = BlobRecord {
        capability: Sha256::digest(token).into(),
        uploader: DeviceSecret::generate(&mut rng()).hash(),
        length,
        complete: true,
        expires_ms: u64::MAX,
    };
    relay.store.put_blob(blob, record).await.unwrap();

    let device = DeviceSecret::generate(&mut rng());
    let who = Arc::new(authenticated(relay, &device, Party::Customer));
    let permit = relay.limits.admit(relay.limits.prefix([127, 0, 0, 1].into())).unwrap();
    let mut session = Session::new(Arc::clone(relay), who, Arc::default(), permit, &DeviceRecord::default());
    // All requests fit into the pipe at once, no answer does.
    let (ours, theirs) = tokio::io::duplex(16 << 10);
    let ours = Noting { inner: ours, most: 0 };
    let mut server = WebSocketStream::from_raw_socket(ours, Role::Server, None).await;
    let mut client = WebSocketStream::from_raw_socket(theirs, Role::Client, None).await;
    for req in 0..READS {
        let read = BlobRead { req: req as u32, blob, token, offset: 0, length: length as u32 };
        client.feed(Message::Binary(ToRelay::from(read).encode().unwrap().into())).await.unwrap();
    }
    client.flush().await.unwrap();
    let reading = async {
        for _ in 0..READS {
            assert!(client.next().await.unwrap().unwrap().len() > MAX_BLOB_CHUNK);
        }
        drop(client);
    };
    let mut out = Outgoing::default();
    let (end, ()) = tokio::join!(drive(&mut server, &mut session, &mut out), reading);
    assert!(matches!(end, End::Gone));
    let most = server.get_ref().most;
    assert!(most > MAX_UNSENT, "a round has as many answers as fit");
    assert!(most <= MAX_UNSENT + MAX_BLOB_CHUNK + 100, "{most} bytes at once");
}

/// A client that takes nothing, and is sent nothing but a ping.
#[tokio::test]
async fn a_ping_that_nobody_takes_ends_the_connection() {
    let running = Running::with(|raw| (raw.limits.idle_seconds, raw.limits.write_seconds) = (1, 1)).await;
    let customer = DeviceSecret::generate(&mut rng());
    let mut session = running.connect(&customer, Party::Customer);
    let (inner, _client) = tokio::io::duplex(1);
    let mut server = WebSocketStream::from_raw_socket(inner, Role::Server, None).await;
    let mut out = Outgoing::default();
    let driven = tokio::time::timeout(Duration::from_secs(60), drive(&mut server, &mut session, &mut out));
    assert!(matches!(driven.await.unwrap(), End::Say(Reason::SlowConsumer)));
}
