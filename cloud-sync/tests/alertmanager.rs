//! The courier against something that answers as an Alertmanager does: what stands is kept alive, what is bad spoils nothing
//! else, and nobody in danger waits behind what was said before.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on has to stop")]

mod pager;

use pager::{Mood, Pager};
use serde_json::Value;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::sync::{Notify, oneshot, watch};
use tokio::task::JoinHandle;
use vigil_cloud_sync::wire::Producer;
use vigil_cloud_sync::{
    Alertmanager, Book, Cadence, Closed, Courier, Event, EventKind, Origin, Outbox, Pace, Token,
    UplinkConfig, UplinkState,
};
use vigil_core::alert::{Alert, AlertId, Evidence, Rule, Severity, Status, Subject, Verification};
use vigil_core::evidence::SafetyEvidence;
use vigil_core::id::{DeviceId, GatewayId, GuardId, SiteId, TenantId};
use vigil_core::time::{Span, Timestamp};

/// What stands is said again every 600 ms, and believed for three seconds: a `Date` is cut to the second.
const HEARTBEAT: Duration = Duration::from_millis(300);

fn at(secs: i64) -> Timestamp {
    Timestamp::from_millis(1_773_160_000_000) + Span::from_secs(secs)
}

/// The store: its alerts as they are, and what waits.
#[derive(Default)]
struct Store {
    alerts: Mutex<Vec<Alert>>,
    waiting: Mutex<Vec<Event>>,
    dead: Mutex<Vec<(u64, String)>>,
    out_of_order: Mutex<bool>,
}

impl Outbox for Store {
    async fn next_batch(&self, limit: usize) -> Result<Vec<Event>, Closed> {
        if *self.out_of_order.lock().unwrap() {
            return std::future::pending().await;
        }
        let mut events = self.waiting.lock().unwrap().clone();
        events.sort_by_key(|e| (!e.critical, e.kind, e.sequence));
        events.truncate(limit);
        Ok(events)
    }

    async fn settle(&self, stored: Vec<u64>, dead: Vec<(u64, String)>) -> Result<(), Closed> {
        let gone = |s: u64| stored.contains(&s) || dead.iter().any(|(d, _)| *d == s);
        self.waiting.lock().unwrap().retain(|e| !gone(e.sequence));
        self.dead.lock().unwrap().extend(dead);
        Ok(())
    }

    async fn disown(&self) -> Result<(), Closed> {
        Ok(())
    }
}

impl Book for Store {
    async fn standing(&self) -> Result<Vec<Alert>, Closed> {
        Ok(self.alerts.lock().unwrap().iter().filter(|a| a.is_open()).cloned().collect())
    }

    async fn alerts(&self, ids: Vec<AlertId>) -> Result<Vec<Alert>, Closed> {
        Ok(self.alerts.lock().unwrap().iter().filter(|a| ids.contains(&a.id)).cloned().collect())
    }
}

struct Scene {
    pager: Pager,
    store: Arc<Store>,
    wake: Arc<Notify>,
    state: watch::Receiver<UplinkState>,
    stop: oneshot::Sender<()>,
    courier: JoinHandle<Result<(), Closed>>,
}

fn origin() -> Origin {
    Origin {
        tenant: TenantId::new("acme").unwrap(),
        site: SiteId::new("plant-7").unwrap(),
        gateway: GatewayId::new("gw-1").unwrap(),
    }
}

/// A call for help of guard G-`n`.
fn alert(n: usize) -> Alert {
    let guard = GuardId::new(&format!("G-{n}")).unwrap();
    let subject = Subject::Guard(guard.clone());
    let device = DeviceId::new("hs-1").unwrap();
    Alert {
        id: AlertId::of(&origin().site, Rule::Sos, &subject, at(0)),
        revision: 1,
        site: origin().site,
        rule: Rule::Sos,
        severity: Severity::High,
        status: Status::Detected,
        subject,
        guard: Some(guard),
        detected_at: at(0),
        updated_at: at(0),
        cleared_at: None,
        escalated: false,
        summary: format!("guard {n} calls for help"),
        evidence: Evidence::Safety(SafetyEvidence { device, guard: None, note: None, last_position: None }),
        verification: Verification::NONE,
        history: vec![],
    }
}

