//! One authenticated connection.
//!
//! 1. Wait for a frame, for mail, for a stored request, or for too long a silence.
//! 2. Take what else is ready, so that many small frames share one write.
//! 3. `Send` goes to the committer and is answered when durable, several at a time; acknowledgements are gathered, one at
//!    a time is under way; every other request is carried out before the next frame is read.
//! 4. Deliver one bounded batch of the mailbox; more follows in the next round. What the client has not read stays in
//!    the mailbox, not in memory.
//!
//! What waits is boxed, or dropped between rounds: an idle connection costs little more than its read buffer.

use std::sync::Arc;

use futures_util::{FutureExt, SinkExt, StreamExt};
use governor::DefaultDirectRateLimiter;
use sealdesk_protocol::wire::{Ack, Code, FrameError, Reason, ToClient, ToRelay};
use tokio::time::{Duration, Instant};
use tokio_tungstenite::tungstenite::{Error as SocketError, Message};

use super::in_flight::InFlight;
use super::upgrade::Socket;
use super::{WriteFailed, encode, error, say_goodbye, write};
use crate::auth::Authenticated;
use crate::limits::Permit;
use crate::registry::Inbox;
use crate::relay::Relay;
use crate::store::DeviceRecord;

/// Requests of one connection that wait for the disk at the same time.
const MAX_PENDING: usize = 32;
/// Frames taken in one round.
const MAX_ROUND: usize = 32;
/// Items and bytes delivered in one round.
const BATCH_ITEMS: usize = 64;
const BATCH_BYTES: usize = 128 * 1024;
/// How many more frames may be refused than are taken, before a client is cut off.
const MAX_REFUSED: u16 = 1_000;
/// Unsent bytes after which no further frame of the round is taken.
const MAX_UNSENT: usize = BATCH_BYTES;

/// An authenticated connection's state.
pub struct Session {
    /// The relay.
    pub relay: Arc<Relay>,
    /// Who it is.
    pub who: Arc<Authenticated>,
    /// What others leave for it.
    pub inbox: Arc<Inbox>,
    /// Counts the connection, and knows its address prefix.
    pub permit: Permit,
    limiter: DefaultDirectRateLimiter,
    refused: u16,
    /// Last item sent.
    cursor: u64,
    /// Highest vault generation that the device signed.
    pub(crate) told: u64,
    /// There was a record of the device when it connected.
    known: bool,
    /// Newest acknowledgement that is not under way.
    ack: Option<Ack>,
    /// Whether one is.
    acking: bool,
}

impl core::fmt::Debug for Session {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "Session({:?})", self.who)
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        if self.relay.registry.remove(&self.who.mailbox, &self.inbox) {
            self.relay.left(&self.who);
        }
        self.relay.metrics.devices.down();
    }
}

/// How a connection ends.
enum End {
    /// The client left.
    Gone,
    /// It is told why, after these frames.
    Say(Reason, Vec<Vec<u8>>),
}

impl Session {
    /// Of a registered device, and what is remembered of it.
    pub fn new(
        relay: Arc<Relay>,
        who: Arc<Authenticated>,
        inbox: Arc<Inbox>,
        permit: Permit,
        before: &DeviceRecord,
    ) -> Self {
        relay.metrics.devices.up();
        let limiter = relay.limits.connection();
        Self {
            told: before.newest(who.vault).claimed(),
            known: *before != DeviceRecord::default(),
            relay,
            who,
            inbox,
            permit,
            limiter,
            refused: 0,
            cursor: 0,
            ack: None,
            acking: false,
        }
    }

    /// Whether the relay keeps anything of this device. Strangers shall not fill the disk: a customer is remembered from
    /// the first item on that was delivered to it.
    pub(crate) fn is_remembered(&self) -> bool {
        self.known || self.cursor > 0 || self.who.agent.is_some()
    }

    /// Whether one more frame is within the rates of connection and device.
    fn within_rates(&mut self) -> bool {
        let within = self.limiter.check().is_ok() && self.relay.limits.device_frame(&self.who.hash).is_ok();
        self.refused = if within { self.refused.saturating_sub(1) } else { self.refused.saturating_add(1) };
        within
    }
}

/// Runs to the end of the connection. Socket and session come boxed: a future would set room aside for them twice.
pub async fn run(mut connection: Box<(Socket, Session)>) {
    let (socket, session) = &mut *connection;
    if let End::Say(reason, last) = drive(socket, session).await {
        if reason == Reason::SlowConsumer {
            session.relay.metrics.slow_consumers.up();
        }
        Box::pin(say_goodbye(socket, last, reason)).await;
    }
}

