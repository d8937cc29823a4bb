//! Fetches bundles, has them judged, switches to those that are fit, and watches over the one on trial.
//!
//! One task, one bundle at a time. What is decided is on the shelf before the engine is switched, and the engine is switched
//! by the same way that SIGHUP goes: its windows stay.

use super::judge::{Fit, Unfit, name_of};
use super::record::{Ruling, rule};
use super::report::{self, InUse, RefusedBundle, Standing};
use super::{Bundles, Ledger};
use crate::clock::Clock;
use crate::pump::{Outage, PumpHandle, Stopping};
use crate::switch::{NotSwitched, Switch};
use rand::Rng;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::Instant;
use vigil_cloud_sync::bundle::{Offer, etag};
use vigil_cloud_sync::{Cadence, Uplink};
use vigil_core::site::Site;

/// How often the operations centre is asked unbidden: it sends `bundle.refresh` when there is something new, and this is for a
/// command that was lost. A fifth of it either way, so that a thousand gateways do not ask at once.
const ASK_EVERY: Duration = Duration::from_secs(15 * 60);
/// That fifth, in thousandths of the whole.
const JITTER: std::ops::RangeInclusive<u32> = 800..=1_200;
/// How often it is looked how the agent is with a bundle on trial: soon enough that a site is not left for long with one that
/// does harm.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// Commands that ask for a look and may wait for one: each answer of the operations centre brings one at most.
const ASKERS: usize = 8;

/// Somebody asks for a look; the answer is what came of it, or why nothing could.
pub type Refreshing = oneshot::Sender<Result<(), String>>;

/// The way to ask for a look.
#[derive(Debug, Clone)]
pub struct Refresher(mpsc::Sender<Refreshing>);

impl Refresher {
    /// Both ends.
    pub fn new() -> (Self, mpsc::Receiver<Refreshing>) {
        let (ask, asked) = mpsc::channel(ASKERS);
        (Self(ask), asked)
    }

    /// Asks the operations centre now; `Err(Stopping)` if the agent ends before that is done.
    pub async fn refresh(&self) -> Result<Result<(), String>, Stopping> {
        let (reply, answer) = oneshot::channel();
        self.0.send(reply).await.map_err(|_| Stopping)?;
        answer.await.map_err(|_| Stopping)
    }
}

/// Everything that the porter needs.
pub struct Porter {
    uplink: Uplink,
    switch: Switch,
    pump: PumpHandle,
    clock: Clock,
    cadence: Cadence,
    bundles: Bundles,
    standing: watch::Sender<Standing>,
    /// The site as it is now.
    site: Arc<Site>,
    /// What was looked at last, taken or not.
    seen: Option<String>,
    /// Since when the one on trial has been running, in this life of the agent.
    trial: Option<Instant>,
    /// Why it fails, until that is written down.
    failing: Option<String>,
    /// Outages of the store; one that is over is seen here as well.
    outages: watch::Receiver<Option<Arc<Outage>>>,
    ask_at: Instant,
}

impl Porter {
    /// Takes up what a start found.
    pub fn new(
        bundles: Bundles,
        standing: watch::Sender<Standing>,
        (uplink, cadence): (Uplink, Cadence),
        (switch, pump, clock): (Switch, PumpHandle, Clock),
        site: Arc<Site>,
    ) -> Self {
        let now = Instant::now();
        let seen = bundles.in_use.as_ref().map(|(_, etag)| etag.clone());
        let trial = bundles.ledger.record().trial.map(|_| now);
        standing.send_modify(|standing| {
            standing.in_use = bundles.in_use.as_ref().map(|(in_use, _)| in_use.clone());
            standing.follow(&bundles.ledger.record());
        });
        let outages = pump.outages();
        let failing = None;
        Self {
            uplink,
            switch,
            pump,
            clock,
            cadence,
            bundles,
            standing,
            site,
            seen,
            trial,
            failing,
            outages,
            ask_at: now,
        }
    }

    /// Works until `stop` completes (`Ok`), or the pump is gone (`Err`).
    pub async fn run(
        mut self,
        mut asked: mpsc::Receiver<Refreshing>,
        stop: impl Future<Output = ()>,
    ) -> Result<(), Stopping> {
        tokio::select! {
            () = stop => Ok(()),
            gone = self.attend(&mut asked) => gone,
        }
    }

    async fn attend(&mut self, asked: &mut mpsc::Receiver<Refreshing>) -> Result<(), Stopping> {
        self.tell_what_the_start_found().await?;
        loop {
            tokio::select! {
                Some(reply) = asked.recv() => {
                    let done = self.refresh(true).await?;
                    // Whoever asked and has gone away asks again.
                    let _gone = reply.send(done);
                }
                () = tokio::time::sleep_until(self.ask_at) => drop(self.refresh(false).await?),
                () = tokio::time::sleep(LOOK_EVERY), if self.trial.is_some() => self.look().await?,
            }
        }
    }

