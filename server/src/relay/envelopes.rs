//! Envelopes: only a device that was ever listed in a conversation writes to the other parties' mailboxes.

use std::sync::Arc;

use futures_util::FutureExt;
use sealdesk_protocol::crypto::kdf::sha256;
use sealdesk_protocol::ids::DeviceKeyHash;
use sealdesk_protocol::wire::envelope::{Class, Envelope, EnvelopeHead};
use sealdesk_protocol::wire::{Ack, Addressed, Code, Ephemeral, Item, Send, SendEphemeral};

use super::record::Loaded;
use super::{Relay, done};
use crate::clock::{DAY_MS, now_ms};
use crate::socket::connection::Session;
use crate::socket::error;
use crate::socket::in_flight::Pending;
use crate::store::{Append, DeviceRecord, Part};

/// By what a repetition is known: sender and envelope. The sender chooses the envelope's id, so alone it could be the id
/// of a statement or of somebody else's envelope, and keep that from being stored.
fn item_id(from: &DeviceKeyHash, envelope: &EnvelopeHead) -> Result<[u8; 16], Code> {
    let mut of = [0; 32 + 16];
    of[..32].copy_from_slice(&from.0);
    of[32..].copy_from_slice(&envelope.id.0);
    let hash = sha256(&of);
    hash.first_chunk().copied().ok_or(Code::Internal)
}

/// Checks form, class and address of an envelope, and makes the item to store.
pub(super) fn item(
    from: &DeviceKeyHash,
    part: Part,
    message: Addressed,
    expires_ms: u64,
) -> Result<Append, Code> {
    let envelope = Envelope::head(&message.envelope).map_err(|_| Code::Malformed)?;
    if envelope.mailbox != message.to || envelope.class != Class::Store {
        return Err(Code::Malformed);
    }
    let id = item_id(from, &envelope)?;
    // Variant and length take a few bytes more.
    let room = Vec::with_capacity(message.envelope.len() + 8);
    let bytes = postcard::to_extend(&Item::Envelope(message.envelope), room).map_err(|_| Code::Internal)?;
    Ok(Append { mailbox: message.to, part, id, bytes, expires_ms })
}

/// Queues an envelope at once; resolves to the answer when it is durable.
fn append(relay: &Arc<Relay>, from: DeviceKeyHash, loaded: &Loaded, frame: Send) -> Result<Pending, Code> {
    relay.check_space()?;
    if !loaded.may_write(&from, &frame.message.to) {
        return Err(Code::NotListed);
    }
    let now = now_ms();
    if loaded.becomes_active(now) {
        relay.routing.active(&frame.conversation, now);
    }
    let part = loaded.part_of(from, &frame.message.to);
    let item = item(&from, part, frame.message, relay.expiry(now))?;
    let (relay, req) = (Arc::clone(relay), frame.req);
    let stored = relay.store.append(item);
    Ok(async move {
        Some(match stored.await {
            Ok(stored) => {
                if stored.fresh {
                    relay.metrics.envelopes_stored.up();
                }
                done(req)
            }
            Err(cause) => error(Some(req), relay.store_code(&cause)),
        })
    }
    .boxed())
}

impl Session {
    /// Queues an envelope; the answer comes when it is durable.
    pub fn send(&self, frame: Send) -> Pending {
        let (relay, from, req) = (Arc::clone(&self.relay), self.who.hash, frame.req);
        let refused = move |code| core::future::ready(Some(error(Some(req), code))).boxed();
        // In memory nearly always; then the envelope is queued before this returns, and order is kept.
        if let Some(loaded) = relay.conversations.cached(&frame.conversation) {
            return append(&relay, from, &loaded, frame).unwrap_or_else(refused);
        }
        async move {
            let pending = match relay.conversation(frame.conversation).await {
                Ok(Some(loaded)) => append(&relay, from, &loaded, frame).unwrap_or_else(refused),
                Ok(None) => refused(Code::UnknownConversation),
                Err(cause) => refused(relay.store_code(&cause)),
            };
            pending.await
        }
        .boxed()
    }

