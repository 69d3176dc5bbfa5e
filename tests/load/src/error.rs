//! Why a benchmark has no number.

use std::fmt::Display;

#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// The peer's library refused; our use of it is wrong.
    #[error("peer: {0}")]
    Peer(String),
    /// Our protocol or relay refused.
    #[error("{0}")]
    Ours(String),
    /// The machine: files, sockets, processes.
    #[error("{what}: {source}")]
    Machine { what: &'static str, source: std::io::Error },
}

impl Error {
    pub(crate) fn peer(error: impl Display) -> Error {
        Error::Peer(error.to_string())
    }

    pub(crate) fn ours(error: impl Display) -> Error {
        Error::Ours(error.to_string())
    }

    /// For `map_err`: what was tried.
    pub(crate) fn machine(what: &'static str) -> impl FnOnce(std::io::Error) -> Error {
        move |source| Error::Machine { what, source }
    }
}
