//! The demo's organisation, made with the same commands that an administrator and an agent use (docs/cli.md). Every
//! step looks first whether it has been done, so that an interrupted start goes on where it stopped. What the commands
//! tell an administrator and an agent to do next is done here, and not shown.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::Value;

use super::data::Folder;
use crate::command::Program;
use crate::error::{Error, Result};

pub(crate) const AGENT_NAME: &str = "Demo Agent";
/// The agent's handle.
const AGENT: &str = "demo";
/// A certificate that ends sooner is renewed at start, ms.
const RENEW_BEFORE: u64 = 7 * 24 * 60 * 60 * 1000;

#[derive(Debug)]
pub(crate) struct Organisation<'a> {
    sealdesk: PathBuf,
    folder: &'a Folder,
    admin_passphrase: PathBuf,
    agent_passphrase: PathBuf,
}

impl<'a> Organisation<'a> {
    /// Creates it, or brings the one of an earlier start up to date: relay's address, certificates.
    pub(crate) fn prepare(
        sealdesk: PathBuf,
        folder: &'a Folder,
        relay_url: &str,
    ) -> Result<Organisation<'a>> {
        let organisation = Organisation {
            sealdesk,
            admin_passphrase: folder.passphrase("admin")?,
            agent_passphrase: folder.passphrase("agent")?,
            folder,
        };
        if organisation.org_file().exists() {
            organisation.refresh(relay_url)?;
        } else {
            organisation.create(relay_url)?;
        }
        if !organisation.certificate().exists() {
            organisation.enrol()?;
        }
        Ok(organisation)
    }

    pub(crate) fn org_file(&self) -> PathBuf {
        self.admin().join("org.json")
    }

    /// `sealdesk agent chat` for the one agent.
    pub(crate) fn agent_chat(&self, relay_url: &str) -> Result<std::process::Command> {
        let mut command = super::bound::command(&self.sealdesk)?;
        command.args(["agent", "chat", "--relay", relay_url, "--home"]).arg(self.agent());
        command.arg("--passphrase-file").arg(&self.agent_passphrase);
        Ok(command)
    }

    fn admin(&self) -> PathBuf {
        self.folder.join("admin")
    }

    fn agent(&self) -> PathBuf {
        self.folder.join("agent")
    }

    /// Where `agent chat` looks for a newer certificate.
    fn certificate(&self) -> PathBuf {
        self.agent().join("certificate")
    }

    fn as_admin(&self, command: [&str; 2]) -> Program {
        Program::new(&self.sealdesk, self.folder.path())
            .args(command)
            .arg("--dir")
            .arg(self.admin())
            .arg("--passphrase-file")
            .arg(&self.admin_passphrase)
    }

    fn create(&self, relay_url: &str) -> Result<()> {
        self.as_admin(["org", "init"])
            .args(["--demo", "--relay-name", super::relay::NAME, "--relay-url", relay_url])
            .run_quietly()
    }

    fn refresh(&self, relay_url: &str) -> Result<()> {
        let now = now_ms();
        // An org.json whose issuer has expired is not shown but refused.
        let issuer_ends = self.shown().ok().and_then(|shown| shown.pointer("/issuer/not_after")?.as_u64());
        let renew_issuer = ends_soon(issuer_ends, now);
        if renew_issuer {
            eprintln!("the demo's issuer key has expired or will soon: renewing it");
            self.as_admin(["org", "renew-issuer"]).run_quietly()?;
        }
        if !has_only_url(&self.shown()?, relay_url) {
            self.as_admin(["org", "set"]).args(["--relay-url", relay_url]).run_quietly()?;
        }
        if self.certificate().exists() && (renew_issuer || ends_soon(self.certificate_ends()?, now)) {
            eprintln!("the demo agent's certificate has expired or will soon: renewing it");
            self.replace_certificate(|program| program.args(["--renew", AGENT]))?;
        }
        Ok(())
    }

    fn shown(&self) -> Result<Value> {
        Program::new(&self.sealdesk, self.folder.path())
            .args(["org", "show", "--json", "--dir"])
            .arg(self.admin())
            .json()
    }

    fn certificate_ends(&self) -> Result<Option<u64>> {
        let agents = Program::new(&self.sealdesk, self.folder.path())
            .args(["agent", "list", "--json", "--dir"])
            .arg(self.admin())
            .output()?;
        Ok(valid_until(&agents))
    }

    /// Invitation, enrolment and approval, with both sides on this machine.
    fn enrol(&self) -> Result<()> {
        let (invitation, request) = (self.folder.join("agent.invitation"), self.folder.join("agent.request"));
        // Left by a start that was interrupted before the approval; the keys in it were never certified.
        remove(&self.agent())?;
        remove(&invitation)?;
        remove(&request)?;
        self.as_admin(["agent", "invite"])
            .args(["--agent", AGENT, "--name", AGENT_NAME, "--team", "support", "--out"])
            .arg(&invitation)
            .run_quietly()?;
        Program::new(&self.sealdesk, self.folder.path())
            .args(["agent", "enroll", "--invitation"])
            .arg(&invitation)
            .arg("--home")
            .arg(self.agent())
            .arg("--passphrase-file")
            .arg(&self.agent_passphrase)
            .arg("--out")
            .arg(&request)
            .run_quietly()?;
        self.replace_certificate(|program| program.arg("--unchecked").arg("--request").arg(&request))
    }

    /// Writes the new certificate beside and moves it into place, since `approve` replaces only a whole certificate.
    fn replace_certificate(&self, how: impl FnOnce(Program) -> Program) -> Result<()> {
        let new = self.folder.join("agent.certificate");
        remove(&new)?;
        how(self.as_admin(["agent", "approve"])).arg("--out").arg(&new).run_quietly()?;
        fs::rename(&new, self.certificate()).map_err(Error::file("move", &new))
    }
}

