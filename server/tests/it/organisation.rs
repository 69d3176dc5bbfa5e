//! A test organisation: root, issuer, org.json, agents' certificates.

use std::collections::BTreeMap;
use std::path::Path;

use rand_core::UnwrapErr;
use sealdesk_protocol::crypto::certificate::{
    AgentRole, CertificateChain, DAY, DeviceCertificate, IssuerCertificate, RevocationList, Revoked,
    SignedRevocations, certificate_id,
};
use sealdesk_protocol::crypto::identity::{DeviceSecret, SignedBytes, SigningSecret};
use sealdesk_protocol::ids::{Handle, RootHash};
use sealdesk_protocol::org::{
    AssignmentMode, Notice, OrgFile, Pins, RootVersion, Settings, Team, Topic, root_hash,
};
use sealdesk_relay::clock::now_ms;

pub const RELAY_NAME: &str = "relay.test";

pub fn rng() -> UnwrapErr<getrandom::SysRng> {
    UnwrapErr(getrandom::SysRng)
}

pub fn handle(text: &str) -> Handle {
    text.parse().unwrap()
}

pub struct Organisation {
    pub root_key: SigningSecret,
    pub issuer_key: SigningSecret,
    pub root: RootHash,
    pub issuer: SignedBytes,
    pub pins: SignedBytes,
    pub settings: Settings,
    pub revoked: Vec<Revoked>,
    pub revocation_number: u64,
}

fn issuer_certificate(
    root: RootHash,
    root_key: &SigningSecret,
    key: &SigningSecret,
    serial: u64,
) -> SignedBytes {
    let now = now_ms();
    let certificate = IssuerCertificate {
        root,
        root_version: 1,
        key: key.verify_key(),
        serial,
        not_before: now - DAY,
        not_after: now + 30 * DAY,
    };
    certificate.sign(root_key)
}

impl Organisation {
    pub fn new() -> Self {
        let (root_key, issuer_key) =
            (SigningSecret::generate(&mut rng()), SigningSecret::generate(&mut rng()));
        let now = now_ms();
        let version = RootVersion { version: 1, key: root_key.verify_key(), since: now };
        let roots = vec![version.sign(&root_key, None)];
        let root = root_hash(&root_key.verify_key());
        let pins = Pins { version: 1, issued: now, roots, log: None }.sign(&root_key);
        let issuer = issuer_certificate(root, &root_key, &issuer_key, 1);
        let names = BTreeMap::from([("en".to_string(), "Sales".to_string())]);
        let settings = Settings {
            root,
            version: 1,
            issued: now,
            name: "Example".into(),
            relay_name: RELAY_NAME.into(),
            relay_urls: vec!["ws://127.0.0.1/".into()],
            assignment: AssignmentMode::Automatic,
            topics: vec![
                Topic { id: handle("sales"), team: handle("sales"), names: names.clone() },
                Topic { id: handle("help"), team: handle("support"), names },
            ],
            teams: vec![
                Team { id: handle("sales"), name: "Sales".into() },
                Team { id: handle("support"), name: "Support".into() },
            ],
            notices: vec![Notice { language: "en".into(), text: "We keep messages for 30 days.".into() }],
        };
        let revoked = Vec::new();
        Self { root_key, issuer_key, root, issuer, pins, settings, revoked, revocation_number: 0 }
    }

    /// Another issuer signs from now on. Answers the one before: key and certificate.
    pub fn change_issuer(&mut self) -> (SigningSecret, SignedBytes) {
        let key = SigningSecret::generate(&mut rng());
        let before: IssuerCertificate = self.issuer.peek(4096).unwrap();
        let certificate = issuer_certificate(self.root, &self.root_key, &key, before.serial + 1);
        (core::mem::replace(&mut self.issuer_key, key), core::mem::replace(&mut self.issuer, certificate))
    }

    pub fn write(&self, path: &Path) {
        let settings = self.settings.sign(&self.issuer_key);
        let list = (self.revocation_number > 0).then(|| SignedRevocations {
            issuer: self.issuer.clone(),
            list: RevocationList {
                root: self.root,
                number: self.revocation_number,
                issued: now_ms(),
                revoked: self.revoked.clone(),
            }
            .sign(&self.issuer_key),
        });
        let file = OrgFile::assemble(&self.root, &self.pins, &self.issuer, &settings, list.as_ref());
        let fresh = path.with_extension("new");
        std::fs::write(&fresh, serde_json::to_string(&file).unwrap()).unwrap();
        std::fs::rename(&fresh, path).unwrap();
    }

    pub fn certificate(&self, agent: &str, device: &DeviceSecret) -> DeviceCertificate {
        let now = now_ms();
        DeviceCertificate {
            root: self.root,
            issuer: certificate_id(&self.issuer),
            agent: handle(agent),
            display_name: format!("Agent {agent}"),
            roles: vec![AgentRole::Agent],
            teams: vec![handle("sales")],
            device: device.public(),
            device_number: 1,
            serial: 1,
            not_before: now - DAY,
            not_after: now + 20 * DAY,
            endorsement: None,
        }
    }

    pub fn chain(&self, certificate: &DeviceCertificate) -> CertificateChain {
        CertificateChain { issuer: self.issuer.clone(), device: certificate.sign(&self.issuer_key) }
    }
}
