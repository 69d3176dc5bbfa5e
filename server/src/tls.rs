//! TLS by rustls: PEM files, read again when they change. A bad new pair of files leaves the old one in force.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use rustls::client::verify_server_cert_signed_by_trust_anchor;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{CertificateError, RootCertStore, ServerConfig};
use tokio::time::Duration;
use tokio_rustls::TlsAcceptor;

use crate::config::RawTls;
use crate::stamp::{Stamp, Watch};

/// Why certificate and key are not used. At fault: the operator.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file cannot be read or holds no PEM of the kind.
    #[error("tls.{key} = {path}: {reason}; it must be a PEM file that the relay's user can read")]
    File {
        /// Which configuration key.
        key: &'static str,
        /// Which file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// Certificate and key do not belong together, or are of no usable kind.
    #[error("tls: certificate and key cannot be used together: {0}")]
    Pair(#[from] rustls::Error),
}

/// Certificate and key in force.
#[derive(Debug)]
pub struct Tls {
    files: RawTls,
    current: RwLock<Pair>,
    watch: Mutex<Watch<[Stamp; 2]>>,
}

#[derive(Clone, Debug)]
struct Pair {
    config: Arc<ServerConfig>,
    ends_ms: u64,
}

/// The last second of the year 9999, the end of a certificate that has none (RFC 5280 §4.1.2.5).
const NO_END: Duration = Duration::from_secs(253_402_300_799);

/// When a certificate ends, milliseconds since the Unix epoch. rustls tells it of one that is judged after its end; who
/// signed it does not matter to that.
fn ends_ms(certificate: &CertificateDer<'_>) -> Result<u64, rustls::Error> {
    let parsed = ParsedCertificate::try_from(certificate)?;
    let then = UnixTime::since_unix_epoch(NO_END);
    match verify_server_cert_signed_by_trust_anchor(&parsed, &RootCertStore::empty(), &[], then, &[]) {
        Err(rustls::Error::InvalidCertificate(CertificateError::ExpiredContext { not_after, .. })) => {
            Ok(not_after.as_secs() * 1_000)
        }
        _ => Ok(NO_END.as_secs() * 1_000),
    }
}

fn load(files: &RawTls) -> Result<Pair, TlsError> {
    let at = |key, path: &Path, error: rustls::pki_types::pem::Error| TlsError::File {
        key,
        path: path.to_path_buf(),
        reason: error.to_string(),
    };
    let chain = CertificateDer::pem_file_iter(&files.certificate)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .map_err(|error| at("certificate", &files.certificate, error))?;
    let key = PrivateKeyDer::from_pem_file(&files.key).map_err(|error| at("key", &files.key, error))?;
    let ends_ms = chain.first().map_or(Ok(0), ends_ms)?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_single_cert(chain, key)?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(Pair { config: Arc::new(config), ends_ms })
}

fn stamps(files: &RawTls) -> [Stamp; 2] {
    [Stamp::of(&files.certificate), Stamp::of(&files.key)]
}

impl Tls {
    /// Reads both files.
    ///
    /// # Errors
    /// [`TlsError`].
    pub fn open(files: RawTls) -> Result<Self, TlsError> {
        let seen = stamps(&files);
        let pair = load(&files)?;
        Ok(Self { files, current: RwLock::new(pair), watch: Mutex::new(Watch::new(seen)) })
    }

    fn current(&self) -> Pair {
        self.current.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// When the certificate in force ends, milliseconds since the Unix epoch.
    pub fn ends_ms(&self) -> u64 {
        self.current().ends_ms
    }

    /// For the next handshake.
    pub fn acceptor(&self) -> TlsAcceptor {
        TlsAcceptor::from(self.current().config)
    }

    /// Reads the files again if they changed, or could not be used when they did. Answers true when a new pair is in force.
    ///
    /// # Errors
    /// [`TlsError`], once for each reason: the old pair stays in force.
    pub fn refresh(&self) -> Result<bool, TlsError> {
        let found = stamps(&self.files);
        let mut watch = self.watch.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(pair) = watch.refresh(found, || load(&self.files))? else { return Ok(false) };
        *self.current.write().unwrap_or_else(PoisonError::into_inner) = pair;
        Ok(true)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_of_a_certificate_is_read() {
        let key = rcgen::KeyPair::generate().unwrap();
        let end = |year| {
            let mut params = rcgen::CertificateParams::new(vec!["relay.test".to_owned()]).unwrap();
            params.not_after = rcgen::date_time_ymd(year, 1, 1);
            ends_ms(params.self_signed(&key).unwrap().der()).unwrap()
        };
        assert_eq!(end(2020), 1_577_836_800_000);
        assert_eq!(end(2030), 1_893_456_000_000);
        assert_eq!(end(2100), 4_102_444_800_000);
        ends_ms(&CertificateDer::from(vec![0x30, 0])).unwrap_err();
    }
}
