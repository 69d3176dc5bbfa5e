//! Notes on the current epoch: acceptance, countersignature, close, resets, offers (§7.3).

use super::{Closed, Effect, Governance, LastReset, Offer, Refusal};
use crate::conversation::roster::Role;
use crate::conversation::statements::{Action, Statement, VerifiedStatement};

/// Highest generation of a session in one epoch: with the rule that a signer's generations rise, it bounds its resets.
pub const MAX_GENERATION: u32 = 1_000;
/// Most offers in one epoch, withdrawn ones included.
pub const MAX_OFFERS: usize = 32;

impl Governance {
    pub(super) fn apply_note(
        &mut self,
        statement: &VerifiedStatement,
        s: &Statement,
    ) -> Result<Effect, Refusal> {
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
}
