//! What the vault keeps of itself: whose it is, and the organisation's floor (§3.8).

use sealdesk_protocol::crypto::certificate::SignedRevocations;
use sealdesk_protocol::crypto::identity::SigningSecret;
use sealdesk_protocol::ids::{DeviceKeyHash, RootHash};
use sealdesk_protocol::org::Floor;
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use crate::vault::{Kind, Record};

/// Whose vault it is.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum StoredOwner {
    /// The profile key lives as long as the vault.
    Customer { profile: SigningSecret },
    /// The one device.
    Agent { device: DeviceKeyHash },
}

/// The vault as a whole.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Meta {
    pub(crate) owner: StoredOwner,
    pub(crate) root: RootHash,
    pub(crate) created: u64,
    pub(crate) floor: Floor,
    pub(crate) revocations: Option<SignedRevocations>,
    pub(crate) availability: Availability,
}

/// The floor before editions: bare numbers, which any issuer could raise. Pins and log stay; where settings and
/// revocations stand follows from the files that are taken from now on.
#[derive(Serialize, Deserialize)]
struct FloorV1 {
    pins: u32,
    settings: u32,
    revocations: u64,
    log: bool,
}

#[derive(Serialize, Deserialize)]
struct MetaV1 {
    owner: StoredOwner,
    root: RootHash,
    created: u64,
    floor: FloorV1,
    revocations: Option<SignedRevocations>,
    availability: Availability,
}

impl Record for Meta {
    const KIND: Kind = Kind::Meta;
    const VERSION: u8 = 2;

    fn migrate(from: u8, body: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
        let old: MetaV1 = (from == 1).then(|| postcard::from_bytes(body).ok()).flatten()?;
        let floor = Floor { pins: old.floor.pins, log: old.floor.log, ..Floor::default() };
        let MetaV1 { owner, root, created, revocations, availability, .. } = old;
        crate::vault::body(&Self { owner, root, created, floor, revocations, availability })
    }
}

/// What an agent told the relay.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Availability {
    pub(crate) available: bool,
    pub(crate) capacity: u16,
    pub(crate) manual: bool,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::vault::decode;

    /// The first version's floor knew numbers only; what it says of pins and log stays.
    #[test]
    fn the_first_version_of_the_vaults_description_is_read() {
        let old = MetaV1 {
            owner: StoredOwner::Agent { device: DeviceKeyHash([1; 32]) },
            root: RootHash([2; 32]),
            created: 3,
            floor: FloorV1 { pins: 4, settings: 5, revocations: 6, log: true },
            revocations: None,
            availability: Availability { available: true, capacity: 7, manual: false },
        };
        let stored = [&[1u8][..], &postcard::to_allocvec(&old).unwrap()].concat();
        let meta: Meta = decode(&stored).unwrap();
        assert_eq!(meta.floor, Floor { pins: 4, log: true, ..Floor::default() });
        assert_eq!((meta.created, meta.availability.capacity), (3, 7));
        assert_eq!(decode::<Meta>(&crate::vault::encode(&meta)).unwrap().floor, meta.floor);
    }
}
