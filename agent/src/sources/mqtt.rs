//! The site's own broker, where there is one: a client with a persistent session that acknowledges a message
//! only when its receipt says that it is stored.
//!
//! ```text
//!  broker ─► listen ─► take ─► Intake::submit ─► acknowledge ─► broker
//!            (256)             (receipts, 256)
//! ```
//!
//! What the broker promised to the device is the broker's own promise: mosquitto acknowledges before anything
//! is on its disk. The embedded broker makes the stronger one.

pub(crate) mod line;
pub mod tls;

use super::decode::foreign;
use super::{Intake, Stopped};
use line::{Delivery, Driver, Heard};
pub use line::{LineState, MqttHandle, NotPublished};
use rumqttc::{LastWill, MqttOptions, QoS, TlsConfiguration, Transport};
use rustls::ClientConfig;
use std::collections::BTreeSet;
use std::future::Future;
use std::sync::Arc;
use tokio::sync::{mpsc, oneshot, watch};
use vigil_core::id::{GatewayId, SiteId};
use vigil_core::site::Site;

/// Messages taken from the broker and not yet decoded: more than the 200 that the shipped mosquitto
/// configuration sends at once. When they are full, the line is read no further.
const DELIVERIES: usize = 256;
/// Messages decoded and not yet stored. The acknowledgements go out in their order.
const RECEIPTS: usize = 256;

/// Where the broker is, and who the agent is there.
#[derive(Clone)]
pub struct ExternalConfig {
    /// Name or address.
    pub host: String,
    /// Usually 1883, with TLS 8883.
    pub port: u16,
    /// TLS, made by [`tls::client`].
    pub tls: Option<Arc<ClientConfig>>,
    /// The agent's name at the broker.
    pub username: Option<String>,
    /// Its password.
    pub password: Option<String>,
    /// The fixed client id: the broker keeps the session under it.
    pub client_id: GatewayId,
    /// Whose messages are taken.
    pub site: SiteId,
}

/// The client of an external broker.
pub struct ExternalBroker {
    driver: Driver,
    handle: MqttHandle,
    intake: Intake,
    site: SiteId,
}

impl ExternalBroker {
    /// A client that hands what it gets to `intake`. It connects when it is run.
    pub fn new(mut config: ExternalConfig, intake: Intake) -> Self {
        let site = config.site.clone();
        if let Some(tls) = &mut config.tls {
            // The broker's certificate is judged by the agent's time, not by the wall clock of the box.
            Arc::make_mut(tls).time_provider = Arc::new(intake.clock.clone());
        }
        let (handle, driver) = line::open(options(config));
        Self { driver, handle, intake, site }
    }

    /// Publishes through this client.
    pub fn handle(&self) -> MqttHandle {
        self.handle.clone()
    }

    /// Keeps the connection up until `shutdown`, or until nothing more is taken. What could not be stored is never
    /// acknowledged: its connection ends, and the broker sends it again on the next. The connection is closed without
    /// a goodbye, so that the broker publishes the last will.
    pub async fn run(self, shutdown: impl Future<Output = ()>) -> Result<(), Stopped> {
        let Self { driver, handle, intake, site } = self;
        let (deliveries, queue) = mpsc::channel(DELIVERIES);
        let (receipts, due) = mpsc::channel(RECEIPTS);
        let chain = async {
            tokio::try_join!(
                listen(driver, &handle, intake.site.clone(), deliveries),
                follow(&handle, intake.site.clone()),
                take(queue, &intake, &site, receipts),
                acknowledge(due, &handle),
            )
        };
        tokio::select! {
            () = shutdown => Ok(()),
            ended = chain => ended.map(|_| ()),
        }
    }
}

fn options(config: ExternalConfig) -> MqttOptions {
    let mut options = MqttOptions::new(config.client_id.as_str(), config.host, config.port);
    let gateway = format!("vigil/v1/{}/gateway", config.site);
    options.set_clean_session(false).set_manual_acks(true).set_last_will(LastWill::new(
        gateway,
        "offline",
        QoS::AtLeastOnce,
        true,
    ));
    if let Some(username) = config.username {
        options.set_credentials(username, config.password.unwrap_or_default());
    }
    if let Some(tls) = config.tls {
        options.set_transport(Transport::tls_with_config(TlsConfiguration::Rustls(tls)));
    }
    options
}

