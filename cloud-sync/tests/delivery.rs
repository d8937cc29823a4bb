//! The courier against a receiver on a real port: whatever goes wrong, every event arrives once, in order.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on has to stop")]

mod receiver;

use receiver::{Play, Receiver, Taste};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::sync::{Notify, oneshot, watch};
use tokio::task::JoinHandle;
use vigil_cloud_sync::wire::Producer;
use vigil_cloud_sync::{
    Cadence, Closed, Courier, Event, EventKind, Origin, Outbox, Pace, Token, Uplink, UplinkConfig,
    UplinkState, Way,
};
use vigil_core::id::{GatewayId, SiteId, TenantId};
use vigil_core::time::Timestamp;

/// The contract's order in memory.
#[derive(Default)]
struct Shelf {
    waiting: Mutex<Vec<Event>>,
    dead: Mutex<Vec<(u64, String)>>,
}

impl Outbox for Shelf {
    async fn next_batch(&self, limit: usize) -> Result<Vec<Event>, Closed> {
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
        self.waiting.lock().unwrap().iter_mut().for_each(|event| event.producer.0 += 1);
        Ok(())
    }
}

struct Scene {
    receiver: Receiver,
    shelf: Arc<Shelf>,
    wake: Arc<Notify>,
    state: watch::Receiver<UplinkState>,
    stop: oneshot::Sender<()>,
    courier: JoinHandle<Result<(), Closed>>,
}

