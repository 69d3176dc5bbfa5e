//! What people ask for, led to the part that does it.

use sealdesk_protocol::conversation::content::{Kind, Text};
use sealdesk_protocol::conversation::{Content, MessageId};
use sealdesk_protocol::ids::ConversationId;
use sealdesk_protocol::wire::Claim;

use super::context::Cx;
use super::link::Request;
use super::records::{Availability, Side};
use super::state::{Conversation, Engine};
use super::{Command, Event, Problem, problem};
use crate::vault::Key;

/// Most own contents without receipt in one conversation.
const MAX_UNRECEIPTED: usize = 1_000;

impl Engine {
    pub(super) fn command(&mut self, cx: &mut Cx<'_>, id: u64, command: Command) {
        match command {
            Command::Open { topic, language, notice } => {
                self.open_conversation(cx, id, topic, language, notice)
            }
            Command::Send { conversation, kind } => self.send_kind(cx, id, conversation, &kind),
            Command::SendFile { conversation, name: Text(name), media_type, length, transfer } => {
                self.send_file(cx, id, conversation, name, media_type, length, transfer);
            }
            Command::SaveFile { conversation, message } => self.save_file(cx, id, conversation, message),
            Command::Close { conversation } => self.close(cx, id, conversation),
            Command::Typing { conversation, on } => {
                self.send_typing(cx, conversation, on);
                cx.done(id, Some(conversation));
            }
            Command::MarkRead { conversation, counter } => self.mark_read(cx, id, conversation, counter),
            Command::AllowReassignment { conversation } => self.allow_reassignment(cx, id, conversation),
            Command::Accept { conversation } => self.accept_by_hand(cx, id, conversation),
            Command::Claim { conversation } => self.claim(cx, id, conversation),
            Command::SetAvailability { available, capacity, manual } => {
                self.set_availability(cx, id, Availability { available, capacity, manual });
            }
            Command::InstallCertificate { chain } => self.install_certificate(cx, id, chain),
            Command::UpdateOrg { org } => self.update_org(cx, id, *org),
            Command::Delete { conversation } => self.delete(cx, id, conversation),
        }
    }

    /// Why nothing can be written into a conversation any more.
    pub(super) fn check_standing(&self, id: &ConversationId) -> Result<&Conversation, Problem> {
        let conversation = self.conversations.get(id).ok_or_else(problem::unknown_conversation)?;
        if conversation.is_closed() {
            return Err(problem::closed());
        }
        if conversation.record.lost {
            return Err(problem::lost());
        }
        if self.devices.get(&conversation.record.device).is_none_or(|d| d.record.stopped) {
            return Err(problem::old_copy());
        }
        Ok(conversation)
    }

    /// Why nothing may be written into a conversation now.
    pub(super) fn check_writable(&self, id: &ConversationId) -> Result<(), Problem> {
        let conversation = self.check_standing(id)?;
        // An acceptance that is made by itself or was asked for is on its way: what is written waits for it.
        let accepting = !self.meta.availability.manual || conversation.record.accept_wanted;
        if conversation.record.side == Side::Agent && !conversation.may_send() && !accepting {
            return Err(problem::not_accepted());
        }
        if conversation.contents.len() >= MAX_UNRECEIPTED {
            return Err(problem::too_many_waiting());
        }
        Ok(())
    }

    fn send_kind(&mut self, cx: &mut Cx<'_>, id: u64, conversation: ConversationId, kind: &Kind) {
        let sendable = match kind {
            Kind::Text(Text(text)) => !text.is_empty(),
            Kind::Rating(_) | Kind::FormAnswers(_) | Kind::Reaction(_) | Kind::Edit(_) | Kind::Delete(_) => {
                true
            }
            _ => false,
        };
        let (number, body) = kind.encode();
        let checked = if sendable { Kind::decode(number, &body).map(drop).ok() } else { None };
        let result = self.check_writable(&conversation).and_then(|()| {
            checked.ok_or_else(|| {
                problem::content(&sealdesk_protocol::conversation::content::ContentError::Malformed)
            })
        });
        let result = result.and_then(|()| self.write_content(cx, conversation, kind));
        match result {
            Ok(message) => {
                cx.event(Event::Done { id, conversation: Some(conversation), message: Some(message) });
            }
            Err(problem) => cx.failed(id, problem),
        }
    }

    /// Gives a content its counter, place and frozen bytes (§8); it leaves when it may.
    pub(super) fn write_content(
        &mut self,
        cx: &mut Cx<'_>,
        id: ConversationId,
        kind: &Kind,
    ) -> Result<MessageId, Problem> {
        let author = self.conversations.get(&id).and_then(|c| self.own_name(c.record.side));
        let conversation = self.conversations.get_mut(&id).ok_or_else(problem::unknown_conversation)?;
        let counter = conversation.counters.counter + 1;
        let content = Content::new(counter, cx.now.wall_ms, conversation.heads(), kind);
        let bytes = content.encode().map_err(|error| problem::content(&error))?;
        let own = conversation.freeze(&content, bytes);
        conversation.waits.attention = true;
        let message = MessageId { device: conversation.record.device, counter };
        let (place, weak) = (own.place, own.weak);
        conversation.contents.insert(counter, own);
        // It carries fresh heads and leaves in this step: a pure receipt is not needed.
        if let Some(peer) = conversation.peer().map(|p| p.hash())
            && conversation.may_send()
            && conversation.sending(&peer).is_some()
            && conversation.waits.distrust.is_none()
        {
            conversation.receipted(&peer, cx.now.mono_ms);
        }
        self.mark(Key::Content(id, counter));
        self.mark(Key::Counters(id));
        if place > 0 {
            self.add_to_transcript(cx, id, message, place, true, author, &content, false, weak);
        }
        Ok(message)
    }

