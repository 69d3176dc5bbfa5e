//! What can go wrong, whose fault it is, and what to do about it.

use std::io;
use std::path::{Path, PathBuf};

pub(crate) type Result<T, E = Error> = std::result::Result<T, E>;

#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// The machine lacks a program that we do not install.
    #[error("{program} is missing")]
    Missing { program: String, hint: String },
    /// A program that we started said no; it has printed why.
    #[error("`{command}` failed: {status}")]
    Failed { command: String, status: String },
    /// A program could not be started at all.
    #[error("cannot start `{command}`: {source}")]
    Start { command: String, source: io::Error },
    #[error("cannot {action} {}: {source}", path.display())]
    File { action: &'static str, path: PathBuf, source: io::Error },
    #[error("port {port} on 127.0.0.1 is taken by another program")]
    PortTaken { port: u16, flag: &'static str },
    /// A program answered in a way that this version of xtask does not know.
    #[error("{program} said something unexpected: {said}")]
    Answer { program: String, said: String },
    /// A file that a person wrote, or asked for, does not fit.
    #[error("{what}")]
    Input { what: String, hint: String },
    /// A program of ours did not become ready, or ended while it was needed.
    #[error("{what}")]
    Broken { what: String, log: PathBuf },
    /// Checks ran to their end and found faults; each has been printed.
    #[error("{0}")]
    Found(String),
}

impl Error {
    /// What the reader can do next.
    pub(crate) fn hint(&self) -> Option<String> {
        match self {
            Error::Missing { hint, .. } | Error::Input { hint, .. } => Some(hint.clone()),
            Error::PortTaken { flag, .. } => {
                Some(format!("choose another with {flag} N, or {flag} 0 for any free one"))
            }
            Error::Broken { log, .. } => Some(format!("its log is {}", log.display())),
            Error::Failed { .. }
            | Error::Start { .. }
            | Error::File { .. }
            | Error::Answer { .. }
            | Error::Found(_) => None,
        }
    }

    /// For `map_err`: the file operation that failed.
    pub(crate) fn file(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Error {
        let path = path.to_owned();
        move |source| Error::File { action, path, source }
    }
}