async fn drive(socket: &mut Socket, session: &mut Session) -> End {
    let half_idle = Duration::from_secs(u64::from(session.relay.config.limits.idle_seconds)) / 2;
    let write_limit = session.relay.write_limit();
    let mut pending = InFlight::default();
    let mut out: Vec<Vec<u8>> = Vec::new();
    let mut quiet_since = Instant::now();
    let mut pinged = false;
    // One timer for all rounds: when it fires, it looks whether the silence was long enough.
    let mut look = core::pin::pin!(tokio::time::sleep_until(quiet_since + half_idle));
    let inbox = Arc::clone(&session.inbox);
    loop {
        tokio::select! {
            biased;
            () = inbox.notified() => {}
            answer = pending.next(), if !pending.is_empty() => answered(session, answer, &mut out),
            message = socket.next(), if pending.len() < MAX_PENDING => {
                (quiet_since, pinged) = (Instant::now(), false);
                if let Err(end) = take(session, message, &mut pending, &mut out).await {
                    return with_rest(end, &mut out);
                }
            }
            () = &mut look => {
                if quiet_since.elapsed() >= half_idle {
                    if pinged {
                        return End::Say(Reason::Idle, out);
                    }
                    (quiet_since, pinged) = (Instant::now(), true);
                    if Box::pin(socket.send(Message::Ping(Default::default()))).await.is_err() {
                        return End::Gone;
                    }
                }
                look.as_mut().reset(quiet_since + half_idle);
            }
        }
        for _ in 0..MAX_ROUND {
            if pending.len() >= MAX_PENDING || unsent(&out) > MAX_UNSENT || inbox.is_ending() {
                break;
            }
            let Some(message) = socket.next().now_or_never() else { break };
            (quiet_since, pinged) = (Instant::now(), false);
            if let Err(end) = take(session, message, &mut pending, &mut out).await {
                return with_rest(end, &mut out);
            }
        }
        while let Some(answer) = pending.ready() {
            answered(session, answer, &mut out);
        }
        // However many a client sends: one write at a time, of the newest.
        if !session.acking
            && let Some(ack) = session.ack.take()
        {
            match session.acknowledge(ack) {
                Ok(Some(stored)) => {
                    session.acking = true;
                    pending.push(stored);
                }
                Ok(None) => {}
                Err(code) => out.push(encode(&error(None, code))),
            }
        }
        let waiting = inbox.take();
        out.extend(waiting.frames);
        if let Some(reason) = waiting.goodbye {
            return End::Say(reason, out);
        }
        if waiting.mail && !deliver(session, &mut out).await {
            return End::Say(Reason::ShuttingDown, out);
        }
        if !out.is_empty() {
            match Box::pin(write(socket, &mut out, write_limit)).await {
                Ok(()) => {}
                Err(WriteFailed::Gone) => return End::Gone,
                Err(WriteFailed::Slow) => return End::Say(Reason::SlowConsumer, Vec::new()),
            }
        }
        // An idle connection keeps no buffer.
        if out.capacity() > 0 && pending.is_empty() {
            out = Vec::new();
        }
    }
}

fn unsent(out: &[Vec<u8>]) -> usize {
    out.iter().map(Vec::len).sum()
}

/// What was under way is done: an answer for the client, or an acknowledgement, which has none.
fn answered(session: &mut Session, answer: Option<ToClient>, out: &mut Vec<Vec<u8>>) {
    match answer {
        Some(answer) => out.push(encode(&answer)),
        None => session.acking = false,
    }
}

fn with_rest(end: End, out: &mut Vec<Vec<u8>>) -> End {
    match end {
        End::Say(reason, last) => {
            out.extend(last);
            End::Say(reason, core::mem::take(out))
        }
        End::Gone => End::Gone,
    }
}

/// One message of the client, carried out.
async fn take(
    session: &mut Session,
    message: Option<Result<Message, SocketError>>,
    pending: &mut InFlight,
    out: &mut Vec<Vec<u8>>,
) -> Result<(), End> {
    if let Some(frame) = admit(session, message, pending, out)? {
        // What was sent before this request is queued before it: see `Store`.
        let answers = Box::pin(session.request(frame)).await;
        out.extend(answers.iter().map(encode));
    }
    Ok(())
}

