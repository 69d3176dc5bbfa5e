//! Statements: our own on their way to the relay, and those of others from the mailbox (§7).
//!
//! Own: signed -> kept as pending -> posted, one at a time -> `Done` -> applied. Others': signature -> governance -> what
//! follows from it. A statement whose predecessor is missing is set aside and tried again.

use sealdesk_protocol::conversation::governance::Effect;
use sealdesk_protocol::conversation::statements::{Action, Statement};
use sealdesk_protocol::conversation::{
    ConsentReceipt, Governance, Member, Refusal, Roster, VerifiedStatement,
};
use sealdesk_protocol::crypto::certificate::DAY;
use sealdesk_protocol::crypto::identity::{DevicePublic, SignedBytes};
use sealdesk_protocol::crypto::kdf::sha256;
use sealdesk_protocol::ids::{ConversationId, DeviceKeyHash};
use sealdesk_protocol::wire::{Addressed, Code, PostStatement, StatementItem};

use super::aside::{Aside, SetAsideReason};
use super::context::Cx;
use super::link::Request;
use super::records::{ConversationRecord, Counters, Pending, ResetMark, SeenEntry, Side};
use super::seen::half;
use super::state::{Conversation, Engine};
use super::{Problem, problem};
use crate::vault::Key;

/// Conversations that begin in a day and that this agent has not accepted: ten times its capacity, and no fewer.
const MIN_UNACCEPTED: usize = 200;

