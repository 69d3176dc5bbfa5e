//! A device's keys and prekeys, without engine or vault.

use rand_core::UnwrapErr;
use sealdesk_protocol::crypto::certificate::{CertificateChain, DAY};
use sealdesk_protocol::crypto::identity::{DevicePublic, DeviceSecret, SignedBytes};
use sealdesk_protocol::crypto::labels;
use sealdesk_protocol::crypto::prekeys::{PrekeyKind, PrekeySecret};
use sealdesk_protocol::generation::SignedGeneration;
use sealdesk_protocol::ids::{DeviceKeyHash, MailboxId};
use sealdesk_protocol::wire::{
    AuthBody, Authenticate, Challenge, PROTOCOL_VERSION, Party, PublishPrekeys, ToClient,
};

use crate::connection::Connection;
use crate::now_ms;
use crate::relay::Door;

/// The system's randomness.
pub fn random() -> UnwrapErr<getrandom::SysRng> {
    UnwrapErr(getrandom::SysRng)
}

/// Keys of one device.
#[derive(Debug)]
pub struct Device {
    /// Its secret keys.
    pub secret: DeviceSecret,
    /// An agent's certificates; none: a customer.
    pub chain: Option<CertificateChain>,
    /// Its last-resort pair.
    pub last_resort: PrekeySecret,
    /// Its one-time pairs.
    pub one_time: Vec<PrekeySecret>,
}

impl Default for Device {
    fn default() -> Self {
        Self::new()
    }
}

impl Device {
    /// Fresh keys, no prekeys but the last resort.
    pub fn new() -> Self {
        let (mut rng, now) = (random(), now_ms());
        Self {
            secret: DeviceSecret::generate(&mut rng),
            chain: None,
            last_resort: PrekeySecret::generate(PrekeyKind::LastResort, now, now + 30 * DAY, &mut rng),
            one_time: Vec::new(),
        }
    }

    /// Its public keys.
    pub fn public(&self) -> DevicePublic {
        self.secret.public()
    }

    /// Hash of them.
    pub fn hash(&self) -> DeviceKeyHash {
        self.secret.hash()
    }

    /// Its mailbox.
    pub fn mailbox(&self) -> MailboxId {
        self.public().mailbox()
    }

    /// In which capacity it connects.
    pub fn party(&self) -> Party {
        self.chain.clone().map_or(Party::Customer, Party::Agent)
    }

    /// The honest answer to a challenge.
    pub fn answer(&self, challenge: &Challenge) -> Authenticate {
        let body = AuthBody {
            relay: challenge.relay.clone(),
            nonce: challenge.nonce,
            time: challenge.time,
            device: self.public(),
            vault_generation: 0,
        };
        Authenticate {
            protocol: PROTOCOL_VERSION,
            party: self.party(),
            device: self.public(),
            vault: SignedGeneration::sign(&challenge.relay, &self.secret, 0),
            signature: *SignedBytes::sign(labels::AUTH, &body, &self.secret).signature(),
        }
    }

    /// Connects and authenticates.
    ///
    /// # Panics
    /// When the relay refuses.
    pub async fn connect(&self, door: &impl Door) -> Connection {
        let mut connection = Connection::dial(door).await;
        connection.authenticate(self).await.expect("the relay takes this device");
        connection
    }

    /// Makes `count` one-time pairs more and the upload for them and the last resort.
    pub fn upload(&mut self, count: usize) -> PublishPrekeys {
        let (mut rng, now) = (random(), now_ms());
        let make = |_| PrekeySecret::generate(PrekeyKind::OneTime, now, now + 90 * DAY, &mut rng);
        let fresh: Vec<PrekeySecret> = (0..count).map(make).collect();
        let upload = PublishPrekeys {
            req: 0,
            last_resort: Some(self.last_resort.publish(&self.secret)),
            one_time: fresh.iter().map(|pair| pair.publish(&self.secret)).collect(),
        };
        self.one_time.extend(fresh);
        upload
    }

    /// Connects as an agent who is ready for work: prekeys published, available with this capacity.
    ///
    /// # Panics
    /// When the relay refuses.
    pub async fn on_duty(&mut self, door: &impl Door, capacity: u16) -> Connection {
        let mut connection = self.connect(door).await;
        let upload = self.upload(10);
        let answer = connection.request(upload).await.expect("prekeys are taken");
        assert!(matches!(answer, ToClient::PrekeyCount(_)), "{answer:?}");
        connection.available(true, capacity).await;
        connection
    }
}