/// The next revision of it.
fn revised(alert: &Alert, change: impl FnOnce(&mut Alert)) -> Alert {
    let mut alert = Alert { revision: alert.revision + 1, updated_at: at(60), ..alert.clone() };
    change(&mut alert);
    alert
}

fn event(sequence: u64, alert: &Alert) -> Event {
    Event {
        producer: Producer(1),
        sequence,
        id: format!("{}.{}", alert.id, alert.revision),
        kind: EventKind::Alert,
        subject: alert.subject.to_string(),
        time: alert.updated_at,
        critical: alert.severity == Severity::Critical,
        data: "{}".into(),
    }
}

fn severity(posted: &Value) -> &str {
    posted["labels"]["severity"].as_str().unwrap()
}

fn guard(posted: &Value) -> &str {
    posted["labels"]["guard"].as_str().unwrap()
}

fn instant(posted: &Value, name: &str) -> Timestamp {
    Timestamp::parse(posted[name].as_str().unwrap()).unwrap()
}

impl Scene {
    async fn begin() -> Self {
        Self::begin_with(Store::default()).await
    }

    async fn begin_with(store: Store) -> Self {
        Self::begin_at(HEARTBEAT, store).await
    }

    async fn begin_at(heartbeat: Duration, store: Store) -> Self {
        let pager = Pager::start().await;
        let (store, wake) = (Arc::new(store), Arc::new(Notify::new()));
        let mut config = UplinkConfig::new(&pager.url, origin(), Token::new("secret"));
        config.whole_timeout = Duration::from_secs(20);
        let now: Arc<dyn Fn() -> Timestamp + Send + Sync> = Arc::new(|| at(0));
        let uplink = Alertmanager::new(config, heartbeat, Arc::clone(&store), Arc::clone(&now)).unwrap();
        let (sender, state) = watch::channel(UplinkState::default());
        let pace = Pace::new(Duration::from_millis(5), Duration::from_millis(50), Duration::from_millis(20));
        let courier = Courier {
            uplink,
            outbox: Arc::clone(&store),
            wake: Arc::clone(&wake),
            state: sender,
            cadence: Cadence::new(pace, 1),
            now,
        };
        let (stop, stopped) = oneshot::channel::<()>();
        let courier = tokio::spawn(vigil_cloud_sync::run(courier, async {
            stopped.await.unwrap();
        }));
        Self { pager, store, wake, state, stop, courier }
    }

    /// One commit: the alert as it is now, and the event that tells of it.
    fn commit(&self, sequence: u64, alert: &Alert) {
        let mut alerts = self.store.alerts.lock().unwrap();
        alerts.retain(|known| known.id != alert.id);
        alerts.push(alert.clone());
        drop(alerts);
        self.store.waiting.lock().unwrap().push(event(sequence, alert));
        self.wake.notify_one();
    }

