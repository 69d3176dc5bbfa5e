//! Enrolment of an agent's device: invitation -> request -> certificate (§3).
//!
//! ```text
//! invitation  signed by an issuer: who is invited, until when; handed over with org.json, whose root hash it pins
//! request     signed by the new device: its keys, for this invitation
//! code        base32(hash("enrolment", root | agent | device key hash | invitation)[..10]) = XXXX-XXXX-XXXX-XXXX
//! ```
//!
//! Both people compare the code (80 bits): it differs when anybody changed organisation, agent, keys or invitation on
//! the way, in either direction.

use alloc::string::String;
use alloc::vec::Vec;

use serde::{Deserialize, Serialize};

use crate::crypto::certificate::{self, AgentRole, CertificateError, Revocations};
use crate::crypto::identity::{BadSignature, DevicePublic, DeviceSecret, SignedBytes, SigningSecret};
use crate::crypto::{kdf, labels};
use crate::ids::{Handle, RootHash};
use crate::org::VerifiedPins;

const MAX_BODY: usize = 2 * 1024;

/// Who is invited.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Invitation {
    /// The organisation.
    pub root: RootHash,
    /// The agent's id.
    pub agent: Handle,
    /// The name shown to customers.
    pub display_name: String,
    /// Roles, sorted.
    pub roles: Vec<AgentRole>,
    /// Teams, sorted.
    pub teams: Vec<Handle>,
    /// When it was signed, ms.
    pub issued: u64,
    /// Until when a request may be approved, ms, exclusive.
    pub expires: u64,
    /// Random.
    pub nonce: [u8; 16],
}

/// An invitation as handed over.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SignedInvitation {
    /// Signed [`IssuerCertificate`](certificate::IssuerCertificate).
    pub issuer: SignedBytes,
    /// Signed [`Invitation`].
    pub invitation: SignedBytes,
}

/// Why an invitation or request is refused. At fault: whoever made or altered it, unless said otherwise.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum EnrolmentError {
    /// The issuer's certificate or a signature is wrong.
    #[error("the invitation is refused: {0}")]
    Invitation(#[from] CertificateError),
    /// Too late.
    #[error("the invitation has expired")]
    Expired,
    /// The request's signature is wrong.
    #[error("the request's signature does not verify: it was altered")]
    Request,
    /// Another organisation's or agent's, or for another invitation.
    #[error("the request does not belong to this invitation")]
    Foreign,
}

impl Invitation {
    /// Signs with an issuer's key.
    pub fn sign(&self, issuer: &SigningSecret) -> SignedBytes {
        SignedBytes::sign(labels::INVITATION, self, issuer)
    }
}

impl SignedInvitation {
    /// Verifies issuer and signature under the pinned roots and the newest revocation list at time `now`.
    ///
    /// # Errors
    /// [`EnrolmentError`].
    pub fn verify(
        &self,
        pins: &VerifiedPins,
        revocations: &Revocations,
        now: u64,
    ) -> Result<Invitation, EnrolmentError> {
        let issuer = certificate::verify_issuer(&self.issuer, pins, now)?;
        if revocations.revokes_issuer(&certificate::certificate_id(&self.issuer)) {
            return Err(CertificateError::Revoked.into());
        }
        let invitation: Invitation = self
            .invitation
            .verify(labels::INVITATION, &issuer.key, MAX_BODY)
            .map_err(|BadSignature| CertificateError::Signature)?;
        if invitation.root != pins.root() {
            return Err(CertificateError::Foreign.into());
        }
        if now >= invitation.expires {
            return Err(EnrolmentError::Expired);
        }
        Ok(invitation)
    }

    /// What requests and codes name.
    pub fn hash(&self) -> [u8; 32] {
        kdf::hash(labels::INVITATION, &[self.invitation.body()])
    }
}

/// What the new device signs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EnrolmentRequest {
    /// The organisation.
    pub root: RootHash,
    /// The agent.
    pub agent: Handle,
    /// [`SignedInvitation::hash`].
    pub invitation: [u8; 32],
    /// The new device.
    pub device: DevicePublic,
    /// When it was signed, ms.
    pub created: u64,
}

impl EnrolmentRequest {
    /// Signs with the new device.
    pub fn sign(&self, device: &DeviceSecret) -> SignedBytes {
        SignedBytes::sign(labels::ENROLMENT, self, device)
    }

    /// Decodes, and verifies under the device that it names: whoever sent it holds the keys.
    ///
    /// # Errors
    /// [`EnrolmentError::Request`].
    pub fn verify(signed: &SignedBytes) -> Result<Self, EnrolmentError> {
        let request: Self = signed.peek(MAX_BODY).map_err(|_| EnrolmentError::Request)?;
        signed
            .verify(labels::ENROLMENT, &request.device.verify_key(), MAX_BODY)
            .map_err(|_| EnrolmentError::Request)
    }

    /// The code that both people compare.
    pub fn code(&self) -> String {
        const DIGITS: &[u8; 32] = b"0123456789ABCDEFGHJKMNPQRSTVWXYZ";
        let device = self.device.hash();
        let parts: [&[u8]; 4] =
            [self.root.as_ref(), self.agent.as_str().as_bytes(), device.as_ref(), &self.invitation];
        let hash = kdf::hash(labels::ENROLMENT, &parts);
        let mut bits = hash[..10].iter().fold(0u128, |n, byte| n << 8 | u128::from(*byte));
        let mut digits = [b'-'; 19];
        for at in (0..19).rev().filter(|at| at % 5 != 4) {
            digits[at] = DIGITS[(bits & 31) as usize];
            bits >>= 5;
        }
        String::from_utf8_lossy(&digits).into_owned()
    }
}

