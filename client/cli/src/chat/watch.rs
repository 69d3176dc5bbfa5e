//! Files that may be renewed while a chat runs: org.json (the one of `--org` and the home's copy) and an agent's
//! `certificate`.
//!
//! ```text
//! looked at every second -> changed since the last look, and whole -> verified -> engine -> kept in the home
//! ```
//! What does not verify is said once for each state of the file, and changes nothing.

use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use sealdesk_client::{Command, Problem};
use sealdesk_protocol::crypto::certificate::CertificateChain;
use sealdesk_protocol::crypto::identity::DevicePublic;
use sealdesk_protocol::org::{OrgFile, VerifiedOrg};
use tokio::time::{Interval, MissedTickBehavior};

use super::Session;
use crate::admin::{org_text, read_org};
use crate::agent::{Made, is_later, made, verify};
use crate::error::Error;
use crate::files::CertificateFile;
use crate::home::{self, When};

/// Between two looks. A file counts when two looks in a row see it alike: whoever writes it may be in the middle.
const EVERY: Duration = Duration::from_secs(1);

/// Size, time and place of a file: another one, or changed, when these differ.
type State = Option<(u64, Option<SystemTime>, u64)>;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum What {
    Org,
    Certificate,
}

#[derive(Debug)]
struct Watched {
    path: PathBuf,
    what: What,
    /// As of the last look.
    seen: State,
    /// As of the last time that it was read.
    read: State,
}

/// The files of one home.
#[derive(Debug)]
pub(crate) struct Watch {
    home: PathBuf,
    files: Vec<Watched>,
    /// What the home held at the start, or was taken since, as text.
    org: Vec<u8>,
    /// An agent's device, and the certificate in its vault.
    device: Option<DevicePublic>,
    made: Option<Made>,
    look: Interval,
}

/// Something that is newer, or wrong.
#[derive(Debug)]
pub(crate) enum Renewal {
    Org(Box<(VerifiedOrg, OrgFile)>),
    /// Valid until, ms.
    Certificate(Box<CertificateChain>, Made, u64),
    /// Changed, and not usable.
    Bad(Error),
}

/// What a renewal came to, for the screen or the program.
#[derive(Debug)]
pub(crate) enum Renewed {
    Org {
        /// The relay has another address now than the one that this chat was started with.
        moved: bool,
    },
    /// Valid until, ms.
    Certificate(u64),
    Refused(Problem),
    Bad(Error),
}

impl Watch {
    /// `agent`: an agent's device, and the certificate in its vault.
    pub(crate) fn new(
        home: &Path,
        given: Option<&Path>,
        agent: Option<(DevicePublic, Option<Made>)>,
    ) -> Self {
        let own = home::org_path(home);
        let orgs = given.map(Path::to_path_buf).filter(|path| *path != own).into_iter().chain([own.clone()]);
        let certificate = agent.map(|_| home.join("certificate"));
        let watched = |path: PathBuf, what| Watched { path, what, seen: None, read: None };
        let files = orgs.map(|path| watched(path, What::Org));
        let files = files.chain(certificate.map(|path| watched(path, What::Certificate))).collect();
        let org = read_org(&own).map(|file| org_text(&file)).unwrap_or_default();
        let mut look = tokio::time::interval(EVERY);
        look.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let (device, made) = agent.unzip();
        Self { home: home.into(), files, org, device, made: made.flatten(), look }
    }

    /// The next file that changed, under the organisation in force. Nothing is lost when the future is dropped.
    pub(crate) async fn next(&mut self, org: &VerifiedOrg) -> Renewal {
        loop {
            self.look.tick().await;
            for at in 0..self.files.len() {
                if let Some(what) = self.changed(at)
                    && let Some(renewal) = self.renewal(at, what, org)
                {
                    return renewal;
                }
            }
        }
    }

    /// Whether a file is to be read: there, other than when it was read, and at rest.
    fn changed(&mut self, at: usize) -> Option<What> {
        let file = self.files.get_mut(at)?;
        let now = state(&file.path);
        let at_rest = core::mem::replace(&mut file.seen, now) == now;
        if !at_rest || now.is_none() || now == file.read {
            return None;
        }
        file.read = now;
        Some(file.what)
    }

