//! The thread that keeps the ledger. SQLite blocks, so it has a thread of its own; batches of all gateways
//! go through it one after the other, which is also what SQLite allows.

use super::{Ledger, LedgerError};
use tokio::sync::{mpsc, oneshot};

/// How many requests may wait: at 2 ms a batch a second's work; more wait in their connections.
const QUEUE: usize = 512;

type Errand = Box<dyn FnOnce(&mut dyn Ledger) + Send>;

/// Takes errands to the ledger. Cheap to clone; the thread ends with the last clone.
#[derive(Clone)]
pub struct Clerk {
    errands: mpsc::Sender<Errand>,
}

impl Clerk {
    /// Gives `ledger` a thread.
    pub fn hire(mut ledger: impl Ledger + 'static) -> Result<Self, LedgerError> {
        let (errands, mut queue) = mpsc::channel::<Errand>(QUEUE);
        std::thread::Builder::new().name("ledger".to_owned()).spawn(move || {
            while let Some(errand) = queue.blocking_recv() {
                errand(&mut ledger);
            }
        })?;
        Ok(Self { errands })
    }

    /// Resolves when the thread has ended: it panicked, for it ends by itself only with the last of its askers.
    pub async fn gone(&self) {
        self.errands.closed().await;
    }

    /// Resolves when the ledger has answered whoever asked before, and a question of its own, in whatever way; never, if its
    /// thread is gone.
    pub async fn answers(&self) {
        if let Err(LedgerError::Closed) = self.ask(|ledger| ledger.alerts(1)).await {
            std::future::pending().await
        }
    }

    /// Runs `errand` on the ledger's thread. Once taken it is finished, even if nobody waits any more.
    pub async fn ask<T: Send + 'static>(
        &self,
        errand: impl FnOnce(&mut dyn Ledger) -> Result<T, LedgerError> + Send + 'static,
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
