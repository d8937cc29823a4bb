//! A whole night into a real Alertmanager: nine hours of a site in which things go wrong pass in little more than a minute, and whoever
//! is paged hears of every alert when it begins and when it is over, once each.

use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use tokio::runtime::Runtime;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use vigil_agent::clock::Clock;
use vigil_agent::run::Agent;
use vigil_agent::setup::{Setup, SourceSetup, UplinkSetup};
use vigil_agent::simulate::{Behaviour, Night, Pace, Scenario, Target, publish};
use vigil_agent::sources::broker;
use vigil_agent::store::Masters;
use vigil_cloud_sync::{Origin, Token, UplinkConfig};
use vigil_core::id::GatewayId;
use vigil_core::time::Span;
use vigil_tests::house::{Alertmanager, PATIENCE, eventually, json as read, post, until};

/// Night seconds in a second.
const SPEED: u32 = 450;
/// What stands is believed for ten of these: half a minute, and the guard who falls still lies there for most of one.
const HEARTBEAT: Duration = Duration::from_secs(3);
/// The Alertmanager stops at midnight.
const STOPS: Span = Span::from_mins(180);
/// While it is away, and after long enough for a slow machine to stop it, a handset dies and comes back, and a guard calls for help.
const DIES: Span = Span::from_mins(260);
const COMES_BACK: Span = Span::from_mins(270);
const CALLS: Span = Span::from_mins(280);

/// The night of the demo, in which a tour is missed and a guard falls still, and more.
fn scenario() -> Scenario {
    let mut night = Scenario::demo();
    let mut add = |guard: usize, behaviour| night.guards[guard].behaviours.push(behaviour);
    add(1, Behaviour::SendsSos { at: CALLS });
    add(4, Behaviour::SendsSos { at: Span::from_mins(100) });
    add(4, Behaviour::HandsetDies { at: Span::from_mins(400), back: None });
    add(5, Behaviour::HandsetDies { at: DIES, back: Some(COMES_BACK) });
    night
}

/// What the rules find in it: rule, subject, severity, which is higher in the deep night.
const FOUND: [[&str; 3]; 8] = [
    ["device_silent", "device:hs-G-4", "MEDIUM"],
    ["device_silent", "device:hs-G-5", "HIGH"],
    ["device_silent", "device:hs-G-6", "HIGH"],
    ["inactivity", "guard:G-3", "CRITICAL"],
    ["sos", "guard:G-2", "CRITICAL"],
    ["sos", "guard:G-5", "CRITICAL"],
    ["tour_at_risk", "run:perimeter@2026-03-10T15:45:00.000Z", "LOW"],
    ["tour_missed", "run:perimeter@2026-03-10T15:45:00.000Z", "HIGH"],
];

/// An agent of this process, with the clock of the night.
struct Gateway {
    runtime: Runtime,
    clock: Clock,
    page: SocketAddr,
    mqtt: SocketAddr,
    stop: oneshot::Sender<()>,
    running: JoinHandle<()>,
}

impl Gateway {
    fn start(scenario: &Scenario, folder: &Path, receiver: &str) -> Self {
        let site = Arc::new(scenario.site().unwrap());
        let gateway = GatewayId::new("gw-1").unwrap();
        let origin = Origin { tenant: site.tenant.clone(), site: site.id.clone(), gateway: gateway.clone() };
        let anywhere = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        let broker = broker::BrokerConfig {
            listen: anywhere,
            tls: None,
            password_file: None,
            allow_anonymous: true,
            limits: broker::Limits::default(),
        };
        let setup = Setup {
            gateway,
            site,
            data_dir: folder.to_owned(),
            source: SourceSetup::Embedded(Box::new(broker)),
            serial: vec![],
            uplink: Some(UplinkSetup::Alertmanager(UplinkConfig::new(receiver, origin, Token::new("-")))),
            heartbeat: HEARTBEAT,
            http_listen: anywhere,
            retention: Span::from_hours(72),
            max_bytes: 256 * 1024 * 1024,
            masters: Masters::default(),
            bundles: None,
        };
        let runtime = Runtime::new().unwrap();
        let clock = Clock::scaled(scenario.starts_at - Span::from_mins(1), SPEED);
        let agent = runtime.block_on(Agent::start(setup, clock.clone())).unwrap();
        let (page, mqtt) = (agent.http_addr(), agent.mqtt_addr().unwrap());
        let (stop, stopped) = oneshot::channel::<()>();
        let running = runtime.spawn(async { agent.run(async { drop(stopped.await) }).await.unwrap() });
        Self { runtime, clock, page, mqtt, stop, running }
    }

    /// The guards walk; all of it is over when the night is.
    fn walk(&self, scenario: &Scenario) -> JoinHandle<()> {
        let target = Target {
            host: self.mqtt.ip().to_string(),
            port: self.mqtt.port(),
            tls: None,
            password: Arc::new(|_| None),
        };
        let (night, pace) = (Night::of(scenario), Pace::Clocked(self.clock.clone()));
        self.runtime.spawn(async move {
            let counts = publish(night, &target, &pace).await;
            assert_eq!(counts.published, counts.acked, "the broker took all of the night");
        })
    }

