//! A site that keeps Debian's mosquitto, with the configuration that it is given (`systemd/mosquitto`).

use serde_json::{Value, json};
use std::net::SocketAddr;
use std::path::Path;
use std::process::Output;
use std::time::Duration;
use vigil_tests::house::{
    Agent, Handset, Mosquitto, PATIENCE, Plant, Shipped, Source, ended, eventually, message,
    mosquitto_client, now, topic, until,
};

/// Longer than a message takes that is let through.
const A_MOMENT: Duration = Duration::from_millis(500);

struct Site {
    shipped: Shipped,
    agent: Agent,
}

impl Site {
    fn opens() -> Self {
        let shipped = Mosquitto::shipped(&["gw-1", "hs-1", "hs-2"]);
        let agent =
            Agent::start("gw-1", &Plant::default().guards(2), Source::External(&shipped.broker), None);
        let site = Self { shipped, agent };
        site.is_connected();
        site
    }

    fn is_connected(&self) {
        until("the agent is connected", || self.agent.status()["source"]["connected"] == true);
    }

    fn at(&self) -> SocketAddr {
        self.shipped.broker.address()
    }

    fn device(&self, id: &str) -> Handset {
        Handset::connect(self.at(), id).expect("it has a password")
    }

    /// Waits until so many events are stored, and sees that it stays at that.
    fn has_stored(&self, events: u64) {
        eventually("what was let through is stored", PATIENCE, || match self.agent.outcomes("applied") {
            n if n >= events => Ok(()),
            n => Err(format!("{n} of {events}; {:?}", self.shipped.broker.log())),
        });
        std::thread::sleep(A_MOMENT);
        assert_eq!(self.agent.outcomes("applied"), events);
    }
}

fn heartbeat(battery: f64) -> Vec<u8> {
    message(now(), json!({"battery": battery})).to_string().into_bytes()
}

/// A heartbeat of hs-1 by Debian's client, with more of its options.
fn mosquitto_pub(at: SocketAddr, options: &[&str]) -> Output {
    let text = String::from_utf8(heartbeat(0.5)).expect("JSON");
    let mut command = mosquitto_client("mosquitto_pub", at, "hs-1");
    ended(command.args(["-q", "1", "-t", &topic("hs-1", "heartbeat"), "-m", &text]).args(options))
}

#[test]
fn a_device_speaks_for_itself_and_for_nobody_else() {
    let site = Site::opens();
    let mut handset = site.device("hs-1");
    handset.publish(&topic("hs-1", "heartbeat"), &heartbeat(0.5)).unwrap();
    handset.publish(&topic("hs-2", "heartbeat"), &heartbeat(0.4)).unwrap();
    handset.publish("vigil/v1/plant-7/alerts", b"{}").unwrap();
    handset.publish("vigil/v1/plant-7/hs-1/../hs-2/heartbeat", &heartbeat(0.3)).unwrap();
    handset.publish(&topic("hs-1", "heartbeat"), &heartbeat(0.6)).unwrap();
    site.has_stored(2);
    assert_eq!(site.agent.status()["refused"], json!({}), "the broker lets nothing of it through");
    assert!(Handset::connect(site.at(), "hs-3").is_err(), "nobody has given it a password");
}

#[test]
fn what_a_device_hears_is_its_own_and_what_all_may_hear() {
    let site = Site::opens();
    let mut listens = site.device("hs-2");
    listens.subscribe("vigil/v1/plant-7/alerts").unwrap();
    // mosquitto grants the filter and sends nothing of it.
    listens.subscribe("vigil/v1/plant-7/+/+").unwrap();
    let mut calls = site.device("hs-1");
    calls.publish(&topic("hs-1", "heartbeat"), &heartbeat(0.5)).unwrap();
    let sos = message(now(), json!({"note": "help"})).to_string();
    calls.publish(&topic("hs-1", "sos"), sos.as_bytes()).unwrap();
    let alert: Value = serde_json::from_slice(&listens.hears().unwrap()).unwrap();
    assert_eq!(
        (&alert["rule"], &alert["guard"]),
        (&json!("sos"), &json!("G-1")),
        "and no heartbeat before it"
    );
}

#[test]
fn over_tls_with_the_site_s_own_authority() {
    let site = Site::opens();
    let publish = |ca: &Path| mosquitto_pub(site.shipped.tls, &["--cafile", &ca.display().to_string()]);
    let said = publish(&site.shipped.ca);
    assert!(said.status.success(), "{said:?}; {:?}", site.shipped.broker.log());
    site.has_stored(1);
    let strange = tempfile::tempdir().unwrap();
    let stranger = vigil_tests::house::Authority::found(strange.path());
    assert!(!publish(&stranger.ca).status.success(), "a broker of another authority is not believed");
}

#[test]
fn a_device_with_the_agent_s_client_id_does_not_throw_it_out() {
    let site = Site::opens();
    let said = mosquitto_pub(site.at(), &["-i", "gw-1"]);
    assert!(said.status.success(), "{said:?}");
    site.has_stored(1);
    let thrown_out = site.shipped.broker.log().iter().any(|line| line.contains("already connected"));
    assert!(
        !thrown_out && site.agent.status()["source"]["last_error"].is_null(),
        "{:?}",
        site.shipped.broker.log()
    );
}

#[test]
fn what_is_too_large_goes_no_further_and_stops_nothing() {
    let site = Site::opens();
    // mosquitto ends the connection or says nothing: both are right.
    let _refused = site.device("hs-1").publish(&topic("hs-1", "activity"), &vec![b'x'; 65_537]);
    site.device("hs-1").publish(&topic("hs-1", "heartbeat"), &heartbeat(0.5)).unwrap();
    site.has_stored(1);
    assert_eq!(site.agent.status()["refused"], json!({}), "it has not come as far as the agent");
}

#[test]
fn what_comes_while_the_agent_is_away_waits_for_it() {
    let mut site = Site::opens();
    site.agent.kill();
    let mut handset = site.device("hs-1");
    for n in 0..300 {
        handset.publish(&topic("hs-1", "heartbeat"), &heartbeat(0.1 + f64::from(n) / 1_000.0)).unwrap();
    }
    site.agent.start_again();
    site.has_stored(300);
}

#[test]
fn after_the_broker_died_everyone_finds_it_again() {
    let mut site = Site::opens();
    site.shipped.broker.dies_and_lives_again();
    site.is_connected();
    site.device("hs-1").publish(&topic("hs-1", "heartbeat"), &heartbeat(0.5)).unwrap();
    site.has_stored(1);
}
