//! What people read: entries of a transcript, page by page. The engine keeps none of it in memory.
//!
//! An entry is written once. What became of an own message follows from the conversation's counters, so that receipts
//! rewrite nothing.

use sealdesk_protocol::conversation::MessageId;
use sealdesk_protocol::conversation::content::{Content, Kind};
use sealdesk_protocol::ids::ConversationId;

use crate::engine::context::Cx;
use crate::engine::records::{MessageRecord, OwnContent};
use crate::engine::state::Engine;
use crate::engine::{Event, Message, MessageState, Name, Row};
use crate::vault::{Corrupt, Key, Kind as RecordKind, decode, encode};

impl Engine {
    /// Names of up to `limit` entries before the place `before` (`u64::MAX`: the newest), newest first. Entries that do not
    /// exist any more are simply missing among the rows.
    pub fn page_names(&self, conversation: &ConversationId, before: u64, limit: u16) -> Vec<Name> {
        let Some(c) = self.conversations.get(conversation) else { return Vec::new() };
        let end = before.min(c.counters.places + 1);
        let start = end.saturating_sub(u64::from(limit)).max(1);
        (start..end).rev().map(|place| self.vault.name(Key::Message(*conversation, place))).collect()
    }

    /// Opens rows of [`Self::page_names`]; in the order of their places.
    ///
    /// # Errors
    /// [`Corrupt`]: a row is damaged.
    pub fn page(&self, rows: &[Row]) -> Result<Vec<Message>, Corrupt> {
        let mut messages = Vec::with_capacity(rows.len());
        for row in rows {
            let opened = self.vault.open(row)?;
            let id = opened.conversation.ok_or(Corrupt::Record(row.name.0[0]))?;
            if opened.kind != RecordKind::Message {
                return Err(Corrupt::Record(row.name.0[0]));
            }
            let record: MessageRecord = decode(&opened.bytes)?;
            messages.extend(self.message(&id, &record));
        }
        messages.sort_by_key(|m| m.place);
        Ok(messages)
    }

    pub(crate) fn message(&self, id: &ConversationId, record: &MessageRecord) -> Option<Message> {
        let c = self.conversations.get(id)?;
        let state = match (record.mine, record.after_close) {
            (true, _) => Self::own_state(c, record.id.counter),
            (false, false) => MessageState::Received,
            (false, true) => MessageState::ReceivedAfterClose,
        };
        Some(Message {
            conversation: *id,
            id: record.id,
            place: record.place,
            mine: record.mine,
            author: record.author.clone(),
            time: record.time,
            kind: Kind::decode(record.kind, &record.body).unwrap_or(Kind::Unknown(record.kind)),
            state,
            weak_start: record.weak,
        })
    }

    #[expect(clippy::too_many_arguments, reason = "the fields of one entry")]
    pub(crate) fn add_to_transcript(
        &mut self,
        cx: &mut Cx<'_>,
        conversation: ConversationId,
        id: MessageId,
        place: u64,
        mine: bool,
        author: Option<String>,
        content: &Content,
        after_close: bool,
        weak: bool,
    ) {
        let record = MessageRecord {
            id,
            place,
            mine,
            author,
            time: content.time,
            kind: content.kind,
            body: content.body.clone(),
            after_close,
            weak,
        };
        self.cold.push((Key::Message(conversation, place), Some(conversation), encode(&record)));
        self.tell_message(cx, &conversation, &record);
    }

    pub(crate) fn tell_message(&mut self, cx: &mut Cx<'_>, id: &ConversationId, record: &MessageRecord) {
        if let Some(message) = self.message(id, record) {
            cx.event(Event::Message(Box::new(message)));
        }
    }

    /// The entry of an own content that is still kept; none for contents that are not shown.
    pub(crate) fn own_record(&self, id: ConversationId, own: &OwnContent) -> Option<MessageRecord> {
        let c = self.conversations.get(&id)?;
        let content = Content::decode(&own.bytes).ok().filter(|_| own.place > 0)?;
        Some(MessageRecord {
            id: MessageId { device: c.record.device, counter: own.counter },
            place: own.place,
            mine: true,
            author: self.own_name(c.record.side),
            time: own.time,
            kind: content.kind,
            body: content.body,
            after_close: false,
            weak: own.weak,
        })
    }
}
