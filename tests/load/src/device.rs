//! A device that speaks the relay's frames and nothing more: what a client must send so that its envelopes are
//! accepted, without engine, vault or ratchet, so that the relay is what is measured.

use futures_util::{SinkExt, StreamExt};
use sealdesk_protocol::conversation::{Action, ConsentReceipt, Roster, Statement, conversation_id};
use sealdesk_protocol::crypto::certificate::DAY;
use sealdesk_protocol::crypto::identity::{DevicePublic, DeviceSecret, SignedBytes};
use sealdesk_protocol::crypto::labels;
use sealdesk_protocol::crypto::prekeys::{PrekeyKind, PrekeySecret};
use sealdesk_protocol::generation::SignedGeneration;
use sealdesk_protocol::ids::{ConversationId, MailboxId};
use sealdesk_protocol::testing::{TestOrg, handle};
use sealdesk_protocol::wire::{
    AuthBody, Authenticate, PROTOCOL_VERSION, Party, PostStatement, PublishPrekeys, RequestAssignment,
    SetAvailability, ToClient, ToRelay,
};
use tokio::net::TcpStream;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;

use crate::error::Error;
use crate::relay::now_ms;

/// An authenticated connection.
#[derive(Debug)]
pub(crate) struct Connection {
    socket: WebSocketStream<TcpStream>,
}

impl Connection {
    /// Connects, answers the challenge, waits for the welcome.
    pub(crate) async fn open(port: u16, device: &DeviceSecret, party: Party) -> Result<Connection, Error> {
        let stream = TcpStream::connect(("127.0.0.1", port)).await.map_err(Error::machine("connect"))?;
        stream.set_nodelay(true).map_err(Error::machine("set TCP_NODELAY"))?;
        let small = WebSocketConfig::default().read_buffer_size(4096);
        let url = format!("ws://127.0.0.1:{port}/");
        let (socket, _) = tokio_tungstenite::client_async_with_config(url, stream, Some(small))
            .await
            .map_err(Error::ours)?;
        let mut connection = Connection { socket };
        let ToClient::Challenge(challenge) = connection.next().await? else {
            return Err(Error::ours("no challenge came first"));
        };
        let body = AuthBody {
            relay: challenge.relay.clone(),
            nonce: challenge.nonce,
            time: challenge.time,
            device: device.public(),
            vault_generation: 0,
        };
        let signature = *SignedBytes::sign(labels::AUTH, &body, device).signature();
        let authenticate = Authenticate {
            protocol: PROTOCOL_VERSION,
            party,
            device: device.public(),
            vault: SignedGeneration::sign(&challenge.relay, device, 0),
            signature,
        };
        connection.send(authenticate).await?;
        match connection.next().await? {
            ToClient::Welcome(_) => Ok(connection),
            other => Err(Error::ours(format!("no welcome but {}", shown(&other)))),
        }
    }

    pub(crate) async fn send(&mut self, frame: impl Into<ToRelay>) -> Result<(), Error> {
        let bytes = frame.into().encode().map_err(Error::ours)?;
        self.socket.send(Message::Binary(bytes.into())).await.map_err(Error::ours)
    }

    /// The next frame; the end of the connection is an error.
    pub(crate) async fn next(&mut self) -> Result<ToClient, Error> {
        loop {
            match self.socket.next().await {
                Some(Ok(Message::Binary(bytes))) => return ToClient::decode(&bytes).map_err(Error::ours),
                Some(Ok(Message::Close(_))) | None => {
                    return Err(Error::ours("the relay closed the connection"));
                }
                Some(Ok(_)) => {}
                Some(Err(error)) => return Err(Error::ours(error)),
            }
        }
    }

    /// Waits for the `Done` of request `req`; frames that nobody asked for are passed over.
    pub(crate) async fn done(&mut self, req: u32) -> Result<(), Error> {
        loop {
            match self.next().await? {
                ToClient::Done(done) if done.req == req => return Ok(()),
                ToClient::Error(error) => {
                    return Err(Error::ours(format!("refused: {}", error.code.as_str())));
                }
                ToClient::Goodbye(goodbye) => {
                    return Err(Error::ours(format!("goodbye: {:?}", goodbye.reason)));
                }
                _ => {}
            }
        }
    }
}

