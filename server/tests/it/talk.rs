//! A conversation: what is asked and signed in it.

use sealdesk_protocol::conversation::{Action, ConsentReceipt, Roster, conversation_id};
use sealdesk_protocol::crypto::identity::SignedBytes;
use sealdesk_protocol::ids::{ConversationId, RootHash, StatementHash};
use sealdesk_protocol::wire::{Assignment, Code, RequestAssignment, SetAvailability, ToClient};
use sealdesk_relay::clock::now_ms;

use crate::client::{Client, random};
use crate::organisation::{Organisation, handle};

/// A customer's side of one conversation.
pub struct Talk {
    pub root: RootHash,
    pub id: ConversationId,
    pub nonce: [u8; 16],
    pub consent: SignedBytes,
    /// The current epoch statement.
    pub epoch_statement: StatementHash,
}

impl Talk {
    pub fn new(organisation: &Organisation, customer: &Client) -> Self {
        let nonce = random();
        let id = conversation_id(&organisation.root, &customer.device.public(), &nonce);
        let receipt = ConsentReceipt {
            root: organisation.root,
            conversation: id,
            device: customer.device.public(),
            notice: organisation.settings.notices[0].hash(),
            language: "en".into(),
            given: now_ms(),
        };
        let consent = receipt.sign(&customer.device);
        Self { root: organisation.root, id, nonce, consent, epoch_statement: StatementHash([0; 32]) }
    }

    pub fn request(&self, req: u32) -> RequestAssignment {
        RequestAssignment {
            req,
            conversation: self.id,
            topic: handle("sales"),
            language: "en".into(),
            consent: self.consent.clone(),
        }
    }

    pub fn roster(&self, customer: &Client, agent: &Client, name: &str) -> Roster {
        Roster::of(customer.device.public(), handle(name), agent.device.public()).unwrap()
    }

    pub fn open(&self, customer: &Client, agent: &Client, name: &str) -> Action {
        Action::Open {
            roster: self.roster(customer, agent, name),
            topic: handle("sales"),
            language: "en".into(),
            consent: self.consent.digest(),
            nonce: self.nonce,
        }
    }

    /// Requests and opens a conversation with the one agent there is.
    pub async fn opened(
        organisation: &Organisation,
        customer: &mut Client,
        agent: &mut Client,
        name: &str,
    ) -> Self {
        let mut talk = Self::new(organisation, customer);
        let req = customer.number();
        customer.send(talk.request(req)).await;
        match customer.answer(req).await {
            ToClient::Assignment(assignment) => assert_eq!(assignment.epoch, 1),
            other => panic!("{other:?}"),
        }
        let open = talk.open(customer, agent, name);
        talk.epoch_statement = customer.post(&talk, 1, open).await.unwrap();
        let told = agent.delivered().await;
        agent.ack(&told).await;
        talk
    }
}

impl Client {
    /// Asks for an agent. Answers what the relay does.
    pub async fn ask(&mut self, talk: &Talk) -> ToClient {
        let req = self.number();
        self.send(talk.request(req)).await;
        self.answer(req).await
    }

    /// Asks for an agent, and one is named.
    pub async fn named(&mut self, talk: &Talk) -> Assignment {
        match self.ask(talk).await {
            ToClient::Assignment(assignment) => assignment,
            other => panic!("{other:?}"),
        }
    }

    /// Gives the conversation to another agent.
    pub async fn reassign(
        &mut self,
        talk: &mut Talk,
        agent: &Client,
        name: &str,
        epoch: u32,
    ) -> Result<(), Code> {
        let roster = talk.roster(self, agent, name);
        let action = Action::Reassign { previous: talk.epoch_statement, roster };
        talk.epoch_statement = self.post(talk, epoch, action).await?;
        Ok(())
    }

    /// An agent says how much it takes.
    pub async fn available(&mut self, available: bool, capacity: u16) {
        let req = self.number();
        self.send(SetAvailability { req, available, capacity }).await;
        self.outcome(req).await.unwrap();
    }
}
