//! The machine's clocks.

use std::time::{Instant, SystemTime, UNIX_EPOCH};

use sealdesk_client::Now;

/// Wall clock, ms since the Unix epoch; 0 on a machine whose clock stands before it.
pub fn wall_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

/// Both clocks, the monotonic one counted from `start`.
pub fn now(start: Instant) -> Now {
    Now { wall_ms: wall_ms(), mono_ms: u64::try_from(start.elapsed().as_millis()).unwrap_or(u64::MAX) }
}