/// What became of a statement from the mailbox.
enum Outcome {
    Applied,
    /// Known before, or not for this device.
    Ignored,
    /// Its predecessor is missing.
    Wait,
    Refused(Problem),
}

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
        if super::requests::is_passing(code) {
            c.waits.statement_at = at;
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
        c.waits.changed = true;
        self.mark(Key::Conversation(id));
        if let Ok(Action::Reset { new, .. }) = Statement::peek(&pending.statement).map(|s| s.action) {
            self.reset_refused(&id, new);
        }
        self.keep_lost(cx, &id);
        // Both sides closed at once: nothing is wrong.
        if !(closes && code == Code::Closed) {
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

    fn apply(&mut self, id: ConversationId, verified: &VerifiedStatement) -> Result<Effect, Refusal> {
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
    fn follow(&mut self, cx: &mut Cx<'_>, id: ConversationId, effect: &Effect) {
        let Some(c) = self.conversations.get_mut(&id) else { return };
        c.waits.changed = true;
        c.waits.attention = true;
        match effect {
            Effect::Reassigned { from } => {
                // What was sealed for the agent before is sealed anew, same bytes, for the next one.
                if c.record.side == Side::Customer {
                    self.drop_envelopes(&id, from);
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

    /// A statement of the mailbox.
    pub(super) fn receive_statement(&mut self, cx: &mut Cx<'_>, hash: DeviceKeyHash, item: StatementItem) {
        // With everything that came along: another certificate or consent is judged anew.
        let digest = sha256(&postcard::to_allocvec(&item).unwrap_or_default());
        if self.devices.get(&hash).is_some_and(|d| d.seen.contains(&digest)) {
            return;
        }
        let conversation = Statement::peek(&item.statement).ok().map(|s| s.conversation);
        match self.judge(cx, hash, &item) {
            Outcome::Applied | Outcome::Ignored => {}
            Outcome::Wait => {
                self.set_aside(cx, hash, Aside::Statement(Box::new(item)));
                if let Some(id) = conversation {
                    self.open_waiting(cx, hash, id);
                }
            }
            Outcome::Refused(problem) => {
                self.remember(hash, SeenEntry { time: cx.now.wall_ms, hash: half(&digest), content: None });
                let conversation = conversation.filter(|id| self.conversations.contains_key(id));
                self.quarantine(cx, hash, conversation, SetAsideReason::Statement, item.statement.body());
                cx.problem(conversation, problem);
            }
        }
    }

    /// A conversation of which only set-aside statements are known begins when one of them lists this device.
    pub(super) fn open_waiting(&mut self, cx: &mut Cx<'_>, hash: DeviceKeyHash, id: ConversationId) {
        if !self.is_agent() || self.conversations.contains_key(&id) {
            return;
        }
        let Some(device) = self.devices.get(&hash) else { return };
        let waiting = device.aside.values().filter(|a| a.conversation == id);
        let statements = waiting.filter_map(|a| match &a.item {
            Aside::Statement(item) => Some((a.number, item, Statement::peek(&item.statement).ok()?)),
            Aside::Envelope(_) => None,
        });
        let (mut open, mut listed) = (None, false);
        for (number, item, peeked) in statements {
            listed |= peeked.action.roster().is_some_and(|roster| roster.get(&hash).is_some());
            if matches!(peeked.action, Action::Open { .. }) {
                open = Some((number, item.clone(), peeked));
            }
        }
        let Some((number, item, peeked)) = open.filter(|_| listed && self.may_begin(cx)) else { return };
        if let Some(device) = self.devices.get_mut(&hash) {
            device.aside.remove(&number);
        }
        self.mark(Key::SetAside(hash, number));
        if let Outcome::Refused(problem) = self.begin(cx, hash, &item, &peeked) {
            self.quarantine(cx, hash, None, SetAsideReason::Statement, item.statement.body());
            cx.problem(None, problem);
        }
    }

    /// Whether one more conversation may begin: a relay that invents customers fills nobody's vault. What is above the bound
    /// waits like other statements.
    fn may_begin(&self, cx: &Cx<'_>) -> bool {
        let since = cx.now.wall_ms.saturating_sub(DAY);
        let young = |c: &&Conversation| {
            c.record.side == Side::Agent
                && c.counters.updated > since
                && c.record.governance.as_ref().is_none_or(|g| !g.is_accepted())
        };
        let most = usize::from(self.meta.availability.capacity).saturating_mul(10).max(MIN_UNACCEPTED);
        self.conversations.values().filter(young).count() < most
    }

    fn judge(&mut self, cx: &mut Cx<'_>, hash: DeviceKeyHash, item: &StatementItem) -> Outcome {
        let peeked = match Statement::peek(&item.statement) {
            Ok(statement) => statement,
            Err(error) => return Outcome::Refused(problem::statement(error)),
        };
        // Handover, takeover, join and leave need checks of certificates that this version does not make (§7.3): nobody is
        // brought in by a statement that this device cannot judge.
        if matches!(
            peeked.action,
            Action::AcceptOffer { .. }
                | Action::Join { .. }
                | Action::Leave { .. }
                | Action::Offer { .. }
                | Action::Withdraw { .. }
        ) {
            return Outcome::Refused(problem::statement(Refusal::Signer));
        }
        let id = peeked.conversation;
        if self.was_deleted(&hash, &id) {
            return Outcome::Ignored;
        }
        // What this device signed counts when the relay says that it is stored, and only then: a statement that it refused
        // and delivers all the same would bring in a reader whom nobody waited for.
        if peeked.signer == hash {
            return Outcome::Ignored;
        }
        let known = self.conversations.get(&id);
        if known.is_some_and(|c| c.record.device != hash) {
            // Of the device before this one (§9.2): it stays as it is.
            return Outcome::Ignored;
        }
        let Some(governance) = known.map(|c| c.record.governance.as_ref()) else {
            return match (&peeked.action, self.is_agent()) {
                (Action::Open { .. }, true) => self.judge_open(cx, hash, item, &peeked),
                (_, true) => Outcome::Wait,
                _ => Outcome::Refused(problem::statement(Refusal::Foreign)),
            };
        };
        let Some(governance) = governance else { return Outcome::Wait };
        let Some(signer) = governance.ever_listed(&peeked.signer).map(|m| m.device) else {
            return Outcome::Refused(problem::statement(Refusal::Signer));
        };
        let verified = match VerifiedStatement::verify(&item.statement, &signer) {
            Ok(verified) => verified,
            Err(error) => return Outcome::Refused(problem::statement(error)),
        };
        if let Some(refused) = self.check_chain(cx, &id, item, &verified) {
            return Outcome::Refused(refused);
        }
        match self.apply(id, &verified) {
            Ok(effect) => {
                self.drop_superseded(&id, &verified);
                let s = verified.get();
                if let (Effect::Reset { peer, new, generation }, Some(statement)) =
                    (&effect, s.action.refers_to())
                {
                    let (by, statement, at) = (s.signer, *statement, cx.now.wall_ms);
                    self.peer_reset(
                        id,
                        ResetMark { by, peer: *peer, statement, new: *new, generation: *generation, at },
                    );
                }
                self.follow(cx, id, &effect);
                Outcome::Applied
            }
            Err(Refusal::Known) => Outcome::Ignored,
            Err(Refusal::Gap) => Outcome::Wait,
            Err(Refusal::Fork) => Outcome::Refused(problem::fork()),
            // Two sides did the same at once: the first one counts. Or an earlier reset comes again, after a restore of the
            // relay. Nothing is wrong.
            Err(Refusal::Closed | Refusal::Assignment | Refusal::Generation) => Outcome::Ignored,
            Err(refusal) => Outcome::Refused(problem::statement(refusal)),
        }
    }

    /// The certificates that came along: shown, and demanded where a statement brings a new agent device.
    fn check_chain(
        &mut self,
        cx: &Cx<'_>,
        id: &ConversationId,
        item: &StatementItem,
        verified: &VerifiedStatement,
    ) -> Option<Problem> {
        let roster = verified.get().action.roster();
        let c = self.conversations.get(id)?;
        let customer = c.record.side == Side::Customer;
        if !customer && roster.is_some_and(|roster| !self.lists_as_certified(&c.record.device, roster)) {
            return Some(problem::statement(Refusal::Roster));
        }
        let chain = match (&item.agent, roster) {
            (Some(chain), _) => chain,
            (None, Some(roster)) if customer => {
                let known = self
                    .conversations
                    .get(id)?
                    .record
                    .known
                    .iter()
                    .any(|k| k.device == roster.agent().hash());
                return (!known).then(|| problem::statement(Refusal::Signer));
            }
            _ => return None,
        };
        match self.verify_agent(chain, cx.now.wall_ms) {
            Ok(certificate) => {
                let other = |m: &Member| {
                    m.device != *certificate.device() || m.agent.as_ref() != Some(certificate.agent())
                };
                // Another device's certificates, or another agent's, say nothing about the one that is listed.
                if roster.is_some_and(|r| other(r.agent())) {
                    return customer.then(|| problem::statement(Refusal::Roster));
                }
                let current = self.conversations.get(id)?.record.governance.as_ref().map(|g| g.current());
                if roster.is_none() && current.is_none_or(|current| other(current.roster.agent())) {
                    return None;
                }
                let chain = chain.clone();
                self.remember_agent(id, &chain, &certificate);
                None
            }
            // An expired certificate of a known device is judged before the next sending; a new device needs a good one.
            Err(error) => roster.is_some().then(|| problem::certificate(error)),
        }
    }

    /// A conversation that was opened with this agent's device begins; with another one's, a reassignment to this device has
    /// to follow first.
    fn judge_open(
        &mut self,
        cx: &mut Cx<'_>,
        hash: DeviceKeyHash,
        item: &StatementItem,
        peeked: &Statement,
    ) -> Outcome {
        let mine = peeked.action.roster().is_some_and(|roster| roster.get(&hash).is_some());
        if mine && self.may_begin(cx) { self.begin(cx, hash, item, peeked) } else { Outcome::Wait }
    }

    /// Whether a roster that lists this device lists it as the agent that its certificate names.
    fn lists_as_certified(&self, hash: &DeviceKeyHash, roster: &Roster) -> bool {
        let own = self.devices.get(hash).and_then(|d| d.certificate.as_ref());
        let named = roster.get(hash).and_then(|m| m.agent.as_ref());
        named.is_none_or(|named| own.is_none_or(|own| own.agent() == named))
    }

    fn begin(
        &mut self,
        cx: &mut Cx<'_>,
        hash: DeviceKeyHash,
        item: &StatementItem,
        peeked: &Statement,
    ) -> Outcome {
        let refuse = |refusal| Outcome::Refused(problem::statement(refusal));
        let Action::Open { roster, topic, language, consent, .. } = &peeked.action else {
            return Outcome::Wait;
        };
        let customer = roster.customer().device;
        let verified = match VerifiedStatement::verify(&item.statement, &customer) {
            Ok(verified) => verified,
            Err(error) => return Outcome::Refused(problem::statement(error)),
        };
        let governance = match Governance::open(self.org.root(), &verified) {
            Ok(governance) => governance,
            Err(refusal) => return refuse(refusal),
        };
        if let Err(problem) = check_consent(item.consent.as_ref(), consent, peeked, &customer) {
            return Outcome::Refused(problem);
        }
        if !self.lists_as_certified(&hash, roster) {
            return refuse(Refusal::Roster);
        }
        let Some(own) = self.devices.get(&hash) else { return Outcome::Ignored };
        let mine = roster.agent().device == own.public;
        let id = peeked.conversation;
        let own_chain = own.record.chain.clone();
        let certificate = own.certificate.clone();
        self.vault.add_conversation(id, cx.rng);
        let record = ConversationRecord {
            governance: Some(governance),
            consent: item.consent.clone(),
            // Opened with another agent: the reassignment to this device is applied next.
            lost: !mine,
            ..ConversationRecord::new(id, hash, Side::Agent, topic.clone(), language.clone(), peeked.time)
        };
        self.conversations.insert(id, Conversation::new(record, Counters::new(id, &hash, cx.now.wall_ms)));
        for key in [Key::Wrapped(id), Key::Conversation(id), Key::Counters(id)] {
            self.mark(key);
        }
        if let (true, Some(chain), Some(certificate)) = (mine, own_chain, certificate) {
            self.remember_agent(&id, &chain, &certificate);
        }
        self.follow(cx, id, &Effect::Opened);
        Outcome::Applied
    }

    /// Our own pending note is pointless when the other side's statement says the same or ended its epoch.
    fn drop_superseded(&mut self, id: &ConversationId, verified: &VerifiedStatement) {
        let Some(c) = self.conversations.get_mut(id) else { return };
        let closed = matches!(verified.get().action, Action::Close { .. });
        let epoch = verified.get().action.roster().is_some();
        if !c.waits.posting && (closed || epoch) {
            let keep = |p: &Pending| {
                Statement::peek(&p.statement).is_ok_and(|s| {
                    closed && matches!(s.action, Action::Reset { .. } | Action::Countersign { .. })
                })
            };
            c.record.pending.retain(keep);
        }
    }
}

/// The receipt without which no conversation opens: signed by this customer device, for this conversation, and the one
/// that the open statement names.
fn check_consent(
    signed: Option<&SignedBytes>,
    digest: &[u8; 32],
    open: &Statement,
    customer: &DevicePublic,
) -> Result<(), Problem> {
    let signed = signed.ok_or_else(problem::no_consent)?;
    let receipt = ConsentReceipt::verify(signed).map_err(|_| problem::no_consent())?;
    let fits = signed.digest() == *digest
        && receipt.root == open.root
        && receipt.conversation == open.conversation
        && receipt.device == *customer;
    if fits { Ok(()) } else { Err(problem::no_consent()) }
}
