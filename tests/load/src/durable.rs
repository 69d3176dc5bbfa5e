//! relay_durable_N: N customers, each with a conversation of its own, send to agents; every customer waits until its
//! envelope is durable before it sends the next. A message counts when the relay has accepted it, the agent has
//! received it and has acknowledged it. Relay and all clients share this machine's cores.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use futures_util::FutureExt;
use sealdesk_protocol::conversation::padding::BUCKETS;
use sealdesk_protocol::crypto::aead::TAG_LEN;
use sealdesk_protocol::ids::{EnvelopeId, MailboxId, SessionId};
use sealdesk_protocol::testing::TestOrg;
use sealdesk_protocol::wire::envelope::{CHAIN_LEN, Class, Envelope, HEADER_LEN};
use sealdesk_protocol::wire::{Ack, Addressed, Item, Position, Send, ToClient};
use tokio::runtime::Runtime;
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use crate::device::{self, Connection, Customer};
use crate::error::Error;
use crate::plain_file::{self, Layout, disk_alone};
use crate::relay::{self, Relay, now_ms};
use crate::report::{Better, Row};
use crate::rounds::{Effort, interleave, median};

/// Agents share the customers; each has a mailbox and a connection of its own.
const MOST_AGENTS: usize = 16;
/// Most deliveries that one acknowledgement covers.
const ACK_EVERY: u32 = 64;
/// Bytes of a sealed body: the smallest bucket and its tag.
const BODY: usize = BUCKETS[0] + TAG_LEN;
/// Where an encoded envelope has its id: after version and mailbox.
const ID_AT: usize = 1 + MailboxId::LEN;
const ROUND_TIME: Duration = Duration::from_secs(120);

pub(crate) fn one(effort: Effort) -> Result<Row, Error> {
    run("relay_durable_1", 1, 20 * effort.scale, effort, None)
}

pub(crate) fn sixty_four(effort: Effort) -> Result<Row, Error> {
    run("relay_durable_64", 64, 4 * effort.scale, effort, None)
}

pub(crate) fn thousand(effort: Effort) -> Result<Row, Error> {
    run("relay_durable_1024", 1024, 2 * effort.scale, effort, Some(0.1))
}

fn run(
    bench: &'static str,
    senders: usize,
    each: usize,
    effort: Effort,
    goal: Option<f64>,
) -> Result<Row, Error> {
    let runtime = Runtime::new().map_err(Error::machine("start the runtime"))?;
    let mut org = TestOrg::new(1, now_ms() - 60_000);
    let relay = Relay::start(&org)?;
    let folder = relay::folder()?;
    let mut load = runtime.block_on(Load::connect(&mut org, relay.port(), senders))?;
    let size = envelope(MailboxId([0; 16])).len();
    // The first round warms both up and is not counted.
    runtime.block_on(load.round(each))?;
    let (mut latencies, mut grown, mut overwritten) = (Vec::new(), Vec::new(), Vec::new());
    let rounds = effort.rounds.min(9);
    let (ours, peer) = interleave(
        rounds,
        || {
            let round = runtime.block_on(load.round(each))?;
            latencies.extend(round.latencies_ms);
            Ok(round.per_second)
        },
        || {
            let (total, folder) = (senders * each, folder.path());
            overwritten.push(disk_alone(folder, Layout::Overwrite, senders, total, size)?);
            grown.push(disk_alone(folder, Layout::Append, senders, total, size)?);
            plain_file::per_second(&runtime, folder, senders, each, size)
        },
    )?;
    let (grown, overwritten) = (median(grown), median(overwritten));
    let row = Row::new(bench, Better::Higher, (ours, "msg/s"), (peer, plain_file::NAME))
        .latencies(latencies)
        .note(format!(
            "{senders} senders, envelopes of {size} B, accepted + delivered + acknowledged; {rounds} rounds; \
 the disk alone: a growing file {grown:.0} msg/s, an overwritten one {overwritten:.0}"
        ));
    Ok(Row { goal, ..row })
}

#[derive(Debug)]
struct Delivery {
    /// When its sender sent it: nanoseconds since [`Load::start`].
    sent: u64,
    came: Instant,
}

struct Load {
    customers: Vec<Customer>,
    deliveries: mpsc::UnboundedReceiver<Result<Delivery, Error>>,
    start: Instant,
    next: Arc<AtomicU32>,
}

#[derive(Debug)]
struct Round {
    per_second: f64,
    latencies_ms: Vec<f64>,
}

impl Load {
    async fn connect(org: &mut TestOrg, port: u16, senders: usize) -> Result<Load, Error> {
        let mut rng = sealdesk_protocol::testing::rng(2);
        let (report, deliveries) = mpsc::unbounded_channel();
        for number in 0..senders.min(MOST_AGENTS) {
            let (_, connection) = device::agent(org, port, &format!("agent-{number}"), &mut rng).await?;
            tokio::spawn(receive(connection, report.clone()));
        }
        let mut customers = Vec::with_capacity(senders);
        for _ in 0..senders {
            customers.push(device::customer(org, port, &mut rng).await?);
        }
        Ok(Load { customers, deliveries, start: Instant::now(), next: Arc::new(AtomicU32::new(10)) })
    }

