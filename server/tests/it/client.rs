//! A raw client: frames over a WebSocket, no engine.

use std::collections::VecDeque;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use sealdesk_protocol::conversation::{Action, Statement, statements};
use sealdesk_protocol::crypto::identity::{DeviceSecret, SignedBytes};
use sealdesk_protocol::crypto::labels;
use sealdesk_protocol::crypto::prekeys::{PrekeyKind, PrekeySecret, SignedPrekey};
use sealdesk_protocol::generation::SignedGeneration;
use sealdesk_protocol::ids::{ConversationId, EnvelopeId, MailboxId, SessionId, StatementHash};
use sealdesk_protocol::wire::envelope::{CHAIN_LEN, Class, Envelope, HEADER_LEN};
use sealdesk_protocol::wire::{
    Ack, Addressed, Assignment, AuthBody, Authenticate, Challenge, Code, Deliver, Item, PROTOCOL_VERSION,
    Ping, PostStatement, Reason, Send, ToClient, ToRelay, Welcome,
};
use sealdesk_relay::clock::now_ms;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpSocket;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::{WebSocketStream, client_async};

pub use sealdesk_protocol::wire::Party;

use crate::organisation::rng;
use crate::talk::Talk;

pub trait Stream: AsyncRead + AsyncWrite + Unpin + core::marker::Send {}
impl<S: AsyncRead + AsyncWrite + Unpin + core::marker::Send> Stream for S {}

pub type Socket = WebSocketStream<Box<dyn Stream>>;

/// How long any answer may take.
const PATIENCE: Duration = Duration::from_secs(30);

pub struct Client {
    pub device: DeviceSecret,
    pub socket: Socket,
    pub welcome: Option<Welcome>,
    /// Frames that came while another was awaited.
    waiting: VecDeque<ToClient>,
    next: u32,
}

/// Prekeys of a device.
pub fn pairs(device: &DeviceSecret, one_time: usize) -> (SignedPrekey, Vec<SignedPrekey>) {
    let now = now_ms();
    let make = |kind| PrekeySecret::generate(kind, now, now + 86_400_000, &mut rng()).publish(device);
    (make(PrekeyKind::LastResort), (0..one_time).map(|_| make(PrekeyKind::OneTime)).collect())
}

pub fn random<const N: usize>() -> [u8; N] {
    let mut out = [0; N];
    getrandom::fill(&mut out).unwrap();
    out
}

pub fn envelope(to: MailboxId, class: Class) -> Addressed {
    let stored = class == Class::Store;
    let part = |length: usize| if stored { vec![7; length] } else { Vec::new() };
    let envelope = Envelope {
        mailbox: to,
        id: EnvelopeId(random()),
        session: SessionId([2; 16]),
        class,
        preamble: None,
        chain: part(CHAIN_LEN).into(),
        nonce: random(),
        header: part(HEADER_LEN),
        body: vec![8; 1024 + 16],
    };
    Addressed { to, envelope: envelope.encode() }
}

pub async fn socket(address: SocketAddr) -> Socket {
    socket_from([127, 0, 0, 1].into(), address).await
}

pub async fn socket_from(own: IpAddr, address: SocketAddr) -> Socket {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind((own, 0).into()).unwrap();
    let stream = socket.connect(address).await.unwrap();
    stream.set_nodelay(true).unwrap();
    let stream: Box<dyn Stream> = Box::new(stream);
    client_async(format!("ws://{address}/"), stream).await.unwrap().0
}

/// The next frame; none when the relay closed.
pub async fn next(socket: &mut Socket) -> Option<ToClient> {
    loop {
        match tokio::time::timeout(PATIENCE, socket.next()).await.expect("an answer in time") {
            Some(Ok(Message::Binary(bytes))) => return Some(ToClient::decode(&bytes).unwrap()),
            Some(Ok(Message::Close(_)) | Err(_)) | None => return None,
            Some(Ok(_)) => {}
        }
    }
}

pub async fn challenge(socket: &mut Socket) -> Challenge {
    match next(socket).await {
        Some(ToClient::Challenge(challenge)) => challenge,
        other => panic!("{other:?}"),
    }
}

pub fn authenticate(
    device: &DeviceSecret,
    party: Party,
    challenge: &Challenge,
    generation: u64,
) -> Authenticate {
    let body = AuthBody {
        relay: challenge.relay.clone(),
        nonce: challenge.nonce,
        time: challenge.time,
        device: device.public(),
        vault_generation: generation,
    };
    Authenticate {
        protocol: PROTOCOL_VERSION,
        party,
        device: device.public(),
        vault: SignedGeneration::sign(&challenge.relay, device, generation),
        signature: *SignedBytes::sign(labels::AUTH, &body, device).signature(),
    }
}

impl Client {
    /// Connects and authenticates; panics when refused.
    pub async fn connect(address: SocketAddr, device: DeviceSecret, party: Party) -> Self {
        Self::greet(socket(address).await, device, party, 1).await.unwrap_or_else(|code| panic!("{code:?}"))
    }

    pub async fn greet(
        mut socket: Socket,
        device: DeviceSecret,
        party: Party,
        generation: u64,
    ) -> Result<Self, Code> {
        let challenge = challenge(&mut socket).await;
        let frame = authenticate(&device, party, &challenge, generation);
        socket.send(Message::Binary(ToRelay::from(frame).encode().unwrap().into())).await.unwrap();
        let mut waiting = VecDeque::new();
        let welcome = loop {
            match next(&mut socket).await {
                Some(ToClient::Welcome(welcome)) => break welcome,
                Some(ToClient::Error(error)) => return Err(error.code),
                Some(other) => waiting.push_back(other),
                None => panic!("closed without a word"),
            }
        };
        Ok(Self { device, socket, welcome: Some(welcome), waiting, next: 0 })
    }

