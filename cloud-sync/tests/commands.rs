//! The listener against a receiver on a real port: whatever goes wrong, every command is decided once, in order.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on has to stop")]

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{oneshot, watch};
use tokio::task::JoinHandle;
use tokio::time::Instant;
use vigil_cloud_sync::{
    Cadence, Closed, Decided, Given, Inbox, Listener, ListenerState, Origin, Pace, Token, Uplink,
    UplinkConfig,
};
use vigil_core::id::{GatewayId, SiteId, TenantId};
use vigil_core::time::Timestamp;

/// How one poll is answered.
#[derive(Debug, Clone)]
enum Play {
    /// This status with these headers and this body.
    Answer(u16, &'static str, String),
    /// Reads the request and cuts the connection.
    Cut,
    /// Says nothing at all.
    Hang,
}

/// A receiver with commands 1 to `highest`, that follows a script first.
#[derive(Clone)]
struct Receiver {
    url: String,
    script: Arc<Mutex<VecDeque<Play>>>,
    highest: Arc<Mutex<u64>>,
    /// What each poll asked, and when.
    asked: Arc<Mutex<Vec<(u64, u64, Instant)>>>,
}

impl Receiver {
    async fn start(script: Vec<Play>, highest: u64) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/v1", listener.local_addr().unwrap());
        let script = Arc::new(Mutex::new(script.into()));
        let receiver = Self { url, script, highest: Arc::new(Mutex::new(highest)), asked: Arc::default() };
        let own = receiver.clone();
        tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let own = own.clone();
                tokio::spawn(async move { own.serve(stream).await });
            }
        });
        receiver
    }

    async fn serve(&self, mut stream: TcpStream) {
        while let Some((after, wait)) = read_poll(&mut stream).await {
            self.asked.lock().unwrap().push((after, wait, Instant::now()));
            let play = self.script.lock().unwrap().pop_front();
            let (status, headers, body) = match play {
                None => (200, "", given(after + 1..=*self.highest.lock().unwrap())),
                Some(Play::Answer(status, headers, body)) => (status, headers, body),
                Some(Play::Cut) => return,
                Some(Play::Hang) => {
                    tokio::time::sleep(Duration::from_secs(60)).await;
                    return;
                }
            };
            let answer =
                format!("HTTP/1.1 {status} X\r\n{headers}content-length: {}\r\n\r\n{body}", body.len());
            if stream.write_all(answer.as_bytes()).await.is_err() {
                return;
            }
        }
    }

    fn asked(&self) -> Vec<(u64, u64, Instant)> {
        self.asked.lock().unwrap().clone()
    }
}

fn given(numbers: impl Iterator<Item = u64>) -> String {
    let each: Vec<_> =
        numbers.map(|seq| format!(r#"{{"seq":{seq},"id":"c-{seq}","type":"t","data":{{}}}}"#)).collect();
    format!(r#"{{"commands":[{}]}}"#, each.join(","))
}

async fn read_poll(stream: &mut TcpStream) -> Option<(u64, u64)> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.ok()?);
    }
    let head = String::from_utf8(head).unwrap();
    assert!(head.to_lowercase().contains("authorization: bearer secret\r\n"), "{head}");
    let query = head.strip_prefix("GET /v1/gateways/gw-1/commands?after=").unwrap();
    let (after, rest) = query.split_once("&wait=").unwrap();
    let (wait, _) = rest.split_once(' ').unwrap();
    Some((after.parse().unwrap(), wait.parse().unwrap()))
}

/// An inbox in memory.
#[derive(Default)]
struct Tray {
    after: Mutex<u64>,
    decided: Mutex<Vec<u64>>,
}

impl Inbox for Tray {
    async fn acknowledged(&self) -> Result<u64, Closed> {
        Ok(*self.after.lock().unwrap())
    }

    async fn decide(&self, commands: Vec<Given>) -> Result<Decided, Closed> {
        let mut decided = self.decided.lock().unwrap();
        *self.after.lock().unwrap() = commands.last().unwrap().seq;
        let fresh: Vec<u64> = commands.iter().map(|c| c.seq).filter(|seq| !decided.contains(seq)).collect();
        decided.extend(&fresh);
        Ok(Decided { fresh: fresh.len() as u64, refused: 0 })
    }
}

struct Scene {
    receiver: Receiver,
    tray: Arc<Tray>,
    state: watch::Receiver<ListenerState>,
    stop: oneshot::Sender<()>,
    listening: JoinHandle<Result<(), Closed>>,
}

impl Scene {
    async fn begin(script: Vec<Play>, highest: u64) -> Self {
        let receiver = Receiver::start(script, highest).await;
        let origin = Origin {
            tenant: TenantId::new("acme").unwrap(),
            site: SiteId::new("plant-7").unwrap(),
            gateway: GatewayId::new("gw-1").unwrap(),
        };
        let mut config = UplinkConfig::new(&receiver.url, origin, Token::new("secret"));
        config.whole_timeout = Duration::from_millis(500);
        let (tray, (sender, state)) = (Arc::new(Tray::default()), watch::channel(ListenerState::default()));
        let quick = Pace::new(Duration::from_millis(5), Duration::from_millis(50), Duration::from_millis(20));
        let listener = Listener {
            uplink: Uplink::new(config).unwrap(),
            inbox: Arc::clone(&tray),
            state: sender,
            cadence: Cadence::new(quick, 7),
            wait: Duration::from_secs(1),
            now: Arc::new(|| Timestamp::from_millis(1_773_160_000_000)),
        };
        let (stop, stopped) = oneshot::channel::<()>();
        let listening = tokio::spawn(vigil_cloud_sync::listen(listener, async {
            stopped.await.unwrap();
        }));
        Self { receiver, tray, state, stop, listening }
    }

