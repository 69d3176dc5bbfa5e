//! What ends a chat from outside. Listening begins when these are called, not when they are first awaited: from then on a
//! signal ends the chat in order.

use std::future::Future;

/// Ctrl-C, or a polite end.
pub(crate) fn stopped() -> impl Future<Output = ()> + Send {
    let (interrupted, terminated) = (heard(&[Kind::Interrupt]), terminated());
    async {
        tokio::select! {
            () = interrupted => {}
            () = terminated => {}
        }
    }
}

/// SIGTERM, or the terminal has gone.
pub(crate) fn terminated() -> impl Future<Output = ()> + Send {
    heard(&[Kind::Terminate, Kind::Hangup])
}

#[derive(Clone, Copy)]
enum Kind {
    Interrupt,
    Terminate,
    Hangup,
}

#[cfg(unix)]
fn heard(kinds: &[Kind]) -> impl Future<Output = ()> + Send + use<> {
    use futures_util::future::select_all;
    use tokio::signal::unix::{SignalKind, signal};
    let signals = kinds.iter().filter_map(|kind| {
        signal(match kind {
            Kind::Interrupt => SignalKind::interrupt(),
            Kind::Terminate => SignalKind::terminate(),
            Kind::Hangup => SignalKind::hangup(),
        })
        .ok()
    });
    let mut signals: Vec<_> = signals.collect();
    async move {
        if signals.is_empty() {
            return std::future::pending().await;
        }
        select_all(signals.iter_mut().map(|signal| Box::pin(signal.recv()))).await;
    }
}

#[cfg(not(unix))]
fn heard(kinds: &[Kind]) -> impl Future<Output = ()> + Send + use<> {
    let interrupt = kinds.iter().any(|kind| matches!(kind, Kind::Interrupt));
    async move {
        if !interrupt || tokio::signal::ctrl_c().await.is_err() {
            std::future::pending().await
        }
    }
}
