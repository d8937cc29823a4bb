//! Very many gateways at one receiver, each with its poll for commands open: the real client, and nothing behind it.

use crate::bench::Failure;
use crate::house::{Noc, now};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::watch;
use tokio::task::JoinSet;
use vigil_cloud_sync::commands::WAIT;
use vigil_cloud_sync::{
    Cadence, Closed, Decided, Given, Inbox, Listener, ListenerState, Pace, Uplink, listen,
};

/// How many files a program may open that somebody starts in a shell; it may ask for more.
pub const AS_IN_A_SHELL: &str = "-S -n 1024";

/// How often is looked whether something has come.
const LOOK: Duration = Duration::from_millis(1);

/// The commands that came, each with when.
type Heard = Arc<Mutex<Vec<(String, Instant)>>>;

/// The gateways; they go when this is dropped.
#[derive(Debug)]
pub struct Crowd {
    states: Vec<watch::Receiver<ListenerState>>,
    heard: Heard,
    _listening: JoinSet<()>,
}

impl Crowd {
    /// So many of the gateways that [`Noc::of_many`] knows begin to ask for commands, all at once.
    pub fn comes(noc: &Noc, gateways: usize) -> Self {
        let (heard, mut states, mut listening) = (Heard::default(), vec![], JoinSet::new());
        for n in 0..gateways {
            let (state, looked_at) = watch::channel(ListenerState::default());
            states.push(looked_at);
            let listener = Listener {
                uplink: uplink(noc, n),
                inbox: Arc::new(Tray { after: AtomicU64::new(0), heard: Arc::clone(&heard) }),
                state,
                cadence: Cadence::seeded(Pace::default()),
                wait: WAIT,
                now: Arc::new(now),
            };
            listening.spawn(async move {
                // It never ends by itself.
                let _never = listen(listener, std::future::pending()).await;
            });
        }
        Self { states, heard, _listening: listening }
    }

    /// Waits until each of them has been answered and nobody is turned away.
    pub async fn all_in(&self, within: Duration) -> Result<(), Failure> {
        let began = Instant::now();
        loop {
            let out = self.states.iter().filter(|state| state.borrow().reachable != Some(true)).count();
            if out == 0 {
                return Ok(());
            }
            if began.elapsed() > within {
                return Err(
                    format!("{out} of {} gateways are not in after {within:?}", self.states.len()).into()
                );
            }
            tokio::time::sleep(LOOK * 100).await;
        }
    }

    fn heard_at(&self, id: &str) -> Option<Instant> {
        let heard = self.heard.lock().unwrap_or_else(PoisonError::into_inner);
        heard.iter().find(|(known, _)| known == id).map(|(_, at)| *at)
    }

    /// When a command was where it belongs.
    pub async fn hears(&self, id: &str, within: Duration) -> Result<Instant, Failure> {
        let began = Instant::now();
        loop {
            match self.heard_at(id) {
                Some(at) => return Ok(at),
                None if began.elapsed() > within => return Err(format!("no {id} after {within:?}").into()),
                None => tokio::time::sleep(LOOK).await,
            }
        }
    }
}

/// Where a gateway of the crowd takes its commands.
#[derive(Debug)]
struct Tray {
    after: AtomicU64,
    heard: Heard,
}

impl Inbox for Tray {
    async fn acknowledged(&self) -> Result<u64, Closed> {
        Ok(self.after.load(Ordering::Acquire))
    }

    async fn decide(&self, commands: Vec<Given>) -> Result<Decided, Closed> {
        let mut heard = self.heard.lock().unwrap_or_else(PoisonError::into_inner);
        for command in &commands {
            let name = command.id.as_ref().map(ToString::to_string).unwrap_or_default();
            heard.push((name, Instant::now()));
            self.after.fetch_max(command.seq, Ordering::AcqRel);
        }
        Ok(Decided { fresh: u64::try_from(commands.len()).unwrap_or(u64::MAX), refused: 0 })
    }
}

/// The way to the receiver of the gateway with that number.
pub fn uplink(noc: &Noc, n: usize) -> Uplink {
    noc.way(&format!("s-{n}"), &format!("gw-{n}"))
}
