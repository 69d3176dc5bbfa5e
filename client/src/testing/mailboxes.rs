//! What the relay in memory stores for devices: mailbox items and prekeys.

use sealdesk_protocol::crypto::identity::DevicePublic;
use sealdesk_protocol::crypto::prekeys::PrekeyBundle;
use sealdesk_protocol::ids::{DeviceKeyHash, MailboxId};
use sealdesk_protocol::wire::envelope::{Class, Envelope};
use sealdesk_protocol::wire::*;

use super::relay::{Connection, Relay};

impl Relay {
    pub(super) fn deliver(&mut self, connection: Connection, seq: u64, item: Item) {
        let position = Position { store_epoch: self.store_epoch, seq };
        self.say(connection, Deliver { position, item });
    }

    pub(super) fn publish(
        &mut self,
        connection: Connection,
        device: &DevicePublic,
        frame: PublishPrekeys,
        now: u64,
    ) {
        let asked = self.conversations.values().any(|stored| stored.customer.hash() == device.hash());
        if !asked && !self.agents.contains_key(&device.hash()) {
            return self.refuse(connection, frame.req, Code::UnknownConversation);
        }
        let stored = self.prekeys.entry(device.hash()).or_default();
        if let Some(last_resort) = frame.last_resort {
            stored.id = last_resort.verify(device, now).ok().map(|p| p.id());
            stored.last_resort = Some(last_resort);
        }
        stored.one_time.extend(frame.one_time);
        let one_time_left = if self.claims_no_prekeys { 0 } else { stored.one_time.len() as u16 };
        self.say(connection, PrekeyCount { req: Some(frame.req), one_time_left });
        self.assign_waiting();
    }

    pub(super) fn fetch(&mut self, connection: Connection, frame: &FetchPrekeys) {
        match self.bundle(&frame.device) {
            Some(bundle) => {
                self.say(connection, sealdesk_protocol::wire::Prekeys { req: frame.req, bundle });
            }
            None => self.refuse(connection, frame.req, Code::NoPrekeys),
        }
    }

    /// Answers the requests for prekeys that were held back.
    pub fn answer_fetches(&mut self) {
        for (connection, frame) in core::mem::take(&mut self.held_fetches) {
            self.fetch(connection, &frame);
        }
    }

    /// Prekeys of a device, as they are handed out.
    pub fn bundle(&mut self, device: &DeviceKeyHash) -> Option<PrekeyBundle> {
        let stored = self.prekeys.get_mut(device)?;
        Some(PrekeyBundle { last_resort: stored.last_resort.clone()?, one_time: stored.one_time.pop_front() })
    }

    pub(super) fn store_envelope(&mut self, message: Addressed) {
        let Ok(envelope) = Envelope::decode(&message.envelope) else { return };
        if envelope.class != Class::Store {
            return;
        }
        if !self.mailboxes.entry(message.to).or_default().ids.insert(envelope.id.0) {
            return;
        }
        self.envelopes.push(message.envelope.clone());
        if self.mischief.drop.is_some_and(|n| (self.envelopes.len() as u64).is_multiple_of(n)) {
            return;
        }
        self.append(message.to, Item::Envelope(message.envelope));
    }

    pub(super) fn append(&mut self, to: MailboxId, item: Item) {
        self.appended += 1;
        let due = |every: Option<u64>, n: u64| every.is_some_and(|e| n.is_multiple_of(e));
        let connection = self.owners.get(&to).and_then(|d| self.online.get(d)).copied();
        let mailbox = self.mailboxes.entry(to).or_default();
        mailbox.next += 1;
        let seq = mailbox.next;
        mailbox.items.push_back((seq, item.clone()));
        if due(self.mischief.swap, self.appended) && connection.is_none() {
            let len = mailbox.items.len();
            if let Some([a, b]) = mailbox
                .items
                .make_contiguous()
                .get_mut(len.saturating_sub(2)..)
                .and_then(|s| s.first_chunk_mut::<2>())
            {
                core::mem::swap(&mut a.1, &mut b.1);
            }
        }
        if let Some(connection) = connection {
            self.deliver(connection, seq, item.clone());
        }
        if due(self.mischief.repeat, self.appended) {
            self.append(to, item);
        }
    }
}