/// One message of the client: refused, queued, or a request to carry out now. Boxed, and apart from what waits, so that an
/// idle connection has no room set aside for it.
fn admit(
    session: &mut Session,
    message: Option<Result<Message, SocketError>>,
    pending: &mut InFlight,
    out: &mut Vec<Vec<u8>>,
) -> Result<Option<Box<ToRelay>>, End> {
    let violation = |code| End::Say(Reason::Violation, vec![encode(&error(None, code))]);
    let bytes = match message {
        Some(Ok(Message::Binary(bytes))) => bytes,
        Some(Ok(Message::Ping(_) | Message::Pong(_) | Message::Frame(_))) => {
            let within = session.within_rates() || session.refused <= MAX_REFUSED;
            return if within { Ok(None) } else { Err(violation(Code::RateLimited)) };
        }
        Some(Ok(Message::Text(_))) => return Err(violation(Code::Malformed)),
        Some(Err(SocketError::Capacity(_))) => return Err(violation(Code::TooLarge)),
        Some(Ok(Message::Close(_)) | Err(_)) | None => return Err(End::Gone),
    };
    session.relay.metrics.frames_in.up();
    let within = session.within_rates();
    if session.refused > MAX_REFUSED {
        return Err(violation(Code::RateLimited));
    }
    let frame = match ToRelay::decode(&bytes) {
        Ok(frame) => frame,
        // A newer client may ask for more than this relay knows: said, and no reason to part.
        Err(FrameError::Unknown(_)) => {
            out.push(encode(&error(None, if within { Code::Unsupported } else { Code::RateLimited })));
            return Ok(None);
        }
        Err(FrameError::TooLarge(_)) => return Err(violation(Code::TooLarge)),
        Err(_) => return Err(violation(Code::Malformed)),
    };
    // Gathered also above the rate: refusing one would only cause the same items to be sent again.
    if let ToRelay::Ack(ack) = frame {
        session.ack = Some(match session.ack.take() {
            Some(before) => Ack { up_to: before.up_to.max(ack.up_to), vault: ack.vault.or(before.vault) },
            None => ack,
        });
        return Ok(None);
    }
    if !within {
        session.relay.metrics.rate_limited.up();
        out.push(encode(&error(request_number(&frame), Code::RateLimited)));
        return Ok(None);
    }
    match frame {
        ToRelay::Send(frame) => {
            pending.push(session.send(frame));
            Ok(None)
        }
        frame => Ok(Some(Box::new(frame))),
    }
}

/// The number that the client gave its request.
fn request_number(frame: &ToRelay) -> Option<u32> {
    match frame {
        ToRelay::PublishPrekeys(f) => Some(f.req),
        ToRelay::FetchPrekeys(f) => Some(f.req),
        ToRelay::FetchCertificate(f) => Some(f.req),
        ToRelay::RequestAssignment(f) => Some(f.req),
        ToRelay::PostStatement(f) => Some(f.req),
        ToRelay::SetAvailability(f) => Some(f.req),
        ToRelay::Claim(f) => Some(f.req),
        ToRelay::Send(f) => Some(f.req),
        ToRelay::BlobCreate(f) => Some(f.req),
        ToRelay::BlobWrite(f) => Some(f.req),
        ToRelay::BlobRead(f) => Some(f.req),
        _ => None,
    }
}

/// One batch of the mailbox; false when the store cannot be read.
async fn deliver(session: &mut Session, out: &mut Vec<Vec<u8>>) -> bool {
    let store = &session.relay.store;
    let read = store.read(session.who.mailbox, session.cursor, BATCH_ITEMS, BATCH_BYTES).await;
    let items = match read {
        Ok(items) => items,
        Err(cause) => {
            tracing::error!(%cause, "a mailbox cannot be read");
            return false;
        }
    };
    let Some(last) = items.last() else { return true };
    session.cursor = last.seq;
    session.relay.metrics.items_delivered.add(items.len() as u64);
    let epoch = store.epoch();
    out.extend(items.iter().map(|item| deliver_frame(epoch, item.seq, &item.bytes)));
    // There may be more: look again in the next round, after the client's frames.
    session.inbox.mail();
    true
}

/// Number of the `Deliver` frame in the table of `wire`; a test compares.
const DELIVER: u8 = 0x30;

/// `Deliver` around an item that is stored as it is encoded: postcard writes fields one after the other.
fn deliver_frame(store_epoch: u32, seq: u64, item: &[u8]) -> Vec<u8> {
    let mut frame = Vec::with_capacity(16 + item.len());
    frame.push(DELIVER);
    let mut frame = postcard::to_extend(&(store_epoch, seq), frame).unwrap_or_default();
    frame.extend_from_slice(item);
    frame
}

#[cfg(test)]
mod tests {
    use super::*;
    use sealdesk_protocol::wire::{Deliver, Item, Position};

    #[test]
    fn a_delivery_is_the_frame_of_the_table() {
        let item = Item::Envelope(vec![7; 300]);
        let stored = postcard::to_allocvec(&item).unwrap();
        for (store_epoch, seq) in [(1, 1), (u32::MAX, u64::MAX), (1_763_000_000, 300)] {
            let frame =
                ToClient::from(Deliver { position: Position { store_epoch, seq }, item: item.clone() });
            assert_eq!(deliver_frame(store_epoch, seq, &stored), frame.encode().unwrap());
        }
    }
}