    /// Forwards an ephemeral envelope to a connected recipient; anything wrong with it just ends it.
    pub(super) async fn forward(&self, frame: &SendEphemeral) {
        let Ok(Some(loaded)) = self.relay.conversation(frame.conversation).await else { return };
        let Ok(envelope) = Envelope::head(&frame.message.envelope) else { return };
        let to = frame.message.to;
        let fits = envelope.class == Class::Ephemeral && envelope.mailbox == to;
        if !fits || !loaded.may_write(&self.who.hash, &to) {
            return;
        }
        if let Some(connected) = self.relay.registry.get(&to) {
            let forwarded = Ephemeral { envelope: frame.message.envelope.clone() };
            if connected.inbox.ephemeral(&forwarded.into()) {
                self.relay.metrics.ephemeral.up();
            }
        }
    }

    /// Deletes what the client has stored, and keeps its vault's generation when it is higher (§9.2): checked first, so
    /// that what is kept can be shown. A position of another store epoch means nothing here and is ignored (§9.6).
    ///
    /// # Errors
    /// The generation is not signed by this device; nothing was stored.
    pub fn acknowledge(&mut self, ack: Ack) -> Result<Option<Pending>, Code> {
        if ack.up_to.store_epoch != self.relay.store.epoch() {
            return Ok(None);
        }
        let risen = ack.vault.filter(|vault| self.is_remembered() && vault.claimed() > self.told);
        if risen.is_some_and(|vault| vault.verify(&self.relay.config.name, &self.who.device).is_err()) {
            return Err(Code::BadSignature);
        }
        self.relay.metrics.acks.up();
        let acked = self.relay.store.ack(self.who.mailbox, ack.up_to.seq);
        let noted = risen.map(|vault| {
            self.told = vault.claimed();
            let now = now_ms();
            let day = u32::try_from(now / DAY_MS).unwrap_or(u32::MAX);
            let record = DeviceRecord { vault: Some(vault), last_seen_day: day };
            self.relay.store.put_device(self.who.hash, record, self.relay.forget_device_at(now))
        });
        let stored = async move {
            let noted = match noted {
                Some(noted) => noted.await,
                None => Ok(()),
            };
            if let Err(cause) = acked.await.and(noted) {
                // The items are delivered again; nothing is lost.
                tracing::warn!(%cause, "an acknowledgement was not stored");
            }
            None
        };
        Ok(Some(stored.boxed()))
    }
}

#[cfg(test)]
mod tests {
    use sealdesk_protocol::crypto::identity::DeviceSecret;
    use sealdesk_protocol::ids::{ConversationId, EnvelopeId, SessionId};
    use sealdesk_protocol::wire::envelope::{CHAIN_LEN, HEADER_LEN};
    use sealdesk_protocol::wire::{Party, ToClient};

    use super::*;
    use crate::relay::record::tests::record;
    use crate::routing::{AgentRecord, Availability};
    use crate::testing::organisation::rng;
    use crate::testing::{Opened, Running, authenticated};

    #[tokio::test]
    async fn what_is_said_makes_a_conversation_count_again() {
        let running = Running::start().await;
        let relay = &running.relay;
        let (customer, agent) = (DeviceSecret::generate(&mut rng()), DeviceSecret::generate(&mut rng()));
        let Opened { id, record: opened, .. } = running.opened(&customer, &agent).await;
        // Long ago.
        relay.routing.note(id, &opened, 0);
        let chain = running.organisation.chain(&running.organisation.certificate("mira", &agent));
        let who = authenticated(relay, &agent, Party::Agent(chain));
        let known = AgentRecord {
            availability: Some(Availability { available: true, capacity: 1 }),
            ..AgentRecord::new(&who, who.agent.as_ref().unwrap())
        };
        relay.routing.upsert(agent.hash(), known);
        let waits = ConversationId([2; 32]);
        relay.routing.note(waits, &record(), now_ms());
        let has_room = || !relay.routing.candidates(&waits, now_ms(), |_| true).unwrap().is_empty();
        assert!(has_room(), "nothing was said for long");

        let session = running.session(&customer, Party::Customer);
        let to = agent.public().mailbox();
        let envelope = Envelope {
            mailbox: to,
            id: EnvelopeId([3; 16]),
            session: SessionId([4; 16]),
            class: Class::Store,
            preamble: None,
            chain: vec![5; CHAIN_LEN].into(),
            nonce: [6; 24],
            header: vec![7; HEADER_LEN],
            body: vec![8; 1024 + 16],
        };
        let message = Addressed { to, envelope: envelope.encode() };
        let answer = session.send(Send { req: 1, conversation: id, message }).await;
        assert!(matches!(answer, Some(ToClient::Done(_))), "{answer:?}");
        assert!(!has_room());
    }
}
