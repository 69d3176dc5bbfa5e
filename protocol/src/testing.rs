//! A whole small organisation from one seed, for tests, benches and fuzz targets of this and other crates.
//!
//! Only with feature `testing`; nothing here is part of the protocol.

pub mod fuzz;

use alloc::collections::BTreeMap;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use chacha20::{ChaCha20Rng, rand_core::SeedableRng};

use crate::crypto::certificate::{
    AgentRole, CertificateChain, DEVICE_LIFE, DeviceCertificate, ISSUER_LIFE, IssuerCertificate,
    RevocationList, Revoked, SignedRevocations, certificate_id,
};
use crate::crypto::identity::{DevicePublic, SignedBytes, SigningSecret};
use crate::ids::{Handle, RootHash};
use crate::org::{
    AssignmentMode, Floor, Notice, OrgFile, Pins, RootVersion, Settings, Team, Topic, VerifiedOrg, root_hash,
};

/// A seeded generator: the same seed gives the same keys.
pub fn rng(seed: u64) -> ChaCha20Rng {
    ChaCha20Rng::seed_from_u64(seed)
}

/// A handle from text known to be good.
///
/// # Panics
/// When it is not.
#[expect(clippy::expect_used, reason = "test data")]
pub fn handle(text: &str) -> Handle {
    text.parse().expect("a well-formed handle")
}

/// An organisation with its secret keys.
#[derive(Debug)]
pub struct TestOrg {
    /// Root key, version 1.
    pub root: SigningSecret,
    /// Issuer key.
    pub issuer: SigningSecret,
    /// Its certificate.
    pub issuer_certificate: SignedBytes,
    /// Everything that the issuer signs into org.json.
    pub settings: Settings,
    /// Signed pins.
    pub pins: SignedBytes,
    /// Revocations, if any.
    pub revocations: Option<SignedRevocations>,
    /// "Now" of the organisation's making, ms.
    pub now: u64,
    serial: u64,
}

impl TestOrg {
    /// Team `support`, topics `general` and `billing` (team `billing`), notices in English and Arabic.
    pub fn new(seed: u64, now: u64) -> Self {
        let mut rng = rng(seed);
        let root = SigningSecret::generate(&mut rng);
        let issuer = SigningSecret::generate(&mut rng);
        let hash = root_hash(&root.verify_key());
        let first = RootVersion { version: 1, key: root.verify_key(), since: now }.sign(&root, None);
        let pins = Pins { version: 1, issued: now, roots: alloc::vec![first], log: None }.sign(&root);
        let issuer_certificate = IssuerCertificate {
            root: hash,
            root_version: 1,
            key: issuer.verify_key(),
            serial: 1,
            not_before: now,
            not_after: now + ISSUER_LIFE,
        }
        .sign(&root);
        let topic = |id: &str, team: &str, name: &str| Topic {
            id: handle(id),
            team: handle(team),
            names: BTreeMap::from([("en".to_string(), name.to_string())]),
        };
        let team = |id: &str, name: &str| Team { id: handle(id), name: name.to_string() };
        let notice =
            |language: &str, text: &str| Notice { language: language.to_string(), text: text.to_string() };
        let settings = Settings {
            root: hash,
            version: 1,
            issued: now,
            name: String::from("Example Shop"),
            relay_name: String::from("relay.test"),
            relay_urls: alloc::vec![String::from("ws://127.0.0.1:1/")],
            assignment: AssignmentMode::Automatic,
            topics: alloc::vec![
                topic("general", "support", "General"),
                topic("billing", "billing", "Billing"),
            ],
            teams: alloc::vec![team("support", "Support"), team("billing", "Billing")],
            notices: alloc::vec![
                notice("en", "We process what you write to answer you, and delete it after 30 days."),
                notice("ar", "نعالج ما تكتبه للرد عليك ونحذفه بعد 30 يومًا."),
            ],
        };
        Self { root, issuer, issuer_certificate, settings, pins, revocations: None, now, serial: 0 }
    }

    /// The organisation's id.
    pub fn root_hash(&self) -> RootHash {
        self.settings.root
    }

