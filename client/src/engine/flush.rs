//! From changed state to one batch: each row that changed is encoded, sealed and written; whatever is gone is deleted.

use rand_core::CryptoRng;
use sealdesk_protocol::ids::ConversationId;
use sealdesk_protocol::session::SkippedName;
use zeroize::Zeroizing;

use super::records::{Generation, PrekeyRecord, SessionRecord, SkippedRecord, StoredCursor};
use super::state::Engine;
use super::{Batch, Write};
use crate::vault::{Key, encode};

impl Engine {
    /// Everything that changed since the last batch. Empty when nothing did; the generation rises otherwise.
    pub(super) fn flush(&mut self, rng: &mut dyn CryptoRng) -> Batch {
        let dirty = core::mem::take(&mut self.dirty);
        let cold = core::mem::take(&mut self.cold);
        let deleted = core::mem::take(&mut self.deleted);
        let mut batch = Batch { writes: Vec::new(), generation: self.vault.generation() };
        if dirty.is_empty() && cold.is_empty() && deleted.is_empty() {
            return batch;
        }
        batch.generation += 1;
        self.vault.set_generation(batch.generation);
        batch.writes.extend(deleted.into_iter().map(Write::Delete));
        for key in dirty {
            let row = match key {
                Key::Wrapped(id) => self.vault.seal_conversation_key(&id, rng),
                _ => self
                    .encoded(&key)
                    .and_then(|text| self.vault.seal(key, self.scope(&key).as_ref(), &text, rng)),
            };
            batch.writes.push(row.map_or_else(|| Write::Delete(self.vault.name(key)), Write::Put));
        }
        for (key, scope, text) in cold {
            batch.writes.extend(self.vault.seal(key, scope.as_ref(), &text, rng).map(Write::Put));
        }
        let generation = encode(&Generation(batch.generation));
        batch.writes.extend(self.vault.seal(Key::Generation, None, &generation, rng).map(Write::Put));
        batch
    }

    /// Under which conversation's key a row is sealed; none: the vault's own.
    fn scope(&self, key: &Key) -> Option<ConversationId> {
        match key {
            Key::Meta | Key::Generation | Key::Wrapped(_) => None,
            Key::Device(d)
            | Key::Cursor(d)
            | Key::Prekey(d, _)
            | Key::Seen(d, _)
            | Key::SetAside(d, _)
            | Key::Quarantine(d, _) => self.devices.get(d).and_then(|device| device.record.conversation),
            Key::Conversation(c)
            | Key::Counters(c)
            | Key::Session(c, _)
            | Key::Skipped(c, ..)
            | Key::Content(c, _)
            | Key::Envelope(c, _)
            | Key::Held(c, _)
            | Key::Transfer(c, _)
            | Key::Attachment(c, _)
            | Key::Message(c, _)
            | Key::Refused(c, _) => Some(*c),
        }
    }

    /// A row's current content; none when what it kept is gone.
    fn encoded(&self, key: &Key) -> Option<Zeroizing<Vec<u8>>> {
        let conversation = |id| self.conversations.get(id);
        match key {
            Key::Meta => Some(encode(&self.meta)),
            Key::Device(d) => self.devices.get(d).map(|device| encode(&device.record)),
            Key::Cursor(d) => {
                self.devices.get(d).map(|device| encode(&StoredCursor { device: *d, cursor: device.cursor }))
            }
            Key::Prekey(d, id) => {
                let stored = self.devices.get(d)?.prekeys.get(id)?.to_stored();
                Some(encode(&PrekeyRecord { device: *d, stored }))
            }
            Key::Seen(d, number) => self.devices.get(d)?.seen.page(*number).map(encode),
            Key::SetAside(d, number) => self.devices.get(d)?.aside.get(number).map(encode),
            Key::Conversation(c) => conversation(c).map(|c| encode(&c.record)),
            Key::Counters(c) => conversation(c).map(|c| encode(&c.counters)),
            Key::Session(c, s) => conversation(c)?.sessions.get(s).map(|entry| {
                encode(&SessionRecord {
                    conversation: *c,
                    created: entry.created,
                    stored: entry.session.to_stored(),
                })
            }),
            Key::Skipped(c, s, name) => {
                let session = &conversation(c)?.sessions.get(s)?.session;
                let stored = session.skipped(&SkippedName::from_bytes(name))?;
                Some(encode(&SkippedRecord { session: *s, stored }))
            }
            Key::Content(c, n) => conversation(c)?.contents.get(n).map(encode),
            Key::Envelope(c, e) => conversation(c)?.envelopes.values().find(|v| v.id == *e).map(encode),
            Key::Held(c, m) => conversation(c)?.held.get(m).map(encode),
            Key::Attachment(c, m) => conversation(c)?.attachments.get(m).map(encode),
            Key::Transfer(_, blob) => self.transfers.get(blob)?.record().map(encode),
            Key::Generation | Key::Wrapped(_) | Key::Message(..) | Key::Quarantine(..) | Key::Refused(..) => {
                None
            }
        }
    }
}