    /// The same device on a new connection.
    pub async fn reconnect(self, address: SocketAddr, party: Party) -> Self {
        Self::connect(address, self.device, party).await
    }

    pub fn mailbox(&self) -> MailboxId {
        self.device.public().mailbox()
    }

    pub fn number(&mut self) -> u32 {
        self.next += 1;
        self.next
    }

    pub async fn send(&mut self, frame: impl Into<ToRelay>) {
        self.raw(frame.into().encode().unwrap()).await;
    }

    pub async fn raw(&mut self, bytes: Vec<u8>) {
        self.socket.send(Message::Binary(bytes.into())).await.unwrap();
    }

    /// The first frame that fits; others are kept.
    pub async fn expect<T>(&mut self, fits: impl Fn(&ToClient) -> Option<T>) -> T {
        for _ in 0..self.waiting.len() {
            let frame = self.waiting.pop_front().unwrap();
            if let Some(found) = fits(&frame) {
                return found;
            }
            self.waiting.push_back(frame);
        }
        loop {
            let frame = next(&mut self.socket).await.expect("the connection is open");
            if let Some(found) = fits(&frame) {
                return found;
            }
            self.waiting.push_back(frame);
        }
    }

    /// Waits until the relay has carried out all that this client sent before.
    pub async fn pinged(&mut self) {
        let nonce = u32::from_be_bytes(random());
        self.send(Ping { nonce }).await;
        self.expect(|frame| matches!(frame, ToClient::Pong(pong) if pong.nonce == nonce).then_some(())).await;
    }

    /// Whether nothing came that fits: two answers later all is here that the relay had for this connection at first.
    pub async fn quiet(&mut self, fits: impl Fn(&ToClient) -> bool) -> bool {
        self.pinged().await;
        self.pinged().await;
        !self.waiting.iter().any(fits)
    }

    /// Whether nothing comes that fits, for some time.
    pub async fn silent(&mut self, time: Duration, fits: impl Fn(&ToClient) -> bool) -> bool {
        if self.waiting.iter().any(&fits) {
            return false;
        }
        let hearing = async {
            while let Some(frame) = next(&mut self.socket).await {
                let found = fits(&frame);
                self.waiting.push_back(frame);
                if found {
                    return;
                }
            }
        };
        tokio::time::timeout(time, hearing).await.is_err()
    }

    /// The answer to a request.
    pub async fn answer(&mut self, req: u32) -> ToClient {
        self.expect(|frame| (request_of(frame) == Some(req)).then(|| frame.clone())).await
    }

    /// `Ok` for Done, the code of an error.
    pub async fn outcome(&mut self, req: u32) -> Result<(), Code> {
        match self.answer(req).await {
            ToClient::Done(_) => Ok(()),
            ToClient::Error(error) => Err(error.code),
            other => panic!("{other:?}"),
        }
    }

    pub async fn delivered(&mut self) -> Deliver {
        self.expect(|frame| match frame {
            ToClient::Deliver(deliver) => Some(deliver.clone()),
            _ => None,
        })
        .await
    }

    pub async fn delivered_envelope(&mut self) -> Vec<u8> {
        match self.delivered().await.item {
            Item::Envelope(bytes) => bytes,
            other => panic!("{other:?}"),
        }
    }

    pub async fn delivered_statement(&mut self) -> Statement {
        match self.delivered().await.item {
            Item::Statement(item) => Statement::peek(&item.statement).unwrap(),
            other => panic!("{other:?}"),
        }
    }

    pub async fn ack(&mut self, deliver: &Deliver) {
        self.send(Ack { up_to: deliver.position, vault: None }).await;
    }

    pub async fn goodbye(&mut self) -> Reason {
        self.expect(|frame| match frame {
            ToClient::Goodbye(goodbye) => Some(goodbye.reason),
            _ => None,
        })
        .await
    }

    pub async fn assignment(&mut self) -> Assignment {
        self.expect(|frame| match frame {
            ToClient::Assignment(assignment) => Some(assignment.clone()),
            _ => None,
        })
        .await
    }

    pub async fn send_envelope(&mut self, talk: &Talk, message: Addressed) -> Result<(), Code> {
        let req = self.number();
        self.send(Send { req, conversation: talk.id, message }).await;
        self.outcome(req).await
    }

    pub async fn post(&mut self, talk: &Talk, epoch: u32, action: Action) -> Result<StatementHash, Code> {
        self.post_with(talk, epoch, action, Vec::new()).await
    }

    pub async fn post_with(
        &mut self,
        talk: &Talk,
        epoch: u32,
        action: Action,
        envelopes: Vec<Addressed>,
    ) -> Result<StatementHash, Code> {
        let statement = Statement {
            root: talk.root,
            conversation: talk.id,
            epoch,
            signer: self.device.hash(),
            time: now_ms(),
            expires: u64::MAX,
            action,
        }
        .sign(&self.device);
        let hash = statements::hash(&statement);
        self.post_signed(talk.id, statement, envelopes).await.map(|()| hash)
    }

    pub async fn post_signed(
        &mut self,
        conversation: ConversationId,
        statement: SignedBytes,
        envelopes: Vec<Addressed>,
    ) -> Result<(), Code> {
        let req = self.number();
        self.send(PostStatement { req, conversation, statement, envelopes }).await;
        self.outcome(req).await
    }
}

fn request_of(frame: &ToClient) -> Option<u32> {
    match frame {
        ToClient::Error(f) => f.req,
        ToClient::Done(f) => Some(f.req),
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