/// What is asked for: our own topics, and those of the foreign devices of the site file.
fn wanted(site: &Site) -> BTreeSet<String> {
    let mut wanted = foreign::filters(site);
    wanted.insert(format!("vigil/v1/{}/+/+", site.id));
    wanted
}

async fn listen(
    mut driver: Driver,
    handle: &MqttHandle,
    site: watch::Receiver<Arc<Site>>,
    deliveries: mpsc::Sender<Delivery>,
) -> Result<(), Stopped> {
    // A session that outlived an earlier process may have been made without a subscription.
    let mut subscribed = BTreeSet::new();
    let mut asked = (BTreeSet::new(), 0);
    loop {
        match driver.next().await {
            Heard::Connected { session_present } => {
                let wanted = wanted(&site.borrow());
                if !session_present {
                    subscribed.clear();
                }
                if subscribed != wanted {
                    wanted.iter().for_each(|filter| handle.subscribe(filter));
                    asked = (wanted.clone(), wanted.len());
                }
            }
            Heard::Subscribed => {
                asked.1 = asked.1.saturating_sub(1);
                if asked.1 == 0 {
                    subscribed.clone_from(&asked.0);
                }
            }
            Heard::Delivery(delivery) => deliveries.send(delivery).await.map_err(|_| Stopped)?,
        }
    }
}

/// Asks for the topics of foreign devices that another site file brings. Without a connection the next one asks for all.
async fn follow(handle: &MqttHandle, mut site: watch::Receiver<Arc<Site>>) -> Result<(), Stopped> {
    let mut known = wanted(&site.borrow_and_update());
    loop {
        if site.changed().await.is_err() {
            // Nobody switches any more; what ends the client is its owner's word.
            return std::future::pending().await;
        }
        let wanted = wanted(&site.borrow_and_update());
        wanted.difference(&known).for_each(|filter| handle.subscribe(filter));
        known = wanted;
    }
}

/// A delivery that waits to be acknowledged; without a receipt it was not for the store.
struct Due {
    delivery: Delivery,
    receipt: Option<oneshot::Receiver<()>>,
}

async fn take(
    mut queue: mpsc::Receiver<Delivery>,
    intake: &Intake,
    site: &SiteId,
    receipts: mpsc::Sender<Due>,
) -> Result<(), Stopped> {
    while let Some(mut delivery) = queue.recv().await {
        let payload = std::mem::take(&mut delivery.publish.payload);
        let no_input =
            is_prompt(site, &delivery.publish.topic) || is_old_greeting(delivery.publish.retain, &payload);
        let receipt = match no_input {
            true => None,
            false => Some(intake.submit(&delivery.publish.topic, &payload).await?),
        };
        receipts.send(Due { delivery, receipt }).await.map_err(|_| Stopped)?;
    }
    Err(Stopped)
}

/// Acknowledges in the order of arrival, as MQTT asks for.
async fn acknowledge(mut due: mpsc::Receiver<Due>, handle: &MqttHandle) -> Result<(), Stopped> {
    while let Some(Due { delivery, receipt }) = due.recv().await {
        let stored = match receipt {
            Some(receipt) => receipt.await.is_ok(),
            None => true,
        };
        if stored {
            handle.acknowledge(&delivery);
        } else {
            handle.give_back(&delivery);
        }
    }
    Err(Stopped)
}

/// The agent's own prompts match its subscription and come back to it; they are no input.
fn is_prompt(site: &SiteId, topic: &str) -> bool {
    let mut levels = topic.split('/');
    let ours = [Some("vigil"), Some("v1"), Some(site.as_str())];
    ours.into_iter().all(|level| levels.next() == level)
        && levels.next().is_some()
        && levels.next() == Some("prompt")
        && levels.next().is_none()
}

/// A retained `online` says that a device greeted the broker once, not that it was heard now; taken as a message
/// it would end a silence whenever the agent subscribes again. A retained `offline` is news.
fn is_old_greeting(retained: bool, payload: &[u8]) -> bool {
    retained && payload.trim_ascii().eq_ignore_ascii_case(b"online")
}

#[cfg(test)]
pub(crate) mod mosquitto;
#[cfg(test)]
mod tests;
