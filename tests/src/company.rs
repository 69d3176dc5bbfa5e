//! An organisation in a folder of its own.

use std::fs;
use std::path::{Path, PathBuf};

use sealdesk_protocol::testing::TestOrg;
use tempfile::TempDir;

use crate::device::Device;
use crate::{Site, now_ms};

/// An organisation with its keys, its org.json and a folder for everything around it.
#[derive(Debug)]
pub struct Company {
    /// Keys and settings; call [`Company::publish`] after a change.
    pub org: TestOrg,
    folder: TempDir,
}

impl Company {
    /// Made now, from a seed.
    pub fn new(seed: u64) -> Self {
        Self::made_at(seed, now_ms())
    }

    /// Made at another time, ms: as seen by somebody whose clock differs.
    pub fn made_at(seed: u64, now: u64) -> Self {
        let folder = tempfile::Builder::new().prefix("sealdesk-it-").tempdir().unwrap();
        let company = Self { org: TestOrg::new(seed, now), folder };
        company.publish();
        company
    }

    /// Writes org.json as it stands: beside, then renamed, as an administrator's tool does.
    pub fn publish(&self) {
        let beside = self.folder.path().join("org.json.new");
        fs::write(&beside, serde_json::to_vec_pretty(&self.org.file()).unwrap()).unwrap();
        fs::rename(beside, self.org_json()).unwrap();
    }

    /// Changes the settings, raises their version and publishes.
    pub fn change(&mut self, change: impl FnOnce(&mut sealdesk_protocol::org::Settings)) {
        change(&mut self.org.settings);
        self.org.settings.version += 1;
        self.publish();
    }

    /// A certified device of an agent in team `support`.
    pub fn agent(&mut self, id: &str) -> Device {
        self.agent_of(id, &["support"])
    }

    /// A certified device of an agent in these teams.
    pub fn agent_of(&mut self, id: &str, teams: &[&str]) -> Device {
        let mut device = Device::new();
        let certificate = self.org.certificate(id, &format!("Agent {id}"), teams, device.public());
        device.chain = Some(self.org.chain(&certificate));
        device
    }
}

impl Site for Company {
    fn folder(&self) -> &Path {
        self.folder.path()
    }

    fn relay_name(&self) -> String {
        self.org.settings.relay_name.clone()
    }

    fn org_json(&self) -> PathBuf {
        self.folder.path().join("org.json")
    }
}
