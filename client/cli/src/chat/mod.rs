//! `.. chat`: a running client, for people or for programs.

pub(crate) mod book;
mod interactive;
pub mod json;
mod refusal;
mod signals;
mod transcript;
mod watch;

use std::io::IsTerminal;
use std::path::Path;
use std::time::Duration;

use sealdesk_client::{Command, Owner};
use sealdesk_native::transport::{NetworkOptions, RelayUrl};
use sealdesk_native::vault;
use sealdesk_native::{Client, Desk, EventStream, Handle, Options, StartError, random};
use sealdesk_protocol::ids::Handle as Id;
use sealdesk_protocol::org::{Settings, VerifiedOrg};

use crate::admin::read_org;
use crate::agent::made;
use crate::args::{AgentChat, CustomerChat, RelayArgs};
use crate::error::{Error, Exit};
use crate::home::{self, OpenVault, When};
use crate::{agent, terminal};

pub(crate) use transcript::find_attachment;
pub(crate) use watch::Renewed;

/// A chat that runs.
pub(crate) struct Session {
    pub(crate) owner: Owner,
    pub(crate) handle: Handle,
    pub(crate) events: EventStream,
    /// The organisation in force.
    pub(crate) org: VerifiedOrg,
    /// Files that may be renewed meanwhile.
    pub(crate) watch: watch::Watch,
    pub(crate) relay: String,
    pub(crate) drain: Duration,
    /// The vault's key lies beside it.
    pub(crate) unprotected: bool,
    /// What an agent told of availability.
    pub(crate) availability: Availability,
    /// For a customer's first conversation.
    pub(crate) topic: Option<Id>,
    pub(crate) language: String,
}

/// An agent's availability, as set last.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Availability {
    pub(crate) available: bool,
    pub(crate) capacity: u16,
    pub(crate) manual: bool,
}

impl Session {
    pub(crate) fn settings(&self) -> &Settings {
        self.org.settings()
    }
}

/// `agent chat`.
///
/// # Errors
/// [`Error`].
pub fn agent(args: &AgentChat) -> Result<(), Error> {
    run(args.json, || agent_session(args))
}

/// `customer chat`.
///
/// # Errors
/// [`Error`].
pub fn customer(args: &CustomerChat) -> Result<(), Error> {
    run(args.json, || customer_session(args))
}

/// Programs get failures as a line, too.
fn run(json: bool, session: impl AsyncFnOnce() -> Result<Session, Error>) -> Result<(), Error> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .map_err(Error::Terminal)?;
    let result = runtime.block_on(async {
        let session = session().await?;
        if json { json::run(session).await } else { interactive::run(session).await }
    });
    // A thread that waits for input keeps nobody waiting.
    runtime.shutdown_background();
    if let (true, Err(error)) = (json, &result) {
        terminal::out(&json::line("error", &json::error(error), None, None))?;
    }
    result
}

async fn agent_session(args: &AgentChat) -> Result<Session, Error> {
    let folder = home::path(&args.home, Owner::Agent)?;
    let open = home::open(&folder, args.home.passphrase_file.as_deref())?;
    let org = home::org(&folder, &open.root, args.org.as_deref(), When::Now)?;
    let mut desk = home::desk(open, org, Owner::Agent)?;
    agent::pick_up(&mut desk)?;
    if desk.engine().is_revoked() {
        return Err(Error::DeviceRevoked("this device".into()));
    }
    if desk.engine().certificate().is_none() {
        return Err(Error::usage(
            "this home has no certificate that is valid now",
            "Install one with `sealdesk agent install`; an administrator makes it with `sealdesk agent approve`.",
        ));
    }
    let availability = Availability { available: !args.away, capacity: args.capacity, manual: args.manual };
    let mut session = start(desk, Owner::Agent, &args.relay, args.leave.drain, args.org.as_deref())?;
    session.availability = availability;
    set_availability(&session.handle, availability).await?;
    Ok(session)
}

/// Tells the engine.
pub(crate) async fn set_availability(handle: &Handle, to: Availability) -> Result<(), Error> {
    let Availability { available, capacity, manual } = to;
    let done = handle.command(Command::SetAvailability { available, capacity, manual }).await;
    done.map(drop).map_err(|problem| Error::Problem(problem, Exit::Machine))
}

