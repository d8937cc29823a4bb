//! Passes on what changed in the ledger, by this receiver or by another on the same database: to open pages, and to gateways
//! that wait for a command.

use crate::access::Scope;
use crate::clock::Now;
use crate::commands::Bells;
use crate::feed::Feed;
use crate::ledger::{AlertRow, Clerk, GatewayRow, Heard, LedgerError, Listener, News};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Notify;

/// How often the ledger is kept up.
const DAILY: Duration = Duration::from_secs(24 * 60 * 60);

/// How often it is looked whether a gateway is lost: a sixth of the time after which one is.
const LOOK: Duration = Duration::from_secs(15);

/// What it needs.
pub struct Crier {
    /// Where it looks.
    pub clerk: Clerk,
    /// Who is told of alerts and gateways.
    pub feed: Feed,
    /// Who is told of commands.
    pub bells: Bells,
    /// Rung when an alert shows something new: somebody outside may have to be told of it.
    pub bell: Arc<Notify>,
    /// What time it is.
    pub now: Now,
}

impl Crier {
    /// Until `stop`.
    pub async fn cry(self, mut news: Listener, stop: impl Future<Output = ()>) {
        let mut daily = tokio::time::interval(DAILY);
        let mut look = tokio::time::interval(LOOK);
        tokio::pin!(stop);
        loop {
            tokio::select! {
                () = &mut stop => return,
                _ = daily.tick() => self.keep_up().await,
                _ = look.tick() => self.look_for_lost().await,
                heard = news.next() => match heard {
                    Some(Heard::News(news)) => self.tell(news).await,
                    Some(Heard::Missed) => {
                        self.feed.resync();
                        self.bells.ring_all();
                        self.bell.notify_one();
                    }
                    // The ledger is gone, and with it the receiver.
                    None => return stop.await,
                },
            }
        }
    }

    async fn tell(&self, news: News) {
        if news.command {
            self.bells.ring(&news.place, &news.gateway);
        }
        if !news.alerts.is_empty() {
            self.bell.notify_one();
        }
        // With no page open nothing is read for it: whoever opens one reads everything first.
        if !self.feed.is_heard() {
            return;
        }
        match self.clerk.ask(move |ledger| look(ledger, &news)).await {
            Ok((alerts, gateway)) => {
                alerts.iter().for_each(|row| self.feed.alert(row));
                gateway.iter().for_each(|row| self.feed.gateway(row));
            }
            Err(error) => {
                tracing::error!(%error, "what changed cannot be read; pages will read everything anew");
                self.feed.resync();
            }
        }
    }

    async fn look_for_lost(&self) {
        let now = (self.now)();
        if let Err(error) = self.clerk.ask(move |ledger| ledger.look_for_lost(now)).await {
            tracing::error!(%error, "it cannot be seen which gateways are lost; this is tried again");
        }
    }

    async fn keep_up(&self) {
        let now = (self.now)();
        if let Err(error) = self.clerk.ask(move |ledger| ledger.keep_up(now)).await {
            tracing::error!(%error, "the ledger cannot be kept up; this is tried again tomorrow");
        }
    }
}

type Rows = (Vec<AlertRow>, Option<GatewayRow>);

fn look(ledger: &mut crate::ledger::Ledger, news: &News) -> Result<Rows, LedgerError> {
    // Who may hear of it is for the feed to say, page by page.
    let everything = Scope::whole();
    let alerts = ledger.alerts_named(&news.place, &news.gateway, &news.alerts)?;
    let gateway = if news.heard { ledger.gateway_at(&everything, &news.place, &news.gateway)? } else { None };
    Ok((alerts, gateway))
}
