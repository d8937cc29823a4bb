//! A night on a real broker: one connection for each device, each as itself, as handsets do.

use super::night::{Message, Origin};
use crate::clock::Clock;
use crate::sources::mqtt::line::{self, LineState, MqttHandle, NotPublished};
use rumqttc::{LastWill, MqttOptions, QoS, TlsConfiguration, Transport};
use rustls::ClientConfig;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio_util::task::AbortOnDropHandle;

/// What a handset keeps while the broker is away: eight hours of its heartbeats and fixes.
const BACKLOG: usize = 1_024;
/// How long after the end of the night the last messages may take to arrive.
const DRAIN: Duration = Duration::from_secs(60);
/// How long a goodbye may take; without it the broker only thinks that the device vanished.
const GOODBYE: Duration = Duration::from_secs(2);

/// The password of a device, by its id.
pub type Password = Arc<dyn Fn(&str) -> Option<String> + Send + Sync>;

/// The broker that gets the night.
#[derive(Clone)]
pub struct Target {
    /// Name or address.
    pub host: String,
    /// Usually 1883, with TLS 8883.
    pub port: u16,
    /// TLS, made by [`crate::sources::mqtt::tls::client`].
    pub tls: Option<Arc<ClientConfig>>,
    /// Devices log in with their id and this; `None` from it is a login without a name.
    pub password: Password,
}

/// How fast the night passes.
#[derive(Debug, Clone)]
pub enum Pace {
    /// Each message when the clock shows its instant.
    Clocked(Clock),
    /// As fast as the broker acknowledges.
    Unpaced,
}

/// What became of the messages.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// Sent, each counted once however often it was repeated.
    pub published: u64,
    /// Acknowledged by the broker.
    pub acked: u64,
}

#[derive(Debug, Default)]
struct Tally {
    published: AtomicU64,
    acked: AtomicU64,
}

/// Publishes a night with QoS 1, one connection for each device; a message that was not acknowledged is sent
/// again after a reconnection, with the same `id`. A device that dies closes its connection without a goodbye.
///
/// Ends when the night is over and all is acknowledged, at the latest a minute after its last message.
/// To stop earlier, drop the future: every device vanishes.
pub async fn publish(night: impl IntoIterator<Item = Message>, target: &Target, pace: &Pace) -> Counts {
    let tally = Arc::new(Tally::default());
    let mut devices = BTreeMap::new();
    let mut tasks = JoinSet::new();
    for message in night {
        // Sleeping for no time at all takes a millisecond: a thousand messages a second would be all.
        if let Pace::Clocked(clock) = pace
            && let wait = clock.until(message.at)
            && !wait.is_zero()
        {
            tokio::time::sleep(wait).await;
        }
        let device = devices.entry(message.device.clone()).or_insert_with(|| {
            let (messages, held) = mpsc::channel(BACKLOG);
            tasks.spawn(live(message.device.clone(), target.clone(), held, Arc::clone(&tally)));
            messages
        });
        if device.send(message).await.is_err() {
            tracing::error!("a simulated device ended before its night did");
        }
    }
    drop(devices);
    let drained = async { while tasks.join_next().await.is_some() {} };
    if tokio::time::timeout(DRAIN, drained).await.is_err() {
        tracing::warn!("the night is over, and not everything was acknowledged");
    }
    Counts { published: tally.published.load(Ordering::Acquire), acked: tally.acked.load(Ordering::Acquire) }
}

/// The life of one device: connected from its first message on, but for the times when it is dead.
async fn live(device: String, target: Target, mut messages: mpsc::Receiver<Message>, tally: Arc<Tally>) {
    let mut connection: Option<Connection> = None;
    loop {
        let message = tokio::select! {
            message = messages.recv() => message,
            () = reconnected(connection.as_mut()) => continue,
        };
        match message {
            None => break,
            // Dropping the connection closes its socket, and the broker speaks the last will.
            Some(message) if message.origin == Origin::Will => connection = None,
            Some(message) => {
                let open = connection.get_or_insert_with(|| Connection::open(&device, &message, &target));
                tally.published.fetch_add(1, Ordering::AcqRel);
                if open.deliver(&message).await.is_ok() {
                    tally.acked.fetch_add(1, Ordering::AcqRel);
                }
            }
        }
    }
    if let Some(connection) = connection {
        connection.close().await;
    }
}

/// Resolves when a connection came back by itself and the device has said so.
async fn reconnected(connection: Option<&mut Connection>) {
    match connection {
        Some(connection) => connection.greet_again().await,
        None => std::future::pending().await,
    }
}

/// A device's own connection. Dropped, it is gone without a goodbye.
struct Connection {
    handle: MqttHandle,
    state: watch::Receiver<LineState>,
    status_topic: String,
    greeted: u64,
    _driver: AbortOnDropHandle<()>,
}

impl Connection {
    fn open(device: &str, first: &Message, target: &Target) -> Self {
        let home = first.topic.rsplit_once('/').map_or("", |(home, _)| home);
        let status_topic = format!("{home}/status");
        let (handle, mut driver) = line::open(options(device, &status_topic, target));
        let polling = tokio::spawn(async move {
            loop {
                driver.next().await;
            }
        });
        let state = handle.state();
        // The first `online` is one of the messages of the night.
        Self { handle, state, status_topic, greeted: 1, _driver: AbortOnDropHandle::new(polling) }
    }

