//! A conversation opened by hand: consent, assignment, statements, and a real session, frame by frame.

use rand_core::Rng;
use sealdesk_protocol::conversation::{
    Action, ConsentReceipt, Governance, Roster, Statement, VerifiedStatement, conversation_id,
};
use sealdesk_protocol::crypto::certificate::{DeviceCertificate, MAX_CERTIFICATE};
use sealdesk_protocol::crypto::handshake::{Binding, Preamble};
use sealdesk_protocol::crypto::identity::SignedBytes;
use sealdesk_protocol::crypto::prekeys::VerifiedBundle;
use sealdesk_protocol::ids::{ConversationId, Handle, StatementHash};
use sealdesk_protocol::session::{Opened, Quarantine, Session};
use sealdesk_protocol::testing::handle;
use sealdesk_protocol::wire::envelope::Envelope;
use sealdesk_protocol::wire::{
    Addressed, Assignment, Code, Item, PostStatement, RequestAssignment, Send, StatementItem, ToClient,
};

use crate::company::Company;
use crate::connection::Connection;
use crate::device::{Device, random};
use crate::now_ms;

/// A customer's wish to talk, before anything was sent.
#[derive(Clone, Debug)]
pub struct Wish {
    /// The conversation's id.
    pub conversation: ConversationId,
    /// The random part of it.
    pub nonce: [u8; 16],
    /// What is asked for.
    pub topic: Handle,
    /// Language.
    pub language: String,
    /// What the customer agreed to; change it before [`Wish::request`].
    pub consent: ConsentReceipt,
}

impl Wish {
    /// An honest wish about topic `general`.
    pub fn new(company: &Company, device: &Device) -> Self {
        let mut nonce = [0; 16];
        random().fill_bytes(&mut nonce);
        let root = company.org.root_hash();
        let conversation = conversation_id(&root, &device.public(), &nonce);
        let notice = company.org.settings.notice("en").expect("a notice");
        let consent = ConsentReceipt {
            root,
            conversation,
            device: device.public(),
            notice: notice.hash(),
            language: notice.language.clone(),
            given: now_ms(),
        };
        Self { conversation, nonce, topic: handle("general"), language: "en".into(), consent }
    }

    /// The frame that asks for an agent.
    pub fn request(&self, device: &Device) -> RequestAssignment {
        RequestAssignment {
            req: 0,
            conversation: self.conversation,
            topic: self.topic.clone(),
            language: self.language.clone(),
            consent: self.consent.sign(&device.secret),
        }
    }

    /// Asks and waits for an agent, now or later.
    ///
    /// # Errors
    /// The relay's code.
    pub async fn ask(&self, device: &Device, connection: &mut Connection) -> Result<Assignment, Code> {
        match connection.request(self.request(device)).await? {
            ToClient::Assignment(assignment) => Ok(assignment),
            ToClient::Queued(_) => Ok(assignment(connection).await),
            other => panic!("an assignment or a place in the queue, not {other:?}"),
        }
    }

    /// The open statement for the agent that was named.
    pub fn statement(&self, company: &Company, device: &Device, agent: &DeviceCertificate) -> Statement {
        let roster = Roster::of(device.public(), agent.agent.clone(), agent.device).expect("two devices");
        Statement {
            root: company.org.root_hash(),
            conversation: self.conversation,
            epoch: 1,
            signer: device.hash(),
            time: now_ms(),
            expires: u64::MAX,
            action: Action::Open {
                roster,
                topic: self.topic.clone(),
                language: self.language.clone(),
                consent: self.consent.sign(&device.secret).digest(),
                nonce: self.nonce,
            },
        }
    }
}

/// Waits for an assignment that answers no request.
pub async fn assignment(connection: &mut Connection) -> Assignment {
    connection
        .find(|frame| match frame {
            ToClient::Assignment(assignment) => Some(assignment.clone()),
            _ => None,
        })
        .await
}

/// The certificate that an assignment shows, not verified: the relay is ours.
pub fn certificate(assignment: &Assignment) -> DeviceCertificate {
    assignment.agent.device.peek(MAX_CERTIFICATE).expect("a device certificate")
}

/// Posts a signed statement.
///
/// # Errors
/// The relay's code.
pub async fn post(
    connection: &mut Connection,
    conversation: ConversationId,
    statement: SignedBytes,
    envelopes: Vec<Addressed>,
) -> Result<ToClient, Code> {
    connection.request(PostStatement { req: 0, conversation, statement, envelopes }).await
}

/// One side of an open conversation.
#[derive(Debug)]
pub struct Side {
    /// Which conversation.
    pub conversation: ConversationId,
    /// Who may read, as this side knows it.
    pub governance: Governance,
    /// The session with the other side.
    pub session: Session,
}

