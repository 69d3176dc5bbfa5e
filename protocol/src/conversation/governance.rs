//! Which statement may follow which, and the verdict on a decrypted message (§7).
//!
//! Relay and clients run the same machine: the relay to decide the compare-and-swap, clients to refuse whatever a
//! relay should not have stored. Certificates are checked by the caller before a statement comes here; this module
//! checks signers, epochs, predecessors and rosters.
//!
//! 1. `open` starts epoch 1; every epoch statement names its predecessor by hash.
//! 2. Notes name the current epoch statement and change neither epoch nor roster.
//! 3. Two successors of one statement are a fork: refused, and shown.

use alloc::vec::Vec;

use serde::{Deserialize, Deserializer, Serialize, de};

use super::roster::{Member, Role, Roster};
use super::statements::{Action, Head, Statement, VerifiedStatement};
use crate::ids::{ConversationId, DeviceKeyHash, RootHash, RosterHash, SessionId, StatementHash};
use crate::wire::Code;

/// Most epochs of one conversation: bounds what a signer can make others store.
pub const MAX_EPOCHS: u32 = 256;
/// Highest generation of a session in one epoch: with the rule that a signer's generations rise, it bounds its resets.
pub const MAX_GENERATION: u32 = 1_000;
/// Most offers in one epoch, withdrawn ones included.
pub const MAX_OFFERS: usize = 32;

/// One epoch: the statement that made it and who may read in it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Epoch {
    /// Number, from 1.
    pub number: u32,
    /// Hash of its epoch statement.
    pub statement: StatementHash,
    /// Who may read.
    pub roster: Roster,
    /// What messages of this epoch carry.
    pub roster_hash: RosterHash,
    /// When it was signed, ms.
    pub time: u64,
}

/// An offer of the current epoch.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Offer {
    hash: StatementHash,
    signer: DeviceKeyHash,
    device: DeviceKeyHash,
    heads: Vec<Head>,
    expires: u64,
    /// Kept, so that nobody brings it back by repeating it.
    withdrawn: bool,
}

/// The last reset of a signer with a peer in the current epoch.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct LastReset {
    hash: StatementHash,
    signer: DeviceKeyHash,
    peer: DeviceKeyHash,
    generation: u32,
}

/// How a conversation ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Closed {
    /// The close statement.
    pub statement: StatementHash,
    /// Who closed.
    pub by: DeviceKeyHash,
    /// What the closing side had.
    pub heads: Vec<Head>,
    /// When it was signed, ms.
    pub time: u64,
}

/// The governed state of one conversation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Governance {
    root: RootHash,
    conversation: ConversationId,
    #[serde(deserialize_with = "stored_epochs")]
    epochs: Vec<Epoch>,
    accepted: Option<StatementHash>,
    countersigned: Option<StatementHash>,
    offers: Vec<Offer>,
    /// Devices that left by their own offer, and how far their contents still count.
    left: Vec<(DeviceKeyHash, Vec<Head>)>,
    closed: Option<Closed>,
    resets: Vec<LastReset>,
}

/// Epochs of a stored conversation: never none, numbered from 1. Anything else is damage.
fn stored_epochs<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<Epoch>, D::Error> {
    let epochs = Vec::<Epoch>::deserialize(deserializer)?;
    let numbered = epochs.iter().zip(1u32..).all(|(epoch, number)| epoch.number == number);
    if numbered && !epochs.is_empty() {
        Ok(epochs)
    } else {
        Err(de::Error::custom("a conversation's epochs are damaged"))
    }
}

/// What an applied statement did.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Effect {
    /// Epoch 1 exists.
    Opened,
    /// Another agent device is assigned; the one given is no longer listed.
    Reassigned {
        /// The agent device before.
        from: DeviceKeyHash,
    },
    /// The assigned agent accepted.
    Accepted,
    /// The offered device took over.
    HandedOver {
        /// The agent device before.
        from: DeviceKeyHash,
    },
    /// A supervisor joined.
    Joined(DeviceKeyHash),
    /// A supervisor left.
    Left(DeviceKeyHash),
    /// An offer stands.
    Offered,
    /// An offer was withdrawn.
    Withdrawn,
    /// The conversation ended.
    Closed,
    /// The signer replaces a session.
    Reset {
        /// Whose session with the signer is replaced.
        peer: DeviceKeyHash,
        /// The new session.
        new: SessionId,
        /// Its generation.
        generation: u32,
    },
    /// The customer device verified and showed the current agent.
    Countersigned,
}

