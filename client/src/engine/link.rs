//! States of one connection, and the requests under way on it.

use std::collections::BTreeMap;

use sealdesk_protocol::ids::{BlobId, ConversationId, DeviceKeyHash, PrekeyId};
use sealdesk_protocol::wire::Code;

use super::LinkState;

/// Without any frame for this long a ping is sent, and an answer awaited for as long again, ms.
pub(super) const QUIET: u64 = 30_000;
/// A request's answer, ms.
const ANSWER: u64 = 30_000;

/// What a request number stands for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Request {
    Prekeys,
    Fetch { conversation: ConversationId, device: DeviceKeyHash },
    Certificate(ConversationId),
    Assignment(ConversationId),
    Statement(ConversationId),
    Availability,
    Claim { command: u64, conversation: ConversationId },
    Envelope { conversation: ConversationId, order: u64 },
    BlobCreate(BlobId),
    BlobWrite(BlobId),
    BlobRead(BlobId),
}

/// An authenticated connection.
#[derive(Debug)]
pub(crate) struct Online {
    pub(super) number: u32,
    pub(super) next_request: u32,
    /// Requests under way and until when they have to be answered, mono ms.
    pub(super) requests: BTreeMap<u32, (Request, u64)>,
    pub(super) heard: u64,
    pub(super) pong_by: Option<u64>,
    pub(super) one_time_left: u16,
    pub(super) last_resort: Option<PrekeyId>,
    pub(super) publishing: bool,
    /// Ran short: topped up to the full number, chunk by chunk.
    pub(super) topping_up: bool,
    /// Prekeys are not uploaded before this mono time.
    pub(super) publish_at: u64,
    pub(super) told_availability: bool,
}

/// State of a device's connection.
#[derive(Debug)]
pub(crate) enum Phase {
    Idle { at: u64 },
    Connecting { number: u32, by: u64 },
    Greeting { number: u32, by: u64 },
    Welcoming { number: u32, by: u64 },
    Online(Box<Online>),
    Stopped,
}

#[derive(Debug)]
pub(crate) struct Link {
    pub(super) phase: Phase,
    /// Failures in a row.
    pub(super) failures: u32,
    /// What people were told last.
    pub(super) told: LinkState,
    /// That this device's clock differs from the relay's was said.
    pub(super) clock_off: bool,
    /// The challenge to answer when the step's generation is known.
    pub(super) challenge: Option<sealdesk_protocol::wire::Challenge>,
    /// The vault's generation that the relay was told last.
    pub(super) generation_told: u64,
    /// The mailbox position moved: acknowledge after the commit.
    pub(super) ack_due: bool,
}

impl Link {
    pub(super) fn new() -> Self {
        Self {
            phase: Phase::Idle { at: 0 },
            failures: 0,
            told: LinkState::Offline,
            clock_off: false,
            challenge: None,
            generation_told: 0,
            ack_due: false,
        }
    }

    /// The relay does not take the device any more, nor what it wrote. One whose certificate has merely ended waits for a
    /// newer one.
    pub(super) fn is_refused(&self) -> bool {
        let for_good = match &self.told {
            LinkState::Refused(_) => true,
            LinkState::Uncertified(why) => why.code == Code::Revoked.as_str(),
            _ => false,
        };
        for_good && matches!(self.phase, Phase::Stopped)
    }

    pub(super) fn online(&self) -> Option<&Online> {
        match &self.phase {
            Phase::Online(online) => Some(online),
            _ => None,
        }
    }

    pub(super) fn online_mut(&mut self) -> Option<&mut Online> {
        match &mut self.phase {
            Phase::Online(online) => Some(online),
            _ => None,
        }
    }

    pub(super) fn number(&self) -> Option<u32> {
        match &self.phase {
            Phase::Connecting { number, .. }
            | Phase::Greeting { number, .. }
            | Phase::Welcoming { number, .. } => Some(*number),
            Phase::Online(online) => Some(online.number),
            Phase::Idle { .. } | Phase::Stopped => None,
        }
    }

    /// The next mono time at which something has to happen.
    pub(super) fn wake_at(&self, wanted: bool) -> Option<u64> {
        match &self.phase {
            Phase::Idle { at } => wanted.then_some(*at),
            Phase::Connecting { by, .. } | Phase::Greeting { by, .. } | Phase::Welcoming { by, .. } => {
                Some(*by)
            }
            Phase::Online(online) => {
                let request = online.requests.values().map(|(_, by)| *by).min();
                let liveness = online.pong_by.unwrap_or(online.heard + QUIET);
                Some(request.map_or(liveness, |r| r.min(liveness)))
            }
            Phase::Stopped => None,
        }
    }
}

impl Online {
    pub(super) fn new(number: u32, now: u64, welcome: &sealdesk_protocol::wire::Welcome) -> Self {
        Self {
            number,
            next_request: 1,
            requests: BTreeMap::new(),
            heard: now,
            pong_by: None,
            one_time_left: welcome.one_time_left,
            last_resort: welcome.last_resort,
            publishing: false,
            topping_up: false,
            publish_at: 0,
            told_availability: false,
        }
    }

    /// A number for a request that has to be answered within [`ANSWER`].
    pub(super) fn request(&mut self, request: Request, now: u64) -> u32 {
        let number = self.next_request;
        self.next_request = self.next_request.wrapping_add(1);
        self.requests.insert(number, (request, now + ANSWER));
        number
    }

    pub(super) fn answered(&mut self, number: u32) -> Option<Request> {
        self.requests.remove(&number).map(|(request, _)| request)
    }

    pub(super) fn count(&self, which: impl Fn(&Request) -> bool) -> usize {
        self.requests.values().filter(|(request, _)| which(request)).count()
    }
}
