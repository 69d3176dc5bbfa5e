//! Statements: the compare-and-swap that decides how a conversation goes on (§7).
//!
//! 1. The signature verifies under the posting device's own key; nobody posts for another.
//! 2. [`Governance`] decides whether it may follow what is stored: the same code that clients run.
//! 3. `open` and `reassign` have to name the agent device that the relay named.
//! 4. Record, copies for the mailboxes of the other listed devices and of whoever it replaces, and the envelopes that came along are one batch, or nothing
//!    is.

use std::sync::Arc;

use sealdesk_protocol::conversation::governance::Effect;
use sealdesk_protocol::conversation::{
    Action, ConsentReceipt, Governance, Member, Refusal, Roster, Statement, VerifiedStatement, statements,
};
use sealdesk_protocol::crypto::identity::SignedBytes;
use sealdesk_protocol::ids::MailboxId;
use sealdesk_protocol::wire::{
    Addressed, Code, Item, MAX_STATEMENT_ENVELOPES, PostStatement, StatementItem, ToClient,
};

use super::assign::MAX_SWAPS;
use super::envelopes::item as envelope_item;
use super::record::{Loaded, Nominee, Record};
use super::{Relay, done};
use crate::audit::Event;
use crate::clock::now_ms;
use crate::limits::Reset;
use crate::policy::Org;
use crate::socket::connection::Session;
use crate::store::{Append, Keep, Part, StoreError, Swap};

/// Largest record, bytes. sled writes values above 128 KiB to the disk later than it says.
const MAX_RECORD: usize = 96 * 1024;

/// What a statement makes of a record.
struct Change {
    record: Record,
    effect: Effect,
}

/// The agent whom the statement lists has to be the one whom the relay named, still certified.
fn check_nominee(record: &Record, agent: &Member, org: &Org) -> Result<Nominee, Code> {
    // Given up meanwhile, or never named.
    let nominee = record.nominee.as_ref().ok_or(Code::AssignmentLost)?;
    if nominee.device != agent.hash() || agent.agent.as_ref() != Some(&nominee.agent) {
        return Err(Code::AssignmentLost);
    }
    org.certificate(&nominee.chain).map_err(|_| Code::AssignmentLost)?;
    Ok(nominee.clone())
}

/// A statement with what its verification needs.
fn statement_item(record: &Record, signed: &SignedBytes, statement: &VerifiedStatement) -> StatementItem {
    let opens = matches!(statement.get().action, Action::Open { .. });
    StatementItem {
        statement: signed.clone(),
        agent: record.assigned.clone(),
        consent: opens.then(|| record.consent.clone()),
    }
}

/// Applies a statement to a record, and keeps it there if it makes an epoch.
fn apply(
    record: &Record,
    signed: &SignedBytes,
    statement: &VerifiedStatement,
    org: &Org,
) -> Result<Change, Code> {
    let mut change = judge(record, statement, org)?;
    if statement.get().action.roster().is_some() {
        let item = statement_item(&change.record, signed, statement);
        change.record.history.push(item);
    }
    Ok(change)
}

/// What a statement makes of a record, if it may.
fn judge(record: &Record, statement: &VerifiedStatement, org: &Org) -> Result<Change, Code> {
    let now = now_ms();
    let mut record = record.clone();
    let Some(mut governance) = record.governance.take() else {
        let governance = Governance::open(org.verified.root(), statement).map_err(Refusal::code)?;
        let Action::Open { roster, topic, language, consent, .. } = &statement.get().action else {
            return Err(Code::Conflict);
        };
        if statement.get().expires < now {
            return Err(Code::Conflict);
        }
        if *topic != record.topic || *language != record.language {
            return Err(Code::UnknownTopic);
        }
        if *consent != record.consent.digest() {
            return Err(Code::ConsentMissing);
        }
        // Given for a notice that was current then; the customer may have waited.
        let receipt = ConsentReceipt::verify(&record.consent).map_err(|_| Code::ConsentMissing)?;
        if !org.verified.settings().has_notice(&receipt.notice) {
            return Err(Code::ConsentOutdated);
        }
        let nominee = check_nominee(&record, roster.agent(), org)?;
        record.nominee = None;
        record.unsigned = (0, 0);
        record.assigned = Some(nominee.chain);
        record.governance = Some(governance);
        return Ok(Change { record, effect: Effect::Opened });
    };
    match &statement.get().action {
        // Handover, takeover, join and leave need checks of certificates that this version does not make.
        Action::AcceptOffer { .. }
        | Action::Join { .. }
        | Action::Leave { .. }
        | Action::Offer { .. }
        | Action::Withdraw { .. } => return Err(Code::Unsupported),
        _ => {}
    }
    let effect = governance.apply(statement, Some(now)).map_err(Refusal::code)?;
    match effect {
        Effect::Reassigned { .. } => {
            let nominee = check_nominee(&record, governance.current().roster.agent(), org)?;
            record.nominee = None;
            record.unsigned = (0, 0);
            record.assigned = Some(nominee.chain);
        }
        Effect::Accepted => record.nominee = None,
        Effect::Closed => {
            record.nominee = None;
            record.closed_ms = Some(now);
        }
        _ => {}
    }
    record.governance = Some(governance);
    Ok(Change { record, effect })
}

