//! The threads that keep the ledger. A database blocks, so it has threads of its own: one for a file, where batches of all
//! gateways go one after the other, which is also what SQLite allows; several for a server.

use super::last::LastWrite;
use super::{Ledger, LedgerError};
use crate::access::Scope;
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::{mpsc, oneshot, watch};

/// How many requests may wait: at 2 ms a batch a second's work; more wait in their connections.
const QUEUE: usize = 512;

type Errand = Box<dyn FnOnce(&mut Ledger) + Send>;

/// Takes errands to the ledger. Cheap to clone; the threads end with the last clone.
#[derive(Clone)]
pub struct Clerk {
    errands: mpsc::Sender<Errand>,
    gone: watch::Receiver<bool>,
    last: LastWrite,
}

/// Says that a thread has ended, in whatever way.
struct Leaving(watch::Sender<bool>);

impl Drop for Leaving {
    fn drop(&mut self) {
        self.0.send_replace(true);
    }
}

impl Clerk {
    /// Gives each of `hands` threads a ledger of its own from `open`, and waits until all of them have one.
    pub async fn hire(
        hands: usize,
        open: impl Fn() -> Result<Ledger, LedgerError> + Clone + Send + 'static,
    ) -> Result<Self, LedgerError> {
        let (errands, queue) = mpsc::channel::<Errand>(QUEUE);
        let (queue, (leaving, gone)) = (Arc::new(Mutex::new(queue)), watch::channel(false));
        let (last, mut opened) = (LastWrite::default(), vec![]);
        for number in 0..hands.max(1) {
            let (said, hear) = oneshot::channel();
            let (open, queue, leaving) = (open.clone(), Arc::clone(&queue), Leaving(leaving.clone()));
            let last = last.clone();
            std::thread::Builder::new().name(format!("ledger-{number}")).spawn(move || {
                let leaving = leaving;
                match open() {
                    Ok(mut ledger) => {
                        ledger.note_in(&last);
                        let _unheard = said.send(Ok(()));
                        work(&queue, &mut ledger);
                    }
                    Err(why) => drop(said.send(Err(why))),
                }
                drop(leaving);
            })?;
            opened.push(hear);
        }
        for hear in opened {
            hear.await.map_err(|_| LedgerError::Closed)??;
        }
        Ok(Self { errands, gone, last })
    }

    /// Whether what was last to be stored is stored.
    pub fn stores(&self) -> bool {
        !self.last.failed()
    }

    /// Resolves when a thread has ended: it panicked, for they end by themselves only with the last of their askers.
    pub async fn gone(&self) {
        // An error means that all have ended.
        let mut gone = self.gone.clone();
        let _ended = gone.wait_for(|gone| *gone).await.is_err();
    }

    /// Resolves when the ledger has answered whoever asked before, and a question of its own, in whatever way; never, if its
    /// threads are gone.
    pub async fn answers(&self) {
        if let Err(LedgerError::Closed) = self.ask(|ledger| ledger.alerts(&Scope::whole(), 1)).await {
            std::future::pending().await
        }
    }

    /// Runs `errand` on a thread of the ledger. Once taken it is finished, even if nobody waits any more.
    pub async fn ask<T: Send + 'static>(
        &self,
        errand: impl FnOnce(&mut Ledger) -> Result<T, LedgerError> + Send + 'static,
    ) -> Result<T, LedgerError> {
        let (answer, answered) = oneshot::channel();
        let errand: Errand = Box::new(move |ledger| {
            // The one who asked may have hung up; what is stored is stored.
            let _unheard = answer.send(errand(ledger));
        });
        self.errands.send(errand).await.map_err(|_| LedgerError::Closed)?;
        answered.await.map_err(|_| LedgerError::Closed)?
    }
}

fn work(queue: &Mutex<mpsc::Receiver<Errand>>, ledger: &mut Ledger) {
    loop {
        // Whoever waits for an errand holds the queue; nobody else could take one meanwhile.
        let errand = queue.lock().unwrap_or_else(PoisonError::into_inner).blocking_recv();
        let Some(errand) = errand else { return };
        errand(ledger);
    }
}
