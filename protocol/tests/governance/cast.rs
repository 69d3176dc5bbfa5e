//! A customer, three agents' devices, and what they sign.

use sealdesk_protocol::conversation::governance::Effect;
use sealdesk_protocol::conversation::*;
use sealdesk_protocol::crypto::identity::DeviceSecret;
use sealdesk_protocol::ids::*;
use sealdesk_protocol::testing::{handle, rng};

pub(crate) const NOW: u64 = 1_800_000_000_000;
pub(crate) const ROOT: RootHash = RootHash([7; 32]);
pub(crate) const NONCE: [u8; 16] = [9; 16];

pub(crate) struct Cast {
    pub(crate) customer: DeviceSecret,
    pub(crate) mira: DeviceSecret,
    pub(crate) nils: DeviceSecret,
    pub(crate) sven: DeviceSecret,
}

pub(crate) fn cast() -> Cast {
    let device = |seed| DeviceSecret::generate(&mut rng(seed));
    Cast { customer: device(1), mira: device(2), nils: device(3), sven: device(4) }
}

impl Cast {
    pub(crate) fn conversation(&self) -> ConversationId {
        conversation_id(&ROOT, &self.customer.public(), &NONCE)
    }

    pub(crate) fn roster(&self, agent: &str, device: &DeviceSecret) -> Roster {
        Roster::of(self.customer.public(), handle(agent), device.public()).unwrap()
    }

    pub(crate) fn statement(&self, signer: &DeviceSecret, epoch: u32, action: Action) -> Statement {
        Statement {
            root: ROOT,
            conversation: self.conversation(),
            epoch,
            signer: signer.hash(),
            time: NOW,
            expires: u64::MAX,
            action,
        }
    }

    pub(crate) fn signed(&self, signer: &DeviceSecret, epoch: u32, action: Action) -> VerifiedStatement {
        verified(&self.statement(signer, epoch, action), signer)
    }

    pub(crate) fn open_action(&self) -> Action {
        Action::Open {
            roster: self.roster("mira", &self.mira),
            topic: handle("general"),
            language: "en".into(),
            consent: [1; 32],
            nonce: NONCE,
        }
    }

    pub(crate) fn opened(&self) -> Governance {
        Governance::open(ROOT, &self.signed(&self.customer, 1, self.open_action())).unwrap()
    }

    pub(crate) fn accepted(&self) -> Governance {
        let mut g = self.opened();
        let current = g.current().statement;
        let accept = self.signed(&self.mira, 1, Action::Accept { current });
        assert_eq!(g.apply(&accept, Some(NOW)), Ok(Effect::Accepted));
        g
    }
}

pub(crate) fn verified(statement: &Statement, signer: &DeviceSecret) -> VerifiedStatement {
    VerifiedStatement::verify(&statement.sign(signer), &signer.public()).unwrap()
}