fn remove(path: &Path) -> Result<()> {
    let removed = if path.is_dir() { fs::remove_dir_all(path) } else { fs::remove_file(path) };
    match removed {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(Error::File { action: "remove", path: path.to_owned(), source: error })
        }
        _ => Ok(()),
    }
}

fn has_only_url(shown: &Value, url: &str) -> bool {
    let urls = shown.get("relay_urls").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    urls.iter().map(Value::as_str).eq([Some(url)])
}

/// When the agent's last valid certificate ends; none when no valid one is left. One agent a line.
fn valid_until(agents: &str) -> Option<u64> {
    agents
        .lines()
        .filter_map(|line| serde_json::from_str::<Value>(line).ok())
        .filter(|agent| agent.get("agent").and_then(Value::as_str) == Some(AGENT))
        .filter_map(|agent| agent.get("devices").and_then(Value::as_array).cloned())
        .flatten()
        .filter(|device| device.get("state").and_then(Value::as_str) == Some("valid"))
        .filter_map(|device| device.get("not_after").and_then(Value::as_u64))
        .max()
}

/// What does not say when it ends is renewed too.
fn ends_soon(ends: Option<u64>, now: u64) -> bool {
    ends.is_none_or(|ends| ends < now + RENEW_BEFORE)
}

fn now_ms() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .ok()
        .and_then(|since| u64::try_from(since.as_millis()).ok())
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_valid_devices_of_the_demo_s_agent_count() {
        let agents = [
            r#"{"agent":"other","devices":[{"state":"valid","not_after":9}]}"#,
            r#"{"agent":"demo","devices":[{"state":"revoked","not_after":8},{"state":"valid","not_after":7}]}"#,
        ]
        .join("\n");
        assert_eq!(valid_until(&agents), Some(7));
        assert_eq!(valid_until(r#"{"agent":"demo","devices":[{"state":"expired","not_after":7}]}"#), None);
        assert_eq!(valid_until(""), None);
    }

    #[test]
    fn a_relay_that_moved_is_noticed() {
        let shown = serde_json::json!({"relay_urls": ["ws://127.0.0.1:1/"]});
        assert!(has_only_url(&shown, "ws://127.0.0.1:1/"));
        assert!(!has_only_url(&shown, "ws://127.0.0.1:2/"));
        assert!(!has_only_url(&serde_json::json!({}), "ws://127.0.0.1:1/"));
    }

    #[test]
    fn what_ends_within_a_week_or_has_ended_is_renewed() {
        let now = 1_800_000_000_000;
        assert!(ends_soon(None, now));
        assert!(ends_soon(Some(now - 1), now));
        assert!(ends_soon(Some(now + RENEW_BEFORE - 1), now));
        assert!(!ends_soon(Some(now + RENEW_BEFORE), now));
    }
}