fn shown(frame: &ToClient) -> String {
    match frame {
        ToClient::Error(error) => format!("Error {}", error.code.as_str()),
        other => other.name().to_owned(),
    }
}

/// An agent who is certified, connected, available, and has a last-resort prekey pair at the relay.
pub(crate) async fn agent(
    org: &mut TestOrg,
    port: u16,
    name: &str,
    rng: &mut impl rand_core::CryptoRng,
) -> Result<(DeviceSecret, Connection), Error> {
    let device = DeviceSecret::generate(rng);
    let party = Party::Agent(org.agent_chain(name, name, device.public()));
    let mut connection = Connection::open(port, &device, party).await?;
    let now = now_ms();
    let last_resort =
        PrekeySecret::generate(PrekeyKind::LastResort, now, now + 30 * DAY, rng).publish(&device);
    connection.send(PublishPrekeys { req: 1, last_resort: Some(last_resort), one_time: Vec::new() }).await?;
    while !matches!(connection.next().await?, ToClient::PrekeyCount(count) if count.req == Some(1)) {}
    connection.send(SetAvailability { req: 2, available: true, capacity: u16::MAX }).await?;
    connection.done(2).await?;
    Ok((device, connection))
}

/// A customer device in an open conversation with an agent.
#[derive(Debug)]
pub(crate) struct Customer {
    pub(crate) connection: Connection,
    pub(crate) conversation: ConversationId,
    /// Of the assigned agent.
    pub(crate) mailbox: MailboxId,
}

/// Consent, assignment and open statement, as the engine does them; the statement is what lists both devices.
pub(crate) async fn customer(
    org: &TestOrg,
    port: u16,
    rng: &mut impl rand_core::CryptoRng,
) -> Result<Customer, Error> {
    let device = DeviceSecret::generate(rng);
    let mut connection = Connection::open(port, &device, Party::Customer).await?;
    let mut nonce = [0; 16];
    rng.fill_bytes(&mut nonce);
    let root = org.root_hash();
    let conversation = conversation_id(&root, &device.public(), &nonce);
    let notice = org.settings.notice("en").ok_or_else(|| Error::ours("the organisation has no notice"))?;
    let consent = ConsentReceipt {
        root,
        conversation,
        device: device.public(),
        notice: notice.hash(),
        language: notice.language.clone(),
        given: now_ms(),
    }
    .sign(&device);
    let language = notice.language.clone();
    let topic = handle("general");
    connection
        .send(RequestAssignment {
            req: 1,
            conversation,
            topic: topic.clone(),
            language: language.clone(),
            consent: consent.clone(),
        })
        .await?;
    let (agent, agent_device) = assigned(&mut connection).await?;
    let roster = Roster::of(device.public(), agent, agent_device).map_err(Error::ours)?;
    let statement = Statement {
        root,
        conversation,
        epoch: 1,
        signer: device.hash(),
        time: now_ms(),
        expires: u64::MAX,
        action: Action::Open { roster, topic, language, consent: consent.digest(), nonce },
    }
    .sign(&device);
    connection.send(PostStatement { req: 2, conversation, statement, envelopes: Vec::new() }).await?;
    connection.done(2).await?;
    Ok(Customer { connection, conversation, mailbox: agent_device.mailbox() })
}

/// Waits for the assignment. A client verifies the chain; here the relay is ours.
async fn assigned(
    connection: &mut Connection,
) -> Result<(sealdesk_protocol::ids::Handle, DevicePublic), Error> {
    use sealdesk_protocol::crypto::certificate::{DeviceCertificate, MAX_CERTIFICATE};
    loop {
        match connection.next().await? {
            ToClient::Assignment(assignment) => {
                let certificate: DeviceCertificate =
                    assignment.agent.device.peek(MAX_CERTIFICATE).map_err(Error::ours)?;
                return Ok((certificate.agent, certificate.device));
            }
            ToClient::Queued(_) => {}
            other => return Err(Error::ours(format!("no assignment but {}", shown(&other)))),
        }
    }
}
