//! The network: one WebSocket for each connection number of the engine.
//!
//! ```text
//! connect -> Opened -> frames both ways at once -> Closed
//! ```
//! The engine decides when to connect again; it learns only that a connection ended, people learn why.

mod tls;
mod url;

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use rustls::ClientConfig;
use sealdesk_client::Problem;
use sealdesk_protocol::wire::Fault;
use tokio::sync::mpsc;
use tokio_tungstenite::tungstenite::error::ProtocolError;
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::tungstenite::{Error, Message};
use tokio_tungstenite::{Connector, connect_async_tls_with_config};

pub use tls::TlsError;
pub use url::{BadUrl, RelayUrl};

/// TCP, TLS and WebSocket handshake together.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(15);
/// Above the largest frame of the protocol (64 KiB).
const MAX_MESSAGE: usize = 128 * 1024;

/// How relays are reached.
#[derive(Clone, Debug, Default)]
pub struct NetworkOptions {
    /// First choice first.
    pub urls: Vec<RelayUrl>,
    /// Further certificate authorities, PEM.
    pub ca: Option<PathBuf>,
    /// Allow `ws://` to other machines.
    pub insecure_plaintext: bool,
}

/// Why the network cannot be used at all.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum NetworkError {
    /// No URL.
    #[error("no relay is known")]
    NoUrl,
    /// Plaintext to another machine. At fault: the URL.
    #[error("{0} has no TLS, and is not on this machine")]
    Plaintext(RelayUrl),
    /// The `--ca` file.
    #[error(transparent)]
    Tls(#[from] TlsError),
}

/// Checked options.
#[derive(Clone)]
pub(crate) struct Network {
    urls: Arc<[RelayUrl]>,
    next: Arc<AtomicUsize>,
    tls: Arc<ClientConfig>,
}

impl core::fmt::Debug for Network {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_list().entries(self.urls.iter()).finish()
    }
}

/// What a connection tells the driver.
#[derive(Debug)]
pub(crate) enum NetEvent {
    Opened,
    Frame(Vec<u8>),
    /// Ended; with a reason for people when it could not be made or broke in an unusual way.
    Closed(Option<Problem>),
}

impl Network {
    pub(crate) fn new(options: &NetworkOptions) -> Result<Self, NetworkError> {
        if options.urls.is_empty() {
            return Err(NetworkError::NoUrl);
        }
        for url in &options.urls {
            if !url.is_secure() && !url.is_loopback() && !options.insecure_plaintext {
                return Err(NetworkError::Plaintext(url.clone()));
            }
        }
        Ok(Self {
            urls: options.urls.clone().into(),
            next: Arc::default(),
            tls: tls::config(options.ca.as_deref())?,
        })
    }

    /// Runs one connection to its end. `tell` is awaited, so that a flood of frames waits in the socket; the end of
    /// `outgoing` closes the connection.
    pub(crate) async fn run<F>(self, outgoing: mpsc::UnboundedReceiver<Vec<u8>>, tell: impl Fn(NetEvent) -> F)
    where
        F: Future<Output = ()>,
    {
        let at = self.next.load(Ordering::Relaxed) % self.urls.len();
        let url = &self.urls[at];
        let config =
            WebSocketConfig::default().max_message_size(Some(MAX_MESSAGE)).max_frame_size(Some(MAX_MESSAGE));
        let connector = Connector::Rustls(self.tls.clone());
        let connecting = connect_async_tls_with_config(url.as_str(), Some(config), true, Some(connector));
        // Boxed: the handshake's future is large.
        let connected = tokio::time::timeout(CONNECT_TIMEOUT, Box::pin(connecting)).await;
        let (socket, _) = match connected {
            Ok(Ok(socket)) => socket,
            failed => {
                // The next attempt goes to the next URL.
                self.next.fetch_add(1, Ordering::Relaxed);
                tell(NetEvent::Closed(Some(unreachable(url, failed.ok().and_then(Result::err))))).await;
                return;
            }
        };
        tell(NetEvent::Opened).await;
        let (sink, stream) = socket.split();
        let why = tokio::select! {
            why = receive(stream, &tell) => why,
            () = send(sink, outgoing) => None,
        };
        tell(NetEvent::Closed(why.map(|error| broken(url, &error)))).await;
    }
}

