//! Times for people, in this machine's time zone.

use jiff::Timestamp;
use jiff::tz::TimeZone;

fn show(ms: u64, format: &str, zone: TimeZone) -> String {
    match i64::try_from(ms).ok().and_then(|ms| Timestamp::from_millisecond(ms).ok()) {
        Some(time) => time.to_zoned(zone).strftime(format).to_string(),
        None => "(no time)".into(),
    }
}

/// `2026-11-22` of milliseconds since 1970.
pub fn date(ms: u64) -> String {
    show(ms, "%Y-%m-%d", TimeZone::system())
}

/// `14:05`.
pub fn clock(ms: u64) -> String {
    show(ms, "%H:%M", TimeZone::system())
}

/// `2026-11-22 14:05:09 +0100`.
pub fn full(ms: u64) -> String {
    show(ms, "%Y-%m-%d %H:%M:%S %z", TimeZone::system())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_peers_clock_is_shown_whatever_it_says() {
        let utc = |ms| show(ms, "%Y-%m-%d %H:%M:%S", TimeZone::UTC);
        assert_eq!(utc(1_795_225_509_999), "2026-11-21 01:45:09");
        assert_eq!(utc(0), "1970-01-01 00:00:00");
        assert_eq!(utc(u64::MAX), "(no time)");
        assert_eq!(utc(u64::MAX / 2), "(no time)");
    }
}