    fn renewal(&self, at: usize, what: What, org: &VerifiedOrg) -> Option<Renewal> {
        let path = &self.files.get(at)?.path;
        let found = match what {
            What::Org => read_org(path).and_then(|file| self.newer_org(file, path, org)),
            What::Certificate => self.newer_certificate(path, org),
        };
        found.unwrap_or_else(|error| Some(Renewal::Bad(error)))
    }

    fn newer_org(&self, file: OrgFile, path: &Path, org: &VerifiedOrg) -> Result<Option<Renewal>, Error> {
        match home::verify(&file, &org.root(), &org.floor(), When::Now, path) {
            Ok(newer) if newer.floor() == org.floor() => Ok(None),
            Ok(newer) => Ok(Some(Renewal::Org(Box::new((newer, file))))),
            // What is in force, and has ended meanwhile.
            Err(_) if org_text(&file) == self.org => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// A certificate may have been signed by an issuer that only the org.json beside it names.
    fn newer_certificate(&self, path: &Path, org: &VerifiedOrg) -> Result<Option<Renewal>, Error> {
        let (file, chain) = CertificateFile::read(path)?;
        let verified = match verify(&chain, org, self.device.as_ref(), path) {
            Ok(verified) => verified,
            Err(error) => {
                return match self.newer_org(file.org, path, org) {
                    Ok(Some(renewal)) => Ok(Some(renewal)),
                    _ => Err(error),
                };
            }
        };
        let (new, until) = (made(&verified), verified.valid_until());
        Ok(is_later(new, self.made).then(|| Renewal::Certificate(Box::new(chain), new, until)))
    }

    /// The certificate's file is looked at again: with the organisation of now it may verify.
    fn again(&mut self, what: What) {
        self.files.iter_mut().filter(|file| file.what == what).for_each(|file| file.read = None);
    }
}

fn state(path: &Path) -> State {
    let metadata = std::fs::metadata(path).ok()?;
    #[cfg(unix)]
    let place = std::os::unix::fs::MetadataExt::ino(&metadata);
    #[cfg(not(unix))]
    let place = 0;
    Some((metadata.len(), metadata.modified().ok(), place))
}

/// Whether the addresses with which a chat was started, those of the org.json before, are none of the relay's any more. What
/// `--relay` named is nobody's but the caller's.
fn moved(started: &str, before: &[String], after: &[String]) -> bool {
    let named_by = |urls: &[String], url: &str| urls.iter().any(|known| known == url);
    started.split(", ").all(|url| named_by(before, url))
        && !started.split(", ").any(|url| named_by(after, url))
}

impl Session {
    /// Hands a renewal to the engine; what is taken holds from now on and for the next start.
    pub(crate) async fn renew(&mut self, renewal: Renewal) -> Renewed {
        match renewal {
            Renewal::Bad(error) => Renewed::Bad(error),
            Renewal::Org(newer) => {
                let (org, file) = *newer;
                let command = Command::UpdateOrg { org: Box::new(org.clone()) };
                match self.handle.command(command).await {
                    Ok(_) => {
                        self.watch.org = org_text(&file);
                        self.watch.again(What::Certificate);
                        let urls = |org: &VerifiedOrg| org.settings().relay_urls.clone();
                        let moved = moved(&self.relay, &urls(&self.org), &urls(&org));
                        self.org = org;
                        match home::keep(&self.watch.home, &file) {
                            Ok(()) => Renewed::Org { moved },
                            Err(error) => Renewed::Bad(error),
                        }
                    }
                    Err(problem) => self.refused(What::Org, problem),
                }
            }
            Renewal::Certificate(chain, made, until) => {
                match self.handle.command(Command::InstallCertificate { chain: *chain }).await {
                    Ok(_) => {
                        self.watch.made = Some(made);
                        Renewed::Certificate(until)
                    }
                    Err(problem) => self.refused(What::Certificate, problem),
                }
            }
        }
    }

    fn refused(&mut self, what: What, problem: Problem) -> Renewed {
        // A full disk is no fault of the file.
        if problem.code == "not_stored" {
            self.watch.again(what);
        }
        Renewed::Refused(problem)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use sealdesk_native::clock;
    use sealdesk_protocol::crypto::certificate::{Revoked, certificate_id};
    use sealdesk_protocol::crypto::identity::DeviceSecret;
    use sealdesk_protocol::testing::TestOrg;

    /// A file that is exchanged after the session read it and before anybody watches is as new as any.
    #[tokio::test]
    async fn what_changed_before_the_first_look_is_seen() {
        let home = tempfile::tempdir().unwrap();
        let mut org = TestOrg::new(1, clock::wall_ms());
        let in_force = org.verified();
        org.settings.version += 1;
        std::fs::write(home::org_path(home.path()), org_text(&org.file())).unwrap();
        let mut watch = Watch::new(home.path(), None, None);
        let found = tokio::time::timeout(Duration::from_secs(60), watch.next(&in_force)).await;
        let Ok(Renewal::Org(newer)) = found else { panic!("{found:?}") };
        assert_eq!(newer.0.settings().version, org.settings.version);
        // And nothing more is, once it holds.
        assert!(tokio::time::timeout(3 * EVERY, watch.next(&newer.0)).await.is_err());
    }

    #[test]
    fn the_relay_has_moved_when_none_of_its_addresses_is_left() {
        let urls = |urls: &[&str]| urls.iter().map(ToString::to_string).collect::<Vec<_>>();
        let (one, two, new) = ("wss://one/", "wss://two/", "wss://new/");
        let both = "wss://one/, wss://two/";
        assert!(moved(one, &urls(&[one]), &urls(&[new])));
        assert!(moved(both, &urls(&[one, two]), &urls(&[new])));
        assert!(!moved(both, &urls(&[one, two]), &urls(&[new, two])), "one of them still serves");
        assert!(!moved(one, &urls(&[one]), &urls(&[one])));
        assert!(!moved("wss://other/", &urls(&[one]), &urls(&[new])), "named by --relay");
    }

    /// A device's own file, or not, and what was revoked: three reasons, and a remedy for each.
    #[test]
    fn a_certificate_that_is_of_no_use_is_named_with_the_remedy() {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("certificate");
        let mut rng = sealdesk_native::random::system().unwrap();
        let [own, other] = [(); 2].map(|()| DeviceSecret::generate(&mut rng).public());
        let mut org = TestOrg::new(1, clock::wall_ms());
        let chains = [own, other].map(|device| org.agent_chain("mira", "Mira", device));
        let told = |org: &TestOrg, chain: &CertificateChain| {
            let file = CertificateFile::new("mira".parse().unwrap(), chain, org.file());
            std::fs::write(&path, crate::files::text(&file)).unwrap();
            let verified = org.verified();
            match verify(chain, &verified, Some(&own), &path) {
                Err(error) => (error.to_string(), error.hint()),
                Ok(_) => ("good".into(), String::new()),
            }
        };
        assert_eq!(told(&org, &chains[0]).0, "good");
        let now = org.now;
        org.revoke(1, now, vec![Revoked::Device(own.hash()), Revoked::Device(other.hash())]);
        let (text, hint) = told(&org, &chains[0]);
        assert!(text.contains("this device is revoked") && hint.contains("agent invite"), "{text} {hint}");
        let (text, hint) = told(&org, &chains[1]);
        assert!(text.contains(path.to_str().unwrap()) && text.contains("another device"), "{text}");
        assert!(hint.contains("the machine that made"), "{hint}");
        let old = certificate_id(&org.issuer_certificate);
        org.next_issuer(9);
        org.revoke(2, now, vec![Revoked::Issuer(old)]);
        let (text, hint) = told(&org, &chains[0]);
        assert!(text.contains(path.to_str().unwrap()) && text.contains("revoked"), "{text}");
        assert!(hint.contains("agent approve --renew") && !hint.contains("invite"), "{hint}");
    }
}
