//! Against a real mosquitto.

use super::mosquitto::{Mosquitto, free_port};
use super::*;
use crate::clock::Clock;
use crate::sources::Inbound;
use std::process::{Command, Stdio};
use std::time::Duration;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::timeout;
use vigil_core::site::Site;

/// Longer than any reconnection of these tests takes on a busy machine.
const PATIENCE: Duration = Duration::from_secs(20);
const HEARTBEAT: &str = "vigil/v1/plant-7/hs-G-1/heartbeat";

/// The agent's client with the pump's end in the hands of the test.
struct Rig {
    handle: MqttHandle,
    pump: mpsc::Receiver<Inbound>,
    task: JoinHandle<Result<(), Stopped>>,
    shutdown: Option<oneshot::Sender<()>>,
    _site: watch::Sender<Arc<Site>>,
}

fn config(port: u16) -> ExternalConfig {
    ExternalConfig {
        host: "127.0.0.1".into(),
        port,
        tls: None,
        username: None,
        password: None,
        client_id: GatewayId::new("gw-1").unwrap(),
        site: SiteId::new("plant-7").unwrap(),
    }
}

impl Rig {
    async fn connected(config: ExternalConfig) -> Self {
        let rig = Self::start(config);
        rig.wait_for(|state| state.connected).await;
        // The subscription is in force once a message of our own has made the round trip behind it.
        rig.handle.publish("vigil/v1/plant-7/alerts", b"{}".to_vec(), false).await.unwrap();
        rig
    }

    fn start(config: ExternalConfig) -> Self {
        let site = crate::simulate::Scenario::sized(1, 60, 1).site().unwrap();
        let (site, sites) = watch::channel(Arc::new(site));
        let (queue, pump) = mpsc::channel(64);
        let broker = ExternalBroker::new(config, Intake::new(sites, queue, Clock::wall()));
        let handle = broker.handle();
        let (shutdown, stop) = oneshot::channel();
        let task = tokio::spawn(broker.run(async move {
            let _ = stop.await;
        }));
        Self { handle, pump, task, shutdown: Some(shutdown), _site: site }
    }

    async fn wait_for(&self, wanted: impl FnMut(&LineState) -> bool) -> LineState {
        let mut states = self.handle.state();
        timeout(PATIENCE, states.wait_for(wanted)).await.expect("in time").unwrap().clone()
    }

    async fn next(&mut self) -> Inbound {
        timeout(PATIENCE, self.pump.recv()).await.expect("a message in time").expect("a source")
    }

    async fn nothing_comes(&mut self) {
        let quiet = timeout(Duration::from_millis(300), self.pump.recv()).await;
        assert!(quiet.is_err(), "{quiet:?}");
    }

    async fn stop(mut self) {
        self.shutdown.take().unwrap().send(()).unwrap();
        assert_eq!(timeout(PATIENCE, self.task).await.expect("in time").unwrap(), Ok(()));
    }
}

