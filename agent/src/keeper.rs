//! Carries what the broker inside keeps for its clients to the store: as soon as the last page is written, what has changed
//! meanwhile is the next one.

use crate::pump::{PumpHandle, Stopping};
use crate::run::told_to_stop;
use crate::sources::broker::BrokerHandle;
use tokio::sync::watch;

/// Runs until the agent stops. What is not written by then is what no client was promised.
pub async fn run(
    broker: BrokerHandle,
    pump: PumpHandle,
    stopping: watch::Receiver<bool>,
) -> Result<(), Stopping> {
    tokio::select! {
        biased;
        () = told_to_stop(stopping) => Ok(()),
        ended = keep(&broker, &pump) => ended,
    }
}

async fn keep(broker: &BrokerHandle, pump: &PumpHandle) -> Result<(), Stopping> {
    loop {
        broker.changed().await;
        loop {
            let page = broker.page();
            pump.keep(&page.keeping).await?;
            if !broker.on_written(&page) {
                break;
            }
        }
    }
}