    async fn until(&self, what: &str, met: impl Fn(&Self) -> bool) {
        for _ in 0..3_000 {
            if met(self) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("never came: {what}; {:?}", *self.state.borrow());
    }

    fn decided(&self) -> Vec<u64> {
        self.tray.decided.lock().unwrap().clone()
    }

    /// Stops as the daemon does, and gives the last state.
    async fn end(self) -> ListenerState {
        self.stop.send(()).unwrap();
        self.listening.await.unwrap().unwrap();
        self.state.borrow().clone()
    }
}

fn status(status: u16) -> Play {
    Play::Answer(status, "", "{}".into())
}

fn ok(body: impl Into<String>) -> Play {
    Play::Answer(200, "", body.into())
}

#[tokio::test]
async fn whatever_goes_wrong_every_command_is_decided_once_and_in_order() {
    let script = vec![
        status(500),
        Play::Cut,
        ok("<html>please log in</html>"),
        ok(r#"{"commands":[{"seq":1,"id":"c-1""#),
        ok("x".repeat(1024 * 1024 + 1)),
        Play::Hang,
        Play::Answer(302, "location: http://127.0.0.1:9/\r\n", String::new()),
        status(404),
        ok(given([2, 1].into_iter())),
        status(503),
        ok(given([1, 2, 3].into_iter())),
    ];
    let plays = script.len();
    let scene = Scene::begin(script, 5).await;
    scene.until("the acknowledgement of the last", |s| s.receiver.asked().iter().any(|a| a.0 == 5)).await;
    assert_eq!(scene.decided(), [1, 2, 3, 4, 5]);
    let asked: Vec<u64> = scene.receiver.asked().iter().map(|(after, ..)| *after).collect();
    assert_eq!(
        asked[..plays],
        [0, 0, 0, 0, 0, 0, 0, 0, 0, 2, 2],
        "nothing is acknowledged before it is decided"
    );
    let state = scene.end().await;
    assert_eq!((state.reachable, state.decided, state.attempts), (Some(true), 5, 0));
    assert_eq!(state.last_error, None);
}

#[tokio::test]
async fn the_first_answer_is_not_held_and_nor_is_the_first_after_a_failure() {
    let scene = Scene::begin(vec![ok(given(0..0)), ok(given(1..2)), status(500)], 1).await;
    scene.until("five polls", |s| s.receiver.asked().len() >= 5).await;
    let waits: Vec<u64> = scene.receiver.asked().iter().map(|(_, wait, _)| *wait).collect();
    assert_eq!(waits[..5], [0, 1, 1, 0, 1]);
}

#[tokio::test]
async fn a_receiver_that_holds_nothing_back_is_not_hammered() {
    let again = ok(given([1].into_iter()));
    let scene = Scene::begin(vec![ok(given(0..0)), ok(given(0..0)), again.clone(), again], 0).await;
    scene.until("four polls", |s| s.receiver.asked().len() >= 4).await;
    let times: Vec<Instant> = scene.receiver.asked().iter().map(|(.., at)| *at).collect();
    assert!(times[2] - times[1] >= Duration::from_secs(4), "nothing came: {:?}", times[2] - times[1]);
    assert!(times[3] - times[2] >= Duration::from_millis(150), "something came: {:?}", times[3] - times[2]);
    scene.until("a fifth poll", |s| s.receiver.asked().len() >= 5).await;
    let times: Vec<Instant> = scene.receiver.asked().iter().map(|(.., at)| *at).collect();
    assert!(times[4] - times[3] >= Duration::from_secs(4), "it came again: {:?}", times[4] - times[3]);
    assert_eq!(scene.end().await.decided, 1);
}

#[tokio::test]
async fn a_refused_credential_is_said_and_retry_after_is_obeyed() {
    let script = vec![status(401), Play::Answer(429, "retry-after: 1\r\n", "{}".into())];
    let scene = Scene::begin(script, 1).await;
    scene.until("the refusal", |s| s.state.borrow().unauthorized).await;
    scene.until("the command", |s| s.decided() == [1]).await;
    let times: Vec<Instant> = scene.receiver.asked().iter().map(|(.., at)| *at).collect();
    assert!(times[2] - times[1] >= Duration::from_secs(1), "{:?}", times[2] - times[1]);
    assert!(!scene.end().await.unauthorized);
}

#[tokio::test]
async fn a_receiver_that_counts_anew_is_heard() {
    let scene = Scene::begin(vec![ok(given([500].into_iter())), ok(given([1, 2].into_iter()))], 4).await;
    scene.until("all of them", |s| s.decided() == [500, 1, 2, 3, 4]).await;
    let asked: Vec<u64> = scene.receiver.asked().iter().map(|(after, ..)| *after).collect();
    assert_eq!(asked[..3], [0, 500, 2]);
}