/// Of which part of a mailbox a statement takes: what an agent has to learn of conversations that it accepted has a
/// reserve; what customers sign before, one part for all together; resets, of which a device may sign many, their signer's.
fn part(before: &Record, statement: &Statement) -> Part {
    let by_stranger = !before.is_accepted() && before.customer.hash() == statement.signer;
    match statement.action {
        Action::Reset { .. } => before.part_of(statement.signer, true),
        Action::Open { .. } | Action::Reassign { .. } => Part::Beginning,
        Action::Close { .. } if by_stranger => Part::Ending,
        _ => Part::Reserved,
    }
}

/// A statement as it goes into a mailbox, known by its hash.
fn copy(mailbox: MailboxId, item: &StatementItem, part: Part, expires_ms: u64) -> Result<Append, Code> {
    let id = *statements::hash(&item.statement).0.first_chunk::<16>().ok_or(Code::Internal)?;
    let bytes = postcard::to_allocvec(&Item::Statement(item.clone())).map_err(|_| Code::Internal)?;
    Ok(Append { mailbox, part, id, bytes, expires_ms })
}

/// What goes into mailboxes with a statement.
struct Appends {
    /// For those who are listed now.
    needed: Vec<Append>,
    /// For whoever it replaces: a full mailbox of somebody who has nothing to do with it any more stops nothing.
    if_room: Vec<Append>,
}

/// Copies for every device that is listed now, except the signer's, or was until now; the earlier epoch statements as well
/// for one that was not listed before, since it may have missed any of them; then the envelopes. Whoever was replaced
/// earlier needs none: it hears all when it is listed again.
fn appends(
    relay: &Relay,
    before: &Record,
    record: &Record,
    signed: &SignedBytes,
    statement: &VerifiedStatement,
    envelopes: Vec<Addressed>,
) -> Result<Appends, Code> {
    let roster =
        |record: &Record| record.governance.as_ref().map(|governance| governance.current().roster.clone());
    let listed = roster(record).ok_or(Code::Internal)?;
    let was_listed = roster(before);
    let signer = &statement.get().signer;
    let part = part(before, statement.get());
    let expires_ms = relay.expiry(now_ms());
    let item = statement_item(record, signed, statement);
    let (mut needed, mut if_room) = (Vec::new(), Vec::new());
    for member in listed.members().iter().filter(|member| member.hash() != *signer) {
        let mailbox = member.device.mailbox();
        if was_listed.as_ref().is_none_or(|roster| roster.get(&member.hash()).is_none()) {
            let earlier = record.history.iter().filter(|earlier| earlier.statement != *signed);
            for statement in earlier {
                needed.push(copy(mailbox, statement, part, expires_ms)?);
            }
        }
        needed.push(copy(mailbox, &item, part, expires_ms)?);
    }
    for member in was_listed.iter().flat_map(Roster::members) {
        if listed.get(&member.hash()).is_none() && member.hash() != *signer {
            // For it, this ends the conversation.
            if_room.push(copy(member.device.mailbox(), &item, Part::Ending, expires_ms)?);
        }
    }
    for message in envelopes {
        let reader = listed.members().iter().find(|member| member.device.mailbox() == message.to);
        if reader.is_none_or(|member| member.hash() == *signer) {
            return Err(Code::NotListed);
        }
        let envelope = envelope_item(signer, before.part_of(*signer, true), message, expires_ms)?;
        if needed.iter().any(|other| other.mailbox == envelope.mailbox && other.id == envelope.id) {
            return Err(Code::Malformed);
        }
        needed.push(envelope);
    }
    Ok(Appends { needed, if_room })
}