fn heartbeat(id: &str) -> Vec<u8> {
    format!(r#"{{"ts":"{}","id":"{id}"}}"#, Clock::wall().now()).into_bytes()
}

/// Who else is at the broker: a line of its own, like a handset's.
async fn handset(port: u16) -> (MqttHandle, JoinHandle<()>) {
    let (handle, mut driver) = line::open(MqttOptions::new("hs-G-1", "127.0.0.1", port));
    let task = tokio::spawn(async move {
        loop {
            driver.next().await;
        }
    });
    timeout(PATIENCE, handle.state().wait_for(|s| s.connected)).await.expect("in time").unwrap();
    (handle, task)
}

#[tokio::test]
async fn a_message_is_acknowledged_when_it_is_stored_and_not_before() {
    let broker = Mosquitto::start("allow_anonymous true\npersistence true\nautosave_interval 1");
    let mut rig = Rig::connected(config(broker.port)).await;
    let (sender, _task) = handset(broker.port).await;
    sender.publish(HEARTBEAT, heartbeat("a"), false).await.unwrap();
    let first = rig.next().await;
    assert_eq!((first.observations.len(), first.refused.len()), (1, 0));
    // Never stored: the receipt stays open while the agent goes away, and the message comes again.
    rig.stop().await;
    drop(first);
    let mut rig = Rig::start(config(broker.port));
    let again = rig.next().await;
    assert_eq!(again.observations.len(), 1);
    again.receipt.send(()).unwrap();
    sender.publish(HEARTBEAT, heartbeat("b"), false).await.unwrap();
    rig.next().await.receipt.send(()).unwrap();
    tokio::time::sleep(Duration::from_millis(200)).await;
    rig.stop().await;
    // Stored: acknowledged, and gone from the broker.
    let mut rig = Rig::start(config(broker.port));
    rig.wait_for(|state| state.connected).await;
    rig.nothing_comes().await;
}

#[tokio::test]
async fn what_cannot_be_stored_is_not_acknowledged_and_comes_again() {
    let broker = Mosquitto::start("allow_anonymous true");
    let mut rig = Rig::connected(config(broker.port)).await;
    let (sender, _task) = handset(broker.port).await;
    sender.publish(HEARTBEAT, heartbeat("a"), false).await.unwrap();
    drop(rig.next().await.receipt);
    let again = rig.next().await;
    assert_eq!(again.observations.len(), 1);
    assert!(rig.handle.state().borrow().connections >= 2, "the broker sends it again on another connection");
    again.receipt.send(()).unwrap();
}

#[tokio::test]
async fn a_broker_that_forgot_the_session_is_subscribed_to_again() {
    let anonymous = "allow_anonymous true";
    let broker = Mosquitto::start(anonymous);
    let mut rig = Rig::connected(config(broker.port)).await;
    let (sender, _task) = handset(broker.port).await;
    sender.publish(HEARTBEAT, heartbeat("a"), false).await.unwrap();
    let unstored = rig.next().await;
    let broker = broker.restart(anonymous);
    rig.wait_for(|state| state.connections == 2 && state.connected).await;
    // The packet id of the old connection must not be acknowledged on the new one.
    unstored.receipt.send(()).unwrap();
    let mut states = sender.state();
    timeout(PATIENCE, states.wait_for(|s| s.connections == 2)).await.expect("in time").unwrap();
    rig.handle.publish("vigil/v1/plant-7/alerts", b"{}".to_vec(), false).await.unwrap();
    sender.publish(HEARTBEAT, heartbeat("b"), false).await.unwrap();
    let fresh = rig.next().await;
    assert_eq!(fresh.observations.len(), 1);
    fresh.receipt.send(()).unwrap();
    drop(broker);
}

#[tokio::test]
async fn a_publish_fails_when_the_connection_breaks_and_the_state_says_why() {
    let mut broker = Mosquitto::start("allow_anonymous true");
    let rig = Rig::connected(config(broker.port)).await;
    broker.stop();
    let state = rig.wait_for(|state| !state.connected && state.last_error.is_some()).await;
    assert_eq!(state.connections, 1);
    let published = rig.handle.publish("vigil/v1/plant-7/alerts", b"{}".to_vec(), false).await;
    assert_eq!(published, Err(NotPublished::Disconnected));
}

#[tokio::test]
async fn its_own_topics_do_not_come_back_as_input() {
    let broker = Mosquitto::start("allow_anonymous true");
    let mut rig = Rig::connected(config(broker.port)).await;
    for topic in ["alerts", "gateway", "hs-G-1/prompt"] {
        let topic = format!("vigil/v1/plant-7/{topic}");
        rig.handle.publish(&topic, b"{}".to_vec(), false).await.unwrap();
    }
    rig.nothing_comes().await;
}

#[tokio::test]
async fn what_is_too_large_is_refused_and_does_not_block_the_rest() {
    let broker = Mosquitto::start("allow_anonymous true");
    let mut rig = Rig::connected(config(broker.port)).await;
    // Above the first limit of the line: the connection breaks, and the next one lets it through.
    let flood = Command::new("mosquitto_pub")
        .args(["-p", &broker.port.to_string(), "-q", "1", "-t", HEARTBEAT, "-s"])
        .stdin(Stdio::piped())
        .spawn();
    let mut flood = flood.expect("mosquitto_pub is needed for this test: install mosquitto-clients");
    std::io::Write::write_all(&mut flood.stdin.take().unwrap(), &vec![b'x'; 2_000_000]).unwrap();
    assert!(flood.wait().unwrap().success());
    let large = rig.next().await;
    assert_eq!(large.refused[0].reason, crate::sources::decode::Reason::TooLarge);
    large.receipt.send(()).unwrap();
    assert!(rig.wait_for(|state| state.connected).await.connections >= 2);
    let (sender, _task) = handset(broker.port).await;
    sender.publish(HEARTBEAT, heartbeat("a"), false).await.unwrap();
    assert_eq!(rig.next().await.observations.len(), 1);
}

#[tokio::test]
async fn many_messages_arrive_in_order_and_are_all_acknowledged() {
    const MESSAGES: usize = 2_000;
    let broker = Mosquitto::start("allow_anonymous true\nmax_inflight_messages 200\nmax_queued_messages 0");
    let mut rig = Rig::connected(config(broker.port)).await;
    let (sender, _task) = handset(broker.port).await;
    let flood = tokio::spawn(async move {
        let sends = (0..MESSAGES).map(|n| sender.publish(HEARTBEAT, heartbeat(&n.to_string()), false));
        futures_util::future::join_all(sends).await.into_iter().filter(Result::is_ok).count()
    });
    let mut receipts = Vec::new();
    for _ in 0..MESSAGES {
        receipts.push(rig.next().await.receipt);
        // A pump that commits in batches.
        if receipts.len() == 20 {
            receipts.drain(..).for_each(|r| r.send(()).unwrap());
        }
    }
    receipts.drain(..).for_each(|r| r.send(()).unwrap());
    assert_eq!(timeout(PATIENCE, flood).await.expect("in time").unwrap(), MESSAGES);
}

#[tokio::test]
async fn the_last_will_says_that_the_gateway_is_gone() {
    let broker = Mosquitto::start("allow_anonymous true");
    let rig = Rig::connected(config(broker.port)).await;
    rig.handle.publish("vigil/v1/plant-7/gateway", b"{\"ok\":true}".to_vec(), true).await.unwrap();
    rig.stop().await;
    tokio::time::sleep(Duration::from_millis(200)).await;
    let port = broker.port.to_string();
    let read = Command::new("mosquitto_sub")
        .args(["-p", &port, "-t", "vigil/v1/plant-7/gateway", "-C", "1", "-W", "5"])
        .output()
        .expect("mosquitto_sub is needed for this test: install mosquitto-clients");
    assert_eq!(String::from_utf8_lossy(&read.stdout).trim(), "offline");
}

#[tokio::test]
async fn a_wrong_password_is_said_and_a_right_one_gets_in() {
    let folder = tempfile::tempdir().unwrap();
    let passwords = folder.path().join("passwd");
    let made = Command::new("mosquitto_passwd")
        .args(["-b", "-c"])
        .arg(&passwords)
        .args(["agent", "right"])
        .status()
        .expect("mosquitto_passwd is needed for this test: install the package mosquitto");
    assert!(made.success());
    let extra = format!("allow_anonymous false\npassword_file {}", passwords.display());
    let broker = Mosquitto::start(&extra);
    let login = |password: &str| ExternalConfig {
        username: Some("agent".into()),
        password: Some(password.into()),
        ..config(broker.port)
    };
    let rig = Rig::start(login("wrong"));
    let state = rig.wait_for(|state| state.last_error.is_some()).await;
    assert!(!state.connected);
    assert!(state.last_error.unwrap().contains("NotAuthorized"));
    Rig::connected(login("right")).await.stop().await;
}

/// A CA, and what it signed for the broker and for the agent, in PEM.
struct Papers {
    ca: String,
    broker: (String, String),
    agent: (String, String),
}

fn papers() -> Papers {
    let mut params = rcgen::CertificateParams::new(vec![]).unwrap();
    params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    params.distinguished_name.push(rcgen::DnType::CommonName, "site ca");
    let key = rcgen::KeyPair::generate().unwrap();
    let ca = params.self_signed(&key).unwrap().pem();
    let issuer = rcgen::Issuer::new(params, key);
    let sign = |name: &str| {
        let key = rcgen::KeyPair::generate().unwrap();
        let params = rcgen::CertificateParams::new(vec![name.to_owned()]).unwrap();
        (params.signed_by(&key, &issuer).unwrap().pem(), key.serialize_pem())
    };
    Papers { ca, broker: sign("127.0.0.1"), agent: sign("gw-1") }
}

fn tls_broker(papers: &Papers) -> Mosquitto {
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str, text: &str| {
        let path = folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        path.display().to_string()
    };
    let extra = format!(
        "allow_anonymous true\ncafile {}\ncertfile {}\nkeyfile {}\nrequire_certificate true",
        file("ca.pem", &papers.ca),
        file("cert.pem", &papers.broker.0),
        file("key.pem", &papers.broker.1),
    );
    Mosquitto::start_in(folder, free_port(), &extra)
}

#[tokio::test]
async fn tls_with_a_private_ca_and_a_client_certificate() {
    let papers = papers();
    let broker = tls_broker(&papers);
    let identity = (papers.agent.0.as_bytes(), papers.agent.1.as_bytes());
    let with = |tls| ExternalConfig { tls: Some(tls), ..config(broker.port) };
    let own = tls::client(Some(papers.ca.as_bytes()), Some(identity)).unwrap();
    Rig::connected(with(own)).await.stop().await;
    let nameless = tls::client(Some(papers.ca.as_bytes()), None).unwrap();
    let rig = Rig::start(with(nameless));
    assert!(!rig.wait_for(|state| state.last_error.is_some()).await.connected);
    let stranger = tls::client(Some(super::tests::papers().ca.as_bytes()), Some(identity)).unwrap();
    let rig = Rig::start(with(stranger));
    let error = rig.wait_for(|state| state.last_error.is_some()).await.last_error.unwrap();
    assert!(error.contains("certificate"), "{error}");
}

#[test]
fn only_prompts_of_this_site_are_its_own() {
    let site = SiteId::new("plant-7").unwrap();
    assert!(is_prompt(&site, "vigil/v1/plant-7/hs-1/prompt"));
    for other in ["vigil/v1/plant-7/prompt", "vigil/v1/plant-8/hs-1/prompt", "vigil/v1/plant-7/hs-1/prompt/x"]
    {
        assert!(!is_prompt(&site, other), "{other}");
    }
}
