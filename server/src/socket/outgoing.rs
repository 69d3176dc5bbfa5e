//! What goes to a client: frames as WebSocket messages (RFC 6455 §5.2) one behind the other, written in one go.
//!
//! The library would copy each of them into a buffer of its own, which keeps its largest size for as long as the
//! connection lives. It sends no more than pings, pongs and the closing frame; what it has begun of these goes first.

use sealdesk_protocol::wire::ToClient;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};
use tokio::time::Duration;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::protocol::frame::FrameHeader;
use tokio_tungstenite::tungstenite::protocol::frame::coding::{Data, OpCode};

/// The client is gone, or does not read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WriteFailed {
    /// The socket is closed.
    Gone,
    /// Not everything could be written in the time given; the rest stays.
    Slow,
}

/// See the module's text.
#[derive(Debug, Default)]
pub struct Outgoing {
    bytes: Vec<u8>,
    written: usize,
}

impl Outgoing {
    /// Bytes that wait.
    pub fn len(&self) -> usize {
        self.bytes.len() - self.written
    }

    /// Nothing waits.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// One more frame, in parts that follow each other.
    pub fn push(&mut self, parts: &[&[u8]]) {
        let length = parts.iter().map(|part| part.len()).sum::<usize>();
        let header = FrameHeader { opcode: OpCode::Data(Data::Binary), ..FrameHeader::default() };
        self.bytes.reserve(header.len(length as u64) + length);
        // A vector takes whatever is written to it.
        if header.format(length as u64, &mut self.bytes).is_ok() {
            parts.iter().for_each(|part| self.bytes.extend_from_slice(part));
        }
    }

    /// One more frame, of the relay's own; one that is too large is a fault of the relay, and logged.
    pub fn tell(&mut self, frame: &ToClient) {
        match frame.encode() {
            Ok(bytes) => self.push(&[&bytes]),
            Err(cause) => tracing::error!(frame = frame.name(), %cause, "a frame cannot be encoded"),
        }
    }

    /// Writes everything, within the time that a client has to read.
    ///
    /// # Errors
    /// See [`WriteFailed`].
    pub async fn write<S>(
        &mut self,
        socket: &mut WebSocketStream<S>,
        limit: Duration,
    ) -> Result<(), WriteFailed>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        if self.is_empty() {
            return Ok(());
        }
        let writing = async {
            futures_util::SinkExt::flush(socket).await.map_err(|_| WriteFailed::Gone)?;
            let stream = socket.get_mut();
            while let Some(rest) = self.bytes.get(self.written..).filter(|rest| !rest.is_empty()) {
                match stream.write(rest).await {
                    Ok(0) | Err(_) => return Err(WriteFailed::Gone),
                    // Noted at once: when the time is over, the rest follows without a gap.
                    Ok(written) => self.written += written,
                }
            }
            stream.flush().await.map_err(|_| WriteFailed::Gone)
        };
        tokio::time::timeout(limit, writing).await.unwrap_or(Err(WriteFailed::Slow))?;
        self.bytes.clear();
        self.written = 0;
        Ok(())
    }

    /// Gives the memory back, when nothing waits.
    pub fn rest(&mut self) {
        if self.is_empty() {
            *self = Self::default();
        }
    }
}

#[cfg(test)]
mod tests {
    use futures_util::{SinkExt, StreamExt};
    use sealdesk_protocol::wire::Done;
    use tokio_tungstenite::tungstenite::Message;
    use tokio_tungstenite::tungstenite::protocol::Role;

    use super::*;

    const LIMIT: Duration = Duration::from_millis(50);

    #[tokio::test]
    async fn frames_arrive_whole_behind_the_librarys_own_and_over_a_pause() {
        // So narrow that nothing fits at once.
        let (ours, theirs) = tokio::io::duplex(100);
        let mut server = WebSocketStream::from_raw_socket(ours, Role::Server, None).await;
        let mut client = WebSocketStream::from_raw_socket(theirs, Role::Client, None).await;
        server.feed(Message::Ping(vec![5; 60].into())).await.unwrap();
        let mut out = Outgoing::default();
        out.push(&[&[1; 70], &[2; 70]]);
        out.push(&[&[3; 70_000]]);
        assert_eq!(out.write(&mut server, LIMIT).await, Err(WriteFailed::Slow), "nobody reads");
        // What was said last before the end follows without a gap.
        out.tell(&Done { req: 9 }.into());
        let reading = async {
            let mut read = Vec::new();
            while read.len() < 4 {
                read.push(client.next().await.unwrap().unwrap());
            }
            read
        };
        let both = async { tokio::join!(out.write(&mut server, 1_000 * LIMIT), reading) };
        let (written, read) = tokio::time::timeout(1_000 * LIMIT, both).await.expect("all of it arrives");
        written.unwrap();
        let done = ToClient::from(Done { req: 9 }).encode().unwrap();
        let binary = |bytes: Vec<u8>| Message::Binary(bytes.into());
        let expected = [
            Message::Ping(vec![5; 60].into()),
            binary([[1; 70], [2; 70]].concat()),
            binary(vec![3; 70_000]),
            binary(done),
        ];
        assert_eq!(read, expected);
        assert!(out.is_empty() && out.bytes.capacity() > 0);
        out.rest();
        assert_eq!(out.bytes.capacity(), 0);
    }

    #[tokio::test]
    async fn a_client_that_is_gone_is_no_slow_one() {
        let (ours, theirs) = tokio::io::duplex(100);
        let mut server = WebSocketStream::from_raw_socket(ours, Role::Server, None).await;
        drop(theirs);
        let mut out = Outgoing::default();
        out.push(&[b"text"]);
        assert_eq!(out.write(&mut server, LIMIT).await, Err(WriteFailed::Gone));
    }
}
