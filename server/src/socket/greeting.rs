//! From a fresh socket to an authenticated session.
//!
//! 1. `Challenge`: relay name, fresh nonce, time.
//! 2. `Authenticate` within the handshake time-out. A device that was an agent's stays one: it needs certificates.
//! 3. The device is registered; an older connection of it is told and replaced.
//! 4. `Welcome`, then everything unacknowledged from the mailbox's start.

use std::sync::Arc;

use futures_util::StreamExt;
use sealdesk_protocol::ids::PrekeyId;
use sealdesk_protocol::wire::{
    Challenge, Code, Limits, PROTOCOL_VERSION, Reason, ToClient, ToRelay, Welcome,
};
use tokio::time::{Duration, Instant};
use tokio_tungstenite::tungstenite::Message;

use super::connection::{self, Session};
use super::outgoing::Outgoing;
use super::upgrade::Socket;
use super::{error, say_goodbye};
use crate::auth::{Authenticated, authenticate};
use crate::clock::{DAY_MS, now_ms};
use crate::limits::Permit;
use crate::registry::{Connected, Inbox};
use crate::relay::Relay;
use crate::store::{DeviceRecord, StoreError};

/// Days that a device is remembered after its last connection, beyond the mailboxes' time to live.
const REMEMBER_DAYS: u64 = 60;

/// Greets, and starts the task that runs the connection to its end.
pub async fn run(relay: Arc<Relay>, mut socket: Socket, permit: Permit, deadline: Instant) {
    // Boxed: what the greeting needs shall not stay part of every idle connection.
    let greeting = Box::pin(greet(&relay, &mut socket, permit, deadline));
    let session = tokio::select! {
        session = greeting => session,
        () = relay.stopped() => None,
    };
    // A task of its own: this one's state shall not stay part of every idle connection.
    if let Some(session) = session {
        tokio::spawn(connection::run(Box::new((socket, session))));
    }
}

async fn greet(
    relay: &Arc<Relay>,
    socket: &mut Socket,
    permit: Permit,
    deadline: Instant,
) -> Option<Session> {
    match hear(relay, socket, deadline).await {
        Ok(who) => match welcome(relay, socket, who, permit).await {
            Ok(session) => Some(session),
            Err(Unwelcome::Gone) => None,
            Err(Unwelcome::Refused(code)) => {
                refuse(relay, socket, code).await;
                None
            }
            Err(Unwelcome::Store(cause)) => {
                tracing::error!(%cause, "a device cannot be welcomed");
                say_goodbye(socket, saying(&error(None, Code::Unavailable)), Reason::ShuttingDown).await;
                None
            }
        },
        Err(None) => None,
        Err(Some(code)) => {
            refuse(relay, socket, code).await;
            None
        }
    }
}

async fn refuse(relay: &Relay, socket: &mut Socket, code: Code) {
    relay.metrics.auth_failures.up();
    tracing::debug!(code = code.as_str(), "authentication refused");
    let reason = if code == Code::Revoked { Reason::Revoked } else { Reason::Violation };
    say_goodbye(socket, saying(&error(None, code)), reason).await;
}

fn saying(frame: &ToClient) -> Outgoing {
    let mut out = Outgoing::default();
    out.tell(frame);
    out
}

/// Why a device that authenticated gets no session.
enum Unwelcome {
    /// The client left.
    Gone,
    /// Its certificate does not hold any more.
    Refused(Code),
    /// The store cannot be asked.
    Store(StoreError),
}

impl From<StoreError> for Unwelcome {
    fn from(cause: StoreError) -> Self {
        Self::Store(cause)
    }
}

/// Challenge and answer. `Err(None)`: the client left.
async fn hear(relay: &Relay, socket: &mut Socket, deadline: Instant) -> Result<Authenticated, Option<Code>> {
    let mut nonce = [0; 32];
    getrandom::fill(&mut nonce).map_err(|_| Some(Code::Internal))?;
    let challenge =
        Challenge { protocol: PROTOCOL_VERSION, relay: relay.config.name.clone(), nonce, time: now_ms() };
    let mut first = saying(&challenge.clone().into());
    first.write(socket, relay.write_limit()).await.map_err(|_| None)?;
    let message = loop {
        match tokio::time::timeout_at(deadline, socket.next()).await {
            Ok(Some(Ok(Message::Binary(bytes)))) => break bytes,
            Ok(Some(Ok(Message::Ping(_) | Message::Pong(_)))) => {}
            Ok(Some(Ok(Message::Text(_)))) => return Err(Some(Code::Malformed)),
            Err(_) => return Err(Some(Code::NotAuthenticated)),
            Ok(_) => return Err(None),
        }
    };
    match ToRelay::decode(&message) {
        Ok(ToRelay::Authenticate(frame)) => {
            let who = authenticate(frame, &challenge, &relay.policy.org()).map_err(Some)?;
            // An agent's device whose certificate ended or was revoked does not come back without one.
            if who.agent.is_none() && relay.routing.agent(&who.hash).is_some() {
                return Err(Some(Code::CertificateRefused));
            }
            Ok(who)
        }
        Ok(_) => Err(Some(Code::NotAuthenticated)),
        Err(_) => Err(Some(Code::Malformed)),
    }
}

