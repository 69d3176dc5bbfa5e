//! TLS by rustls: PEM files, read again when they change. A bad new pair of files leaves the old one in force.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::TlsAcceptor;

use crate::config::RawTls;
use crate::stamp::Stamp;

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
    current: RwLock<Arc<ServerConfig>>,
    seen: Mutex<[Stamp; 2]>,
}

fn load(files: &RawTls) -> Result<ServerConfig, TlsError> {
    let at = |key, path: &Path, error: rustls::pki_types::pem::Error| TlsError::File {
        key,
        path: path.to_path_buf(),
        reason: error.to_string(),
    };
    let chain = CertificateDer::pem_file_iter(&files.certificate)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .map_err(|error| at("certificate", &files.certificate, error))?;
    let key = PrivateKeyDer::from_pem_file(&files.key).map_err(|error| at("key", &files.key, error))?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_single_cert(chain, key)?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(config)
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
        let config = load(&files)?;
        Ok(Self { files, current: RwLock::new(Arc::new(config)), seen: Mutex::new(seen) })
    }

    /// For the next handshake.
    pub fn acceptor(&self) -> TlsAcceptor {
        TlsAcceptor::from(Arc::clone(&self.current.read().unwrap_or_else(PoisonError::into_inner)))
    }

    /// Reads the files again if they changed. Answers true when a new pair is in force.
    ///
    /// # Errors
    /// [`TlsError`]: the old pair stays in force.
    pub fn refresh(&self) -> Result<bool, TlsError> {
        let found = stamps(&self.files);
        {
            let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
            if *seen == found {
                return Ok(false);
            }
            *seen = found;
        }
        let config = load(&self.files)?;
        *self.current.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(config);
        Ok(true)
    }
}
