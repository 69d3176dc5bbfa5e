//! How a conversation begins at an agent: the open statement and its consent, and a bound on how many begin (§7.5, §9.4).

use sealdesk_protocol::conversation::governance::Effect;
use sealdesk_protocol::conversation::statements::{Action, Statement};
use sealdesk_protocol::conversation::{ConsentReceipt, Governance, Refusal, Roster, VerifiedStatement};
use sealdesk_protocol::crypto::certificate::DAY;
use sealdesk_protocol::crypto::identity::{DevicePublic, SignedBytes};
use sealdesk_protocol::ids::{ConversationId, DeviceKeyHash};
use sealdesk_protocol::wire::StatementItem;

use super::aside::{Aside, SetAsideReason};
use super::context::Cx;
use super::received::Outcome;
use super::records::{ConversationRecord, Counters, Side};
use super::state::{Conversation, Engine};
use super::{Problem, problem};
use crate::vault::Key;

/// Conversations that begin in a day and that this agent has not accepted: ten times its capacity, and no fewer.
const MIN_UNACCEPTED: usize = 200;

impl Engine {
    /// A conversation that was opened with this agent's device begins; with another one's, a reassignment to this device has
    /// to follow first.
    pub(super) fn judge_open(
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
    pub(super) fn lists_as_certified(&self, hash: &DeviceKeyHash, roster: &Roster) -> bool {
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

    /// Whether one more conversation may begin: whoever invents customers fills nobody's vault. One that was closed before
    /// anybody took it, or that was given to another agent, makes room, the oldest first, so that opening and closing without
    /// end keeps nobody else out; above that, what comes waits like other statements.
    fn may_begin(&mut self, cx: &mut Cx<'_>) -> bool {
        let since = cx.now.wall_ms.saturating_sub(DAY);
        let young = |c: &&Conversation| {
            c.record.side == Side::Agent
                && c.counters.updated > since
                && c.record.governance.as_ref().is_none_or(|g| !g.is_accepted())
        };
        let most = usize::from(self.meta.availability.capacity).saturating_mul(10).max(MIN_UNACCEPTED);
        if self.conversations.values().filter(young).count() < most {
            return true;
        }
        // Of those that were given away none in which something was written here: they may come back.
        let idle = |c: &&Conversation| c.is_closed() || c.record.lost && c.contents.is_empty();
        let over = self.conversations.values().filter(young).filter(idle);
        let oldest = over.min_by_key(|c| (!c.is_closed(), c.counters.updated)).map(|c| c.id());
        let Some(oldest) = oldest else { return false };
        self.push_out(cx, &oldest);
        true
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
