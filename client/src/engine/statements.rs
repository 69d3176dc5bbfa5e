//! Our own statements on their way to the relay, and what follows from any statement that was applied (§7).
//!
//! Signed -> kept as pending -> posted, one at a time -> `Done` -> applied. Those of others: see `received`.

use sealdesk_protocol::conversation::governance::Effect;
use sealdesk_protocol::conversation::statements::{Action, Statement};
use sealdesk_protocol::conversation::{Governance, Refusal, VerifiedStatement};
use sealdesk_protocol::ids::ConversationId;
use sealdesk_protocol::wire::{Addressed, Code, PostStatement};

use super::context::Cx;
use super::link::Request;
use super::records::{Pending, Side};
use super::state::Engine;
use super::{Problem, problem};
use crate::vault::Key;

impl Engine {
    /// Posts the oldest pending statement.
    pub(super) fn run_statements(&mut self, cx: &mut Cx<'_>, id: ConversationId) {
        let Some(c) = self.conversations.get_mut(&id) else { return };
        let due = !c.waits.posting && c.waits.statement_at <= cx.now.mono_ms;
        let Some(pending) = c.record.pending.first().filter(|_| due).cloned() else { return };
        let hash = c.record.device;
        let Some(online) = self.devices.get_mut(&hash).and_then(|d| d.link.online_mut()) else { return };
        let req = online.request(Request::Statement(id), cx.now.mono_ms);
        c.waits.posting = true;
        let Pending { statement, envelopes, .. } = pending;
        self.send(cx, hash, PostStatement { req, conversation: id, statement, envelopes });
    }

    /// Signs a note about the current epoch and keeps it until it is stored.
    pub(super) fn add_note(
        &mut self,
        cx: &Cx<'_>,
        id: ConversationId,
        action: Action,
        envelopes: Vec<Addressed>,
    ) {
        let Some(c) = self.conversations.get_mut(&id) else { return };
        let (Some(governance), Some(device)) = (&c.record.governance, self.devices.get(&c.record.device))
        else {
            return;
        };
        let statement = Statement {
            root: *governance.root(),
            conversation: id,
            epoch: governance.current().number,
            signer: device.public.hash(),
            time: cx.now.wall_ms,
            expires: u64::MAX,
            action,
        }
        .sign(&device.record.secret);
        c.record.pending.push(Pending { statement, envelopes, named: None });
        c.waits.attention = true;
        self.mark(Key::Conversation(id));
    }

    /// Whether a statement of this kind is on its way already.
    pub(super) fn is_pending(&self, id: &ConversationId, which: impl Fn(&Action) -> bool) -> bool {
        self.conversations.get(id).is_some_and(|c| {
            c.record.pending.iter().any(|p| Statement::peek(&p.statement).is_ok_and(|s| which(&s.action)))
        })
    }

    /// The relay stored our oldest pending statement.
    pub(super) fn statement_stored(&mut self, cx: &mut Cx<'_>, id: ConversationId) {
        let Some(c) = self.conversations.get_mut(&id) else { return };
        c.waits.posting = false;
        c.waits.attention = true;
        c.waits.told = None;
        if c.record.pending.is_empty() {
            return;
        }
        let pending = c.record.pending.remove(0);
        let Some(own) = self.devices.get(&c.record.device).map(|d| d.public) else { return };
        self.mark(Key::Conversation(id));
        let Ok(verified) = VerifiedStatement::verify(&pending.statement, &own) else { return };
        match self.apply(id, &verified) {
            Ok(effect) => {
                self.follow(cx, id, &effect);
                if let Some(named) = &pending.named {
                    self.begin_session(cx, id, named);
                }
            }
            Err(Refusal::Known) => {}
            Err(refusal) => cx.problem(Some(id), problem::statement(refusal)),
        }
    }

