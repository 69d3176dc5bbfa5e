//! Who is connected: one consumer for each mailbox. A newer connection of the same device replaces the older one,
//! which is told.
//!
//! An [`Inbox`] is all that others may do to a connection: wake it because its mailbox has something, hand it a frame,
//! or end it. It is bounded: a client that does not read loses ephemeral frames first, then its connection; whatever
//! matters is in the mailbox.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};

use sealdesk_protocol::ids::MailboxId;
use sealdesk_protocol::wire::{Reason, ToClient};
use tokio::sync::Notify;

use crate::auth::Authenticated;
use crate::limits::Prefix;

/// Frames that may wait; ephemeral ones are dropped earlier.
const MAX_FRAMES: usize = 64;
/// Bytes that may wait.
const MAX_BYTES: usize = 256 * 1024;
/// From this many waiting frames on, ephemeral ones are dropped.
const EPHEMERAL_FRAMES: usize = 16;

/// What others leave for a connection.
#[derive(Debug, Default)]
pub struct Inbox {
    notify: Notify,
    waiting: Mutex<Waiting>,
}

/// Taken by the connection.
#[derive(Debug, Default)]
pub struct Waiting {
    /// The mailbox has new items.
    pub mail: bool,
    /// Encoded frames.
    pub frames: VecDeque<Vec<u8>>,
    /// The connection has to end.
    pub goodbye: Option<Reason>,
    bytes: usize,
}

impl Inbox {
    fn change(&self, change: impl FnOnce(&mut Waiting)) {
        change(&mut self.waiting.lock().unwrap_or_else(PoisonError::into_inner));
        self.notify.notify_one();
    }

    /// Something waits.
    pub async fn notified(&self) {
        self.notify.notified().await;
    }

    /// Everything that waits.
    pub fn take(&self) -> Waiting {
        core::mem::take(&mut *self.waiting.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Whether the connection has to end: what its client still asks for is not carried out.
    pub fn is_ending(&self) -> bool {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner).goodbye.is_some()
    }

    /// A hint: the mailbox has something new.
    pub fn mail(&self) {
        self.change(|waiting| waiting.mail = true);
    }

    /// Ends the connection with a reason; the first reason counts.
    pub fn goodbye(&self, reason: Reason) {
        self.change(|waiting| {
            waiting.goodbye.get_or_insert(reason);
        });
    }

    /// Hands over a frame. A connection that cannot take it is a slow consumer and ends.
    pub fn frame(&self, frame: &ToClient) {
        let Ok(bytes) = frame.encode() else {
            tracing::error!(frame = frame.name(), "a frame does not fit into one message");
            return;
        };
        self.change(|waiting| {
            let full = waiting.frames.len() >= MAX_FRAMES || waiting.bytes + bytes.len() > MAX_BYTES;
            if full {
                waiting.goodbye.get_or_insert(Reason::SlowConsumer);
            } else {
                waiting.bytes += bytes.len();
                waiting.frames.push_back(bytes);
            }
        });
    }

    /// Hands over an ephemeral frame, or drops it if the client is behind.
    pub fn ephemeral(&self, frame: &ToClient) -> bool {
        let behind = {
            let waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
            waiting.frames.len() >= EPHEMERAL_FRAMES
        };
        if !behind {
            self.frame(frame);
        }
        !behind
    }
}

/// One connected device.
#[derive(Clone, Debug)]
pub struct Connected {
    /// How to reach it.
    pub inbox: Arc<Inbox>,
    /// Who it is.
    pub who: Arc<Authenticated>,
    /// Of its address.
    pub prefix: Prefix,
}

/// All connected devices of one relay.
#[derive(Debug, Default)]
pub struct Registry(Mutex<HashMap<MailboxId, Connected>>);

impl Registry {
    fn map<T>(&self, look: impl FnOnce(&mut HashMap<MailboxId, Connected>) -> T) -> T {
        look(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Registers a connection. Answers true when it replaced another one, which was told.
    pub fn register(&self, connected: Connected) -> bool {
        let replaced = self.map(|map| map.insert(connected.who.mailbox, connected));
        replaced.inspect(|old| old.inbox.goodbye(Reason::Replaced)).is_some()
    }

    /// Removes a connection, unless a newer one has taken its place. Answers true when the device is gone.
    pub fn remove(&self, mailbox: &MailboxId, inbox: &Arc<Inbox>) -> bool {
        self.map(|map| {
            let own = map.get(mailbox).is_some_and(|connected| Arc::ptr_eq(&connected.inbox, inbox));
            if own {
                map.remove(mailbox);
            }
            own
        })
    }

    /// The connection of a mailbox.
    pub fn get(&self, mailbox: &MailboxId) -> Option<Connected> {
        self.map(|map| map.get(mailbox).cloned())
    }

    /// Whether a mailbox has its consumer.
    pub fn is_online(&self, mailbox: &MailboxId) -> bool {
        self.map(|map| map.contains_key(mailbox))
    }

    /// A hint to the mailbox's consumer, if it is connected.
    pub fn wake(&self, mailbox: &MailboxId) {
        if let Some(connected) = self.get(mailbox) {
            connected.inbox.mail();
        }
    }

    /// Everybody.
    pub fn all(&self) -> Vec<Connected> {
        self.map(|map| map.values().cloned().collect())
    }

    /// How many.
    pub fn len(&self) -> usize {
        self.map(|map| map.len())
    }

    /// Nobody is connected.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use sealdesk_protocol::wire::Pong;

    #[test]
    fn an_inbox_is_bounded_in_bytes() {
        use sealdesk_protocol::wire::Ephemeral;
        let inbox = Inbox::default();
        let frame = ToClient::from(Ephemeral { envelope: vec![1; 60_000] });
        (0..4).for_each(|_| inbox.frame(&frame));
        assert!(!inbox.is_ending());
        inbox.frame(&frame);
        assert_eq!(inbox.take().goodbye, Some(Reason::SlowConsumer));
    }

    #[test]
    fn an_inbox_is_bounded() {
        let inbox = Inbox::default();
        let frame = ToClient::from(Pong { nonce: 1 });
        for n in 0..EPHEMERAL_FRAMES {
            assert!(inbox.ephemeral(&frame), "{n}");
        }
        assert!(!inbox.ephemeral(&frame), "dropped: the client is behind");
        for _ in EPHEMERAL_FRAMES..MAX_FRAMES {
            inbox.frame(&frame);
        }
        assert!(!inbox.is_ending());
        inbox.frame(&frame);
        assert!(inbox.is_ending());
        let waiting = inbox.take();
        assert_eq!(waiting.goodbye, Some(Reason::SlowConsumer));
        assert_eq!(waiting.frames.len(), MAX_FRAMES);
    }
}
