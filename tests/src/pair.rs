//! A customer and an agent in an accepted conversation, frame by frame.

use sealdesk_protocol::conversation::{Action, Statement, VerifiedStatement};
use sealdesk_protocol::wire::{Code, Deliver, Send, ToClient};

use crate::company::Company;
use crate::connection::Connection;
use crate::device::Device;
use crate::relay::Door;
use crate::talk::{Side, envelope, post, statement};

/// One party of a [`Pair`].
#[derive(Debug)]
pub struct Person {
    /// Keys.
    pub device: Device,
    /// Socket.
    pub connection: Connection,
    /// Session and what it knows of the conversation.
    pub side: Side,
}

/// Both parties.
#[derive(Debug)]
pub struct Pair {
    /// Who asked.
    pub customer: Person,
    /// Who answers.
    pub agent: Person,
}

impl Person {
    /// Seals and sends a text; the relay's verdict.
    ///
    /// # Errors
    /// The relay's code.
    pub async fn say(&mut self, text: &str) -> Result<ToClient, Code> {
        let sealed = self.side.seal(text.as_bytes());
        self.connection.request(sealed).await
    }

    /// The next item of the mailbox, acknowledged, opened.
    ///
    /// # Panics
    /// When it is no envelope of this session.
    pub async fn hear(&mut self) -> String {
        let Deliver { position, item } = self.connection.delivery().await;
        let text = self.side.unseal(&item).expect("an envelope that opens");
        self.connection.ack(position).await;
        String::from_utf8(text).unwrap()
    }

    /// The next item of the mailbox, acknowledged, as a statement of `by`, applied.
    ///
    /// # Panics
    /// When it is none, or does not fit.
    pub async fn learn(&mut self, by: &Device) -> Statement {
        let Deliver { position, item } = self.connection.delivery().await;
        let verified = VerifiedStatement::verify(&statement(&item).statement, &by.public()).unwrap();
        self.side.governance.apply(&verified, None).unwrap();
        self.connection.ack(position).await;
        verified.get().clone()
    }

    /// Sends a sealed text without waiting; the request's number.
    pub async fn begin(&mut self, text: &str) -> u32 {
        let sealed: Send = self.side.seal(text.as_bytes());
        self.connection.begin(sealed).await
    }

    /// Connects anew.
    pub async fn reconnect(&mut self, door: &impl Door) {
        self.connection = self.device.connect(door).await;
    }
}

impl Pair {
    /// A fresh customer and a fresh agent `id`, who is on duty and accepts.
    ///
    /// # Panics
    /// When anything of it fails.
    pub async fn meet(company: &mut Company, door: &impl Door, id: &str) -> Self {
        let mut agent = company.agent(id);
        let desk = agent.on_duty(door, 100).await;
        Self::meet_with(company, door, agent, desk).await
    }

    /// A fresh customer and this agent, who is on duty.
    ///
    /// # Panics
    /// When anything of it fails.
    pub async fn meet_with(company: &Company, door: &impl Door, agent: Device, desk: Connection) -> Self {
        let device = Device::new();
        let mut connection = device.connect(door).await;
        let side = Side::open(company, &device, &mut connection).await.expect("the conversation opens");
        let mut customer = Person { device, connection, side };
        customer.say("hello").await.expect("the first message is accepted");

        let mut desk = desk;
        let (opened, first) = (desk.delivery().await, desk.delivery().await);
        let (side, text) =
            Side::accept(company, &agent, &statement(&opened.item), &envelope(&first.item)).unwrap();
        assert_eq!(text.content, b"hello");
        desk.ack(first.position).await;
        let mut agent = Person { device: agent, connection: desk, side };
        let accept = agent.side.note(&agent.device, |current| Action::Accept { current });
        let welcome = agent.side.seal(b"welcome").message;
        let conversation = agent.side.conversation;
        post(&mut agent.connection, conversation, accept.clone(), vec![welcome]).await.expect("accepted");
        let verified = VerifiedStatement::verify(&accept, &agent.device.public()).unwrap();
        agent.side.governance.apply(&verified, None).unwrap();

        let learnt = customer.learn(&agent.device).await;
        assert!(matches!(learnt.action, Action::Accept { .. }));
        assert_eq!(customer.hear().await, "welcome");
        Self { customer, agent }
    }
}