    /// A bundle that was rolled back, at this start or before its record was stored, and one that could not be used.
    async fn tell_what_the_start_found(&mut self) -> Result<(), Stopping> {
        if let Some(unfit) = self.bundles.unused.take() {
            self.on_refused(&unfit).await?;
        }
        self.tell_of_the_fallen().await
    }

    async fn tell_of_the_fallen(&mut self) -> Result<(), Stopping> {
        let record = self.ledger().record();
        let Some(fallen) = record.fallen.filter(|fallen| !fallen.told) else { return Ok(()) };
        tracing::error!(
            version = fallen.version,
            in_use = record.in_use,
            why = fallen.why,
            "a bundle was rolled back"
        );
        self.pump.note(&report::rolled_back(&fallen, record.in_use)).await?;
        let told =
            self.ledger().change(|record| record.fallen.iter_mut().for_each(|fallen| fallen.told = true));
        if let Err(why) = told {
            tracing::warn!(%why, "that a bundle was rolled back will be told again");
        }
        Ok(())
    }

    fn ledger(&self) -> &Ledger {
        &self.bundles.ledger
    }

    /// The version in use, as it really is.
    fn version(&self) -> Option<u64> {
        self.bundles.in_use.as_ref().map(|(in_use, _)| in_use.version)
    }

    /// Asks once, and decides on what comes. Whoever asks for it wants to hear of a bundle that was refused before, too.
    async fn refresh(&mut self, bidden: bool) -> Result<Result<(), String>, Stopping> {
        let in_use = self.bundles.in_use.as_ref().map(|(_, etag)| etag.clone());
        let known = if bidden { in_use } else { self.seen.clone() };
        let offer = self.fetch(known).await?;
        let (wait, done) = match offer {
            Offer::Given(document) => (self.rest(), self.consider(&document).await?),
            Offer::Same | Offer::Nothing => (self.rest(), Ok(())),
            Offer::Unauthorized { why } => {
                self.cadence.on_failure();
                (
                    self.cadence.wait_for_a_person(false),
                    Err(format!("the receiver refuses the uplink credential: {why}")),
                )
            }
            Offer::Later { after, why } => {
                self.cadence.on_failure();
                let wait = match after {
                    Some(after) => self.cadence.wait_asked(after),
                    None => self.cadence.wait(false),
                };
                (wait, Err(format!("the bundle cannot be fetched: {why}")))
            }
        };
        self.ask_at = Instant::now() + wait;
        if let Err(why) = &done {
            tracing::warn!(wait_secs = wait.as_secs(), %why, "no bundle is taken");
        }
        Ok(done)
    }

    /// The line may be slow; the bundle on trial is looked at meanwhile.
    async fn fetch(&mut self, known: Option<String>) -> Result<Offer, Stopping> {
        let uplink = self.uplink.clone();
        let asking = async move { uplink.bundle(known.as_deref()).await };
        tokio::pin!(asking);
        let offer = loop {
            tokio::select! {
                offer = &mut asking => break offer,
                () = tokio::time::sleep(LOOK_EVERY), if self.trial.is_some() => self.look().await?,
            }
        };
        let now = self.clock.now();
        self.standing.send_modify(|standing| match &offer {
            Offer::Given(_) | Offer::Same | Offer::Nothing => {
                (standing.asked_at, standing.last_error) = (Some(now), None);
            }
            Offer::Unauthorized { why } | Offer::Later { why, .. } => standing.last_error = Some(why.clone()),
        });
        Ok(offer)
    }

    fn rest(&mut self) -> Duration {
        self.cadence.on_success();
        ASK_EVERY * rand::rng().random_range(JITTER) / 1_000
    }

    /// A document that came: it is taken, or the present one stays.
    async fn consider(&mut self, document: &[u8]) -> Result<Result<(), String>, Stopping> {
        let tag = etag(document);
        if self.bundles.in_use.as_ref().is_some_and(|(_, known)| *known == tag) {
            // A receiver that knows no `ETag` sends it every time.
            return Ok(Ok(()));
        }
        let judged = self.bundles.measure.judge(document, &self.ledger().record(), &name_of(document));
        match judged {
            Ok(fit) => self.take(&fit, document, tag).await,
            Err(unfit) => {
                let known = self.seen.replace(tag.clone()).is_some_and(|seen| seen == tag);
                if !known {
                    self.on_refused(&unfit).await?;
                }
                Ok(Err(format!("the bundle is refused: {}", unfit.why)))
            }
        }
    }

    async fn on_refused(&mut self, unfit: &Unfit) -> Result<(), Stopping> {
        let Unfit { version, why, problems } = unfit;
        tracing::error!(version, in_use = self.version(), %why, problems = problems.len(), "a bundle is refused");
        let at = self.clock.now();
        let refused =
            RefusedBundle { version: *version, at, reason: why.clone(), problems: problems.clone() };
        self.standing.send_modify(|standing| {
            standing.refused += 1;
            standing.last_refused = Some(refused);
        });
        self.pump.note(&report::refused(unfit, self.version(), at)).await
    }