impl Session {
    /// Stores a statement with what came along, or refuses it and stores nothing.
    pub(super) async fn post_statement(&self, frame: PostStatement) -> Result<ToClient, Code> {
        let relay = &self.relay;
        relay.check_space()?;
        self.still_certified()?;
        if frame.envelopes.len() > MAX_STATEMENT_ENVELOPES {
            return Err(Code::TooLarge);
        }
        let claimed = Statement::peek(&frame.statement).map_err(|_| Code::Malformed)?;
        if claimed.conversation != frame.conversation {
            return Err(Code::Malformed);
        }
        if claimed.signer != self.who.hash {
            return Err(Code::NotListed);
        }
        let statement =
            VerifiedStatement::verify(&frame.statement, &self.who.device).map_err(|_| Code::BadSignature)?;
        let mut counted = None;
        let posted = self.post(&frame, &statement, &mut counted).await;
        if let (Err(_), Some(reset)) = (&posted, &counted) {
            relay.limits.not_reset(reset);
        }
        posted
    }

    /// Tries until nobody else is first. `counted`: the reset that was counted for it.
    async fn post(
        &self,
        frame: &PostStatement,
        statement: &VerifiedStatement,
        counted: &mut Option<Reset>,
    ) -> Result<ToClient, Code> {
        let relay = &self.relay;
        for _ in 0..MAX_SWAPS {
            let loaded = relay.conversation(frame.conversation).await;
            let loaded =
                loaded.map_err(|cause| relay.store_code(&cause))?.ok_or(Code::UnknownConversation)?;
            if is_stored(&loaded.record, statement) {
                return Ok(done(frame.req));
            }
            let change = apply(&loaded.record, &frame.statement, statement, &relay.policy.org())?;
            if matches!(change.effect, Effect::Reset { .. }) && counted.is_none() {
                let prefix = self.who.agent.is_none().then_some(&self.permit.prefix);
                let reset = relay.limits.reset(&frame.conversation, &self.who.hash, prefix);
                *counted = Some(reset.map_err(|_| {
                    relay.metrics.rate_limited.up();
                    Code::RateLimited
                })?);
            }
            if self.swap(frame, statement, &loaded, change).await? {
                return Ok(done(frame.req));
            }
            relay.conversations.forget(&frame.conversation);
        }
        Err(Code::Conflict)
    }

    /// The compare-and-swap itself. `Ok(false)`: somebody else was first.
    async fn swap(
        &self,
        frame: &PostStatement,
        statement: &VerifiedStatement,
        loaded: &Arc<Loaded>,
        change: Change,
    ) -> Result<bool, Code> {
        let relay = &self.relay;
        let Change { record, effect } = change;
        let appends =
            appends(relay, &loaded.record, &record, &frame.statement, statement, frame.envelopes.clone())?;
        let event = Event::Statement {
            conversation: frame.conversation,
            action: statement.get().action.name().into(),
            signer: self.who.hash,
            agent: record.current_agent().map(|(agent, _)| agent.clone()),
        };
        let encoded = postcard::to_allocvec(&record).map_err(|_| Code::Internal)?;
        check_size(encoded.len(), &effect)?;
        let swap = Swap {
            conversation: frame.conversation,
            expected: loaded.version,
            record: encoded,
            keep: record.closed_ms.map_or(Keep::Open, |closed_ms| Keep::Until(relay.expiry(closed_ms))),
            appends: appends.needed,
            if_room: appends.if_room,
            // A reset changes nothing of who may read, and there may be many.
            audit: (!matches!(effect, Effect::Reset { .. })).then(|| event.entry()),
        };
        let swapped = match relay.store.swap(swap).await {
            Ok(swapped) => swapped,
            Err(StoreError::Conflict { .. }) => return Ok(false),
            Err(cause) => return Err(relay.store_code(&cause)),
        };
        relay.keep(frame.conversation, swapped.version, record);
        relay.metrics.statements.up();
        match effect {
            Effect::Opened => relay.metrics.conversations_opened.up(),
            Effect::Reassigned { .. } => relay.metrics.reassignments.up(),
            Effect::Closed => relay.metrics.conversations_closed.up(),
            _ => {}
        }
        relay.router.notify_one();
        Ok(true)
    }
}

/// A record that is too large takes what ends it, and nothing else.
fn check_size(bytes: usize, effect: &Effect) -> Result<(), Code> {
    if bytes > MAX_RECORD && !matches!(effect, Effect::Closed) { Err(Code::TooLarge) } else { Ok(()) }
}

/// Whether this very statement is stored: a repetition is answered like the first time. Notes that leave no trace in
/// the record are stored again, and their copies are known by their ids.
fn is_stored(record: &Record, statement: &VerifiedStatement) -> bool {
    let Some(governance) = &record.governance else { return false };
    matches!(governance.clone().apply(statement, None), Err(Refusal::Known))
}

#[cfg(test)]
mod tests;