/// Why a statement is not applied. Nothing changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Refusal {
    /// Applied before; not an error for whoever repeats it.
    #[error("this statement is applied already")]
    Known,
    /// Another organisation or conversation. At fault: the signer or the relay.
    #[error("the statement belongs to another conversation")]
    Foreign,
    /// The conversation id does not commit to the customer device. At fault: the signer.
    #[error("the conversation id was not made by the customer device")]
    Identity,
    /// Not an allowed signer of this action. At fault: the signer.
    #[error("this device may not sign this statement")]
    Signer,
    /// It names a statement that is not known here: wait for it.
    #[error("the statement before it is missing")]
    Gap,
    /// A second successor of one statement. At fault: the signer, or a relay that shows two histories.
    #[error("two statements follow the same one: the conversation was forked")]
    Fork,
    /// Epoch number does not follow. At fault: the signer.
    #[error("the statement's epoch does not follow the current one")]
    Epoch,
    /// The roster changes more than the action may. At fault: the signer.
    #[error("the statement changes the roster in a way that it may not")]
    Roster,
    /// The assignment went elsewhere, or is accepted already.
    #[error("the assignment went elsewhere or is accepted already")]
    Assignment,
    /// Its expiry passed before it was stored.
    #[error("the statement has expired")]
    Expired,
    /// The offer is unknown, withdrawn or for another device.
    #[error("the offer does not stand")]
    Offer,
    /// The conversation is closed.
    #[error("the conversation is closed")]
    Closed,
    /// A reset whose generation does not rise, or is above [`MAX_GENERATION`]. At fault: the signer.
    #[error("the reset's generation does not rise")]
    Generation,
}

impl Refusal {
    /// The relay's answer to whoever posted the statement.
    pub fn code(self) -> Code {
        match self {
            Self::Known
            | Self::Gap
            | Self::Fork
            | Self::Epoch
            | Self::Expired
            | Self::Offer
            | Self::Generation => Code::Conflict,
            Self::Foreign | Self::Identity | Self::Roster => Code::Malformed,
            Self::Signer => Code::NotListed,
            Self::Assignment => Code::AssignmentLost,
            Self::Closed => Code::Closed,
        }
    }
}

/// The verdict on a decrypted message's epoch and roster hash. The ratchet commits in every case (§5).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Show and receipt it.
    Accept,
    /// Same epoch, another roster: the sender sees other readers than this device. Refuse, and show the fork.
    Fork,
    /// An epoch whose statement has not arrived: hold it unshown and unreceipted.
    Hold,
    /// An epoch that has passed: refuse, answer stale_epoch.
    Stale,
    /// The sender is not listed in the epoch that it names: refuse.
    NotListed,
}

impl Governance {
    /// Starts a conversation from its open statement.
    ///
    /// # Errors
    /// [`Refusal`] when it is no well-formed open statement of this organisation.
    pub fn open(root: RootHash, statement: &VerifiedStatement) -> Result<Self, Refusal> {
        let s = statement.get();
        let (Action::Open { roster, nonce, .. }, Some(roster_hash)) = (&s.action, statement.roster_hash())
        else {
            return Err(Refusal::Gap);
        };
        if s.root != root {
            return Err(Refusal::Foreign);
        }
        if s.epoch != 1 {
            return Err(Refusal::Epoch);
        }
        if roster.customer().hash() != s.signer {
            return Err(Refusal::Signer);
        }
        if roster.members().len() != 2 {
            return Err(Refusal::Roster);
        }
        if super::conversation_id(&root, &roster.customer().device, nonce) != s.conversation {
            return Err(Refusal::Identity);
        }
        let epoch = Epoch {
            number: 1,
            statement: statement.hash(),
            roster: roster.clone(),
            roster_hash,
            time: s.time,
        };
        Ok(Self {
            root,
            conversation: s.conversation,
            epochs: alloc::vec![epoch],
            accepted: None,
            countersigned: None,
            offers: Vec::new(),
            left: Vec::new(),
            closed: None,
            resets: Vec::new(),
        })
    }

