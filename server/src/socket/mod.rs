//! One client's socket: upgrade, greeting, connection.

pub mod acks;
pub mod connection;
pub mod greeting;
pub mod in_flight;
pub mod outgoing;
pub mod upgrade;

use futures_util::StreamExt;
use sealdesk_protocol::wire::{Code, Error, Goodbye, Reason, ToClient};
use tokio::time::Duration;

use self::outgoing::Outgoing;
use self::upgrade::Socket;

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

/// Says why, closes, and gives the client a moment to take it.
pub async fn say_goodbye(socket: &mut Socket, mut last: Outgoing, reason: Reason) {
    const MOMENT: Duration = Duration::from_secs(2);
    last.tell(&Goodbye { reason }.into());
    if last.write(socket, MOMENT).await.is_ok() {
        let farewell = async {
            // The client may be gone already, which is what closing is for.
            let _ = socket.close(None).await;
            // Unread frames would make the system reset the connection, and the client lose what was said last.
            while let Some(Ok(_)) = socket.next().await {}
        };
        let _ = tokio::time::timeout(MOMENT, farewell).await;
    }
}
