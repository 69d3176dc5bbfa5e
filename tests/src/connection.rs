//! One socket to a relay that speaks frames, honest or not.

use std::collections::VecDeque;
use std::net::{IpAddr, SocketAddr};

use futures_util::{SinkExt, StreamExt};
use sealdesk_protocol::wire::{
    Ack, Challenge, Code, Deliver, Goodbye, Position, Reason, SetAvailability, ToClient, ToRelay, Welcome,
};
use tokio::net::{TcpSocket, TcpStream};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::{Error as SocketError, Message};

use crate::device::Device;
use crate::relay::Door;
use crate::within;

/// A socket after the relay's challenge.
#[derive(Debug)]
pub struct Connection {
    socket: WebSocketStream<TcpStream>,
    /// The relay's first frame.
    pub challenge: Challenge,
    /// Frames that were passed over while something else was awaited.
    aside: VecDeque<ToClient>,
    req: u32,
}

/// A request: how to put its number in.
pub trait Request: Into<ToRelay> {
    /// Sets the request number.
    fn numbered(self, req: u32) -> Self;
}

macro_rules! requests {
    ($($name:ident),+) => {
        $(impl Request for sealdesk_protocol::wire::$name {
            fn numbered(mut self, req: u32) -> Self {
                self.req = req;
                self
            }
        })+
    };
}

requests!(
    PublishPrekeys,
    FetchPrekeys,
    FetchCertificate,
    RequestAssignment,
    PostStatement,
    SetAvailability,
    Claim,
    Send,
    BlobCreate,
    BlobWrite,
    BlobRead
);

/// The request that a frame answers.
fn answers(frame: &ToClient) -> Option<u32> {
    match frame {
        ToClient::Done(f) => Some(f.req),
        ToClient::Error(f) => f.req,
        ToClient::PrekeyCount(f) => f.req,
        ToClient::Prekeys(f) => Some(f.req),
        ToClient::Certificate(f) => Some(f.req),
        ToClient::Queued(f) => f.req,
        ToClient::Assignment(f) => f.req,
        ToClient::BlobStatus(f) => Some(f.req),
        ToClient::BlobBytes(f) => Some(f.req),
        _ => None,
    }
}

impl Connection {
    /// Connects from 127.0.0.1 and takes the challenge.
    ///
    /// # Panics
    /// When the relay does not take the connection.
    pub async fn dial(door: &impl Door) -> Self {
        Self::dial_from(door, [127, 0, 0, 1].into()).await.expect("the relay takes a connection")
    }

    /// Connects from another loopback address, which is another address prefix to the relay.
    ///
    /// # Errors
    /// What the relay or the network said instead.
    pub async fn dial_from(door: &impl Door, from: IpAddr) -> Result<Self, SocketError> {
        let address = door.address();
        let socket = TcpSocket::new_v4()?;
        socket.bind(SocketAddr::new(from, 0))?;
        let stream = within(socket.connect(address)).await?;
        stream.set_nodelay(true)?;
        Self::over(stream, address).await
    }

    /// Speaks WebSocket over a stream.
    ///
    /// # Errors
    /// The upgrade was refused.
    pub async fn over(stream: TcpStream, address: SocketAddr) -> Result<Self, SocketError> {
        let url = format!("ws://{address}/");
        let (socket, _) = within(tokio_tungstenite::client_async(url, stream)).await?;
        let challenge = Challenge { protocol: 0, relay: String::new(), nonce: [0; 32], time: 0 };
        let mut connection = Self { socket, challenge, aside: VecDeque::new(), req: 0 };
        match connection.next().await {
            Some(ToClient::Challenge(challenge)) => connection.challenge = challenge,
            other => panic!("a challenge comes first, not {other:?}"),
        }
        Ok(connection)
    }

    /// Answers the challenge honestly.
    ///
    /// # Errors
    /// The relay's code.
    pub async fn authenticate(&mut self, device: &Device) -> Result<Welcome, Code> {
        let answer = device.answer(&self.challenge);
        self.send(answer).await;
        self.welcome().await
    }

    /// Waits for the verdict on an authentication.
    ///
    /// # Errors
    /// The relay's code.
    pub async fn welcome(&mut self) -> Result<Welcome, Code> {
        match self.next().await {
            Some(ToClient::Welcome(welcome)) => Ok(welcome),
            Some(ToClient::Error(error)) => Err(error.code),
            other => panic!("welcome or error comes, not {other:?}"),
        }
    }

    /// Sends a frame. A relay that has gone meanwhile shows at the next read.
    pub async fn send(&mut self, frame: impl Into<ToRelay>) {
        let bytes = frame.into().encode().expect("a frame below the cap");
        self.send_bytes(bytes).await;
    }

