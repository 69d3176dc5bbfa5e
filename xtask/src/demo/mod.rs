//! `cargo xtask demo`: everything on this machine, from nothing.
//!
//! 1. Node and npm are looked for; all else is installed when it is missing.
//! 2. The data folder is taken ([`data`]), ports are tried.
//! 3. Relay and command line are built; the organisation and its one agent are made or renewed ([`organisation`]).
//! 4. The customer page is built for that organisation and served ([`pages`]).
//! 5. The relay starts ([`relay`]), then the agent: in this terminal, or by itself with `--headless` ([`bot`]).
//! 6. Until Ctrl-C, SIGTERM or the end of the agent's chat; then the agent stops, then the relay. When the demo is killed,
//!    the kernel ends both ([`bound`]).

mod bot;
pub(crate) mod bound;
mod data;
mod organisation;
mod pages;
mod relay;

use std::future::pending;
use std::io::{self, ErrorKind, IsTerminal, Write};
use std::net::TcpListener;
use std::path::PathBuf;

use clap::Args;
use serde_json::json;
use tokio::process::Child;
use tokio::signal::unix::{Signal, SignalKind, signal};

use self::bot::Bot;
use self::data::{Folder, Ports};
use self::organisation::{AGENT_NAME, Organisation};
use crate::error::{Error, Result};
use crate::workspace::Workspace;
use crate::{tools, web};

/// Of the first start; a second start takes the ports of the first.
const PORTS: Ports = Ports { page: 7400, relay: 7443 };

#[derive(Debug, Args)]
pub(crate) struct Options {
    /// No terminal: an agent answers "You said: ..." by itself; one JSON line on stdout says that all is ready
    #[arg(long)]
    headless: bool,
    /// Forget the earlier demo in the data folder: its keys, its messages, its page
    #[arg(long)]
    fresh: bool,
    /// Where the demo keeps its data
    #[arg(long, value_name = "DIR", default_value = "demo-data")]
    data: PathBuf,
    /// Port of the customer page; 0 takes a free one [default: that of the last start, or 7400]
    #[arg(long, value_name = "N")]
    port: Option<u16>,
    /// Port of the relay; 0 takes a free one [default: that of the last start, or 7443]
    #[arg(long, value_name = "N")]
    relay_port: Option<u16>,
    /// How long an agent may take to accept a conversation before it goes to another
    #[arg(long, value_name = "N", default_value_t = 60, value_parser = clap::value_parser!(u32).range(1..))]
    accept_seconds: u32,
}

pub(crate) fn run(workspace: &Workspace, options: &Options) -> Result<()> {
    if !options.headless && !io::stdin().is_terminal() {
        return Err(Error::Input {
            what: "there is no terminal in which the agent could answer".to_owned(),
            hint: "with --headless an agent answers by itself".to_owned(),
        });
    }
    tools::require_node(workspace)?;
    let folder = Folder::open(&options.data)?;
    let (page_listener, ports) = ports(&folder, options)?;
    // Not before it is sure that the new one can start.
    if options.fresh {
        folder.wipe()?;
    }

    eprintln!("=== building relay and command line");
    workspace.cargo().args(["build", "-p", "sealdesk-relay", "-p", "sealdesk-cli"]).run()?;
    eprintln!("=== organisation");
    let relay_url = relay::url(ports.relay);
    // From here on the folder is a demo's, and a second start continues it.
    folder.remember(ports)?;
    let organisation = Organisation::prepare(workspace.built("debug", "sealdesk"), &folder, &relay_url)?;
    eprintln!("=== building the customer page");
    let page = web::Options {
        org: Some(organisation.org_file()),
        out: Some(folder.join("page")),
        demo: true,
        ..web::Options::default()
    };
    web::build(workspace, &page)?;
    let site = pages::Site::read(&folder.join("page"), relay_url.trim_end_matches('/'))?;
    pages::serve(page_listener, site)?;

    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|source| Error::Start { command: "tokio".to_owned(), source })?
        .block_on(async {
            let stop = Stop::listen()?;
            let program = workspace.built("debug", "sealdesk-relay");
            let relay = relay::start(
                &program,
                &folder,
                &relay::Settings {
                    ports,
                    org: &organisation.org_file(),
                    accept_seconds: options.accept_seconds,
                },
            )
            .await?;
            let mut watch = Watch { stop, relay, folder: &folder };
            let ended = talk(options, &mut watch, &organisation, ports).await;
            relay::stop(&mut watch.relay).await;
            ended
        })
}

/// The page's listener, already bound, and both ports.
fn ports(folder: &Folder, options: &Options) -> Result<(TcpListener, Ports)> {
    let last = match folder.ports() {
        // What is wiped need not be whole.
        Err(_) if options.fresh => None,
        last => last?,
    };
    let last = last.unwrap_or(PORTS);
    let wanted =
        Ports { page: options.port.unwrap_or(last.page), relay: options.relay_port.unwrap_or(last.relay) };
    if wanted.page == wanted.relay && wanted.page != 0 {
        return Err(Error::Input {
            what: format!("page and relay cannot both have port {}", wanted.page),
            hint: "choose another for one of them with --port N or --relay-port N".to_owned(),
        });
    }
    let page = bind(wanted.page, "--port")?;
    // The relay binds its own port later; this one only finds out whether it can.
    let relay = bind(wanted.relay, "--relay-port")?;
    let number = |listener: &TcpListener| {
        listener
            .local_addr()
            .map(|address| address.port())
            .map_err(|source| Error::Start { command: "web server".to_owned(), source })
    };
    let ports = Ports { page: number(&page)?, relay: number(&relay)? };
    Ok((page, ports))
}