fn event(sequence: u64) -> Event {
    Event {
        producer: Producer(1),
        sequence,
        id: format!("e{sequence}"),
        kind: EventKind::Alert,
        subject: "guard:G-7".into(),
        time: Timestamp::from_millis(1_773_160_000_000),
        critical: false,
        data: format!(r#"{{"n":{sequence}}}"#),
    }
}

fn critical(sequence: u64) -> Event {
    Event { critical: true, ..event(sequence) }
}

fn ids(sequences: impl IntoIterator<Item = u64>) -> Vec<String> {
    sequences.into_iter().map(|s| format!("e{s}")).collect()
}

fn uplink(url: &str) -> Uplink {
    let origin = Origin {
        tenant: TenantId::new("acme").unwrap(),
        site: SiteId::new("plant-7").unwrap(),
        gateway: GatewayId::new("gw-1").unwrap(),
    };
    let mut config = UplinkConfig::new(url, origin, Token::new("secret"));
    config.whole_timeout = Duration::from_millis(500);
    Uplink::new(config).unwrap()
}

impl Scene {
    async fn begin(script: Vec<Play>, taste: Taste, events: Vec<Event>) -> Self {
        let quick = Pace::new(Duration::from_millis(5), Duration::from_millis(50), Duration::from_millis(20));
        Self::begin_at(quick, script, taste, events).await
    }

    async fn begin_at(pace: Pace, script: Vec<Play>, taste: Taste, events: Vec<Event>) -> Self {
        let receiver = Receiver::start(script, taste).await;
        let url = receiver.url.clone();
        Self::begin_with(receiver, &url, pace, events)
    }

    /// With nobody at the address.
    async fn begin_towards(url: &str, pace: Pace, events: Vec<Event>) -> Self {
        let elsewhere = Receiver::start(vec![], Taste::default()).await;
        Self::begin_with(elsewhere, url, pace, events)
    }

    fn begin_with(receiver: Receiver, url: &str, pace: Pace, events: Vec<Event>) -> Self {
        let shelf = Arc::new(Shelf { waiting: Mutex::new(events), dead: Mutex::default() });
        let (wake, (sender, state)) = (Arc::new(Notify::new()), watch::channel(UplinkState::default()));
        let courier = Courier {
            uplink: uplink(url),
            outbox: Arc::clone(&shelf),
            wake: Arc::clone(&wake),
            state: sender,
            cadence: Cadence::new(pace, 7),
            now: Arc::new(|| Timestamp::from_millis(1_773_160_000_000)),
        };
        let (stop, stopped) = oneshot::channel::<()>();
        let courier = tokio::spawn(vigil_cloud_sync::run(courier, async {
            stopped.await.unwrap();
        }));
        Self { receiver, shelf, wake, state, stop, courier }
    }

    fn put(&self, event: Event) {
        self.shelf.waiting.lock().unwrap().push(event);
        self.wake.notify_one();
    }

    async fn until(&self, what: &str, met: impl Fn(&Self) -> bool) {
        for _ in 0..1_000 {
            if met(self) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("never came: {what}; {:?}", *self.state.borrow());
    }

    async fn until_empty(&self) {
        self.until("an empty outbox", |s| s.shelf.waiting.lock().unwrap().is_empty()).await;
    }

    /// Stops as the daemon does, and gives the last state.
    async fn end(self) -> UplinkState {
        self.stop.send(()).unwrap();
        self.courier.await.unwrap().unwrap();
        self.state.borrow().clone()
    }
}

#[tokio::test]
async fn every_event_arrives_once_and_in_order_whatever_goes_wrong() {
    let script = vec![
        Play::Status(503, ""),
        Play::Cut,
        Play::StoreThenCut,
        Play::StoreThenStall,
        Play::Flood,
        Play::Page,
        Play::Status(404, ""),
        Play::Status(302, "location: http://127.0.0.1:9/\r\n"),
    ];
    let plays = script.len();
    let scene = Scene::begin(script, Taste::default(), (1..=20).map(event).collect()).await;
    scene.until_empty().await;
    assert_eq!(scene.receiver.stored(), ids(1..=20));
    assert_eq!(scene.receiver.requests(), plays + 1);
    let bodies = scene.receiver.bodies.lock().unwrap().clone();
    assert!(bodies.iter().all(|b| *b == bodies[0]), "a second sending is the same to the byte");
    let state = scene.end().await;
    assert_eq!((state.delivered, state.duplicates, state.dead), (0, 20, 0));
    assert_eq!((state.reachable, state.attempts, state.last_error), (Some(true), 0, None));
}

#[tokio::test]
async fn retry_after_is_obeyed_even_for_a_critical_event() {
    let script = vec![Play::Status(429, "retry-after: 1\r\n")];
    let scene = Scene::begin(script, Taste::default(), vec![event(1)]).await;
    scene.until("the refusal", |s| s.receiver.requests() == 1).await;
    scene.put(critical(2));
    scene.until_empty().await;
    let times = scene.receiver.times.lock().unwrap().clone();
    assert!(times[1] - times[0] >= Duration::from_secs(1), "{:?}", times[1] - times[0]);
    assert_eq!(scene.receiver.stored(), ids([2, 1]));
}

#[tokio::test]
async fn a_critical_event_shortens_the_wait_and_goes_first() {
    let pace = Pace::new(Duration::from_secs(3_000), Duration::from_secs(3_000), Duration::from_secs(3_000));
    let slow = Scene::begin_at(pace, vec![Play::Cut], Taste::default(), vec![event(1)]).await;
    slow.until("a failure", |s| s.state.borrow().attempts == 1).await;
    slow.put(critical(2));
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert_eq!(slow.receiver.requests(), 1, "the cap is the cap, also for a critical event");

    let pace = Pace::new(Duration::from_millis(1), Duration::from_secs(3_000), Duration::from_millis(20));
    let script = vec![Play::Status(401, "")];
    let scene = Scene::begin_at(pace, script, Taste::default(), vec![event(1)]).await;
    scene.until("the refusal", |s| s.state.borrow().unauthorized).await;
    scene.put(event(3));
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert_eq!(scene.receiver.requests(), 1, "an ordinary event waits with the others");
    scene.put(critical(2));
    scene.until_empty().await;
    assert_eq!(scene.receiver.stored(), ids([2, 1, 3]));
}

#[tokio::test]
async fn a_refused_credential_keeps_everything_and_says_so() {
    let script = vec![Play::Status(401, ""), Play::Status(403, "")];
    let scene = Scene::begin(script, Taste::default(), vec![event(1), event(2)]).await;
    scene.until("the refusal", |s| s.state.borrow().unauthorized).await;
    scene.until_empty().await;
    assert_eq!(scene.receiver.stored(), ids([1, 2]));
    let state = scene.end().await;
    assert!(!state.unauthorized && state.dead == 0);
}

#[tokio::test]
async fn a_rejected_event_is_a_dead_letter_with_its_reason() {
    let taste = Taste { rejects: ids([2]).into_iter().collect(), ..Taste::default() };
    let unsendable = Event { data: "no json".into(), ..event(4) };
    let scene = Scene::begin(vec![], taste, vec![event(1), event(2), event(3), unsendable]).await;
    scene.until_empty().await;
    assert_eq!(scene.receiver.stored(), ids([1, 3]));
    let dead = scene.shelf.dead.lock().unwrap().clone();
    assert_eq!(dead[0], (2, "not to my taste".to_owned()));
    assert!(dead[1].0 == 4 && dead[1].1.starts_with("its data is no JSON"), "{dead:?}");
    let state = scene.end().await;
    assert_eq!((state.delivered, state.dead), (2, 2));
}

#[tokio::test]
async fn one_poisonous_event_blocks_no_other() {
    let taste = Taste { poison: ids([13]).into_iter().collect(), ..Taste::default() };
    let scene = Scene::begin(vec![], taste, (1..=40).map(event).collect()).await;
    scene.until_empty().await;
    assert_eq!(scene.receiver.stored(), ids((1..=40).filter(|s| *s != 13)));
    let dead = scene.shelf.dead.lock().unwrap().clone();
    assert!(dead.len() == 1 && dead[0].0 == 13 && dead[0].1.contains("poison"), "{dead:?}");
    assert!(scene.receiver.requests() < 25, "{}", scene.receiver.requests());
}

#[tokio::test]
async fn a_batch_that_is_too_large_is_split() {
    let taste = Taste { max_events: Some(3), ..Taste::default() };
    let scene = Scene::begin(vec![], taste, (1..=20).map(event).collect()).await;
    scene.until_empty().await;
    assert_eq!(scene.receiver.stored(), ids(1..=20));
    assert!(scene.shelf.dead.lock().unwrap().is_empty());
}

#[tokio::test]
async fn new_work_wakes_an_idle_courier() {
    let scene = Scene::begin(vec![], Taste::default(), vec![]).await;
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert_eq!(scene.receiver.requests(), 0);
    scene.put(event(1));
    scene.until_empty().await;
    assert_eq!(scene.receiver.stored(), ids([1]));
}

#[tokio::test]
async fn a_receiver_that_is_not_there_is_told() {
    let verdict = uplink("http://127.0.0.1:1/v1").deliver(&[event(1)]).await;
    let shown = format!("{verdict:?}");
    assert!(shown.contains("Connection refused") && !shown.contains("secret"), "{shown}");
}

#[tokio::test]
async fn history_goes_at_a_bounded_rate_and_what_is_critical_does_not_wait_behind_it() {
    let scene = Scene::begin(vec![], Taste::default(), (1..=1_501).map(event).collect()).await;
    let stored = |scene: &Scene| scene.receiver.stored.lock().unwrap().len();
    scene.until("the first batch", |s| stored(s) >= 500).await;
    scene.put(critical(2_000));
    scene.until_empty().await;
    let order = scene.receiver.stored.lock().unwrap().clone();
    let at = order.iter().position(|id| id == "e2000").unwrap();
    assert!(at % 500 == 0 && at < 1_500, "at the head of a batch, before the end of history: {at}");
    let times = scene.receiver.times.lock().unwrap().clone();
    let whole = *times.last().unwrap() - times[0];
    assert!(
        whole >= Duration::from_millis(450),
        "a pause behind each full batch in which nothing is CRITICAL: {whole:?}"
    );
    scene.end().await;
}

#[tokio::test]
async fn a_critical_event_goes_out_soon_after_the_receiver_is_there_again() {
    let long = Duration::from_secs(24 * 3_600);
    let pace = Pace::new(long, long, long);
    // The address of a receiver that is gone.
    let (url, addr) = {
        let gone = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let addr = gone.local_addr().unwrap();
        (format!("http://{addr}/v1"), addr)
    };
    let mut scene = Scene::begin_towards(&url, pace, vec![event(1)]).await;
    scene.until("a failure", |s| s.state.borrow().attempts == 1).await;
    let wait = scene.state.borrow().next_attempt_at.unwrap();
    assert!(
        wait.since(scene.state.borrow().last_error_at.unwrap()).millis() > 60_000,
        "a long wait is drawn"
    );
    scene.put(critical(2));
    tokio::time::sleep(Duration::from_secs(5)).await;
    assert_eq!(scene.state.borrow().attempts, 1, "nobody is there");
    scene.receiver = Receiver::start_at(addr, vec![], Taste::default()).await;
    scene.until_empty().await;
    assert_eq!(scene.receiver.stored(), ids([2, 1]));
}