async fn receive<S, F>(mut stream: S, tell: &impl Fn(NetEvent) -> F) -> Option<Error>
where
    S: StreamExt<Item = Result<Message, Error>> + Unpin,
    F: Future<Output = ()>,
{
    while let Some(message) = stream.next().await {
        match message {
            Ok(Message::Binary(bytes)) => tell(NetEvent::Frame(bytes.into())).await,
            Ok(Message::Close(_)) => return None,
            // Text is no part of the protocol; pings are answered by the library.
            Ok(_) => {}
            // The network or the relay went away: nothing is wrong with either side.
            Err(
                Error::ConnectionClosed
                | Error::AlreadyClosed
                | Error::Io(_)
                | Error::Protocol(ProtocolError::ResetWithoutClosingHandshake),
            ) => return None,
            Err(error) => return Some(error),
        }
    }
    None
}

async fn send<S>(mut sink: S, mut outgoing: mpsc::UnboundedReceiver<Vec<u8>>)
where
    S: SinkExt<Message> + Unpin,
{
    while let Some(bytes) = outgoing.recv().await {
        if sink.feed(Message::binary(bytes)).await.is_err() {
            return;
        }
        // Whatever is ready goes in one write.
        while let Ok(bytes) = outgoing.try_recv() {
            if sink.feed(Message::binary(bytes)).await.is_err() {
                return;
            }
        }
        if sink.flush().await.is_err() {
            return;
        }
    }
    let _ = sink.close().await;
}

fn unreachable(url: &RelayUrl, error: Option<Error>) -> Problem {
    let (why, hint, fault) = match error {
        None => {
            ("no answer in time".to_string(), "Check the network and the relay's address.", Fault::Network)
        }
        Some(Error::Http(response)) => {
            let body = response.body().as_deref().map(String::from_utf8_lossy).unwrap_or_default();
            let body: String = body.chars().filter(|c| !c.is_control()).take(200).collect();
            (
                format!("it answered {} {body}", response.status()),
                "Check the address: the relay refused the connection.",
                Fault::Relay,
            )
        }
        Some(Error::Io(error)) if error.kind() == std::io::ErrorKind::InvalidData => {
            let cause = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>());
            let (what, hint) = tls::refusal(cause);
            (format!("{what}: {error}"), hint, Fault::Relay)
        }
        Some(Error::Io(error)) => {
            (error.to_string(), "Check the network, the address, and that the relay runs.", Fault::Network)
        }
        Some(Error::Protocol(error)) => (
            format!("it does not answer as a relay: {error}"),
            "Check that the address is the relay's; one that speaks TLS begins with wss://.",
            Fault::Relay,
        ),
        Some(error) => (error.to_string(), "Check that the address is the relay's.", Fault::Relay),
    };
    Problem {
        code: "relay_unreachable",
        fault,
        text: format!("The relay {url} cannot be reached: {}.", why.trim()),
        hint: format!("{hint} It is tried again by itself."),
    }
}

fn broken(url: &RelayUrl, error: &Error) -> Problem {
    Problem {
        code: "connection_broken",
        fault: Fault::Relay,
        text: format!("The connection to {url} broke: {error}."),
        hint: "It is made again by itself; if this repeats, tell the relay's operator.".into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plaintext_goes_to_loopback_only_unless_allowed() {
        let options = |url: &str, insecure_plaintext| NetworkOptions {
            urls: vec![url.parse().unwrap()],
            ca: None,
            insecure_plaintext,
        };
        assert!(Network::new(&options("ws://127.0.0.1:1/", false)).is_ok());
        assert!(matches!(Network::new(&options("ws://10.0.0.1/", false)), Err(NetworkError::Plaintext(_))));
        assert!(Network::new(&options("ws://10.0.0.1/", true)).is_ok());
        assert!(matches!(Network::new(&NetworkOptions::default()), Err(NetworkError::NoUrl)));
    }

    #[tokio::test]
    async fn an_absent_relay_is_named_and_the_next_one_tried() {
        let (one, two) = ("ws://127.0.0.1:1/", "ws://127.0.0.1:2/");
        let urls = vec![one.parse().unwrap(), two.parse().unwrap()];
        let network = Network::new(&NetworkOptions { urls, ..NetworkOptions::default() }).unwrap();
        for url in [one, two, one] {
            let (_keep, outgoing) = mpsc::unbounded_channel();
            let (tell, mut told) = mpsc::unbounded_channel();
            network
                .clone()
                .run(outgoing, |event| {
                    let _ = tell.send(event);
                    std::future::ready(())
                })
                .await;
            match told.recv().await {
                Some(NetEvent::Closed(Some(problem))) => {
                    assert_eq!((problem.code, problem.fault), ("relay_unreachable", Fault::Network));
                    assert!(problem.text.contains(url), "{}", problem.text);
                }
                other => panic!("{other:?}"),
            }
        }
    }
}
