//! Configuration: one file, [`RawConfig`], checked once into a [`Config`].

mod network;
mod raw;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use sealdesk_protocol::ids::RootHash;

pub use self::network::Network;
pub use self::raw::{Limits, RawConfig, RawTls, Routing, StoreLimits};

/// Why a configuration is refused. At fault: the operator; each text says what to change.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error(
        "cannot read {path}: {source}; give the right path with --config, and let the relay's user read it"
    )]
    Read {
        /// Which file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// Not TOML, an unknown key, or a value of the wrong kind.
    #[error("{path}: {reason}\nrelay.example.toml lists every key")]
    Parse {
        /// Which file.
        path: PathBuf,
        /// Line and key.
        reason: String,
    },
    /// A value that cannot work.
    #[error("{key}: {problem}")]
    Value {
        /// Which key.
        key: String,
        /// What is wrong and what would be right.
        problem: String,
    },
}

/// A checked configuration.
#[derive(Clone, Debug)]
pub struct Config {
    /// Path of org.json.
    pub org: PathBuf,
    /// Pinned organisation, if the operator pins it.
    pub root: Option<RootHash>,
    /// The relay's name.
    pub name: String,
    /// Data folder.
    pub data: PathBuf,
    /// Address for clients.
    pub listen: SocketAddr,
    /// Address for health and metrics: loopback.
    pub admin_listen: Option<SocketAddr>,
    /// Allowed web origins, normalised.
    pub allowed_origins: Vec<String>,
    /// Believed proxies.
    pub trusted_proxies: Vec<Network>,
    /// Certificate and key; none: plaintext.
    pub tls: Option<RawTls>,
    /// Limits, none of them zero.
    pub limits: Limits,
    /// Routing.
    pub routing: Routing,
    /// Store.
    pub store: StoreLimits,
}

impl Config {
    /// Whether an address is that of a proxy whose word is believed.
    pub fn trusts(&self, address: std::net::IpAddr) -> bool {
        self.trusted_proxies.iter().any(|network| network.contains(address))
    }
}

fn value(key: &str, problem: impl Into<String>) -> ConfigError {
    ConfigError::Value { key: key.into(), problem: problem.into() }
}

impl RawConfig {
    /// Reads a file.
    ///
    /// # Errors
    /// `Read` and `Parse`.
    pub fn read(path: &Path) -> Result<Self, ConfigError> {
        let text = std::fs::read_to_string(path)
            .map_err(|source| ConfigError::Read { path: path.to_path_buf(), source })?;
        toml::from_str(&text)
            .map_err(|error| ConfigError::Parse { path: path.to_path_buf(), reason: error.to_string() })
    }

    /// The least that a relay needs, everything else at its default.
    pub fn minimal(org: PathBuf, name: String, data: PathBuf, listen: SocketAddr) -> Self {
        Self {
            org,
            root: None,
            name,
            data,
            listen,
            admin_listen: None,
            plaintext: false,
            allowed_origins: Vec::new(),
            trusted_proxies: Vec::new(),
            tls: None,
            limits: Limits::default(),
            routing: Routing::default(),
            store: StoreLimits::default(),
        }
    }

    /// Checks every value.
    ///
    /// # Errors
    /// `Value`, the first that cannot work.
    pub fn check(self) -> Result<Config, ConfigError> {
        if self.tls.is_none() && !self.plaintext && !self.listen.ip().is_loopback() {
            return Err(value(
                "listen",
                format!(
                    "{} is no loopback address and there is no [tls]; add certificate and key, listen on 127.0.0.1 \
                     behind a proxy, or set plaintext = true if you know the network to be safe",
                    self.listen
                ),
            ));
        }
        if self.admin_listen.is_some_and(|address| !address.ip().is_loopback()) {
            return Err(value("admin_listen", "health and metrics are served on a loopback address only"));
        }
        if self.name.is_empty() || self.name.len() > 255 {
            return Err(value("name", "the relay's name, as in org.json, has 1 to 255 bytes"));
        }
        let sections = [
            ("limits", self.limits.values()),
            ("routing", self.routing.values()),
            ("store", self.store.values()),
        ];
        for (section, values) in sections {
            if let Some((key, _)) = values.iter().find(|(key, number)| *number == 0 && *key != "min_free_mib")
            {
                return Err(value(
                    &format!("{section}.{key}"),
                    "0 would let nothing through; give at least 1",
                ));
            }
        }
        // Whoever is told of the largest file, and waits for an hour's worth of bytes or for room, shall not wait for ever.
        let limits = [
            ("limits.conversation_attachments_mib", self.limits.conversation_attachments_mib),
            ("limits.attachments_mib", self.limits.attachments_mib),
            ("limits.attachments_mib_per_hour", self.limits.attachments_mib_per_hour),
            ("limits.attachments_mib_per_prefix_hour", self.limits.attachments_mib_per_prefix_hour),
        ];
        let largest = self.limits.attachment_mib;
        if let Some((key, _)) = limits.iter().find(|(_, most)| *most < largest) {
            let problem =
                format!("no file of attachment_mib = {largest} would ever pass; give at least as much");
            return Err(value(key, problem));
        }
        let root = self.root.map(|text| {
            text.parse()
                .map_err(|_| value("root", "64 hexadecimal digits, as printed by `sealdesk org init`"))
        });
        let origins = self.allowed_origins.iter().map(|origin| {
            normal_origin(origin).ok_or_else(|| {
                value(
                    "allowed_origins",
                    format!("{origin:?} is no origin; write https://host or https://host:port"),
                )
            })
        });
        let proxies = self.trusted_proxies.iter().map(|network| {
            network.parse().map_err(|()| {
                value("trusted_proxies", format!("{network:?} is no address or network such as 10.0.0.0/8"))
            })
        });
        Ok(Config {
            root: root.transpose()?,
            allowed_origins: origins.collect::<Result<_, _>>()?,
            trusted_proxies: proxies.collect::<Result<_, _>>()?,
            org: self.org,
            name: self.name,
            data: self.data,
            listen: self.listen,
            admin_listen: self.admin_listen,
            tls: self.tls,
            limits: self.limits,
            routing: self.routing,
            store: self.store,
        })
    }
}