    fn claim(&mut self, cx: &mut Cx<'_>, id: u64, conversation: ConversationId) {
        let Some(hash) = self.agent_device().map(|d| d.public.hash()) else {
            return cx.failed(id, problem::wrong_party("an agent"));
        };
        let Some(online) = self.devices.get_mut(&hash).and_then(|d| d.link.online_mut()) else {
            return cx.failed(id, problem::offline());
        };
        let req = online.request(Request::Claim { command: id, conversation }, cx.now.mono_ms);
        self.send(cx, hash, Claim { req, conversation });
    }

    fn set_availability(&mut self, cx: &mut Cx<'_>, id: u64, availability: Availability) {
        let Some(hash) = self.agent_device().map(|d| d.public.hash()) else {
            return cx.failed(id, problem::wrong_party("an agent"));
        };
        self.meta.availability = availability;
        self.mark(Key::Meta);
        if let Some(online) = self.devices.get_mut(&hash).and_then(|d| d.link.online_mut()) {
            online.told_availability = false;
        }
        for conversation in self.conversations.values_mut() {
            conversation.waits.attention = true;
        }
        cx.done(id, None);
    }

    fn accept_by_hand(&mut self, cx: &mut Cx<'_>, id: u64, conversation: ConversationId) {
        let Some(c) = self.conversations.get_mut(&conversation) else {
            return cx.failed(id, problem::unknown_conversation());
        };
        if c.record.side == Side::Customer {
            return cx.failed(id, problem::wrong_party("an agent"));
        }
        if c.record.lost {
            return cx.failed(id, problem::lost());
        }
        if c.is_closed() {
            return cx.failed(id, problem::closed());
        }
        c.record.accept_wanted = true;
        c.waits.attention = true;
        self.mark(Key::Conversation(conversation));
        cx.done(id, Some(conversation));
    }

    fn allow_reassignment(&mut self, cx: &mut Cx<'_>, id: u64, conversation: ConversationId) {
        let Some(c) = self.conversations.get_mut(&conversation) else {
            return cx.failed(id, problem::unknown_conversation());
        };
        if c.record.side == Side::Agent {
            return cx.failed(id, problem::wrong_party("a customer"));
        }
        if c.is_closed() {
            return cx.failed(id, problem::closed());
        }
        c.record.allowed = true;
        c.record.unaccepted = false;
        c.waits.assigning = false;
        c.waits.assignment_at = 0;
        c.waits.attention = true;
        c.waits.changed = true;
        self.mark(Key::Conversation(conversation));
        self.take_offered(cx, conversation);
        cx.done(id, Some(conversation));
    }

    fn close(&mut self, cx: &mut Cx<'_>, id: u64, conversation: ConversationId) {
        let Some(c) = self.conversations.get_mut(&conversation) else {
            return cx.failed(id, problem::unknown_conversation());
        };
        if c.is_closed() {
            return cx.failed(id, problem::closed());
        }
        if c.record.side == Side::Agent && !c.may_send() {
            return cx.failed(id, problem::not_accepted());
        }
        if c.record.governance.is_none() {
            // Nobody was named: there is nothing to sign against, and nothing that anybody could read. An open statement that
            // is on its way may be stored already: what becomes of it is awaited, or the agent would wait for ever.
            if c.record.pending.is_empty() {
                c.record.closed_here = Some(cx.now.wall_ms);
            }
            c.record.closing = !c.record.pending.is_empty();
        } else {
            c.record.closing = true;
        }
        c.waits.changed = true;
        c.waits.attention = true;
        self.mark(Key::Conversation(conversation));
        cx.done(id, Some(conversation));
    }

    fn mark_read(&mut self, cx: &mut Cx<'_>, id: u64, conversation: ConversationId, counter: u64) {
        let Some(c) = self.conversations.get_mut(&conversation) else {
            return cx.failed(id, problem::unknown_conversation());
        };
        let peer = c.peer().map(|p| p.hash());
        let have =
            peer.and_then(|p| c.counters.peers.iter().find(|h| h.device == p)).map_or(0, |h| h.counter);
        let counter = counter.min(have);
        if counter > c.counters.marked || c.counters.unread > 0 {
            let unread = u32::try_from(have - counter).unwrap_or(u32::MAX);
            c.counters.unread = c.counters.unread.min(unread);
            if counter > c.counters.marked {
                c.counters.marked = counter;
                c.waits.read_due = true;
            }
            c.waits.changed = true;
            c.waits.attention = true;
            self.mark(Key::Counters(conversation));
        }
        cx.done(id, Some(conversation));
    }
}