    /// org.json as it stands.
    pub fn file(&self) -> OrgFile {
        let settings = self.settings.sign(&self.issuer);
        OrgFile::assemble(
            &self.root_hash(),
            &self.pins,
            &self.issuer_certificate,
            &settings,
            self.revocations.as_ref(),
        )
    }

    /// org.json, verified.
    ///
    /// # Panics
    /// When this module makes a file that does not verify.
    #[expect(clippy::expect_used, reason = "test data")]
    pub fn verified(&self) -> VerifiedOrg {
        self.file().verify(&self.root_hash(), &Floor::default(), self.now).expect("own org.json")
    }

    /// The body of a certificate for a device: role agent, valid for 30 days from `self.now`.
    pub fn certificate(
        &mut self,
        agent: &str,
        name: &str,
        teams: &[&str],
        device: DevicePublic,
    ) -> DeviceCertificate {
        self.serial += 1;
        let mut teams: Vec<Handle> = teams.iter().map(|t| handle(t)).collect();
        teams.sort();
        DeviceCertificate {
            root: self.root_hash(),
            issuer: certificate_id(&self.issuer_certificate),
            agent: handle(agent),
            display_name: name.to_string(),
            roles: alloc::vec![AgentRole::Agent],
            teams,
            device,
            device_number: 1,
            serial: self.serial,
            not_before: self.now,
            not_after: self.now + DEVICE_LIFE,
            endorsement: None,
        }
    }

    /// Signs a certificate body into a chain.
    pub fn chain(&self, certificate: &DeviceCertificate) -> CertificateChain {
        CertificateChain { issuer: self.issuer_certificate.clone(), device: certificate.sign(&self.issuer) }
    }

    /// A chain for an agent of team `support`.
    pub fn agent_chain(&mut self, agent: &str, name: &str, device: DevicePublic) -> CertificateChain {
        let certificate = self.certificate(agent, name, &["support"], device);
        self.chain(&certificate)
    }

    /// Another issuer signs from now on, with the next serial. Answers the one before: key and certificate.
    ///
    /// # Panics
    /// When the certificate before does not decode.
    #[expect(clippy::expect_used, reason = "test data")]
    pub fn next_issuer(&mut self, seed: u64) -> (SigningSecret, SignedBytes) {
        let before: IssuerCertificate = self.issuer_certificate.peek(4096).expect("own certificate");
        let key = SigningSecret::generate(&mut rng(seed));
        let certificate =
            IssuerCertificate { key: key.verify_key(), serial: before.serial + 1, ..before }.sign(&self.root);
        (
            core::mem::replace(&mut self.issuer, key),
            core::mem::replace(&mut self.issuer_certificate, certificate),
        )
    }

    /// The root key changes from version 1 to 2, and another issuer signs from now on.
    ///
    /// # Panics
    /// When the issuer's certificate before does not decode.
    #[expect(clippy::expect_used, reason = "test data")]
    pub fn rotate(&mut self, seed: u64) {
        let next = SigningSecret::generate(&mut rng(seed));
        let version =
            |version, key: &SigningSecret| RootVersion { version, key: key.verify_key(), since: self.now };
        let first = version(1, &self.root).sign(&self.root, None);
        let second = version(2, &next).sign(&next, Some(&self.root));
        self.pins =
            Pins { version: 2, issued: self.now, roots: alloc::vec![first, second], log: None }.sign(&next);
        self.root = next;
        self.next_issuer(seed + 1);
        let certificate: IssuerCertificate = self.issuer_certificate.peek(4096).expect("own certificate");
        self.issuer_certificate = IssuerCertificate { root_version: 2, ..certificate }.sign(&self.root);
    }

    /// Puts a revocation list with the given number into org.json.
    pub fn revoke(&mut self, number: u64, issued: u64, revoked: Vec<Revoked>) {
        let list = RevocationList { root: self.root_hash(), number, issued, revoked }.sign(&self.issuer);
        self.revocations = Some(SignedRevocations { issuer: self.issuer_certificate.clone(), list });
    }
}
