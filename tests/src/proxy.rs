//! A relay in between that lies: it passes frames on, and drops, repeats, holds back or exchanges what a test tells it.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};

use futures_util::{SinkExt, StreamExt};
use sealdesk_protocol::wire::{ToClient, ToRelay};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tokio_tungstenite::tungstenite::Message;

use crate::relay::Door;

/// Which way a frame goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Frame {
    /// From the client.
    Up(ToRelay),
    /// To the client.
    Down(ToClient),
}

/// What becomes of a frame: the frames that go on instead, in its direction.
pub type Mischief = Box<dyn FnMut(Frame) -> Vec<Frame> + Send>;

/// A proxy on a port of its own.
#[derive(Debug)]
pub struct Proxy {
    address: SocketAddr,
    task: JoinHandle<()>,
}

impl Door for Proxy {
    fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Proxy {
    /// Stands in front of a relay.
    ///
    /// # Panics
    /// When no port is free.
    pub async fn before(
        relay: &impl Door,
        mischief: impl FnMut(Frame) -> Vec<Frame> + Send + 'static,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (upstream, mischief) = (relay.address(), Arc::new(Mutex::new(Box::new(mischief) as Mischief)));
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(serve(stream, upstream, Arc::clone(&mischief)));
            }
        });
        Self { address, task }
    }
}

async fn serve(stream: TcpStream, upstream: SocketAddr, mischief: Arc<Mutex<Mischief>>) {
    let Ok(client) = tokio_tungstenite::accept_async(stream).await else { return };
    let Ok(stream) = TcpStream::connect(upstream).await else { return };
    let Ok((relay, _)) = tokio_tungstenite::client_async(format!("ws://{upstream}/"), stream).await else {
        return;
    };
    let (mut to_client, mut from_client) = client.split();
    let (mut to_relay, mut from_relay) = relay.split();
    let twist = |frame: Frame| (mischief.lock().unwrap_or_else(PoisonError::into_inner))(frame);
    loop {
        let frames = tokio::select! {
            message = from_client.next() => match message {
                Some(Ok(Message::Binary(bytes))) => match ToRelay::decode(&bytes) {
                    Ok(frame) => twist(Frame::Up(frame)),
                    Err(_) => return,
                },
                Some(Ok(Message::Ping(_) | Message::Pong(_))) => Vec::new(),
                _ => return,
            },
            message = from_relay.next() => match message {
                Some(Ok(Message::Binary(bytes))) => match ToClient::decode(&bytes) {
                    Ok(frame) => twist(Frame::Down(frame)),
                    Err(_) => return,
                },
                Some(Ok(Message::Ping(_) | Message::Pong(_))) => Vec::new(),
                _ => return,
            },
        };
        for frame in frames {
            let sent = match frame {
                Frame::Up(frame) => {
                    to_relay.send(Message::Binary(frame.encode().unwrap_or_default().into())).await
                }
                Frame::Down(frame) => {
                    to_client.send(Message::Binary(frame.encode().unwrap_or_default().into())).await
                }
            };
            if sent.is_err() {
                return;
            }
        }
    }
}