async fn customer_session(args: &CustomerChat) -> Result<Session, Error> {
    let folder = home::path(&args.home, Owner::Customer)?;
    let open = if vault::exists(&folder) {
        home::open(&folder, args.home.passphrase_file.as_deref())?
    } else {
        first_time(args, &folder)?
    };
    if let Some(root) = args.root.filter(|root| *root != open.root) {
        return Err(Error::usage(
            format!("this home is bound to the organisation {}, not {root}", open.root),
            "Check the hash; another organisation needs another --home.",
        ));
    }
    let org = home::org(&folder, &open.root, args.org.as_deref(), When::Now)?;
    let unprotected = vault::key_kept(&folder)? == vault::KeyKept::KeyFile;
    let desk = home::desk(open, org, Owner::Customer)?;
    let mut session = start(desk, Owner::Customer, &args.relay, args.leave.drain, args.org.as_deref())?;
    session.unprotected = unprotected;
    session.topic.clone_from(&args.topic);
    session.language.clone_from(&args.language);
    Ok(session)
}

/// The first org.json that a home sees pins the organisation.
fn first_time(args: &CustomerChat, folder: &Path) -> Result<OpenVault, Error> {
    let path = args.org.as_deref().ok_or_else(|| {
        Error::usage(
            "this home knows no organisation yet",
            "Give --org FILE with the organisation's org.json.",
        )
    })?;
    let file = read_org(path)?;
    let at = |source| Error::Org { path: path.into(), source };
    let root = match args.root {
        Some(root) => root,
        None => file.claimed_root().map_err(at)?,
    };
    // Nothing is made for an organisation that does not verify.
    home::verify(&file, &root, &sealdesk_protocol::org::Floor::default(), When::Now, path)?;
    let passphrase = match &args.home.passphrase_file {
        Some(file) => Some(terminal::passphrase(Some(file), "the vault")?),
        None => None,
    };
    let (vault, key) = vault::create(folder, &root, passphrase.as_ref(), &mut random::system()?)?;
    Ok(OpenVault { vault, key, root })
}

/// The relay of the flags, or those of org.json.
pub(crate) fn network(org: &VerifiedOrg, relay: &RelayArgs) -> NetworkOptions {
    let urls: Vec<RelayUrl> = match &relay.relay {
        Some(url) => vec![url.clone()],
        None => org.settings().relay_urls.iter().filter_map(|url| url.parse().ok()).collect(),
    };
    NetworkOptions { urls, ca: relay.ca.clone(), insecure_plaintext: relay.insecure_plaintext }
}

fn start(
    desk: Desk,
    owner: Owner,
    relay: &RelayArgs,
    drain: u64,
    given: Option<&Path>,
) -> Result<Session, Error> {
    let made = desk.engine().certificate().map(made);
    let agent = desk.engine().agent_public().map(|device| (device, made));
    let watch = watch::Watch::new(desk.home(), given, agent);
    let org = desk.engine().org().clone();
    let network = network(&org, relay);
    let name = network.urls.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
    let (handle, events) = Client::start(Options { desk, owner, network }).map_err(start_error)?;
    Ok(Session {
        owner,
        handle,
        events,
        org,
        watch,
        relay: name,
        drain: Duration::from_secs(drain),
        unprotected: false,
        availability: Availability { available: true, capacity: 1, manual: false },
        topic: None,
        language: "en".into(),
    })
}

/// Says whose fault it is.
pub(crate) fn start_error(error: StartError) -> Error {
    use sealdesk_native::transport::{NetworkError, TlsError};
    match error {
        StartError::Network(NetworkError::NoUrl) => {
            Error::usage("org.json names no relay that can be used", "Give --relay URL.")
        }
        StartError::Network(NetworkError::Plaintext(url)) => Error::usage(
            format!("{url} has no TLS, and is not on this machine"),
            "Use a wss:// URL; --insecure-plaintext allows it, and leaves metadata unprotected.",
        ),
        StartError::Network(NetworkError::Tls(TlsError::File(error))) | StartError::File(error) => {
            error.into()
        }
        StartError::Desk(error) => home::desk_error(error),
        other => Error::usage(other.to_string(), "Check the file of --ca."),
    }
}

/// What an agent is told whose certificate does not count now.
pub(crate) const AWAITED: &str = "This chat waits for a newer certificate and goes on by itself then: an administrator makes \
    it with `sealdesk agent approve --renew`; put it into this home as `certificate`, after org.json if that changed. No certificate \
    helps a device that was revoked itself: it is enrolled anew (agent invite, enroll, approve).";

/// Whether people see colours.
pub(crate) fn colours() -> bool {
    std::io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|v| v.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;
    use sealdesk_protocol::wire::Code;

    /// The relay alone cannot say whether device or issuer was revoked: whoever hears it is told both, everywhere.
    #[test]
    fn advice_for_what_was_revoked_agrees() {
        for advice in [AWAITED, Code::Revoked.hint()] {
            assert!(advice.contains("enrolled anew") || advice.contains("enrols anew"), "{advice}");
            assert!(
                advice.contains("(agent invite, enroll, approve)") && advice.contains("renew"),
                "{advice}"
            );
        }
    }
}
