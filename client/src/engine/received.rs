//! Statements of others, from the mailbox (§7): signature -> governance -> what follows from it.
//!
//! A statement whose predecessor is missing is set aside and tried again. What this device signed itself counts by the
//! relay's answer alone (see `statements`).

use sealdesk_protocol::conversation::governance::Effect;
use sealdesk_protocol::conversation::statements::{Action, Statement};
use sealdesk_protocol::conversation::{Member, Refusal, VerifiedStatement};
use sealdesk_protocol::crypto::kdf::sha256;
use sealdesk_protocol::ids::{ConversationId, DeviceKeyHash};
use sealdesk_protocol::wire::StatementItem;

use super::aside::{Aside, SetAsideReason};
use super::context::Cx;
use super::records::{Pending, ResetMark, SeenEntry, Side};
use super::seen::half;
use super::state::Engine;
use super::{Problem, problem};

/// What became of a statement from the mailbox.
pub(super) enum Outcome {
    Applied,
    /// Known before, or not for this device.
    Ignored,
    /// Its predecessor is missing.
    Wait,
    Refused(Problem),
}

impl Engine {
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

    fn judge(&mut self, cx: &mut Cx<'_>, hash: DeviceKeyHash, item: &StatementItem) -> Outcome {
        let peeked = match Statement::peek(&item.statement) {
            Ok(statement) => statement,
            Err(error) => return Outcome::Refused(problem::statement(error)),
        };
        // Handover, takeover, join and leave need checks of certificates that this version does not make (§7.4): nobody is
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
        if self.is_gone(&hash, &id) {
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

    /// The certificates that came along: shown, and demanded where a statement brings a customer a new agent device.
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
            // An expired certificate of a known device is judged before the next sending; a device that is new to a customer
            // needs a good one. An agent takes in what happened: whose certificates ended since could read all the same.
            Err(error) => (customer && roster.is_some()).then(|| problem::certificate(error)),
        }
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
