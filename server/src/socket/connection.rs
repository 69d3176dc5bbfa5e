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
use sealdesk_protocol::wire::{Code, FrameError, Reason, ToClient, ToRelay};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::{Duration, Instant};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::{Error as SocketError, Message};

use super::acks::Acks;
use super::in_flight::InFlight;
use super::outgoing::{Outgoing, WriteFailed};
use super::upgrade::Socket;
use super::{error, say_goodbye};
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
    acks: Acks,
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
    /// It is told why, after what waits.
    Say(Reason),
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
            acks: Acks::default(),
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
    let mut out = Outgoing::default();
    if let End::Say(reason) = drive(socket, session, &mut out).await {
        if reason == Reason::SlowConsumer {
            session.relay.metrics.slow_consumers.up();
        }
        Box::pin(say_goodbye(socket, out, reason)).await;
    }
}

async fn drive<S>(socket: &mut WebSocketStream<S>, session: &mut Session, out: &mut Outgoing) -> End
where
    S: AsyncRead + AsyncWrite + Unpin + Send,
{
    let half_idle = Duration::from_secs(u64::from(session.relay.config.limits.idle_seconds)) / 2;
    let write_limit = session.relay.write_limit();
    let mut pending = InFlight::default();
    let mut quiet_since = Instant::now();
    let mut pinged = false;
    // One timer for all rounds: when it fires, it looks whether the silence was long enough.
    let mut look = core::pin::pin!(tokio::time::sleep_until(quiet_since + half_idle));
    let inbox = Arc::clone(&session.inbox);
    loop {
        tokio::select! {
            biased;
            () = inbox.notified() => {}
            answer = pending.next(), if !pending.is_empty() => answered(session, answer, out),
            message = socket.next(), if pending.len() < MAX_PENDING => {
                (quiet_since, pinged) = (Instant::now(), false);
                if let Err(end) = take(session, message, &mut pending, out).await {
                    return end;
                }
            }
            () = &mut look => {
                if quiet_since.elapsed() >= half_idle {
                    if pinged {
                        return End::Say(Reason::Idle);
                    }
                    (quiet_since, pinged) = (Instant::now(), true);
                    let ping = Box::pin(socket.send(Message::Ping(Default::default())));
                    match tokio::time::timeout(write_limit, ping).await {
                        Ok(Ok(())) => {}
                        Ok(Err(_)) => return End::Gone,
                        Err(_) => return End::Say(Reason::SlowConsumer),
                    }
                }
                look.as_mut().reset(quiet_since + half_idle);
            }
        }
        for _ in 0..MAX_ROUND {
            if pending.len() >= MAX_PENDING || out.len() > MAX_UNSENT || inbox.is_ending() {
                break;
            }
            let Some(message) = socket.next().now_or_never() else { break };
            (quiet_since, pinged) = (Instant::now(), false);
            if let Err(end) = take(session, message, &mut pending, out).await {
                return end;
            }
        }
        while let Some(answer) = pending.ready() {
            answered(session, answer, out);
        }
        if let Some(ack) = session.acks.due() {
            match session.acknowledge(ack) {
                Ok(Some(stored)) => {
                    session.acks.begun();
                    pending.push(stored);
                }
                Ok(None) => {}
                Err(code) => out.tell(&error(None, code)),
            }
        }
        let waiting = inbox.take();
        waiting.frames.iter().for_each(|frame| out.push(&[frame]));
        if let Some(reason) = waiting.goodbye {
            return End::Say(reason);
        }
        if waiting.mail && !deliver(session, out).await {
            return End::Say(Reason::ShuttingDown);
        }
        if !out.is_empty() {
            match Box::pin(out.write(socket, write_limit)).await {
                Ok(()) => {}
                Err(WriteFailed::Gone) => return End::Gone,
                Err(WriteFailed::Slow) => return End::Say(Reason::SlowConsumer),
            }
        }
        // An idle connection keeps no buffer.
        if pending.is_empty() {
            out.rest();
        }
    }
}

/// What was under way is done: an answer for the client, or an acknowledgement, which has none.
fn answered(session: &mut Session, answer: Option<ToClient>, out: &mut Outgoing) {
    match answer {
        Some(answer) => out.tell(&answer),
        None => session.acks.done(),
    }
}

/// One message of the client, carried out.
async fn take(
    session: &mut Session,
    message: Option<Result<Message, SocketError>>,
    pending: &mut InFlight,
    out: &mut Outgoing,
) -> Result<(), End> {
    if let Some(frame) = admit(session, message, pending, out)? {
        // What was sent before this request is queued before it: see `Store`.
        let answers = Box::pin(session.request(frame)).await;
        answers.iter().for_each(|answer| out.tell(answer));
    }
    Ok(())
}

/// One message of the client: refused, queued, or a request to carry out now. Boxed, and apart from what waits, so that an
/// idle connection has no room set aside for it.
fn admit(
    session: &mut Session,
    message: Option<Result<Message, SocketError>>,
    pending: &mut InFlight,
    out: &mut Outgoing,
) -> Result<Option<Box<ToRelay>>, End> {
    let violation = |code, out: &mut Outgoing| {
        out.tell(&error(None, code));
        End::Say(Reason::Violation)
    };
    let bytes = match message {
        Some(Ok(Message::Binary(bytes))) => bytes,
        Some(Ok(Message::Ping(_) | Message::Pong(_) | Message::Frame(_))) => {
            let within = session.within_rates() || session.refused <= MAX_REFUSED;
            return if within { Ok(None) } else { Err(violation(Code::RateLimited, out)) };
        }
        Some(Ok(Message::Text(_))) => return Err(violation(Code::Malformed, out)),
        Some(Err(SocketError::Capacity(_))) => return Err(violation(Code::TooLarge, out)),
        Some(Ok(Message::Close(_)) | Err(_)) | None => return Err(End::Gone),
    };
    session.relay.metrics.frames_in.up();
    let within = session.within_rates();
    if session.refused > MAX_REFUSED {
        return Err(violation(Code::RateLimited, out));
    }
    let frame = match ToRelay::decode(&bytes) {
        Ok(frame) => frame,
        // A newer client may ask for more than this relay knows: said, and no reason to part.
        Err(FrameError::Unknown(_)) => {
            out.tell(&error(None, if within { Code::Unsupported } else { Code::RateLimited }));
            return Ok(None);
        }
        Err(FrameError::TooLarge(_)) => return Err(violation(Code::TooLarge, out)),
        Err(_) => return Err(violation(Code::Malformed, out)),
    };
    // Gathered also above the rate: refusing one would only cause the same items to be sent again.
    if let ToRelay::Ack(ack) = frame {
        session.acks.gather(ack);
        return Ok(None);
    }
    if !within {
        session.relay.metrics.rate_limited.up();
        out.tell(&error(request_number(&frame), Code::RateLimited));
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
async fn deliver(session: &mut Session, out: &mut Outgoing) -> bool {
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
    items.iter().for_each(|item| out.push(&[&delivery(epoch, item.seq), &item.bytes]));
    // There may be more: look again in the next round, after the client's frames.
    session.inbox.mail();
    true
}

/// Number of the `Deliver` frame in the table of `wire`; a test compares.
const DELIVER: u8 = 0x30;

/// `Deliver` up to the item, which is stored as it is encoded: postcard writes fields one after the other.
fn delivery(store_epoch: u32, seq: u64) -> Vec<u8> {
    postcard::to_extend(&(store_epoch, seq), vec![DELIVER]).unwrap_or_default()
}

#[cfg(test)]
mod tests;