/// Registers a device. Whoever changes the rules from here on finds it in the registry; a change since it authenticated is
/// seen here.
fn enter(
    relay: &Arc<Relay>,
    who: Authenticated,
    permit: Permit,
    before: &DeviceRecord,
) -> Result<Session, Code> {
    let (who, inbox) = (Arc::new(who), Arc::new(Inbox::default()));
    let connected = Connected { inbox: Arc::clone(&inbox), who: Arc::clone(&who), prefix: permit.prefix };
    if relay.registry.register(connected) {
        relay.metrics.replaced.up();
    }
    let session = Session::new(Arc::clone(relay), who, inbox, permit, before);
    session.still_certified()?;
    Ok(session)
}

async fn welcome(
    relay: &Arc<Relay>,
    socket: &mut Socket,
    who: Authenticated,
    permit: Permit,
) -> Result<Session, Unwelcome> {
    let before = relay.store.device(who.hash).await?.unwrap_or_default();
    let one_time_left = relay.store.count_prekeys(who.hash).await?;
    let last_resort = relay.last_resort(who.hash).await?;
    let session = enter(relay, who, permit, &before).map_err(Unwelcome::Refused)?;
    remember(relay, &session, before).await?;
    relay.arrived(&session.who).await?;
    let org = relay.policy.org();
    let limits = &relay.config.limits;
    let welcome = Welcome {
        mailbox: session.who.mailbox,
        store_epoch: relay.store.epoch(),
        // What a relay of another name was told, this one cannot show.
        vault: before.vault.filter(|told| told.verify(&relay.config.name, &session.who.device).is_ok()),
        one_time_left: u16::try_from(one_time_left).unwrap_or(u16::MAX),
        last_resort: last_resort.map(|(id, _): (PrekeyId, _)| id),
        revocations: org.revocations.clone(),
        limits: Limits {
            attachment: u64::from(limits.attachment_mib) << 20,
            mailbox_ttl: u64::from(limits.ttl_days) * DAY_MS,
        },
        time: now_ms(),
    };
    let written = saying(&welcome.into()).write(socket, Duration::from_secs(10)).await;
    session.inbox.mail();
    written.map(|()| session).map_err(|_| Unwelcome::Gone)
}

/// Keeps the highest vault generation (§9.2).
async fn remember(relay: &Relay, session: &Session, before: DeviceRecord) -> Result<(), StoreError> {
    let now = now_ms();
    let record = DeviceRecord {
        vault: Some(before.newest(session.who.vault)),
        last_seen_day: u32::try_from(now / DAY_MS).unwrap_or(u32::MAX),
    };
    if session.is_remembered() && record != before {
        relay.store.put_device(session.who.hash, record, relay.forget_device_at(now)).await?;
    }
    Ok(())
}

/// Until when a device seen now is remembered.
pub fn forget_at(now: u64, ttl_days: u32) -> u64 {
    now + (u64::from(ttl_days) + REMEMBER_DAYS) * DAY_MS
}

#[cfg(test)]
mod tests {
    use sealdesk_protocol::crypto::certificate::Revoked;
    use sealdesk_protocol::crypto::identity::DeviceSecret;
    use sealdesk_protocol::wire::Party;

    use super::*;
    use crate::testing::{Running, authenticated};

    #[tokio::test]
    async fn a_device_revoked_between_its_answer_and_its_registration_does_not_enter() {
        let mut running = Running::start().await;
        let device = DeviceSecret::generate(&mut crate::testing::organisation::rng());
        let chain = running.organisation.chain(&running.organisation.certificate("mira", &device));
        let agent = || authenticated(&running.relay, &device, Party::Agent(chain.clone()));
        let permit =
            || running.relay.limits.admit(running.relay.limits.prefix([127, 0, 0, 1].into())).unwrap();
        let (first, second, before) = (agent(), agent(), DeviceRecord::default());
        let entered = enter(&running.relay, first, permit(), &before).unwrap();
        assert!(running.relay.registry.is_online(&entered.who.mailbox));
        running.organisation.revoked = vec![Revoked::Device(device.hash())];
        running.organisation.revocation_number = 1;
        running.organisation.write(&running.relay.config.org);
        assert!(running.relay.policy.refresh().unwrap());
        assert_eq!(enter(&running.relay, second, permit(), &before).unwrap_err(), Code::Revoked);
        drop(entered);
        assert!(running.relay.registry.is_empty(), "nothing of it is left behind");
    }
}
