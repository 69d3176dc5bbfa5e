//! One client's socket: upgrade, greeting, connection.

pub mod connection;
pub mod greeting;
pub mod in_flight;
pub mod upgrade;

use futures_util::{SinkExt, StreamExt};
use sealdesk_protocol::wire::{Code, Error, Goodbye, Reason, ToClient};
use tokio::time::Duration;
use tokio_tungstenite::tungstenite::Message;

use self::upgrade::Socket;

/// The client is gone, or does not read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WriteFailed {
    /// The socket is closed.
    Gone,
    /// Nothing could be written for the configured time.
    Slow,
}

/// An error frame.
pub fn error(req: Option<u32>, code: Code) -> ToClient {
    let retry_after = match code {
        Code::RateLimited => Some(1_000),
        Code::Unavailable => Some(5_000),
        Code::MailboxFull | Code::MailboxBytes => Some(60_000),
        _ => None,
    };
    Error { req, code, retry_after }.into()
}

/// Encodes a frame that the relay made; one that is too large is a fault of the relay, and logged.
pub fn encode(frame: &ToClient) -> Vec<u8> {
    frame.encode().unwrap_or_else(|cause| {
        tracing::error!(frame = frame.name(), %cause, "a frame cannot be encoded");
        Vec::new()
    })
}

/// Sends frames and flushes, within the time that a client has to read.
pub async fn write(
    socket: &mut Socket,
    frames: &mut Vec<Vec<u8>>,
    limit: Duration,
) -> Result<(), WriteFailed> {
    if frames.is_empty() {
        return Ok(());
    }
    let sending = async {
        for frame in frames.drain(..).filter(|frame| !frame.is_empty()) {
            socket.feed(Message::Binary(frame.into())).await?;
        }
        socket.flush().await
    };
    match tokio::time::timeout(limit, sending).await {
        Ok(Ok(())) => Ok(()),
        Ok(Err(_)) => Err(WriteFailed::Gone),
        Err(_) => Err(WriteFailed::Slow),
    }
}

/// Says why, closes, and gives the client a moment to take it.
pub async fn say_goodbye(socket: &mut Socket, mut last: Vec<Vec<u8>>, reason: Reason) {
    const MOMENT: Duration = Duration::from_secs(2);
    last.push(encode(&Goodbye { reason }.into()));
    if write(socket, &mut last, MOMENT).await.is_ok() {
        let farewell = async {
            // The client may be gone already, which is what closing is for.
            let _ = socket.close(None).await;
            // Unread frames would make the system reset the connection, and the client lose what was said last.
            while let Some(Ok(_)) = socket.next().await {}
        };
        let _ = tokio::time::timeout(MOMENT, farewell).await;
    }
}