fn bind(port: u16, flag: &'static str) -> Result<TcpListener> {
    TcpListener::bind(("127.0.0.1", port)).map_err(|source| match source.kind() {
        ErrorKind::AddrInUse => Error::PortTaken { port, flag },
        _ => Error::Start { command: format!("listening on 127.0.0.1:{port}"), source },
    })
}

/// The agent's side, to its end or that of the demo.
async fn talk(
    options: &Options,
    watch: &mut Watch<'_>,
    organisation: &Organisation<'_>,
    ports: Ports,
) -> Result<()> {
    let relay_url = relay::url(ports.relay);
    let page_url = format!("http://127.0.0.1:{}/", ports.page);
    let chat = organisation.agent_chat(&relay_url)?;
    let folder = watch.folder;
    if options.headless {
        let mut bot = tokio::select! {
            bot = Bot::start(chat, folder) => bot?,
            ended = watch.ended() => return ended,
        };
        let ready = json!({
            "page": page_url,
            "relay": relay_url,
            "org": organisation.org_file(),
            "data": folder.path(),
        });
        println!("{ready}");
        // A reader that is gone does not matter: the demo runs until it is told to stop.
        io::stdout().flush().ok();
        let ended = tokio::select! {
            ended = bot.run() => ended.map_err(|error| bot::broken(&error.to_string(), folder)),
            ended = watch.ended() => ended,
        };
        relay::stop(&mut bot.child).await;
        return ended;
    }
    println!(
        "\nPage   {page_url}\nRelay  {relay_url}\nData   {}\n\n\
         Open the page in a browser, agree to the notice and write. You answer here as \"{AGENT_NAME}\".\n\
         Ctrl-C stops everything; the same command goes on with the same data, --fresh starts anew.\n",
        folder.path().display()
    );
    let broken = |source| Error::Start { command: "sealdesk agent chat".to_owned(), source };
    let mut chat = tokio::process::Command::from(chat).kill_on_drop(true).spawn().map_err(broken)?;
    let status = tokio::select! {
        status = chat.wait() => status.map_err(broken)?,
        ended = watch.ended() => {
            relay::stop(&mut chat).await;
            return ended;
        }
    };
    match status.code() {
        // Its own end, or Ctrl-C in it.
        Some(0 | 130) | None => Ok(()),
        Some(_) => {
            Err(Error::Failed { command: "sealdesk agent chat".to_owned(), status: status.to_string() })
        }
    }
}

/// What ends the demo before the agent does.
#[derive(Debug)]
struct Watch<'a> {
    stop: Stop,
    relay: Child,
    folder: &'a Folder,
}

impl Watch<'_> {
    async fn ended(&mut self) -> Result<()> {
        tokio::select! {
            () = self.stop.requested() => Ok(()),
            ended = self.relay.wait() => Err(relay::ended(ended.ok(), self.folder)),
        }
    }
}

/// Ctrl-C, SIGTERM, or the terminal's end.
#[derive(Debug)]
struct Stop {
    signals: [Signal; 3],
}

impl Stop {
    fn listen() -> Result<Stop> {
        let listen = |kind| {
            signal(kind).map_err(|source| Error::Start { command: "signal handling".to_owned(), source })
        };
        let kinds = [SignalKind::interrupt(), SignalKind::terminate(), SignalKind::hangup()];
        let [interrupt, terminate, hangup] = kinds.map(listen);
        Ok(Stop { signals: [interrupt?, terminate?, hangup?] })
    }

    async fn requested(&mut self) {
        let [interrupt, terminate, hangup] = &mut self.signals;
        tokio::select! {
            Some(()) = interrupt.recv() => {},
            Some(()) = terminate.recv() => {},
            Some(()) = hangup.recv() => {},
            else => pending().await,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(data: &std::path::Path, fresh: bool, port: Option<u16>, relay_port: Option<u16>) -> Options {
        Options { headless: true, fresh, data: data.to_owned(), port, relay_port, accept_seconds: 60 }
    }

    #[test]
    fn the_ports_of_the_last_start_are_kept_even_where_all_else_is_wiped() {
        let data = tempfile::tempdir().expect("folder");
        let folder = Folder::open(data.path()).expect("new");
        let (_page, first) =
            ports(&folder, &options(data.path(), false, Some(0), Some(0))).expect("free ones");
        drop(_page);
        folder.remember(first).expect("written");
        for fresh in [false, true] {
            let (_, again) = ports(&folder, &options(data.path(), fresh, None, None)).expect("free again");
            assert_eq!(again, first);
        }
        std::fs::write(folder.join("demo.json"), "{").expect("written");
        assert!(ports(&folder, &options(data.path(), false, Some(0), Some(0))).is_err());
        ports(&folder, &options(data.path(), true, Some(0), Some(0))).expect("--fresh is what the hint says");
    }

    #[test]
    fn one_port_does_not_serve_for_both() {
        let data = tempfile::tempdir().expect("folder");
        let folder = Folder::open(data.path()).expect("new");
        let error =
            ports(&folder, &options(data.path(), false, Some(7499), Some(7499))).expect_err("the same");
        assert!(error.to_string().contains("both"), "{error}");
    }

    #[test]
    fn a_taken_port_is_a_clear_error_that_names_the_flag() {
        let taken = bind(0, "--port").expect("a free port");
        let port = taken.local_addr().expect("address").port();
        let error = bind(port, "--relay-port").expect_err("taken");
        assert!(error.to_string().contains(&port.to_string()), "{error}");
        assert!(error.hint().is_some_and(|hint| hint.contains("--relay-port")), "{error}");
    }
}