    async fn until(&self, what: &str, met: impl Fn(&Self) -> bool) {
        for _ in 0..1_000 {
            if met(self) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("never came: {what}; {:?}; {:?}", *self.state.borrow(), self.pager.posts());
    }

    async fn until_empty(&self) {
        self.until("an empty outbox", |s| s.store.waiting.lock().unwrap().is_empty()).await;
    }

    /// What the receiver heard of this guard, in order.
    fn heard_of(&self, name: &str) -> Vec<Value> {
        self.pager.posts().concat().into_iter().filter(|posted| guard(posted) == name).collect()
    }

    async fn end(self) -> UplinkState {
        self.stop.send(()).unwrap();
        self.courier.await.unwrap().unwrap();
        self.state.borrow().clone()
    }
}

#[tokio::test]
async fn what_stands_is_said_again_until_it_is_over() {
    let scene = Scene::begin().await;
    let first = alert(7);
    scene.commit(1, &first);
    scene.until("three times", |s| s.heard_of("G-7").len() >= 3).await;
    assert!(scene.pager.posts()[0].is_empty(), "before anything is said that has an end, the time is asked");
    for posted in scene.heard_of("G-7") {
        let life = instant(&posted, "endsAt").since(instant(&scene.heard_of("G-7")[0], "endsAt"));
        assert!(life >= Span::default() && instant(&posted, "endsAt") > Pager::clock(), "{posted}");
        assert_eq!(instant(&posted, "startsAt"), at(0));
    }
    scene.commit(2, &revised(&first, |alert| alert.cleared_at = Some(at(50))));
    scene.until_empty().await;
    let told = scene.heard_of("G-7");
    assert_eq!(instant(told.last().unwrap(), "endsAt"), at(50));
    let beats = scene.pager.posts().len();
    scene.until("some heartbeats", |s| s.pager.posts().len() > beats + 4).await;
    assert_eq!(scene.heard_of("G-7").len(), told.len(), "what is over is not said again");
    let state = scene.end().await;
    assert_eq!((state.delivered, state.duplicates, state.dead), (2, 0, 0));
}

#[tokio::test]
async fn of_all_revisions_that_wait_only_the_last_word_is_said() {
    let first = alert(7);
    let worse = revised(&first, |alert| alert.severity = Severity::Critical);
    let store = Store::default();
    *store.alerts.lock().unwrap() = vec![worse.clone()];
    *store.waiting.lock().unwrap() = vec![event(1, &first), event(2, &worse)];
    let scene = Scene::begin_with(store).await;
    scene.until_empty().await;
    let told = scene.heard_of("G-7");
    assert_eq!(told.iter().map(severity).collect::<Vec<_>>(), ["critical"], "{told:?}");
    let state = scene.end().await;
    assert_eq!((state.delivered, state.duplicates), (1, 1));
}

#[tokio::test]
async fn an_alert_that_got_worse_takes_its_own_place_in_one_post() {
    let scene = Scene::begin().await;
    let first = alert(7);
    scene.commit(1, &first);
    scene.until_empty().await;
    scene.commit(2, &revised(&first, |alert| alert.severity = Severity::Critical));
    scene.until_empty().await;
    let posts = scene.pager.posts();
    let changed = posts.iter().find(|post| post.iter().any(|p| severity(p) == "critical")).unwrap();
    assert_eq!(changed.iter().map(severity).collect::<Vec<_>>(), ["high", "critical"]);
    assert_eq!(instant(&changed[0], "endsAt"), at(60), "the revision that changed it ended the other");
    assert!(instant(&changed[1], "endsAt") > Pager::clock());
    let after = posts.iter().skip_while(|post| *post != changed).skip(1);
    assert!(after.flatten().all(|posted| severity(posted) == "critical"), "{posts:?}");
    scene.end().await;
}

#[tokio::test]
async fn a_bad_alert_is_a_dead_letter_and_spoils_no_other() {
    let store = Store::default();
    let all: Vec<Alert> = (1..=40).map(alert).collect();
    *store.waiting.lock().unwrap() = all.iter().zip(1..).map(|(alert, n)| event(n, alert)).collect();
    *store.alerts.lock().unwrap() = all;
    let scene = Scene::begin_with(store).await;
    scene.pager.set(Mood::Poisoned("G-13"));
    scene.until_empty().await;
    let dead = scene.store.dead.lock().unwrap().clone();
    assert!(dead.len() == 1 && dead[0].0 == 13 && dead[0].1.contains("bad label"), "{dead:?}");
    for n in (1..=40).filter(|n| *n != 13) {
        assert!(!scene.heard_of(&format!("G-{n}")).is_empty(), "G-{n}");
    }
    let (refused, beats) = (scene.pager.refused(), scene.pager.posts().len());
    scene.until("some heartbeats", |s| s.pager.posts().len() > beats + 6).await;
    assert_eq!(scene.pager.refused(), refused, "it is not tried again before it changes");
    assert_eq!(scene.end().await.dead, 1);
}

#[tokio::test]
async fn after_a_start_what_stands_is_said_and_a_bad_one_among_it_is_found() {
    let store = Store::default();
    *store.alerts.lock().unwrap() = (1..=60).map(alert).collect();
    let scene = Scene::begin_with(store).await;
    scene.pager.set(Mood::Poisoned("G-13"));
    let all = |s: &Scene| (1..=60).filter(|n| *n != 13).all(|n| !s.heard_of(&format!("G-{n}")).is_empty());
    scene.until("all but the bad one", all).await;
    assert!(scene.pager.posts().iter().all(|post| post.len() <= 50));
    let state = scene.end().await;
    assert_eq!((state.dead, state.reachable), (0, Some(true)), "nothing of it waited");
}

#[tokio::test]
async fn nobody_in_danger_waits_behind_what_was_said_before() {
    // A third of ten heartbeats, five seconds, may pass without an answer.
    let scene = Scene::begin_at(Duration::from_millis(1_500), Store::default()).await;
    scene.commit(1, &alert(1));
    scene.until_empty().await;
    scene.pager.set(Mood::Stalling("G-1"));
    scene.until("a post that gets no answer", |s| s.pager.stalled() == 1).await;
    scene.commit(2, &revised(&alert(2), |alert| alert.severity = Severity::Critical));
    let began = tokio::time::Instant::now();
    scene.until_empty().await;
    assert!(began.elapsed() < Duration::from_millis(2_500), "{:?}", began.elapsed());
    assert_eq!(scene.heard_of("G-2").len(), 1);
    scene.end().await;
}

#[tokio::test]
async fn a_line_that_hangs_is_given_up_in_time_to_say_it_again() {
    let scene = Scene::begin().await;
    scene.commit(1, &alert(1));
    scene.until_empty().await;
    scene.pager.set(Mood::Stalling("G-1"));
    scene.until("posts that get no answer", |s| s.pager.stalled() == 2).await;
    let told = scene.heard_of("G-1").len();
    scene.pager.set(Mood::Well);
    scene.until("it is said again", |s| s.heard_of("G-1").len() > told).await;
    scene.end().await;
}

#[tokio::test]
async fn a_page_of_a_guest_network_takes_nothing() {
    let scene = Scene::begin().await;
    scene.pager.set(Mood::Page);
    scene.commit(1, &alert(1));
    scene.until("some attempts", |s| s.state.borrow().attempts > 2).await;
    assert_eq!(scene.store.waiting.lock().unwrap().len(), 1);
    let why = scene.state.borrow().last_error.clone().unwrap();
    assert_eq!(why, "the answer is not that of an Alertmanager");
    scene.pager.set(Mood::Well);
    scene.until_empty().await;
    scene.end().await;
}

#[tokio::test]
async fn what_it_has_no_place_for_stays_here_and_is_counted() {
    let scene = Scene::begin().await;
    let tour = |sequence| Event { kind: EventKind::Tour, ..event(sequence, &alert(1)) };
    scene.store.waiting.lock().unwrap().extend((1..=7).map(tour));
    scene.commit(8, &alert(1));
    scene.until_empty().await;
    scene.until("its alert", |s| s.state.borrow().delivered == 1).await;
    assert_eq!(scene.end().await.kept_here, 7);
}

#[tokio::test]
async fn where_the_receiver_s_clock_shows_something_else_its_own_counts() {
    let scene = Scene::begin().await;
    scene.commit(1, &alert(1));
    scene.until_empty().await;
    // Somebody sets it a day forward: all that stands would have been over.
    scene.pager.set_clock(Span::from_hours(24));
    let tomorrow = Pager::clock() + Span::from_hours(23);
    scene
        .until("an end on the other clock", |s| {
            instant(s.heard_of("G-1").last().unwrap(), "endsAt") > tomorrow
        })
        .await;
    scene.end().await;
}

#[tokio::test]
async fn while_the_store_is_out_of_order_what_stands_is_kept_alive() {
    let scene = Scene::begin().await;
    scene.commit(1, &alert(1));
    scene.until_empty().await;
    *scene.store.out_of_order.lock().unwrap() = true;
    scene.wake.notify_one();
    // Five seconds of silence tell that it is.
    let told = scene.heard_of("G-1").len();
    scene.until("it is said again", |s| s.heard_of("G-1").len() > told + 1).await;
    scene.end().await;
}