    /// Applies the next statement. `swap_time`: the relay's clock when it decides the swap; none at clients, since
    /// expiry is judged at the swap only (§7).
    ///
    /// # Errors
    /// [`Refusal`]; the state is unchanged.
    pub fn apply(
        &mut self,
        statement: &VerifiedStatement,
        swap_time: Option<u64>,
    ) -> Result<Effect, Refusal> {
        let s = statement.get();
        if s.root != self.root || s.conversation != self.conversation {
            return Err(Refusal::Foreign);
        }
        if self.knows(&statement.hash()) {
            return Err(Refusal::Known);
        }
        if swap_time.is_some_and(|now| s.expires < now) {
            return Err(Refusal::Expired);
        }
        match s.action.roster() {
            Some(roster) => self.apply_epoch(statement, s, roster, swap_time),
            None => self.apply_note(statement, s),
        }
    }

    fn apply_epoch(
        &mut self,
        statement: &VerifiedStatement,
        s: &Statement,
        roster: &Roster,
        swap_time: Option<u64>,
    ) -> Result<Effect, Refusal> {
        let current = self.current();
        // Who may not sign it at all makes no fork by it: only the customer opens and reassigns.
        let customers = matches!(s.action, Action::Open { .. } | Action::Reassign { .. });
        if customers && s.signer != current.roster.customer().hash() {
            return Err(Refusal::Signer);
        }
        match s.action.refers_to() {
            None => return Err(Refusal::Fork), // a second open
            Some(previous) if *previous == current.statement => {}
            Some(previous) if self.epochs.iter().any(|e| e.statement == *previous) => {
                return Err(Refusal::Fork);
            }
            Some(_) => return Err(Refusal::Gap),
        }
        if s.epoch != current.number + 1 || s.epoch > MAX_EPOCHS {
            return Err(Refusal::Epoch);
        }
        if self.closed.is_some() {
            return Err(Refusal::Closed);
        }
        if roster.customer() != current.roster.customer() {
            return Err(Refusal::Roster);
        }
        let from = current.roster.agent().hash();
        let effect = match &s.action {
            Action::Reassign { .. } => {
                if self.accepted.is_some() {
                    return Err(Refusal::Assignment);
                }
                if roster.members().len() != 2 || roster.agent().hash() == from {
                    return Err(Refusal::Roster);
                }
                Effect::Reassigned { from }
            }
            Action::AcceptOffer { offer, .. } => {
                let offer = self.offers.iter().find(|o| o.hash == *offer && !o.withdrawn);
                let offer = offer.ok_or(Refusal::Offer)?;
                if offer.device != s.signer || roster.agent().hash() != s.signer {
                    return Err(Refusal::Signer);
                }
                if swap_time.is_some_and(|now| offer.expires < now) {
                    return Err(Refusal::Expired);
                }
                if supervisors(roster) != supervisors(&current.roster) {
                    return Err(Refusal::Roster);
                }
                Effect::HandedOver { from }
            }
            Action::Join { .. } => {
                let grown = one_supervisor_more(&current.roster, roster).ok_or(Refusal::Roster)?;
                if grown != s.signer {
                    return Err(Refusal::Signer);
                }
                Effect::Joined(grown)
            }
            Action::Leave { .. } => {
                let gone = one_supervisor_more(roster, &current.roster).ok_or(Refusal::Roster)?;
                if gone != s.signer {
                    return Err(Refusal::Signer);
                }
                Effect::Left(gone)
            }
            _ => return Err(Refusal::Roster),
        };
        let roster_hash = statement.roster_hash().ok_or(Refusal::Roster)?;
        if let Action::AcceptOffer { offer, .. } = &s.action {
            // A supervisor's offer takes over: it says nothing of what the agent's contents count for.
            let own = self.offers.iter().find(|o| o.hash == *offer && o.signer == from);
            self.left.extend(own.map(|o| (from, o.heads.clone())));
            self.accepted = Some(statement.hash());
        }
        self.offers.clear();
        self.resets.clear();
        self.epochs.push(Epoch {
            number: s.epoch,
            statement: statement.hash(),
            roster: roster.clone(),
            roster_hash,
            time: s.time,
        });
        Ok(effect)
    }

