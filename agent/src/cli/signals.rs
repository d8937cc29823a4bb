//! The signals that end a daemon, caught from its first moment on.

use super::Failure;
use nix::sys::signal::{SigSet, Signal as Which};
use signal_hook::flag;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use tokio::signal::unix::{Signal, SignalKind, signal};

/// Both, caught before there is anybody who listens.
pub struct Early(Arc<AtomicBool>);

impl Early {
    /// From here on neither of them kills the process. To be called while it has one thread: they wait until their handler
    /// stands, because between its installation and its entry in the registry it would do nothing.
    pub fn catch() -> Result<Self, Failure> {
        let both: SigSet = [Which::SIGTERM, Which::SIGINT].into_iter().collect();
        let raised = Arc::new(AtomicBool::new(false));
        both.thread_block().map_err(|why| not_listening(why.into()))?;
        for which in [Which::SIGTERM, Which::SIGINT] {
            flag::register(which as i32, Arc::clone(&raised)).map_err(not_listening)?;
        }
        both.thread_unblock().map_err(|why| not_listening(why.into()))?;
        Ok(Self(raised))
    }
}

/// SIGTERM from systemd, or Ctrl-C from a person.
pub struct Stop {
    early: Early,
    terminate: Signal,
    interrupt: Signal,
}

impl Stop {
    /// Whoever waits hears of them from here on, and of those that came early.
    pub fn listen(early: Early) -> Result<Self, Failure> {
        Ok(Self {
            early,
            terminate: on_signal(SignalKind::terminate())?,
            interrupt: on_signal(SignalKind::interrupt())?,
        })
    }

    /// Resolves when one of them was sent, however long ago.
    pub async fn told(&mut self) {
        if self.early.0.load(Ordering::SeqCst) {
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