    /// The relay refused our oldest pending statement.
    pub(super) fn statement_refused(&mut self, cx: &mut Cx<'_>, id: ConversationId, code: Code, at: u64) {
        let Some(c) = self.conversations.get_mut(&id) else { return };
        c.waits.posting = false;
        c.waits.attention = true;
        let side = c.record.side;
        if super::requests::is_passing(code) {
            let later = matches!(code, Code::MailboxFull | Code::MailboxBytes | Code::RateLimited);
            if !(later && self.put_off_reset(&id))
                && let Some(c) = self.conversations.get_mut(&id)
            {
                c.waits.statement_at = at;
            }
            return self.tell_once(cx, id, code);
        }
        if c.record.pending.is_empty() {
            return;
        }
        // Refused for good: it is discarded. A new one is made when the mailbox has told what was stored instead.
        let pending = c.record.pending.remove(0);
        c.waits.statement_at = at;
        c.waits.assignment_at = at;
        c.waits.assigning = false;
        let accept =
            Statement::peek(&pending.statement).is_ok_and(|s| matches!(s.action, Action::Accept { .. }));
        if accept && matches!(code, Code::AssignmentLost | Code::UnknownConversation | Code::NotListed) {
            c.record.lost = true;
        }
        let closes =
            Statement::peek(&pending.statement).is_ok_and(|s| matches!(s.action, Action::Close { .. }));
        if c.record.closing && c.record.governance.is_none() {
            // Asked to close while the open statement was on its way: nobody will ever read anything.
            c.record.closed_here = Some(cx.now.wall_ms);
            c.record.closing = false;
        }
        // A backup was put back that is older than the conversation: nobody but us will ever hear of this close.
        let unknown = closes && code == Code::UnknownConversation;
        if unknown {
            c.record.closed_here = Some(cx.now.wall_ms);
        }
        c.waits.changed = true;
        self.mark(Key::Conversation(id));
        if unknown {
            self.give_up_all(cx, id);
        }
        self.end_unopened(cx, id, code);
        if let Ok(Action::Reset { new, .. }) = Statement::peek(&pending.statement).map(|s| s.action) {
            self.reset_refused(&id, new);
        }
        self.keep_lost(cx, &id);
        // Both sides closed at once, or another agent was named before this customer had signed: nothing is wrong.
        let named_anew = side == Side::Customer && code == Code::AssignmentLost;
        if !(closes && code == Code::Closed || named_anew) {
            cx.problem(Some(id), Problem::from(code));
        }
    }

    /// What was written while the acceptance was on its way does not arrive when the conversation goes to somebody else. It
    /// is kept, because counters are contiguous and the conversation may come back.
    fn keep_lost(&mut self, cx: &mut Cx<'_>, id: &ConversationId) {
        let Some(c) = self.conversations.get(id).filter(|c| c.record.lost) else { return };
        let waiting: Vec<u64> = c.contents.keys().copied().collect();
        waiting.into_iter().for_each(|counter| self.send_anew(cx, *id, counter));
    }

    pub(super) fn apply(
        &mut self,
        id: ConversationId,
        verified: &VerifiedStatement,
    ) -> Result<Effect, Refusal> {
        let root = self.org.root();
        let c = self.conversations.get_mut(&id).ok_or(Refusal::Foreign)?;
        match &mut c.record.governance {
            Some(governance) => governance.apply(verified, None),
            none => {
                *none = Some(Governance::open(root, verified)?);
                Ok(Effect::Opened)
            }
        }
    }

    /// What follows from a statement that was applied, ours or another's.
    pub(super) fn follow(&mut self, cx: &mut Cx<'_>, id: ConversationId, effect: &Effect) {
        let Some(c) = self.conversations.get_mut(&id) else { return };
        c.waits.changed = true;
        c.waits.attention = true;
        if matches!(effect, Effect::Accepted | Effect::Reassigned { .. } | Effect::Closed) {
            // Nobody is waited for any more, or somebody else.
            (c.record.unaccepted, c.record.offered) = (false, None);
        }
        match effect {
            Effect::Reassigned { from } => {
                // What was sealed for the agent before is sealed anew, same bytes, for the next one.
                if c.record.side == Side::Customer {
                    self.drop_envelopes(&id, from);
                    self.drop_held(&id, from);
                    if let Some(c) = self.conversations.get_mut(&id) {
                        c.counters.sent = c.counters.delivered;
                        self.mark(Key::Counters(id));
                    }
                } else {
                    c.record.lost = !c.lists_us();
                    self.keep_lost(cx, &id);
                }
            }
            Effect::Opened if c.record.side == Side::Agent => {
                c.waits.accept_at = Some(cx.now.mono_ms + 2_000)
            }
            Effect::Closed => {
                c.record.closing = false;
                // What the relay refused before it said why is judged anew.
                c.waits.send_at = 0;
            }
            _ => {}
        }
        self.mark(Key::Conversation(id));
        self.retry(cx, id);
    }

    /// What waited for a statement is tried again, one conversation after the other and never nested: a relay may deliver
    /// a long chain of statements in reverse.
    pub(super) fn retry(&mut self, cx: &mut Cx<'_>, id: ConversationId) {
        self.retries.insert(id);
        if self.retrying {
            return;
        }
        self.retrying = true;
        while let Some(id) = self.retries.pop_first() {
            self.retry_held(cx, &id);
            self.retry_aside(cx, &id);
        }
        self.retrying = false;
    }
}
