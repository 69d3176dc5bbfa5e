//! TLS: rustls on ring, Mozilla's roots and, if given, a company's own.

use std::path::Path;
use std::sync::Arc;

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{CertificateError, ClientConfig, RootCertStore};

use crate::private_file::{self, FileError};

/// Largest file of certificate authorities, bytes.
const MAX_CA: u64 = 4 * 1024 * 1024;

/// Why no TLS configuration could be made. At fault: the `--ca` file.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TlsError {
    /// The file.
    #[error(transparent)]
    File(#[from] FileError),
    /// No certificate in it.
    #[error("{0} holds no certificate authority in PEM form")]
    NoAuthority(String),
    /// The library refuses the combination.
    #[error("TLS cannot be set up: {0}")]
    Library(#[from] rustls::Error),
}

/// What is wrong with a relay's TLS, and what to do.
pub(super) fn refusal(cause: Option<&rustls::Error>) -> (&'static str, &'static str) {
    const REFUSED: &str = "its TLS certificate is refused";
    match cause {
        Some(rustls::Error::InvalidCertificate(error)) => match error {
            CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
                (REFUSED, "The relay's operator has to renew it; check this machine's clock as well.")
            }
            CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
                (REFUSED, "Check this machine's clock; otherwise tell the relay's operator.")
            }
            CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
                (REFUSED, "Check the address: the certificate is that of another name.")
            }
            _ => {
                (REFUSED, "Check the address; a company's own certificate authority is named with --ca FILE.")
            }
        },
        Some(rustls::Error::InvalidMessage(_)) => (
            "it does not speak TLS",
            "Check the address; a relay without TLS is reached by ws://, on this machine only.",
        ),
        _ => ("TLS failed", "Check the address, and tell the relay's operator."),
    }
}

/// Trusts Mozilla's roots and those of `ca`.
pub(super) fn config(ca: Option<&Path>) -> Result<Arc<ClientConfig>, TlsError> {
    let mut roots = RootCertStore::empty();
    roots.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned());
    if let Some(path) = ca {
        let bytes = private_file::read(path, MAX_CA)?;
        let none = || TlsError::NoAuthority(path.display().to_string());
        let certificates: Vec<_> =
            CertificateDer::pem_slice_iter(&bytes).collect::<Result<_, _>>().map_err(|_| none())?;
        let (added, _) = roots.add_parsable_certificates(certificates);
        if added == 0 {
            return Err(none());
        }
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(Arc::new(config))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ca_file_has_to_hold_an_authority() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("ca.pem");
        assert!(matches!(config(Some(&path)), Err(TlsError::File(FileError::Missing(_)))));
        for nonsense in ["", "hello", "-----BEGIN CERTIFICATE-----\n!!\n-----END CERTIFICATE-----\n"] {
            std::fs::write(&path, nonsense).unwrap();
            assert!(matches!(config(Some(&path)), Err(TlsError::NoAuthority(_))), "{nonsense}");
        }
        assert!(config(None).is_ok());
    }

    #[test]
    fn what_is_wrong_with_a_certificate_is_told_apart() {
        let hint = |error| refusal(Some(&rustls::Error::InvalidCertificate(error))).1;
        assert!(hint(CertificateError::Expired).contains("renew"));
        assert!(hint(CertificateError::NotValidYet).contains("clock"));
        assert!(hint(CertificateError::NotValidForName).contains("another name"));
        assert!(hint(CertificateError::UnknownIssuer).contains("--ca FILE"));
        let plain = rustls::Error::InvalidMessage(rustls::InvalidMessage::InvalidContentType);
        assert_eq!(refusal(Some(&plain)).0, "it does not speak TLS");
        assert!(refusal(None).0.contains("failed"));
    }
}
