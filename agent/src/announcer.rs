//! Tells people and machines on site: every alert revision on MQTT, questions to guards, and the gateway's health,
//! retained.
//!
//! An announcement waits in the store until the broker has taken it: a siren hears of an alert that was raised a
//! moment before the power failed.

use crate::bundles::Standing;
use crate::clock::Clock;
use crate::pump::{PumpHandle, Spoken, Stopping, Unstored};
use crate::run::told_to_stop;
use crate::sources::decode::Reason;
use crate::sources::voice::{Speak, Voice};
use crate::store::Announcement;
use serde_json::json;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{Notify, watch};
use vigil_cloud_sync::{Link, LinkView};
use vigil_core::id::GatewayId;
use vigil_core::roster::{DueRuns, due_on};
use vigil_core::rules::welfare::Prompt;
use vigil_core::site::Site;
use vigil_core::time::Timestamp;

/// Announcements taken from the store at once: more than a storm of thirty handsets makes.
const AT_ONCE: usize = 100;
/// A broker that refused, or is not there, is asked again after this.
const PAUSE: Duration = Duration::from_secs(1);
/// How often it is looked whether the uplink is lost: within a minute it is said.
const LOOK_AT_LINK: Duration = Duration::from_secs(5);
/// The store is looked into even if nobody rang.
const LOOK: Duration = Duration::from_secs(10);

/// What the announcer needs.
pub struct Announcer<V = Voice> {
    /// The store.
    pub pump: PumpHandle,
    /// The broker.
    pub voice: V,
    /// Rung when there is something to announce.
    pub wake: Arc<Notify>,
    /// What is to be announced although it could not be stored.
    pub unstored: Unstored,
    /// Whose topics.
    pub site: watch::Receiver<Arc<Site>>,
    /// Which gateway.
    pub gateway: GatewayId,
    /// Whether the operations centre can be reached; `None` without one.
    pub link: Option<Link>,
    /// Whether the receiver has a place for the gateway's health.
    pub takes_health: bool,
    /// The agent's clock.
    pub clock: Clock,
    /// How often the gateway says that it lives.
    pub heartbeat: Duration,
    /// How it stands with site bundles; `None` if none can be taken.
    pub bundle: Option<watch::Receiver<Standing>>,
    /// True when the agent stops.
    pub stopping: watch::Receiver<bool>,
}

impl<V: Speak> Announcer<V> {
    /// Runs until the agent stops.
    pub async fn run(self) -> Result<(), Stopping> {
        tokio::select! {
            biased;
            () = told_to_stop(self.stopping.clone()) => Ok(()),
            ended = self.announce() => ended,
            ended = self.report_health() => ended,
            () = self.tell_unstored() => Err(Stopping),
        }
    }

    async fn announce(&self) -> Result<(), Stopping> {
        loop {
            let prompts = self.pump.next_prompts(AT_ONCE).await?;
            let alerts = self.pump.next_announcements(AT_ONCE).await?;
            let all = prompts.len() + alerts.len();
            let spoken =
                Spoken { prompts: self.ask_guards(prompts).await, alerts: self.tell_alerts(alerts).await };
            let stuck = spoken.prompts.len() + spoken.alerts.len() < all;
            if spoken != Spoken::default() {
                self.voice.settle().await;
                self.pump.announced(spoken).await?;
            }
            if stuck {
                tokio::time::sleep(PAUSE).await;
            } else if all == 0 {
                // Both ends mean the same: look again.
                let _rung_or_not = tokio::time::timeout(LOOK, self.wake.notified()).await;
            }
        }
    }

    /// Announces calls for help that the store does not take. Runs until the agent stops.
    async fn tell_unstored(&self) {
        loop {
            let alert = self.unstored.first().await;
            let topic = format!("vigil/v1/{}/alerts", self.site.borrow().id);
            match self.voice.publish(&topic, alert.into_bytes(), false).await {
                Ok(()) => self.unstored.said(),
                Err(why) => {
                    tracing::debug!(%why, "an alert that is not stored could not be announced yet");
                    tokio::time::sleep(PAUSE).await;
                }
            }
        }
    }

    /// Puts questions to guards; those that are dealt with. One that nobody can answer in time any more is not put.
    async fn ask_guards(&self, prompts: Vec<(u64, Prompt)>) -> Vec<u64> {
        let mut done = Vec::with_capacity(prompts.len());
        for (number, prompt) in prompts {
            if prompt.answer_by > self.clock.now() {
                let topic = format!("vigil/v1/{}/{}/prompt", self.site.borrow().id, prompt.device);
                if let Err(why) = self.voice.publish(&topic, question(&prompt).into_bytes(), false).await {
                    tracing::debug!(%why, "a guard could not be asked yet");
                    break;
                }
            }
            done.push(number);
        }
        done
    }

    /// Announces alert revisions; those that the broker has taken.
    async fn tell_alerts(&self, alerts: Vec<(u64, Announcement)>) -> Vec<u64> {
        let topic = format!("vigil/v1/{}/alerts", self.site.borrow().id);
        let mut taken = Vec::with_capacity(alerts.len());
        for (number, announcement) in alerts {
            if let Err(why) = self.voice.publish(&topic, announcement.payload.into_bytes(), false).await {
                tracing::debug!(%why, "an alert could not be announced on site yet");
                break;
            }
            taken.push(number);
        }
        taken
    }