    async fn take(
        &mut self,
        fit: &Fit,
        document: &[u8],
        tag: String,
    ) -> Result<Result<(), String>, Stopping> {
        if let Some(why) = self.illness() {
            return Ok(Err(format!("nothing is switched while the agent is not well: {why}")));
        }
        let (in_use, before) = (InUse::of(fit), self.version());
        if let Err(why) = self.ledger().take(in_use.version, document) {
            return Ok(Err(format!("the bundle cannot be kept: {why}")));
        }
        if self.trial.is_none() {
            self.bundles.before = Some(Arc::clone(&self.site));
        }
        self.bundles.in_use = Some((in_use.clone(), tag.clone()));
        self.seen = Some(tag);
        // Whoever reads the site file again meanwhile sees that it does not count any more.
        self.show(true);
        self.switch_to(&fit.site).await?;
        self.on_trial_from_now();
        tracing::info!(
            version = in_use.version,
            before,
            by = in_use.by,
            "another bundle is in use, on trial"
        );
        self.pump.note(&report::taken(&in_use, before, self.clock.now())).await?;
        Ok(Ok(()))
    }

    fn on_trial_from_now(&mut self) {
        self.outages.mark_unchanged();
        (self.trial, self.failing) = (Some(Instant::now()), None);
    }

    /// The standing, as it is written down.
    fn show(&self, taken: bool) {
        let record = self.ledger().record();
        self.standing.send_modify(|standing| {
            standing.in_use = self.bundles.in_use.as_ref().map(|(in_use, _)| in_use.clone());
            standing.taken += u64::from(taken);
            standing.follow(&record);
        });
    }

    async fn switch_to(&mut self, site: &Arc<Site>) -> Result<(), Stopping> {
        match self.switch.to(Arc::clone(site)).await {
            Ok(()) => self.site = Arc::clone(site),
            Err(NotSwitched::Stopping(stopping)) => return Err(stopping),
            // Whose it is was looked at before.
            Err(why @ (NotSwitched::OtherSite { .. } | NotSwitched::BundleInUse(_))) => {
                tracing::error!(%why, "the engine keeps the site that it has; the next start uses the new one");
            }
        }
        Ok(())
    }

    /// What is wrong with the agent now.
    fn illness(&self) -> Option<String> {
        let outage = self.pump.outage().map(|outage| format!("nothing is stored: {}", outage.why));
        let stuck = || self.pump.pulse().stuck_for();
        outage
            .or_else(|| stuck().map(|stuck| format!("the store has not answered for {} s", stuck.as_secs())))
    }

    /// Looks how the agent is with the bundle on trial.
    async fn look(&mut self) -> Result<(), Stopping> {
        let Some(since) = self.trial else { return Ok(()) };
        let over = || {
            self.outages
                .has_changed()
                .is_ok_and(|changed| changed)
                .then(|| "the store failed for a while".to_owned())
        };
        let ill = self.failing.clone().or_else(|| self.illness()).or_else(over);
        match rule(since.elapsed(), self.bundles.probation, ill) {
            Ruling::Waits => Ok(()),
            Ruling::Proved => self.prove().await,
            Ruling::Fails(why) => self.roll_back(why).await,
        }
    }

    async fn prove(&mut self) -> Result<(), Stopping> {
        if let Err(why) = self.ledger().change(super::Record::prove) {
            // It stays on trial, and the next look tries again.
            tracing::warn!(%why, "that the bundle has proved itself is not written down");
            return Ok(());
        }
        (self.trial, self.bundles.before) = (None, None);
        self.show(false);
        let Some(version) = self.version() else { return Ok(()) };
        tracing::info!(version, "the bundle has proved itself");
        self.pump.note(&report::proved(version, self.clock.now())).await
    }

    /// On a full disk that cannot be written down at once: the engine is switched all the same, and the next look tries again.
    async fn roll_back(&mut self, why: String) -> Result<(), Stopping> {
        self.failing = Some(why.clone());
        let now = self.clock.now();
        let written = self.ledger().change(|record| record.fall(now, why));
        if let Some(before) = self.bundles.before.clone().filter(|before| !Arc::ptr_eq(before, &self.site)) {
            self.switch_to(&before).await?;
        }
        if let Err(why) = written {
            tracing::error!(%why, "that the bundle is rolled back is not written down");
            return Ok(());
        }
        (self.trial, self.failing) = (None, None);
        self.bundles.in_use = self.restored();
        self.show(false);
        self.tell_of_the_fallen().await
    }

    /// The bundle that was put back, if it is one.
    fn restored(&self) -> Option<(InUse, String)> {
        let version = self.ledger().record().in_use?;
        let document = self.ledger().bundle(version).ok()?;
        let fit = self.bundles.measure.judge_again(&document, &name_of(&document)).ok()?;
        Some((InUse::of(&fit), etag(&document)))
    }
}
