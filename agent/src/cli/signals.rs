//! The signals that end a daemon, caught from its first moment on.

use super::Failure;
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::flag;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use tokio::signal::unix::{Signal, SignalKind, signal};

/// SIGTERM from systemd, or Ctrl-C from a person.
pub struct Stop {
    /// Raised by either from before the others listen: a signal that comes while they are being set up reaches none.
    early: Arc<AtomicBool>,
    terminate: Signal,
    interrupt: Signal,
}

impl Stop {
    /// From here on neither of them kills the process.
    pub fn listen() -> Result<Self, Failure> {
        let early = Arc::new(AtomicBool::new(false));
        for signal in [SIGTERM, SIGINT] {
            flag::register(signal, Arc::clone(&early)).map_err(not_listening)?;
        }
        Ok(Self {
            early,
            terminate: on_signal(SignalKind::terminate())?,
            interrupt: on_signal(SignalKind::interrupt())?,
        })
    }

    /// Resolves when one of them was sent, however long ago.
    pub async fn told(&mut self) {
        if self.early.load(Ordering::SeqCst) {
            return;
        }
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}

/// From here on the signal is queued instead of what it does by itself.
pub fn on_signal(kind: SignalKind) -> Result<Signal, Failure> {
    signal(kind).map_err(not_listening)
}

fn not_listening(why: io::Error) -> Failure {
    Failure::failed(format!("cannot listen for signals: {why}"), "The system refused; check its limits.")
}
