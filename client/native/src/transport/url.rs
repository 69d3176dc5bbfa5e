//! URLs of a relay.

use core::fmt;
use core::str::FromStr;
use std::net::IpAddr;

use tokio_tungstenite::tungstenite::http::Uri;

/// A well-formed `wss://` or `ws://` URL.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RelayUrl {
    text: String,
    secure: bool,
    loopback: bool,
}

/// Why a text is no relay's URL. At fault: whoever wrote it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("'{0}' is no relay's URL: it has the form wss://host[:port]/")]
pub struct BadUrl(String);

impl FromStr for RelayUrl {
    type Err = BadUrl;
    fn from_str(text: &str) -> Result<Self, BadUrl> {
        let bad = || BadUrl(text.chars().filter(|c| !c.is_control()).take(200).collect());
        let uri: Uri = text.parse().map_err(|_| bad())?;
        let secure = match uri.scheme_str() {
            Some("wss") => true,
            Some("ws") => false,
            _ => return Err(bad()),
        };
        // A name and password in a URL would end up in logs.
        let authority = uri.authority().ok_or_else(bad)?;
        if authority.as_str().contains('@') || authority.host().is_empty() {
            return Err(bad());
        }
        let host = authority.host().trim_start_matches('[').trim_end_matches(']');
        let loopback = host == "localhost" || host.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback());
        Ok(Self { text: text.into(), secure, loopback })
    }
}

impl RelayUrl {
    /// As written.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// With TLS.
    pub fn is_secure(&self) -> bool {
        self.secure
    }

    /// On this machine.
    pub fn is_loopback(&self) -> bool {
        self.loopback
    }
}

impl fmt::Display for RelayUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_a_url_and_what_is_loopback() {
        let parse = |text: &str| text.parse::<RelayUrl>();
        for (text, secure, loopback) in [
            ("wss://relay.example/", true, false),
            ("wss://relay.example:8443/ws", true, false),
            ("ws://127.0.0.1:7443/", false, true),
            ("ws://[::1]:7443/", false, true),
            ("ws://localhost/", false, true),
            ("ws://127.0.0.1.example/", false, false),
            ("ws://10.0.0.1/", false, false),
        ] {
            let url = parse(text).unwrap();
            assert_eq!((url.is_secure(), url.is_loopback()), (secure, loopback), "{text}");
        }
        for text in
            ["", "relay.example", "https://relay.example/", "wss://", "wss://a:b@relay/", "wss://re lay/"]
        {
            assert!(parse(text).is_err(), "{text}");
        }
    }
}
