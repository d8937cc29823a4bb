//! What the service manager is told: that the agent is ready, that it lives, how it is, that it reads its files again, that it
//! stops.
//!
//! A beat of the watchdog is a fact, and no timer's: one goes out only if the pump has turned and the disk has answered since
//! the last one. The agent is ready when its store is open and its sources listen. Without `$NOTIFY_SOCKET` nobody is told, and
//! nothing else changes.

use crate::clock::Clock;
use crate::http::SourceState;
use crate::pump::{ALIVE_EVERY, Outage, Progress, PumpHandle};
use sd_notify::NotifyState;
use std::fmt::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::sync::watch;
use vigil_cloud_sync::{Link, LinkView};
use vigil_core::site::Site;

/// How many beats fit into the time that the service manager waits for one, if there is always progress.
const BEATS: u32 = 4;
/// A watchdog has to wait for two of the commits that a quiet site makes, or it takes silence for death.
const SHORTEST_WATCHDOG: Duration = Duration::from_secs(2 * ALIVE_EVERY.as_secs());
/// While a start waits for room on the disk, each attempt to open the store buys so much time: ten more attempts.
const MORE_TIME_USEC: u32 = 60_000_000;
/// How often it is looked whether the sentence on how the agent is has changed: people read no faster.
const LOOK_EVERY: Duration = Duration::from_secs(5);

/// Tells the service manager, and knows whether it was told that the agent is ready.
#[derive(Debug, Clone, Default)]
pub struct Herald {
    ready: Arc<AtomicBool>,
}

impl Herald {
    /// Everything is open and listens.
    pub fn ready(&self) {
        self.ready.store(true, Ordering::Release);
        tell(&[NotifyState::Ready]);
    }

    /// The files are read again. Before the agent is ready, that is part of its start.
    pub fn reloading(&self) {
        if !self.ready.load(Ordering::Acquire) {
            return;
        }
        match NotifyState::monotonic_usec_now() {
            Ok(now) => tell(&[NotifyState::Reloading, now]),
            Err(why) => tracing::warn!(%why, "the service manager cannot be told that files are read again"),
        }
    }

    /// They were read, whatever came of it.
    pub fn reloaded(&self) {
        if self.ready.load(Ordering::Acquire) {
            tell(&[NotifyState::Ready]);
        }
    }

    /// The end has begun.
    pub fn stopping(&self) {
        tell(&[
            NotifyState::Stopping,
            NotifyState::Status("stopping: what is queued is stored and answered"),
        ]);
    }

    /// Tells of an agent for as long as it runs: when it is ready, that it lives, and how it is.
    pub async fn attend(self, condition: Condition) {
        if std::env::var_os("NOTIFY_SOCKET").is_none() {
            return std::future::pending().await;
        }
        let pump = condition.pump.clone();
        let beats = async {
            self.greet(&pump).await;
            if let Some(watchdog) = sd_notify::watchdog_enabled() {
                warn_of_haste(watchdog);
                beat(pump.pulse().progress(), watchdog / BEATS, || tell(&[NotifyState::Watchdog])).await;
            }
        };
        tokio::join!(beats, describe(&condition));
    }

    /// Says that the agent is ready once its store is open. Until then each attempt to open it buys time: a full disk is sat
    /// out, and no reason to begin again.
    async fn greet(&self, pump: &PumpHandle) {
        let (mut outage, mut progress) = (pump.outages(), pump.pulse().progress());
        while outage.borrow_and_update().is_some() {
            tell(&[NotifyState::ExtendTimeoutUsec(MORE_TIME_USEC)]);
            let goes_on = tokio::select! {
                changed = outage.changed() => changed,
                changed = progress.changed() => changed,
            };
            if goes_on.is_err() {
                // The pump has ended, and the agent ends with it.
                return std::future::pending().await;
            }
        }
        self.ready();
    }
}

