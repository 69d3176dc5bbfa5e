//! Certificates, revocations and org.json: every check refuses what it is there to refuse.

mod chain;
mod revocations;

use sealdesk_protocol::crypto::certificate::*;
use sealdesk_protocol::crypto::identity::DeviceSecret;
use sealdesk_protocol::testing::{TestOrg, rng};

pub(crate) const NOW: u64 = 1_800_000_000_000;

pub(crate) fn org() -> TestOrg {
    TestOrg::new(1, NOW)
}

pub(crate) fn device(seed: u64) -> DeviceSecret {
    DeviceSecret::generate(&mut rng(seed))
}

pub(crate) fn verify(
    org: &TestOrg,
    chain: &CertificateChain,
    now: u64,
) -> Result<VerifiedCertificate, CertificateError> {
    let verified = org.verified();
    chain.verify(verified.pins(), verified.revocations(), now)
}
