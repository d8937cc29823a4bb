//! The signals that end a daemon, caught from its first moment on.

use super::Failure;
use tokio::signal::unix::{Signal, SignalKind, signal};

/// SIGTERM from systemd, or Ctrl-C from a person.
pub struct Stop {
    terminate: Signal,
    interrupt: Signal,
}

impl Stop {
    /// From here on neither of them kills the process.
    pub fn listen() -> Result<Self, Failure> {
        Ok(Self {
            terminate: on_signal(SignalKind::terminate())?,
            interrupt: on_signal(SignalKind::interrupt())?,
        })
    }

    /// Resolves when one of them was sent, however long ago.
    pub async fn told(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}

/// From here on the signal is queued instead of what it does by itself.
pub fn on_signal(kind: SignalKind) -> Result<Signal, Failure> {
    signal(kind).map_err(|why| {
        Failure::failed(format!("cannot listen for signals: {why}"), "The system refused; check its limits.")
    })
}
