//! An organisation made by the program's own commands, as an administrator makes it.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use tempfile::TempDir;
use tokio::process::Command;

use crate::process::{printed, program};
use crate::{Site, within};

/// Passphrase of the administrator's keys: a canary of the secrecy test.
pub const ADMIN_PASSPHRASE: &str = "admin-passphrase-of-the-office-4417";
/// Passphrase of the agents' vaults: a canary, too.
pub const AGENT_PASSPHRASE: &str = "vault-passphrase-of-an-agent-9082";
/// The relay's name in org.json.
pub const RELAY_NAME: &str = "relay.office.test";

/// An administrator's folder, and homes of agents beside it.
#[derive(Debug)]
pub struct Office {
    folder: TempDir,
}

impl Site for Office {
    fn folder(&self) -> &Path {
        self.folder.path()
    }

    fn relay_name(&self) -> String {
        RELAY_NAME.into()
    }

    fn org_json(&self) -> PathBuf {
        self.folder.path().join("admin/org.json")
    }
}

/// Runs a command of the clients' program to its end.
pub async fn run(arguments: &[&str]) -> std::process::Output {
    let mut command = Command::new(program("client-under-test"));
    command.args(arguments).stdin(std::process::Stdio::null()).kill_on_drop(true);
    within(command.output()).await.unwrap()
}

/// Runs a command that has to succeed; its stdout.
///
/// # Panics
/// When it fails, with what it printed.
pub async fn succeed(arguments: &[&str]) -> String {
    let output = run(arguments).await;
    assert!(output.status.success(), "{arguments:?}\n{}", printed(&output));
    String::from_utf8(output.stdout).unwrap()
}

/// Writes a file that only its owner reads.
pub fn private(path: &Path, text: &str) {
    fs::write(path, text).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(0o600)).unwrap();
}

impl Office {
    /// `org init` with demo teams, topics and notices, and these agents, enrolled and approved.
    ///
    /// # Panics
    /// When a command fails.
    pub async fn with_agents(ids: &[&str]) -> Self {
        let folder = tempfile::Builder::new().prefix("sealdesk-it-").tempdir().unwrap();
        let office = Self { folder };
        private(&office.path("admin.pass"), ADMIN_PASSPHRASE);
        private(&office.path("agent.pass"), AGENT_PASSPHRASE);
        let (admin, pass) = (office.text("admin"), office.text("admin.pass"));
        let url = "ws://127.0.0.1:1/";
        succeed(&[
            "org",
            "init",
            "--dir",
            &admin,
            "--demo",
            "--name",
            "Office",
            "--relay-name",
            RELAY_NAME,
            "--relay-url",
            url,
            "--passphrase-file",
            &pass,
        ])
        .await;
        for id in ids {
            office.enrol(id).await;
        }
        office
    }

    /// Invites, enrols, approves and installs one agent of team `support`.
    ///
    /// # Panics
    /// When a command fails.
    pub async fn enrol(&self, id: &str) {
        let (admin, admin_pass) = (self.text("admin"), self.text("admin.pass"));
        let (home, pass) = (self.text(id), self.text("agent.pass"));
        let file = |suffix: &str| self.text(&format!("{id}.{suffix}"));
        let (invitation, request, certificate) = (file("invitation"), file("request"), file("certificate"));
        let name = format!("Agent {id}");
        succeed(&[
            "agent",
            "invite",
            "--dir",
            &admin,
            "--agent",
            id,
            "--name",
            &name,
            "--team",
            "support",
            "--out",
            &invitation,
            "--passphrase-file",
            &admin_pass,
        ])
        .await;
        succeed(&[
            "agent",
            "enroll",
            "--invitation",
            &invitation,
            "--home",
            &home,
            "--out",
            &request,
            "--passphrase-file",
            &pass,
        ])
        .await;
        succeed(&[
            "agent",
            "approve",
            "--dir",
            &admin,
            "--request",
            &request,
            "--unchecked",
            "--out",
            &certificate,
            "--passphrase-file",
            &admin_pass,
        ])
        .await;
        succeed(&[
            "agent",
            "install",
            "--home",
            &home,
            "--certificate",
            &certificate,
            "--passphrase-file",
            &pass,
        ])
        .await;
    }

    /// A path beside everything else.
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// The same as text.
    ///
    /// # Panics
    /// Never: temporary folders have plain names.
    pub fn text(&self, name: &str) -> String {
        self.path(name).to_str().expect("a plain path").into()
    }
}