/// Scheme, host and port in lower case, without a path; none if it is no web origin.
pub fn normal_origin(text: &str) -> Option<String> {
    // A name of 253 letters (RFC 1035 §3.1), scheme and port: what is longer is no origin, and fills no log.
    const LONGEST: usize = "https://".len() + 253 + ":65535".len();
    let text = Some(text.trim()).filter(|text| text.len() <= LONGEST)?.to_ascii_lowercase();
    let host = text.strip_prefix("https://").or_else(|| text.strip_prefix("http://"))?;
    let plain =
        !host.is_empty() && host.bytes().all(|b| b.is_ascii_graphic() && !b"/?#@\\\"'<>".contains(&b));
    plain.then_some(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    const EXAMPLE: &str = include_str!("../../relay.example.toml");

    fn raw(text: &str) -> Result<RawConfig, String> {
        toml::from_str(text).map_err(|error: toml::de::Error| error.to_string())
    }

    fn keys(value: &toml::Value, prefix: &str, out: &mut Vec<String>) {
        if let toml::Value::Table(table) = value {
            for (key, inner) in table {
                out.push(format!("{prefix}{key}"));
                keys(inner, &format!("{prefix}{key}."), out);
            }
        }
    }

    /// The example with its commented-out keys, `#key = ..`, taken in.
    fn whole_example() -> String {
        let line = |line: &'static str| match line.strip_prefix('#') {
            Some(key) if !key.starts_with(' ') => key,
            _ => line,
        };
        EXAMPLE.lines().map(line).collect::<Vec<_>>().join("\n")
    }

    #[test]
    fn the_example_shows_every_key() {
        let whole = whole_example();
        let (mut written, mut known) = (Vec::new(), Vec::new());
        keys(&toml::from_str(&whole).unwrap(), "", &mut written);
        let example = raw(&whole).unwrap();
        keys(&toml::Value::try_from(&example).unwrap(), "", &mut known);
        written.sort();
        known.sort();
        assert_eq!(written, known);
        // What nobody set and has no default is not among `known`.
        assert!(example.root.is_some() && example.admin_listen.is_some() && example.tls.is_some());
        assert!(!example.allowed_origins.is_empty() && !example.trusted_proxies.is_empty());
        example.check().unwrap();
    }

    #[test]
    fn the_example_as_it_is_sets_nothing_but_the_required_keys() {
        let example = raw(EXAMPLE).unwrap();
        let defaults =
            raw(&format!("org={:?}\nname={:?}\ndata={:?}\n", example.org, example.name, example.data));
        let value = |config: &RawConfig| toml::Value::try_from(config).unwrap();
        assert_eq!(value(&example), value(&defaults.unwrap()));
        example.check().unwrap();
    }

    #[test]
    fn unknown_keys_are_refused_by_name() {
        let error = raw("org='o'\nname='n'\ndata='d'\nlisten_port=1\n").unwrap_err();
        assert!(error.contains("listen_port"), "{error}");
        let error = raw("org='o'\nname='n'\ndata='d'\n[limits]\nframes=1\n").unwrap_err();
        assert!(error.contains("frames"), "{error}");
    }

    #[test]
    fn values_that_cannot_work_are_refused_with_a_remedy() {
        let minimal = "org='o'\nname='n'\ndata='d'\n";
        let refused =
            |extra: &str| raw(&format!("{minimal}{extra}")).unwrap().check().unwrap_err().to_string();
        assert!(refused("listen='0.0.0.0:8443'").contains("plaintext = true"));
        assert!(raw(&format!("{minimal}listen='0.0.0.0:1'\nplaintext=true")).unwrap().check().is_ok());
        assert!(refused("admin_listen='0.0.0.0:1'").contains("loopback"));
        assert!(refused("root='xyz'").contains("hexadecimal"));
        assert!(refused("allowed_origins=['chat.example']").contains("https://host"));
        assert!(refused("allowed_origins=['https://a/b']").contains("https://host"));
        assert!(refused("trusted_proxies=['10/99']").contains("10.0.0.0/8"));
        assert!(refused("[limits]\nframes_per_second=0").contains("limits.frames_per_second"));
        let all = ["conversation_attachments_mib", "attachments_mib"];
        for key in all.into_iter().chain(["attachments_mib_per_hour", "attachments_mib_per_prefix_hour"]) {
            let text = refused(&format!("[limits]\nattachment_mib=200\n{key}=199"));
            assert!(text.contains(key) && text.contains("attachment_mib = 200"), "{text}");
        }
    }

    #[test]
    fn a_missing_file_is_named() {
        let error = RawConfig::read(Path::new("/nowhere/relay.toml")).unwrap_err().to_string();
        assert!(error.contains("/nowhere/relay.toml") && error.contains("--config"), "{error}");
    }
}