    fn alerts(&self) -> Vec<Value> {
        read(self.page, "/api/alerts").as_array().cloned().unwrap()
    }

    fn stands(&self, rule: &str, subject: &str) -> Option<bool> {
        let alerts = self.alerts();
        let alert = alerts.iter().find(|a| a["rule"] == rule && a["subject"] == subject);
        alert.map(is_open)
    }

    fn close(&self, alert: &Value, status: &str) {
        let step = json!({"status": status, "by": "Asha"});
        let path = format!("/api/v1/alerts/{}/status", alert["id"].as_str().unwrap());
        let (code, answer) = post(self.page, &path, &step).unwrap();
        assert_eq!(code, 200, "{answer}");
    }

    fn end(self) {
        self.stop.send(()).unwrap();
        self.runtime.block_on(self.running).unwrap();
    }
}

fn is_open(alert: &Value) -> bool {
    alert["cleared_at"].is_null() && !matches!(alert["status"].as_str(), Some("RESOLVED" | "FALSE_POSITIVE"))
}

fn id_of(alert: &Value) -> String {
    alert["id"].as_str().unwrap().to_owned()
}

/// What stands there is what stands here.
fn agree(what: &str, gateway: &Gateway, alertmanager: &Alertmanager) {
    eventually(what, PATIENCE, || {
        let here: BTreeSet<_> = gateway.alerts().iter().filter(|a| is_open(a)).map(id_of).collect();
        let there = alertmanager.alerts();
        let ids: BTreeSet<_> =
            there.iter().map(|a| a["labels"]["alert_id"].as_str().unwrap().to_owned()).collect();
        if here == ids && there.len() == ids.len() {
            Ok(())
        } else {
            Err(format!("here {here:?}, there {there:#?}"))
        }
    });
}

#[test]
fn everybody_hears_of_a_whole_night_once() {
    let (mut alertmanager, folder, scenario) =
        (Alertmanager::start(), tempfile::tempdir().unwrap(), scenario());
    let gateway = Gateway::start(&scenario, folder.path(), &alertmanager.url());
    let night = gateway.walk(&scenario);

    let until_night = |span| std::thread::sleep(gateway.clock.until(scenario.starts_at + span));
    until_night(STOPS);
    agree("at midnight", &gateway, &alertmanager);
    alertmanager.stop();
    assert!(gateway.clock.now() < scenario.starts_at + DIES, "it stopped in time");
    until("a handset is silent", || gateway.stands("device_silent", "device:hs-G-6").is_some());
    until("and back", || gateway.stands("device_silent", "device:hs-G-6") == Some(false));
    until("a guard calls", || gateway.stands("sos", "guard:G-2") == Some(true));
    alertmanager.start_again();
    agree("after an outage", &gateway, &alertmanager);
    gateway.runtime.block_on(night).unwrap();
    until("the guard who lay there is relieved", || gateway.stands("inactivity", "guard:G-3") == Some(false));
    agree("in the morning", &gateway, &alertmanager);

    // What no evidence ends, people do.
    let open: Vec<_> = gateway.alerts().into_iter().filter(is_open).collect();
    let rules: BTreeSet<_> = open.iter().map(|a| a["rule"].as_str().unwrap()).collect();
    assert_eq!(rules, BTreeSet::from(["device_silent", "sos", "tour_missed"]));
    for alert in &open {
        gateway.close(alert, if alert["rule"] == "device_silent" { "FALSE_POSITIVE" } else { "RESOLVED" });
    }
    agree("when all is closed", &gateway, &alertmanager);
    assert!(alertmanager.alerts().is_empty());

    let alerts = gateway.alerts();
    let mut found: Vec<_> = alerts
        .iter()
        .map(|a| ["rule", "subject", "severity"].map(|field| a[field].as_str().unwrap()))
        .collect();
    found.sort_unstable();
    assert_eq!(found, FOUND);
    // The one that came and went while nobody heard is in the book here; the one of a moment may be over before it is told.
    let once = |tells: &dyn Fn(&Value) -> bool| -> BTreeMap<_, _> {
        alerts.iter().filter(|a| tells(a)).map(|a| (id_of(a), 1)).collect()
    };
    let lasting = once(&|a| a["subject"] != "device:hs-G-6" && a["rule"] != "tour_at_risk");
    let all = once(&|a| a["subject"] != "device:hs-G-6");
    eventually("whoever is paged heard of each, once", PATIENCE, || {
        let heard = ["firing", "resolved"].map(|status| alertmanager.pages().times(status));
        let whole = [&lasting, &all].into_iter().any(|told| heard.iter().all(|heard| heard == told));
        if whole { Ok(()) } else { Err(format!("{heard:?}, of {all:?}")) }
    });
    gateway.end();
}
