//! Engine and vault together: step, commit, then hand the outputs on. The driver runs one; so do commands that need no
//! network (enrolment, export).

use std::time::Instant;

use sealdesk_client::{Corrupt, Engine, Event, Input, Message, Output, Owner, Step, VaultKey};
use sealdesk_protocol::ids::ConversationId;
use sealdesk_protocol::org::VerifiedOrg;

use crate::clock;
use crate::private_file::FileError;
use crate::random::{self, NoRandomness, SystemRng};
use crate::transfers;
use crate::vault::{self, Vault, VaultError};

/// Why a vault's engine does not start, or a step was not committed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DeskError {
    /// The file.
    #[error(transparent)]
    Vault(#[from] VaultError),
    /// What is in it.
    #[error(transparent)]
    Corrupt(#[from] Corrupt),
    /// This machine.
    #[error(transparent)]
    NoRandomness(#[from] NoRandomness),
}

/// An engine on its vault.
#[derive(Debug)]
pub struct Desk {
    engine: Engine,
    vault: Vault,
    key: VaultKey,
    rng: SystemRng,
    start: Instant,
    wake_at: Option<u64>,
    /// Decided before the driver ran, to be performed after its first step.
    first: Vec<Output>,
}

/// What is left of a desk whose commit failed: enough to open it again, and nothing of the lost step.
#[derive(Debug)]
pub(crate) struct Fallen {
    home: std::path::PathBuf,
    fence: u64,
    key: VaultKey,
    org: VerifiedOrg,
}

impl Desk {
    /// Opens the engine on an open vault; an empty vault becomes `owner`'s.
    ///
    /// # Errors
    /// [`DeskError`].
    pub fn open(vault: Vault, key: VaultKey, org: VerifiedOrg, owner: Owner) -> Result<Self, DeskError> {
        let mut rng = random::system()?;
        let start = Instant::now();
        let rows = vault.hot_rows()?;
        let (engine, Step { persist, then, wake_at }) = if rows.is_empty() {
            Engine::create(key.duplicate(), owner, org, clock::now(start), &mut rng)
        } else {
            Engine::open(key.duplicate(), org, &rows, clock::now(start))?
        };
        vault.commit(&persist)?;
        Ok(Self { engine, vault, key, rng, start, wake_at, first: then })
    }

    /// The first step without input: the engine looks through its vault (certificates, what is due). A driver's first step
    /// does it, and so does a command, which is carried out before.
    ///
    /// # Errors
    /// [`VaultError`].
    pub fn look_through(&mut self) -> Result<(), VaultError> {
        self.first = self.step(Vec::new())?;
        Ok(())
    }

    /// The folder of the vault.
    pub fn home(&self) -> &std::path::Path {
        self.vault.home()
    }

    /// The engine, to look at.
    pub fn engine(&self) -> &Engine {
        &self.engine
    }

    /// One step: what it decides is durable on return, and its outputs may be performed.
    ///
    /// # Errors
    /// [`VaultError`]: nothing is known of the step. Drop this desk; [`VaultError::Fenced`] is final.
    pub fn step(&mut self, inputs: Vec<Input>) -> Result<Vec<Output>, VaultError> {
        let Step { persist, mut then, wake_at } =
            self.engine.step(clock::now(self.start), &mut self.rng, inputs);
        self.vault.commit(&persist)?;
        self.wake_at = wake_at;
        let mut outputs = std::mem::take(&mut self.first);
        outputs.append(&mut then);
        Ok(outputs)
    }

    /// When to step again without input.
    pub fn wake_at(&self) -> Option<Instant> {
        self.wake_at.map(|ms| self.start + std::time::Duration::from_millis(ms))
    }

    /// Up to `limit` entries of a transcript before the place `before` (`u64::MAX`: the newest), oldest first.
    ///
    /// # Errors
    /// [`DeskError`].
    pub fn page(
        &self,
        conversation: &ConversationId,
        before: u64,
        limit: u16,
    ) -> Result<Vec<Message>, DeskError> {
        let names = self.engine.page_names(conversation, before, limit);
        Ok(self.engine.page(&self.vault.rows(&names)?)?)
    }

    /// Performs a command that needs no network, and returns what the engine says to it. Everything else that it decided
    /// waits for the next step, whose outputs are performed.
    ///
    /// # Errors
    /// [`VaultError`].
    pub fn command(&mut self, command: sealdesk_client::Command) -> Result<Option<Event>, VaultError> {
        let mut answer = None;
        for output in self.step(vec![Input::User { id: 0, command }])? {
            match output {
                Output::Event(event @ (Event::Done { id: 0, .. } | Event::Failed { id: 0, .. })) => {
                    answer = Some(event);
                }
                output => self.first.push(output),
            }
        }
        Ok(answer)
    }

    /// Removes from the spool what no transfer of the vault needs: of deleted conversations, and of commands that a crash cut
    /// off.
    ///
    /// # Errors
    /// [`FileError`].
    pub fn clean_spool(&self) -> Result<(), FileError> {
        transfers::clean(self.home(), &self.engine.spools())
    }

    /// After a commit that failed: drops engine, outputs and database.
    pub(crate) fn fall(self) -> Fallen {
        Fallen {
            home: self.vault.home().into(),
            fence: self.vault.fence(),
            key: self.key,
            org: self.engine.org().clone(),
        }
    }
}

impl Fallen {
    /// Opens engine and vault again, from what is durable.
    pub(crate) fn rise(&mut self, owner: Owner) -> Result<Desk, DeskError> {
        let vault = vault::reopen(&self.home, self.fence)?;
        self.fence = vault.fence();
        Desk::open(vault, self.key.duplicate(), self.org.clone(), owner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use sealdesk_client::Command;
    use sealdesk_protocol::testing::TestOrg;

    #[test]
    fn what_a_command_decides_besides_its_answer_is_performed_later() {
        let home = tempfile::tempdir().unwrap();
        let mut org = TestOrg::new(1, clock::wall_ms());
        let mut rng = random::system().unwrap();
        let (vault, key) = vault::create(home.path(), &org.root_hash(), None, &mut rng).unwrap();
        let mut desk = Desk::open(vault, key, org.verified(), Owner::Agent).unwrap();
        let chain = org.agent_chain("mira", "Mira", desk.engine().agent_public().unwrap());
        let answer = desk.command(Command::InstallCertificate { chain }).unwrap();
        assert!(matches!(answer, Some(Event::Done { .. })), "{answer:?}");
        // With the certificate the device connects.
        let outputs = desk.step(Vec::new()).unwrap();
        assert!(outputs.iter().any(|o| matches!(o, Output::Connect(_))), "{outputs:?}");
    }

    #[test]
    fn a_desk_that_fell_rises_from_what_is_durable() {
        let home = tempfile::tempdir().unwrap();
        let org = TestOrg::new(1, clock::wall_ms());
        let mut rng = random::system().unwrap();
        let (vault, key) = vault::create(home.path(), &org.root_hash(), None, &mut rng).unwrap();
        let mut desk = Desk::open(vault, key, org.verified(), Owner::Customer).unwrap();
        let notice = org.settings.notices[0].hash();
        let topic = org.settings.topics[0].id.clone();
        desk.command(Command::Open { topic, language: "en".into(), notice }).unwrap();
        let before = desk.engine().conversations();
        let desk = desk.fall().rise(Owner::Customer).unwrap();
        assert_eq!(desk.engine().conversations(), before);
        assert_eq!(before.len(), 1);
    }
}