/// Whether a typed code is the right one: case, spaces and dashes do not matter, nor do O for 0 and I or L for 1.
pub fn same_code(typed: &str, right: &str) -> bool {
    let plain = |text: &str| -> String {
        let digits = text.chars().filter(|c| !c.is_whitespace() && *c != '-').map(|c| c.to_ascii_uppercase());
        digits
            .map(|c| {
                if c == 'O' {
                    '0'
                } else if matches!(c, 'I' | 'L') {
                    '1'
                } else {
                    c
                }
            })
            .collect()
    };
    plain(typed) == plain(right)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crypto::certificate::Revoked;
    use crate::testing::{TestOrg, handle, rng};
    use alloc::vec;

    const NOW: u64 = 1_800_000_000_000;

    fn invitation(org: &TestOrg) -> SignedInvitation {
        let body = Invitation {
            root: org.root_hash(),
            agent: handle("mira"),
            display_name: "Mira".into(),
            roles: vec![AgentRole::Agent],
            teams: vec![handle("support")],
            issued: NOW,
            expires: NOW + 1000,
            nonce: [3; 16],
        };
        SignedInvitation { issuer: org.issuer_certificate.clone(), invitation: body.sign(&org.issuer) }
    }

    fn request(org: &TestOrg, device: &DeviceSecret) -> EnrolmentRequest {
        EnrolmentRequest {
            root: org.root_hash(),
            agent: handle("mira"),
            invitation: invitation(org).hash(),
            device: device.public(),
            created: NOW,
        }
    }

    #[test]
    fn invitations_verify_under_their_organisation_until_they_expire() {
        let (org, other) = (TestOrg::new(1, NOW), TestOrg::new(2, NOW));
        let signed = invitation(&org);
        let pins = org.verified();
        let none = Revocations::none();
        assert_eq!(signed.verify(pins.pins(), &none, NOW).unwrap().agent, handle("mira"));
        assert_eq!(signed.verify(pins.pins(), &none, NOW + 1000), Err(EnrolmentError::Expired));
        let refused = signed.verify(other.verified().pins(), &none, NOW);
        assert!(matches!(refused, Err(EnrolmentError::Invitation(_))));
        let forged = SignedInvitation { invitation: invitation(&other).invitation, ..signed.clone() };
        let refused = Err(EnrolmentError::Invitation(CertificateError::Signature));
        assert_eq!(forged.verify(pins.pins(), &none, NOW), refused);
        // Our issuer's signature under another organisation's hash.
        let mut body: Invitation = signed.invitation.peek(MAX_BODY).unwrap();
        body.root = other.root_hash();
        let foreign = SignedInvitation { invitation: body.sign(&org.issuer), ..signed };
        let refused = Err(EnrolmentError::Invitation(CertificateError::Foreign));
        assert_eq!(foreign.verify(pins.pins(), &none, NOW), refused);
    }

    #[test]
    fn a_revoked_issuer_invites_nobody() {
        let org = TestOrg::new(1, NOW);
        let (signed, pins) = (invitation(&org), org.verified());
        let mut next = TestOrg::new(1, NOW);
        next.next_issuer(9);
        next.revoke(1, NOW, vec![Revoked::Issuer(certificate::certificate_id(&signed.issuer))]);
        let list = next.verified().revocations().clone();
        let refused = Err(EnrolmentError::Invitation(CertificateError::Revoked));
        assert_eq!(signed.verify(pins.pins(), &list, NOW), refused);
    }

    #[test]
    fn requests_prove_that_the_sender_holds_the_keys() {
        let org = TestOrg::new(1, NOW);
        let (device, thief) = (DeviceSecret::generate(&mut rng(5)), DeviceSecret::generate(&mut rng(6)));
        let body = request(&org, &device);
        assert_eq!(EnrolmentRequest::verify(&body.sign(&device)), Ok(body.clone()));
        assert_eq!(EnrolmentRequest::verify(&body.sign(&thief)), Err(EnrolmentError::Request));
    }

    #[test]
    fn the_code_depends_on_everything_and_forgives_typing() {
        let (org, other) = (TestOrg::new(1, NOW), TestOrg::new(2, NOW));
        let (one, two) = (DeviceSecret::generate(&mut rng(5)), DeviceSecret::generate(&mut rng(6)));
        let body = request(&org, &one);
        let code = body.code();
        assert_eq!(code.len(), 19);
        assert!(code.split('-').all(|g| g.len() == 4 && !g.contains(['I', 'L', 'O', 'U'])), "{code}");
        for changed in [
            EnrolmentRequest { device: two.public(), ..body.clone() },
            EnrolmentRequest { root: other.root_hash(), ..body.clone() },
            EnrolmentRequest { agent: handle("mirb"), ..body.clone() },
            EnrolmentRequest { invitation: [0; 32], ..body.clone() },
        ] {
            assert_ne!(changed.code(), code);
        }
        assert!(same_code(&code.to_lowercase().replace('-', " "), &code));
        assert!(same_code("oil0", "0110") && !same_code("0111", "0110") && !same_code("", "0"));
    }
}
