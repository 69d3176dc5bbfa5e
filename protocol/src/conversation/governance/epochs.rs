//! Statements that begin an epoch: who may sign them, and how they may change the roster (§7.3).

use alloc::vec::Vec;

use super::{Effect, Epoch, Governance, Refusal};
use crate::conversation::roster::{Member, Role, Roster};
use crate::conversation::statements::{Action, Statement, VerifiedStatement};
use crate::ids::DeviceKeyHash;

/// Most epochs of one conversation: bounds what a signer can make others store.
pub const MAX_EPOCHS: u32 = 256;
impl Governance {
    pub(super) fn apply_epoch(
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