    /// Every customer sends `each` messages; ends when all are accepted, delivered and acknowledged.
    async fn round(&mut self, each: usize) -> Result<Round, Error> {
        let expected = self.customers.len() * each;
        let begin = Instant::now();
        let mut senders = JoinSet::new();
        for customer in self.customers.drain(..) {
            let (next, start) = (Arc::clone(&self.next), self.start);
            senders.spawn(async move { send(customer, each, &next, start).await });
        }
        let mut latencies_ms = Vec::with_capacity(expected);
        let all = async {
            while latencies_ms.len() < expected {
                let Some(delivery) = self.deliveries.recv().await else {
                    return Err(Error::ours("all agents are gone"));
                };
                let Delivery { sent, came } = delivery?;
                let sent = self.start + Duration::from_nanos(sent);
                latencies_ms.push(came.duration_since(sent).as_secs_f64() * 1e3);
            }
            while let Some(customer) = senders.join_next().await {
                self.customers.push(customer.map_err(Error::ours)??);
            }
            Ok(())
        };
        tokio::time::timeout(ROUND_TIME, all).await.map_err(|_| {
            Error::ours(format!("not all of {expected} messages arrived in {ROUND_TIME:?}"))
        })??;
        #[expect(clippy::cast_precision_loss, reason = "counts of messages are far below 2^52")]
        let per_second = expected as f64 / begin.elapsed().as_secs_f64();
        Ok(Round { per_second, latencies_ms })
    }
}

async fn send(
    mut customer: Customer,
    each: usize,
    next: &AtomicU32,
    start: Instant,
) -> Result<Customer, Error> {
    let template = envelope(customer.mailbox);
    for _ in 0..each {
        let req = next.fetch_add(1, Ordering::Relaxed);
        let sent = u64::try_from(start.elapsed().as_nanos()).unwrap_or(u64::MAX);
        let message = Addressed { to: customer.mailbox, envelope: stamped(&template, req, sent) };
        customer.connection.send(Send { req, conversation: customer.conversation, message }).await?;
        customer.connection.done(req).await?;
    }
    Ok(customer)
}

/// What an agent has received and not acknowledged yet.
#[derive(Debug, Default)]
struct Open {
    last: Option<Position>,
    count: u32,
}

/// An agent, to the end of its connection.
async fn receive(mut connection: Connection, report: mpsc::UnboundedSender<Result<Delivery, Error>>) {
    let mut open = Open::default();
    loop {
        let received = receive_one(&mut connection, &mut open).await.transpose();
        let last = matches!(received, Some(Err(_)));
        if received.is_some_and(|received| report.send(received).is_err()) || last {
            return;
        }
    }
}

/// Takes one frame. Acknowledges as soon as nothing more is at hand, as a client does that stores in batches.
async fn receive_one(connection: &mut Connection, open: &mut Open) -> Result<Option<Delivery>, Error> {
    let at_hand = if open.count < ACK_EVERY { connection.next().now_or_never() } else { None };
    let frame = match at_hand {
        Some(frame) => frame?,
        None => {
            if let Some(up_to) = std::mem::take(open).last {
                connection.send(Ack { up_to, vault: None }).await?;
            }
            connection.next().await?
        }
    };
    let ToClient::Deliver(deliver) = frame else { return Ok(None) };
    *open = Open { last: Some(deliver.position), count: open.count + 1 };
    // Open statements come before the messages.
    let Item::Envelope(bytes) = deliver.item else { return Ok(None) };
    Ok(Some(Delivery { sent: sent_at(&bytes)?, came: Instant::now() }))
}

/// Length of [`envelope`].
#[cfg(test)]
pub(crate) fn envelope_bytes() -> usize {
    envelope(MailboxId([0; 16])).len()
}

/// As large as a real one of a 200-character message. What is sealed in it does not matter to the relay.
fn envelope(mailbox: MailboxId) -> Vec<u8> {
    Envelope {
        mailbox,
        id: EnvelopeId([0; 16]),
        session: SessionId([7; 16]),
        class: Class::Store,
        preamble: None,
        chain: vec![0xC3; CHAIN_LEN].into_boxed_slice(),
        nonce: [9; 24],
        header: vec![0x3C; HEADER_LEN],
        body: vec![0xA5; BODY],
    }
    .encode()
}

/// An envelope of its own: its id follows version and mailbox, the sealed body ends it and begins with the time.
fn stamped(template: &[u8], number: u32, sent: u64) -> Vec<u8> {
    let mut envelope = template.to_vec();
    let body = envelope.len() - BODY;
    envelope[ID_AT..ID_AT + 4].copy_from_slice(&number.to_be_bytes());
    envelope[ID_AT + 4..ID_AT + 12].copy_from_slice(&sent.to_be_bytes());
    envelope[body..body + 8].copy_from_slice(&sent.to_be_bytes());
    envelope
}

fn sent_at(envelope: &[u8]) -> Result<u64, Error> {
    let stamp = envelope.len().checked_sub(BODY).and_then(|body| envelope[body..].first_chunk::<8>());
    stamp
        .map(|stamp| u64::from_be_bytes(*stamp))
        .ok_or_else(|| Error::ours("an envelope without its stamp came"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stamped_envelopes_are_well_formed_and_each_has_its_own_id() {
        let template = envelope(MailboxId([1; 16]));
        let (first, second) = (stamped(&template, 1, 77), stamped(&template, 2, 77));
        let decoded = [&first, &second].map(|bytes| Envelope::decode(bytes).expect("well-formed"));
        assert_ne!(decoded[0].id, decoded[1].id);
        assert_eq!(decoded[0].mailbox, MailboxId([1; 16]));
        assert_eq!(sent_at(&first).expect("stamp"), 77);
    }
}