    fn apply_note(&mut self, statement: &VerifiedStatement, s: &Statement) -> Result<Effect, Refusal> {
        let current = self.current();
        match s.action.refers_to() {
            Some(named) if *named == current.statement => {}
            // A note on an epoch that has passed came too late; one on an unknown epoch came too early.
            Some(named) if self.epochs.iter().any(|e| e.statement == *named) => {
                return Err(Refusal::Assignment);
            }
            _ => return Err(Refusal::Gap),
        }
        if s.epoch != current.number {
            return Err(Refusal::Epoch);
        }
        let customer = current.roster.customer().hash();
        let agent = current.roster.agent().hash();
        let listed = current.roster.get(&s.signer).is_some();
        if self.closed.is_some() && !matches!(s.action, Action::Reset { .. } | Action::Countersign { .. }) {
            return Err(Refusal::Closed);
        }
        match &s.action {
            Action::Accept { .. } => {
                if s.signer != agent {
                    return Err(Refusal::Signer);
                }
                if self.accepted.is_some() {
                    return Err(Refusal::Assignment);
                }
                self.accepted = Some(statement.hash());
                Ok(Effect::Accepted)
            }
            Action::Countersign { .. } => {
                if s.signer != customer {
                    return Err(Refusal::Signer);
                }
                if self.accepted.is_none() {
                    return Err(Refusal::Assignment);
                }
                // A second one says the same.
                if self.countersigned == Some(current.statement) {
                    return Err(Refusal::Known);
                }
                self.countersigned = Some(current.statement);
                Ok(Effect::Countersigned)
            }
            Action::Close { heads, .. } => {
                if s.signer != customer && s.signer != agent {
                    return Err(Refusal::Signer);
                }
                self.closed = Some(Closed {
                    statement: statement.hash(),
                    by: s.signer,
                    heads: heads.clone(),
                    time: s.time,
                });
                Ok(Effect::Closed)
            }
            Action::Reset { peer, new, generation, .. } => {
                if !listed || current.roster.get(peer).is_none() || *peer == s.signer {
                    return Err(Refusal::Signer);
                }
                let before = self.resets.iter().position(|r| r.signer == s.signer && r.peer == *peer);
                let last = before.map_or(0, |at| self.resets[at].generation);
                if *generation <= last || *generation > MAX_GENERATION {
                    return Err(Refusal::Generation);
                }
                let reset = LastReset {
                    hash: statement.hash(),
                    signer: s.signer,
                    peer: *peer,
                    generation: *generation,
                };
                match before {
                    Some(at) => self.resets[at] = reset,
                    None => self.resets.push(reset),
                }
                Ok(Effect::Reset { peer: *peer, new: *new, generation: *generation })
            }
            Action::Offer { device, heads, .. } => {
                let supervisor = current.roster.get(&s.signer).is_some_and(|m| m.role == Role::Supervisor);
                if s.signer != agent && !supervisor {
                    return Err(Refusal::Signer);
                }
                if self.accepted.is_none() {
                    return Err(Refusal::Assignment);
                }
                if self.offers.len() >= MAX_OFFERS {
                    return Err(Refusal::Offer);
                }
                self.offers.push(Offer {
                    hash: statement.hash(),
                    signer: s.signer,
                    device: device.hash(),
                    heads: heads.clone(),
                    expires: s.expires,
                    withdrawn: false,
                });
                Ok(Effect::Offered)
            }
            Action::Withdraw { offer, .. } => {
                let offer = self.offers.iter_mut().find(|o| o.hash == *offer && !o.withdrawn);
                let offer = offer.ok_or(Refusal::Offer)?;
                if offer.signer != s.signer {
                    return Err(Refusal::Signer);
                }
                offer.withdrawn = true;
                Ok(Effect::Withdrawn)
            }
            _ => Err(Refusal::Roster),
        }
    }