impl Side {
    /// The customer's side: asks, verifies nothing, signs, and begins a session.
    ///
    /// # Errors
    /// The relay's code.
    pub async fn open(company: &Company, device: &Device, connection: &mut Connection) -> Result<Self, Code> {
        let wish = Wish::new(company, device);
        let assignment = wish.ask(device, connection).await?;
        Self::sign(company, device, connection, &wish, &assignment).await
    }

    /// The customer's side from the assignment on.
    ///
    /// # Errors
    /// The relay's code.
    pub async fn sign(
        company: &Company,
        device: &Device,
        connection: &mut Connection,
        wish: &Wish,
        assignment: &Assignment,
    ) -> Result<Self, Code> {
        let agent = certificate(assignment);
        let bundle = assignment.bundle.verify(&agent.device, now_ms()).expect("good prekeys");
        let signed = wish.statement(company, device, &agent).sign(&device.secret);
        post(connection, wish.conversation, signed.clone(), Vec::new()).await?;
        let governance = opened(company, device, &signed);
        let session = begin(device, &bundle, &governance);
        Ok(Self { conversation: wish.conversation, governance, session })
    }

    /// The agent's side from the two items that a new conversation brings: open statement and first envelope.
    ///
    /// # Errors
    /// Why the first envelope does not open.
    pub fn accept(
        company: &Company,
        device: &Device,
        statement: &StatementItem,
        envelope: &Envelope,
    ) -> Result<(Self, Opened), Quarantine> {
        let claimed = Statement::peek(&statement.statement).expect("a statement");
        let Action::Open { roster, .. } = &claimed.action else { panic!("an open statement comes first") };
        let customer = roster.customer().device;
        let verified = VerifiedStatement::verify(&statement.statement, &customer).expect("its signature");
        let governance = Governance::open(company.org.root_hash(), &verified).expect("a good statement");
        let preamble = Preamble::decode(envelope.preamble().ok_or(Quarantine::NoSession)?)
            .map_err(|_| Quarantine::Malformed)?;
        let proven = preamble.verify(&customer).map_err(|_| Quarantine::Signature)?;
        let one_time = preamble.one_time().map(|id| device.one_time.iter().find(|pair| pair.id() == *id));
        let one_time = match one_time {
            Some(None) => return Err(Quarantine::NoPrekey),
            Some(found) => found,
            None => None,
        };
        let accepted = Session::accept(
            &device.secret,
            &proven,
            &device.last_resort,
            one_time,
            &|_| false,
            envelope,
            now_ms(),
        )?;
        let side = Self { conversation: claimed.conversation, governance, session: accepted.session };
        Ok((side, accepted.opened))
    }

    /// Seals a text for the other side.
    pub fn seal(&mut self, text: &[u8]) -> Send {
        let epoch = self.governance.current();
        let (number, roster) = (epoch.number, epoch.roster_hash);
        let envelope =
            self.session.encrypt(text, number, roster, &mut random()).expect("a session that can send");
        Send {
            req: 0,
            conversation: self.conversation,
            message: Addressed { to: envelope.mailbox, envelope: envelope.encode() },
        }
    }

    /// Opens a delivered item.
    ///
    /// # Errors
    /// Why it does not open.
    ///
    /// # Panics
    /// When it is no envelope.
    pub fn unseal(&mut self, item: &Item) -> Result<Vec<u8>, Quarantine> {
        self.session.decrypt(&envelope(item), now_ms()).map(|opened| opened.content)
    }

    /// A note of this conversation's current epoch by this device, signed.
    pub fn note(&self, device: &Device, action: impl FnOnce(StatementHash) -> Action) -> SignedBytes {
        let current = self.governance.current();
        Statement {
            root: *self.governance.root(),
            conversation: self.conversation,
            epoch: current.number,
            signer: device.hash(),
            time: now_ms(),
            expires: u64::MAX,
            action: action(current.statement),
        }
        .sign(&device.secret)
    }
}

fn opened(company: &Company, device: &Device, signed: &SignedBytes) -> Governance {
    let verified = VerifiedStatement::verify(signed, &device.public()).expect("own signature");
    Governance::open(company.org.root_hash(), &verified).expect("own statement")
}

fn begin(device: &Device, bundle: &VerifiedBundle, governance: &Governance) -> Session {
    let binding = Binding {
        conversation: *governance.conversation(),
        statement: governance.current().statement,
        generation: 0,
    };
    Session::initiate(&device.secret, bundle, binding, &mut random()).expect("good prekeys")
}

/// The envelope of an item.
///
/// # Panics
/// When it is none.
pub fn envelope(item: &Item) -> Envelope {
    match item {
        Item::Envelope(bytes) => Envelope::decode(bytes).expect("a well-formed envelope"),
        other => panic!("an envelope, not {other:?}"),
    }
}

/// The statement of an item.
///
/// # Panics
/// When it is none.
pub fn statement(item: &Item) -> StatementItem {
    match item {
        Item::Statement(statement) => statement.clone(),
        other => panic!("a statement, not {other:?}"),
    }
}
