//! A relay without sockets, for tests of what lies between.

use std::sync::Arc;

use sealdesk_protocol::crypto::identity::{DeviceSecret, SignedBytes};
use sealdesk_protocol::crypto::labels;
use sealdesk_protocol::generation::SignedGeneration;
use sealdesk_protocol::wire::{AuthBody, Authenticate, Challenge, PROTOCOL_VERSION, Party};
use tempfile::TempDir;

use self::organisation::{Organisation, RELAY_NAME};
use crate::auth::{self, Authenticated};
use crate::clock::now_ms;
use crate::config::RawConfig;
use crate::lifecycle;
use crate::relay::Relay;

#[path = "../tests/it/organisation.rs"]
#[expect(unreachable_pub, dead_code, reason = "shared with the tests over sockets")]
pub(crate) mod organisation;

/// See the module's text.
pub(crate) struct Running {
    pub(crate) relay: Arc<Relay>,
    pub(crate) organisation: Organisation,
    /// Without it the relay would be stopping.
    _prepared: lifecycle::Prepared,
    _folder: TempDir,
}

impl Running {
    /// Opened, and nobody connected.
    pub(crate) async fn start() -> Self {
        Self::with(|_| {}).await
    }

    pub(crate) async fn with(change: impl FnOnce(&mut RawConfig)) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let organisation = Organisation::new();
        let org = folder.path().join("org.json");
        organisation.write(&org);
        let nowhere = ([127, 0, 0, 1], 0).into();
        let mut raw = RawConfig::minimal(org, RELAY_NAME.into(), folder.path().join("data"), nowhere);
        change(&mut raw);
        let prepared = lifecycle::prepare(raw.check().unwrap()).await.unwrap();
        Self { relay: prepared.relay(), organisation, _prepared: prepared, _folder: folder }
    }
}

/// A device that answered a challenge under the rules of now.
pub(crate) fn authenticated(relay: &Relay, device: &DeviceSecret, party: Party) -> Authenticated {
    let (name, nonce, time) = (relay.config.name.clone(), [7; 32], now_ms());
    let challenge = Challenge { protocol: PROTOCOL_VERSION, relay: name.clone(), nonce, time };
    let vault = SignedGeneration::sign(&name, device, 1);
    let body = AuthBody { relay: name, nonce, time, device: device.public(), vault_generation: 1 };
    let frame = Authenticate {
        protocol: PROTOCOL_VERSION,
        party,
        device: device.public(),
        vault,
        signature: *SignedBytes::sign(labels::AUTH, &body, device).signature(),
    };
    auth::authenticate(frame, &challenge, &relay.policy.org()).unwrap()
}