    async fn report_health(&self) -> Result<(), Stopping> {
        let topic = format!("vigil/v1/{}/gateway", self.site.borrow().id);
        let (mut known, mut today) = (None, Today::default());
        loop {
            let link = self.look_at_link(&mut known);
            let health = self.health(link, &mut today).await?;
            if let Err(why) = self.voice.publish(&topic, health.clone().into_bytes(), true).await {
                tracing::debug!(%why, "the gateway's health could not be announced on site");
            }
            if self.takes_health {
                self.pump.health(health).await?;
            }
            self.rest(known).await;
        }
    }

    /// Until the next heartbeat, or until the link is lost or back.
    async fn rest(&self, known: Option<bool>) {
        let changed = async {
            while self.link.as_ref().map(|link| link.view(self.clock.now()).lost) == known {
                tokio::time::sleep(LOOK_AT_LINK).await;
            }
        };
        // Both ends mean the same: say how it is.
        let _changed_or_not = tokio::time::timeout(self.heartbeat, changed).await;
    }

    fn look_at_link(&self, known: &mut Option<bool>) -> Option<LinkView> {
        let link = self.link.as_ref()?.view(self.clock.now());
        match (known.replace(link.lost), link.lost) {
            (Some(false) | None, true) => {
                let heard_at = link.heard_at.map_or_else(|| "never".to_owned(), |at| at.to_string());
                tracing::warn!(heard_at, "uplink lost: alerts are told on site only, and wait");
            }
            (Some(true), false) => tracing::info!("the uplink is back"),
            (Some(_) | None, _) => {}
        }
        Some(link)
    }

    /// The bundle in use; nothing while the site file is.
    fn bundle_in_use(&self) -> Option<serde_json::Value> {
        let standing = self.bundle.as_ref()?.borrow();
        let in_use = standing.in_use.as_ref()?;
        Some(json!({"version": in_use.version, "on_trial": standing.on_trial}))
    }

    async fn health(&self, link: Option<LinkView>, today: &mut Today) -> Result<String, Stopping> {
        let stock = self.pump.stock().await?;
        let site = Arc::clone(&self.site.borrow());
        let now = self.clock.now();
        let health = json!({
            "gateway": self.gateway,
            "site_name": site.name,
            "timezone": site.timezone.name(),
            "at": now,
            "version": env!("CARGO_PKG_VERSION"),
            "clock": self.clock.view(),
            "uplink_lost": link.map(|link| link.lost),
            "bundle": self.bundle_in_use(),
            "runs_today": today.runs(&site, now),
            "reports_every_secs": self.heartbeat.as_secs(),
            "outbox_waiting": stock.outbox.iter().sum::<usize>(),
            "outbox_dead": stock.marks.dead,
            "store_bytes": stock.bytes,
            "store_outage": self.pump.outage().map(|outage| outage.to_string()),
            "dropped_inputs": stock.dropped,
            "thinned_positions": stock.marks.refused.get(&Reason::NoRoom).copied().unwrap_or(0),
            "records_set_aside": stock.marks.set_aside,
            "journal": { "inputs": stock.head.next_input, "head": stock.head.digest.to_string() },
            "refused_inputs": stock.marks.refused.values().sum::<u64>(),
        });
        Ok(health.to_string())
    }
}

/// The runs of today, counted once for each day and each site file: a heartbeat is made every 30 s.
#[derive(Debug, Default)]
struct Today(Option<(Arc<Site>, DueRuns)>);

impl Today {
    fn runs(&mut self, site: &Arc<Site>, now: Timestamp) -> DueRuns {
        let date = now.local_date(site.timezone);
        match &self.0 {
            Some((of, runs)) if Arc::ptr_eq(of, site) && runs.date == date => *runs,
            Some(_) | None => {
                let runs = due_on(site, date);
                self.0 = Some((Arc::clone(site), runs));
                runs
            }
        }
    }
}

/// The object that a handset shows to its guard.
fn question(prompt: &Prompt) -> String {
    json!({
        "id": format!("{}@{}", prompt.guard, prompt.asked_at),
        "ts": prompt.asked_at,
        "guard": prompt.guard,
        "answer_by": prompt.answer_by,
        "text": "Are you well? Please confirm.",
    })
    .to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    fn site(start: &str) -> Arc<Site> {
        let text = format!(
            "[site]\nid = \"plant-7\"\ntenant = \"acme\"\nclient = \"north\"\nname = \"Plant 7\"\n\
             timezone = \"Asia/Kolkata\"\n[[checkpoints]]\nid = \"gate\"\n[[tours]]\nid = \"round\"\n\
             checkpoints = [\"gate\"]\nstart = [{start}]\ndays = [\"tue\"]\nduration = \"30m\"\n"
        );
        Arc::new(vigil_config::parse_site(Path::new("site.toml"), text.as_bytes()).unwrap())
    }

    #[test]
    fn the_runs_of_today_are_counted_anew_for_another_day_and_another_site_file() {
        let at = |text| Timestamp::parse(text).unwrap();
        let (site_file, longer) = (site(r#""22:00""#), site(r#""00:30", "22:00""#));
        let mut today = Today::default();
        let tuesday = today.runs(&site_file, at("2026-03-10T00:00:00+05:30"));
        assert_eq!((tuesday.date.to_string().as_str(), tuesday.scheduled), ("2026-03-10", 1));
        assert_eq!(today.runs(&site_file, at("2026-03-10T23:59:59+05:30")), tuesday);
        assert_eq!(today.runs(&longer, at("2026-03-10T23:59:59+05:30")).scheduled, 2);
        let wednesday = today.runs(&longer, at("2026-03-11T00:00:00+05:30"));
        assert_eq!((wednesday.date.to_string().as_str(), wednesday.scheduled), ("2026-03-11", 0));
    }
}