    fn knows(&self, hash: &StatementHash) -> bool {
        self.epochs.iter().any(|e| e.statement == *hash)
            || self.accepted == Some(*hash)
            || self.closed.as_ref().is_some_and(|c| c.statement == *hash)
            || self.offers.iter().any(|o| o.hash == *hash)
            || self.resets.iter().any(|r| r.hash == *hash)
    }

    /// The verdict on a message decrypted from `sender` that names `epoch` and `roster` (§7). `counter` is 0 for
    /// kinds without counter.
    pub fn roster_check(
        &self,
        sender: &DeviceKeyHash,
        epoch: u32,
        roster: &RosterHash,
        counter: u64,
    ) -> Verdict {
        let current = self.current();
        if epoch > current.number {
            return Verdict::Hold;
        }
        let Some(named) = self.epochs.iter().find(|e| e.number == epoch) else { return Verdict::Stale };
        if named.roster_hash != *roster {
            return Verdict::Fork;
        }
        if named.roster.get(sender).is_none() {
            return Verdict::NotListed;
        }
        if epoch == current.number {
            return Verdict::Accept;
        }
        let handed_on = self.left.iter().filter(|(device, _)| device == sender);
        let offered = handed_on.flat_map(|(_, heads)| heads).find(|h| h.device == *sender);
        match offered {
            Some(head) if counter <= head.counter => Verdict::Accept,
            _ => Verdict::Stale,
        }
    }

    /// The organisation.
    pub fn root(&self) -> &RootHash {
        &self.root
    }

    /// The conversation.
    pub fn conversation(&self) -> &ConversationId {
        &self.conversation
    }

    /// The current epoch.
    pub fn current(&self) -> &Epoch {
        // `open` pushes the first epoch and nothing removes one.
        &self.epochs[self.epochs.len() - 1]
    }

    /// Every epoch, oldest first.
    pub fn epochs(&self) -> &[Epoch] {
        &self.epochs
    }

    /// Whether the current agent accepted.
    pub fn is_accepted(&self) -> bool {
        self.accepted.is_some()
    }

    /// Whether the customer device verified and showed the current agent.
    pub fn is_countersigned(&self) -> bool {
        self.countersigned == Some(self.current().statement)
    }

    /// How it ended, if it did.
    pub fn closed(&self) -> Option<&Closed> {
        self.closed.as_ref()
    }

    /// Every member ever listed: what the screen shows as "could have read".
    pub fn could_have_read(&self) -> Vec<&Member> {
        let mut seen: Vec<&Member> = Vec::new();
        for member in self.epochs.iter().flat_map(|e| e.roster.members()) {
            if !seen.iter().any(|m| m.hash() == member.hash()) {
                seen.push(member);
            }
        }
        seen
    }

    /// The member with this device in any epoch.
    pub fn ever_listed(&self, device: &DeviceKeyHash) -> Option<&Member> {
        self.epochs.iter().rev().find_map(|e| e.roster.get(device))
    }
}

fn supervisors(roster: &Roster) -> Vec<&Member> {
    roster.members().iter().filter(|m| m.role == Role::Supervisor).collect()
}

/// The one supervisor that `large` has above `small`, if that is the only difference.
fn one_supervisor_more(small: &Roster, large: &Roster) -> Option<DeviceKeyHash> {
    let added: Vec<&Member> = large.members().iter().filter(|m| !small.members().contains(m)).collect();
    match added.as_slice() {
        [one] if one.role == Role::Supervisor && large.members().len() == small.members().len() + 1 => {
            Some(one.hash())
        }
        _ => None,
    }
}