    /// Delivers, however many connections that takes; fails only with a message that no broker takes.
    async fn deliver(&mut self, message: &Message) -> Result<(), NotPublished> {
        loop {
            self.greet().await;
            let payload = message.payload.clone().into_bytes();
            match self.handle.publish(&message.topic, payload, message.retain).await {
                Err(NotPublished::Disconnected) => tokio::task::yield_now().await,
                done => return done,
            }
        }
    }

    /// Waits for a connection; on one that came back the last will was spoken, and is taken back.
    async fn greet(&mut self) {
        loop {
            let Ok(connections) = self.state.wait_for(|s| s.connected).await.map(|s| s.connections) else {
                // The driver lives as long as this connection, so its state does too.
                return std::future::pending().await;
            };
            if connections <= self.greeted {
                return;
            }
            if self.handle.publish(&self.status_topic, b"online".to_vec(), true).await.is_ok() {
                self.greeted = connections;
                return;
            }
            tokio::task::yield_now().await;
        }
    }

    async fn greet_again(&mut self) {
        let greeted = self.greeted;
        if self.state.wait_for(|s| s.connected && s.connections > greeted).await.is_err() {
            std::future::pending::<()>().await;
        }
        self.greet().await;
    }

    async fn close(mut self) {
        self.handle.say_goodbye();
        if tokio::time::timeout(GOODBYE, self.state.wait_for(|s| !s.connected)).await.is_err() {
            tracing::debug!("the broker did not close the connection after the goodbye");
        }
    }
}

fn options(device: &str, status_topic: &str, target: &Target) -> MqttOptions {
    let mut options = MqttOptions::new(device, target.host.as_str(), target.port);
    options.set_last_will(LastWill::new(status_topic, "offline", QoS::AtLeastOnce, true));
    if let Some(password) = (target.password)(device) {
        options.set_credentials(device, password);
    }
    if let Some(tls) = &target.tls {
        options.set_transport(Transport::tls_with_config(TlsConfiguration::Rustls(Arc::clone(tls))));
    }
    options
}

#[cfg(test)]
mod tests {
    use super::super::{Behaviour, Scenario};
    use super::*;
    use crate::simulate::Night;
    use crate::sources::mqtt::mosquitto::Mosquitto;
    use std::process::{Command, Stdio};
    use vigil_core::time::Span;

    fn target(port: u16) -> Target {
        Target { host: "127.0.0.1".into(), port, tls: None, password: Arc::new(|_| None) }
    }

    /// Listens to everything for a while, and gives what it heard as `topic payload` lines.
    fn listener(port: u16, messages: u64) -> std::process::Child {
        let child = Command::new("mosquitto_sub")
            .args(["-p", &port.to_string(), "-q", "1", "-t", "vigil/#", "-v", "-W", "30"])
            .args(["-C", &messages.to_string()])
            .stdout(Stdio::piped())
            .spawn()
            .expect("mosquitto_sub is needed for this test: install mosquitto-clients");
        std::thread::sleep(Duration::from_millis(300));
        child
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_night_arrives_whole_and_the_dead_handset_leaves_its_last_will() {
        let broker = Mosquitto::start("allow_anonymous true\nmax_queued_messages 0");
        let mut scenario = Scenario::sized(3, 30, 9);
        let dies = Behaviour::HandsetDies { at: Span::from_mins(10), back: Some(Span::from_mins(20)) };
        scenario.guards[1].behaviours.push(dies);
        let script: Vec<_> = Night::of(&scenario).collect();
        let sent = script.iter().filter(|m| m.origin == Origin::Device).count() as u64;
        let heard = listener(broker.port, script.len() as u64);
        // Ten minutes of the night in a real second: the dead handset has time to vanish.
        let pace = Pace::Clocked(Clock::scaled(scenario.starts_at, 600));
        let counts = publish(Night::of(&scenario), &target(broker.port), &pace).await;
        assert_eq!(counts, Counts { published: sent, acked: sent });
        let heard = String::from_utf8(heard.wait_with_output().unwrap().stdout).unwrap();
        let mut heard: Vec<_> = heard.lines().map(str::to_owned).collect();
        let mut wanted: Vec<_> = script.iter().map(|m| format!("{} {}", m.topic, m.payload)).collect();
        heard.sort();
        wanted.sort();
        assert_eq!(heard, wanted);
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn what_was_not_acknowledged_is_sent_again_with_its_id() {
        let anonymous = "allow_anonymous true";
        let broker = Mosquitto::start(anonymous);
        let scenario = Scenario::sized(2, 60, 3);
        let sent = Night::of(&scenario).count() as u64;
        let port = broker.port;
        let night = tokio::spawn(async move {
            let pace = Pace::Clocked(Clock::scaled(scenario.starts_at, 1_200));
            publish(Night::of(&scenario), &target(port), &pace).await
        });
        tokio::time::sleep(Duration::from_secs(1)).await;
        let broker = tokio::task::spawn_blocking(move || broker.restart(anonymous)).await.unwrap();
        assert_eq!(night.await.unwrap(), Counts { published: sent, acked: sent });
        drop(broker);
    }
}
