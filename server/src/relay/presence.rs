//! Agents come, go, and say how much they take.

use sealdesk_protocol::wire::{Code, SetAvailability, ToClient, Unaccepted};

use super::{Relay, done};
use crate::audit::Event;
use crate::auth::{Authenticated, certificate_code};
use crate::clock::{DAY_MS, now_ms};
use crate::routing::{AgentRecord, Availability};
use crate::socket::connection::Session;
use crate::store::{DeviceRecord, StoreError};

impl Relay {
    /// A device connected: an agent's is noted for routing, a customer hears again of an agent who was named.
    pub async fn arrived(&self, who: &Authenticated) -> Result<(), StoreError> {
        let Some(agent) = &who.agent else {
            for id in self.routing.named_for(&who.mailbox) {
                if let Err(code) = self.drop_dead_nominee(id).await {
                    tracing::warn!(conversation = ?id, code = code.as_str(), "a named agent was not checked again");
                }
                self.announce(id).await?;
            }
            if let Some(connected) = self.registry.get(&who.mailbox) {
                for conversation in self.routing.unaccepted_for(&who.mailbox) {
                    connected.inbox.frame(&Unaccepted { conversation }.into());
                }
            }
            return Ok(());
        };
        let known = self.routing.agent(&who.hash);
        let record = self.routing.upsert(who.hash, AgentRecord::new(who, agent));
        if known.is_none_or(|known| known.chain != record.chain) {
            self.keep_agent(who, &record).await?;
            let event = Event::AgentDevice { agent: record.agent.clone(), device: who.hash };
            self.store.audit_append(event.entry()).await?;
        }
        // The router tells it what waits.
        self.router.notify_one();
        Ok(())
    }

    /// A device left.
    pub fn left(&self, who: &Authenticated) {
        if who.agent.is_some() {
            self.router.notify_one();
        }
    }

    async fn keep_agent(&self, who: &Authenticated, record: &AgentRecord) -> Result<(), StoreError> {
        let bytes = postcard::to_allocvec(record).map_err(|_| StoreError::Corrupt("agent"))?;
        // Remembered beyond its certificate and all that may still lie in its mailbox, so that it does not come back as a
        // customer's device, of which no certificate is asked.
        let until = self.forget_device_at(now_ms().max(record.valid_until));
        self.store.put_agent(who.hash, bytes, until).await
    }
}

impl Session {
    /// An agent's certificate holds now, not only when it connected. Customers have none.
    ///
    /// # Errors
    /// Why not.
    pub(crate) fn still_certified(&self) -> Result<(), Code> {
        let Some(agent) = &self.who.agent else { return Ok(()) };
        let certificate = self.relay.policy.org().certificate(&agent.chain);
        certificate.map(|_| ()).map_err(certificate_code)
    }

    /// A customer who asked for a conversation is remembered from then on; strangers are not.
    pub(super) async fn remember(&self) -> Result<(), StoreError> {
        if self.relay.store.device(self.who.hash).await?.is_some() {
            return Ok(());
        }
        let now = now_ms();
        let last_seen_day = u32::try_from(now / DAY_MS).unwrap_or(u32::MAX);
        let record = DeviceRecord { vault: Some(self.who.vault), last_seen_day };
        self.relay.store.put_device(self.who.hash, record, self.relay.forget_device_at(now)).await
    }

    /// An agent says whether and how much it takes.
    pub(super) async fn set_availability(&self, frame: &SetAvailability) -> Result<ToClient, Code> {
        if self.who.agent.is_none() {
            return Err(Code::CertificateRefused);
        }
        let availability = Availability { available: frame.available, capacity: frame.capacity };
        let routing = &self.relay.routing;
        let (record, before) =
            routing.set_availability(&self.who.hash, Some(availability)).ok_or(Code::Internal)?;
        self.relay.keep_agent(&self.who, &record).await.map_err(|cause| {
            // What is refused is not in force either.
            routing.set_availability(&self.who.hash, before);
            self.relay.store_code(&cause)
        })?;
        self.relay.router.notify_one();
        Ok(done(frame.req))
    }
}

#[cfg(test)]
mod tests {
    use sealdesk_protocol::wire::Party;

    use super::*;
    use crate::testing::Running;

    #[tokio::test]
    async fn what_could_not_be_stored_is_not_in_force() {
        let running = Running::start().await;
        let agent = running.agent("mira", 9).await;
        let chain = running.organisation.chain(&running.organisation.certificate("mira", &agent));
        let session = running.session(&agent, Party::Agent(chain));
        let set = async |capacity| {
            let frame = SetAvailability { req: 1, available: true, capacity };
            let answer = session.set_availability(&frame).await.map(|_| ());
            (answer, running.relay.routing.agent(&agent.hash()).unwrap().availability.unwrap().capacity)
        };
        assert_eq!(set(5).await, (Ok(()), 5));
        running.relay.store.fall().await.unwrap_err();
        assert_eq!(set(7).await, (Err(Code::Unavailable), 5));
    }
}