    /// Sends any bytes as one binary message.
    pub async fn send_bytes(&mut self, bytes: Vec<u8>) {
        self.send_message(Message::Binary(bytes.into())).await;
    }

    /// Sends any message.
    pub async fn send_message(&mut self, message: Message) {
        // A closed socket is what the test will find out next.
        let _ = within(self.socket.send(message)).await;
    }

    /// The next frame from the wire; none at the end of the connection.
    pub async fn next(&mut self) -> Option<ToClient> {
        loop {
            match within(self.socket.next()).await {
                Some(Ok(Message::Binary(bytes))) => {
                    return Some(ToClient::decode(&bytes).expect("the relay sends good frames"));
                }
                Some(Ok(Message::Close(_)) | Err(_)) | None => return None,
                Some(Ok(_)) => {}
            }
        }
    }

    /// The first frame, passed over before or new, from which `pick` takes something.
    ///
    /// # Panics
    /// When the connection ends before.
    pub async fn find<T>(&mut self, mut pick: impl FnMut(&ToClient) -> Option<T>) -> T {
        let found = self.aside.iter().enumerate().find_map(|(at, frame)| Some((at, pick(frame)?)));
        if let Some((at, value)) = found {
            self.aside.remove(at);
            return value;
        }
        loop {
            let Some(frame) = self.next().await else {
                panic!("the connection ended; before that came {:?}", self.aside);
            };
            match pick(&frame) {
                Some(value) => return value,
                None => self.aside.push_back(frame),
            }
        }
    }

    /// Frames that came and that nobody asked for yet.
    pub fn passed_over(&self) -> impl Iterator<Item = &ToClient> {
        self.aside.iter()
    }

    /// Sends a request and waits for its answer.
    ///
    /// # Errors
    /// The relay's code.
    pub async fn request(&mut self, request: impl Request) -> Result<ToClient, Code> {
        let req = self.begin(request).await;
        self.answer(req).await
    }

    /// Sends a request and answers its number.
    pub async fn begin(&mut self, request: impl Request) -> u32 {
        self.req += 1;
        self.send(request.numbered(self.req)).await;
        self.req
    }

    /// Waits for the answer to a request.
    ///
    /// # Errors
    /// The relay's code.
    pub async fn answer(&mut self, req: u32) -> Result<ToClient, Code> {
        let frame = self.find(|frame| (answers(frame) == Some(req)).then(|| frame.clone())).await;
        match frame {
            ToClient::Error(error) => Err(error.code),
            frame => Ok(frame),
        }
    }

    /// Says whether this agent takes conversations, and how many.
    ///
    /// # Panics
    /// When the relay refuses.
    pub async fn available(&mut self, available: bool, capacity: u16) {
        let said = self.request(SetAvailability { req: 0, available, capacity }).await;
        assert!(matches!(said, Ok(ToClient::Done(_))), "{said:?}");
    }

    /// The next item of the mailbox.
    ///
    /// # Panics
    /// When the connection ends before.
    pub async fn delivery(&mut self) -> Deliver {
        self.find(|frame| match frame {
            ToClient::Deliver(deliver) => Some(deliver.clone()),
            _ => None,
        })
        .await
    }

    /// The next error that belongs to no request.
    ///
    /// # Panics
    /// When the connection ends before.
    pub async fn error(&mut self) -> Code {
        self.find(|frame| match frame {
            ToClient::Error(error) if error.req.is_none() => Some(error.code),
            _ => None,
        })
        .await
    }

    /// Acknowledges everything up to a position.
    pub async fn ack(&mut self, up_to: Position) {
        self.send(Ack { up_to, vault: None }).await;
    }

    /// A ping and its pong: everything sent before has been looked at.
    ///
    /// # Panics
    /// When the connection ends before.
    pub async fn settle(&mut self) {
        self.req += 1;
        let nonce = self.req;
        self.send(sealdesk_protocol::wire::Ping { nonce }).await;
        self.find(|frame| matches!(frame, ToClient::Pong(pong) if pong.nonce == nonce).then_some(())).await;
    }

    /// Reads to the end: the relay's reason, if it said one, and everything before.
    pub async fn farewell(mut self) -> (Option<Reason>, Vec<ToClient>) {
        let mut before: Vec<ToClient> = self.aside.drain(..).collect();
        let mut reason = None;
        while let Some(frame) = self.next().await {
            match frame {
                ToClient::Goodbye(Goodbye { reason: said }) => reason = Some(said),
                frame => before.push(frame),
            }
        }
        (reason, before)
    }

    /// Leaves properly and waits until the relay has noticed.
    pub async fn leave(mut self) {
        self.send_message(Message::Close(None)).await;
        while self.next().await.is_some() {}
    }
}