/// Beats each time that a daemon which does nothing by itself has answered a question. Never ends.
pub async fn ask_and_beat<A: Future<Output = ()>>(mut ask: impl FnMut() -> A) {
    let Some(watchdog) = sd_notify::watchdog_enabled() else { return std::future::pending().await };
    loop {
        ask().await;
        tell(&[NotifyState::Watchdog]);
        tokio::time::sleep(watchdog / 2).await;
    }
}

fn warn_of_haste(watchdog: Duration) {
    if watchdog < SHORTEST_WATCHDOG {
        let least_secs = SHORTEST_WATCHDOG.as_secs();
        tracing::warn!(
            least_secs,
            "WatchdogSec is too short: an agent with nothing to do is taken for a dead one"
        );
    }
}

/// A beat for progress, and none without; so far apart at least. Ends with the pump.
async fn beat(mut progress: watch::Receiver<Progress>, apart: Duration, mut tell: impl FnMut()) {
    let mut before = Progress::default();
    loop {
        match progress.wait_for(|now| now.is_beyond(before)).await {
            Ok(now) => before = *now,
            Err(_) => return,
        }
        tell();
        tokio::time::sleep(apart).await;
    }
}

/// Says how the agent is whenever that has changed.
async fn describe(condition: &Condition) {
    let mut said = String::new();
    loop {
        let sentence = condition.facts().sentence();
        if sentence != said {
            tell(&[NotifyState::Status(&sentence)]);
            said = sentence;
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

fn tell(words: &[NotifyState<'_>]) {
    if let Err(why) = sd_notify::notify(words) {
        tracing::warn!(%why, "the service manager cannot be told");
    }
}

/// Where it can be seen how the agent is, without asking the pump, which may be stuck.
#[derive(Debug, Clone)]
pub struct Condition {
    /// The store.
    pub pump: PumpHandle,
    /// How messages come in.
    pub source: watch::Receiver<SourceState>,
    /// Whether the operations centre can be reached; `None` without one.
    pub link: Option<Link>,
    /// The agent's clock.
    pub clock: Clock,
    /// The site.
    pub site: watch::Receiver<Arc<Site>>,
}

impl Condition {
    fn facts(&self) -> Facts {
        Facts {
            site: self.site.borrow().name.clone(),
            outage: self.pump.outage(),
            stuck: self.pump.pulse().stuck_for(),
            source: self.source.borrow().clone(),
            link: self.link.as_ref().map(|link| link.view(self.clock.now())),
            clock_is_set: self.clock.is_set(),
        }
    }
}

/// What the sentence rests on.
struct Facts {
    site: String,
    outage: Option<Arc<Outage>>,
    stuck: Option<Duration>,
    source: SourceState,
    link: Option<LinkView>,
    clock_is_set: bool,
}

impl Facts {
    /// One line for `systemctl status`, the worst first.
    fn sentence(&self) -> String {
        let troubles: Vec<String> =
            [self.of_the_store(), self.of_the_source(), self.of_the_link(), self.of_the_clock()]
                .into_iter()
                .flatten()
                .collect();
        let mut said = format!("guarding {}: ", self.site);
        if !troubles.is_empty() {
            said.push_str(&troubles.join("; "));
        } else if self.link.is_some() {
            said.push_str("everything is stored, and the operations centre is reached");
        } else {
            said.push_str("everything is stored; there is no operations centre");
        }
        // A line of its own would be another word to the service manager.
        said.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
    }

    fn of_the_store(&self) -> Option<String> {
        let outage = self.outage.as_ref().map(|outage| format!("NOTHING IS STORED: {outage}"));
        let stuck = || self.stuck.map(|stuck| format!("THE DISK HAS NOT ANSWERED for {} s", stuck.as_secs()));
        outage.or_else(stuck)
    }

    fn of_the_source(&self) -> Option<String> {
        if self.source.connected {
            return None;
        }
        let mut said = format!("the broker at {} is not connected", self.source.address);
        if let Some(why) = &self.source.last_error {
            // Writing to a text does not fail.
            let _written = write!(said, " ({why})");
        }
        Some(said)
    }

    fn of_the_link(&self) -> Option<String> {
        let link = self.link.filter(|link| link.lost)?;
        let since = link
            .heard_at
            .map_or_else(|| "has not been reached".to_owned(), |at| format!("was last reached at {at}"));
        Some(format!("the operations centre {since}, and alerts for it wait"))
    }

    fn of_the_clock(&self) -> Option<String> {
        let unset = !self.clock_is_set;
        unset.then(|| "the clock is not set, and what needs the time of day waits".to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use vigil_core::time::Timestamp;

    fn well() -> Facts {
        let source = SourceState {
            mode: "embedded",
            address: "127.0.0.1:1883".into(),
            connected: true,
            last_error: None,
        };
        Facts { site: "Plant 7".into(), outage: None, stuck: None, source, link: None, clock_is_set: true }
    }

    fn outage() -> Arc<Outage> {
        Arc::new(Outage {
            since: Timestamp::default(),
            why: "the disk\nREADY=1".into(),
            mend: "make room".into(),
            free_bytes: None,
            again_secs: 5,
        })
    }

    #[test]
    fn the_sentence_says_the_worst_first_and_stays_one_line() {
        let link = |lost| Some(LinkView { lost, heard_at: None });
        let gone = SourceState { connected: false, last_error: Some("refused".into()), ..well().source };
        let table = [
            (well(), "guarding Plant 7: everything is stored; there is no operations centre"),
            (
                Facts { link: link(false), ..well() },
                "guarding Plant 7: everything is stored, and the operations centre is reached",
            ),
            (
                Facts { link: link(true), clock_is_set: false, ..well() },
                "guarding Plant 7: the operations centre has not been reached, and alerts for it wait; the clock is not set, \
                 and what needs the time of day waits",
            ),
            (
                Facts { source: gone, stuck: Some(Duration::from_secs(35)), ..well() },
                "guarding Plant 7: THE DISK HAS NOT ANSWERED for 35 s; the broker at 127.0.0.1:1883 is not connected (refused)",
            ),
            (
                Facts { outage: Some(outage()), ..well() },
                "guarding Plant 7: NOTHING IS STORED: the disk READY=1; make room; the agent tries again every 5 s",
            ),
        ];
        for (facts, said) in table {
            assert_eq!(facts.sentence(), said);
        }
    }

    #[tokio::test]
    async fn a_beat_is_owed_to_the_pump_and_to_the_disk_and_to_no_timer() {
        let (told, progress) = watch::channel(Progress::default());
        let (beats, mut heard) = tokio::sync::mpsc::unbounded_channel();
        let beating = tokio::spawn(beat(progress, Duration::from_millis(1), move || beats.send(()).unwrap()));
        let silence = |heard: &mut tokio::sync::mpsc::UnboundedReceiver<()>| heard.try_recv().is_err();
        let steps = [
            (0, 0, false),
            (9, 0, false),
            (9, 1, true),
            (9, 5, false),
            (30, 5, true),
            (40, 5, false),
            (40, 6, true),
        ];
        for (turns, answers, is_heard) in steps {
            told.send_replace(Progress { turns, answers });
            if is_heard {
                heard.recv().await.expect("a beat");
            }
            // However long it takes: many times as long as two beats are apart.
            tokio::time::sleep(Duration::from_millis(30)).await;
            assert!(silence(&mut heard), "after {turns} turns and {answers} answers");
        }
        drop(told);
        beating.await.unwrap();
    }

    #[tokio::test]
    async fn progress_without_end_makes_no_more_beats_than_the_watchdog_needs() {
        let (told, progress) = watch::channel(Progress::default());
        let (beats, mut heard) = tokio::sync::mpsc::unbounded_channel();
        let apart = Duration::from_secs(3_600);
        let beating = tokio::spawn(beat(progress, apart, move || beats.send(()).unwrap()));
        for n in 1..1_000 {
            told.send_replace(Progress { turns: n, answers: n });
            tokio::task::yield_now().await;
        }
        heard.recv().await.expect("the first");
        assert!(heard.try_recv().is_err());
        beating.abort();
    }
}
