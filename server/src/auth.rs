//! Authentication: the device key signs the relay's challenge, bound to the relay's name and to this connection.
//! An agent's device presents certificates besides; [`Authenticated`] is the proof that all of it verified.

use core::fmt;

use sealdesk_protocol::crypto::certificate::{CertificateChain, CertificateError, VerifiedCertificate};
use sealdesk_protocol::crypto::identity::DevicePublic;
use sealdesk_protocol::crypto::labels;
use sealdesk_protocol::generation::SignedGeneration;
use sealdesk_protocol::ids::{DeviceKeyHash, MailboxId};
use sealdesk_protocol::wire::{AuthBody, Authenticate, Challenge, Code, PROTOCOL_VERSION, Party};

use crate::policy::Org;

/// An agent's certificates, as presented and as verified.
#[derive(Clone, Debug)]
pub struct Agent {
    /// Passed on to customers.
    pub chain: CertificateChain,
    /// What it says.
    pub certificate: VerifiedCertificate,
}

/// A device that proved who it is; only [`authenticate`] makes one.
#[non_exhaustive]
pub struct Authenticated {
    /// Its public keys.
    pub device: DevicePublic,
    /// Hash of them.
    pub hash: DeviceKeyHash,
    /// Its mailbox.
    pub mailbox: MailboxId,
    /// Generation of its vault, signed by it (§9.2).
    pub vault: SignedGeneration,
    /// None: a customer.
    pub agent: Option<Box<Agent>>,
}

impl fmt::Debug for Authenticated {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Authenticated({:?}, agent: {})", self.hash, self.agent.is_some())
    }
}

/// The relay's answer to a refused certificate.
pub fn certificate_code(error: CertificateError) -> Code {
    match error {
        CertificateError::Expired | CertificateError::NotYetValid => Code::CertificateExpired,
        CertificateError::Revoked => Code::Revoked,
        _ => Code::CertificateRefused,
    }
}

/// Checks a client's first frame against the challenge of its connection.
///
/// # Errors
/// The code to answer with; at fault: the client, or the organisation that let its certificate lapse.
pub fn authenticate(frame: Authenticate, challenge: &Challenge, org: &Org) -> Result<Authenticated, Code> {
    if frame.protocol != PROTOCOL_VERSION {
        return Err(Code::Unsupported);
    }
    let body = AuthBody {
        relay: challenge.relay.clone(),
        nonce: challenge.nonce,
        time: challenge.time,
        device: frame.device,
        vault_generation: frame.vault.claimed(),
    };
    let body = postcard::to_allocvec(&body).map_err(|_| Code::Internal)?;
    let key = frame.device.verify_key();
    key.verify(labels::AUTH, &body, &frame.signature).map_err(|_| Code::BadSignature)?;
    // Checked before it is kept, so that what is kept can be shown.
    frame.vault.verify(&challenge.relay, &frame.device).map_err(|_| Code::BadSignature)?;
    let agent = match frame.party {
        Party::Customer => None,
        Party::Agent(chain) => {
            let certificate = org.certificate(&chain).map_err(certificate_code)?;
            if *certificate.device() != frame.device {
                return Err(Code::CertificateRefused);
            }
            Some(Box::new(Agent { chain, certificate }))
        }
        _ => return Err(Code::Unsupported),
    };
    Ok(Authenticated {
        hash: frame.device.hash(),
        mailbox: frame.device.mailbox(),
        device: frame.device,
        vault: frame.vault,
        agent,
    })
}
