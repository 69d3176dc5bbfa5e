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

use super::roster::{Member, Roster};
use super::statements::{Action, Head, VerifiedStatement};
use crate::ids::{ConversationId, DeviceKeyHash, RootHash, RosterHash, StatementHash};

mod epochs;
mod notes;
mod outcome;

pub use epochs::MAX_EPOCHS;
pub use notes::{MAX_GENERATION, MAX_OFFERS};
pub use outcome::{Effect, Refusal, Verdict};

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
