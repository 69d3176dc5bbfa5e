//! Harness: real relays on free ports, real clients, and a device that speaks raw frames for hostile cases.
//!
//! ```text
//! company     an organisation whose keys the test holds: certificates of any making
//! office      an organisation made by the program's own commands: invited, enrolled, approved agents
//! client      `sealdesk .. chat --json` as a child process
//! terminal    `sealdesk .. chat` at a pseudo-terminal, as a person uses it
//! relay       a relay in this process
//! process     the relay's program as a child, to be killed and restarted
//! proxy       a relay in between that lies
//! connection  one socket that speaks frames
//! device      keys and prekeys of a device
//! pair        a customer and an agent who talk
//! talk        a conversation opened by hand, with a real session
//! canary      finds planted text in whatever form it was written
//! ```
//!
//! Everything waits for an event with a bound ([`within`]); nothing sleeps to let something happen.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test harness fails by panicking"
)]

use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

pub mod canary;
pub mod client;
pub mod company;
pub mod connection;
pub mod device;
pub mod office;
pub mod pair;
pub mod process;
pub mod proxy;
pub mod relay;
pub mod talk;
pub mod terminal;

/// Longest wait for anything that should come at once. Generous, because two cores may be busy with other tests.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// An organisation around which a relay can be started.
pub trait Site {
    /// Everything around it lies here.
    fn folder(&self) -> &Path;
    /// The relay's name in org.json.
    fn relay_name(&self) -> String;
    /// Where org.json is.
    fn org_json(&self) -> PathBuf;
}

/// Milliseconds since the epoch.
pub fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

/// Waits for `what` at most [`PATIENCE`].
///
/// # Panics
/// When it does not come, naming the caller.
#[track_caller]
pub fn within<T>(what: impl Future<Output = T>) -> impl Future<Output = T> {
    let caller = std::panic::Location::caller();
    async move {
        match tokio::time::timeout(PATIENCE, what).await {
            Ok(value) => value,
            Err(_) => panic!("nothing came within {PATIENCE:?} at {caller}"),
        }
    }
}

/// Looks again and again until `look` finds something, at most [`PATIENCE`]. For facts that nobody announces.
///
/// # Panics
/// When nothing is found.
#[track_caller]
pub fn until<T>(mut look: impl AsyncFnMut() -> Option<T>) -> impl Future<Output = T> {
    within(async move {
        loop {
            if let Some(found) = look().await {
                return found;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    })
}
