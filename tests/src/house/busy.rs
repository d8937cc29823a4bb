//! Devices under load, which send again what was not acknowledged, as devices do.

use super::{Handset, message, now, topic};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

/// Messages of one device that wait for their acknowledgement.
const IN_FLIGHT: usize = 20;
/// After so many failed connections in a row the agent is not coming back.
const TRIES: usize = 600;

/// Where the agent listens at the moment, and whether the night is over.
#[derive(Debug, Clone)]
pub struct Field {
    address: Arc<Mutex<SocketAddr>>,
    /// True when nobody is to send any more.
    pub over: Arc<AtomicBool>,
    /// How many messages were acknowledged.
    pub acknowledged: Arc<AtomicUsize>,
    /// Behind every acknowledgement.
    pause: Duration,
}

impl Field {
    /// The field around a broker; each device pauses so long behind every acknowledgement.
    pub fn around(address: SocketAddr, pause: Duration) -> Self {
        let address = Arc::new(Mutex::new(address));
        Self { address, over: Arc::default(), acknowledged: Arc::default(), pause }
    }

    /// Where the broker is.
    pub fn address(&self) -> MutexGuard<'_, SocketAddr> {
        self.address.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Connects, however often the agent dies meanwhile.
    fn connect(&self, device: &str) -> Handset {
        let connected = (0..TRIES).find_map(|_| {
            let at = *self.address();
            Handset::connect(at, device).inspect_err(|_| std::thread::sleep(Duration::from_millis(20))).ok()
        });
        connected.expect("a device finds an agent again")
    }

    /// Publishes one event until it is acknowledged.
    pub fn insist(&self, device: &str, kind: &str, event: &Value) {
        while self.connect(device).publish(&topic(device, kind), event.to_string().as_bytes()).is_err() {}
    }
}

/// A device under load: it sends what is not acknowledged again after every loss of its connection.
#[derive(Debug)]
pub struct Busy {
    name: String,
    field: Field,
    waiting: BTreeMap<String, Value>,
    acknowledged: BTreeSet<String>,
    serial: u32,
}

impl Busy {
    /// Starts one; its thread ends with its name and what was acknowledged.
    pub fn start(name: String, field: Field) -> JoinHandle<(String, BTreeSet<String>)> {
        let mut device =
            Self { name, field, waiting: BTreeMap::new(), acknowledged: BTreeSet::new(), serial: 0 };
        std::thread::spawn(move || {
            while !device.field.over.load(Ordering::Acquire) {
                // A lost connection is what this is about; the next one goes on where it broke.
                let _lost = device.live();
            }
            (device.name, device.acknowledged)
        })
    }

    fn live(&mut self) -> std::io::Result<()> {
        let mut handset = self.field.connect(&self.name);
        let mut sent: BTreeMap<u16, String> = BTreeMap::new();
        let place = topic(&self.name, "activity");
        for (id, event) in &self.waiting {
            sent.insert(handset.send(&place, event.to_string().as_bytes())?, id.clone());
        }
        while !self.field.over.load(Ordering::Acquire) {
            while sent.len() < IN_FLIGHT {
                let (id, event) = self.next_event();
                let packet = handset.send(&place, event.to_string().as_bytes())?;
                sent.insert(packet, id);
            }
            let packet = handset.acknowledged()?;
            let id = sent.remove(&packet).expect("an acknowledgement of what was sent");
            self.waiting.remove(&id);
            self.acknowledged.insert(id);
            self.field.acknowledged.fetch_add(1, Ordering::AcqRel);
            std::thread::sleep(self.field.pause);
        }
        Ok(())
    }

    fn next_event(&mut self) -> (String, Value) {
        let id = format!("{}-{:06}", self.name, self.serial);
        self.serial += 1;
        let event = message(now(), json!({"id": id, "event": id}));
        self.waiting.insert(id.clone(), event.clone());
        (id, event)
    }
}

/// Whatever was acknowledged and is not stored, device by device.
pub fn lost(acknowledged: &[(String, BTreeSet<String>)], stored: &BTreeSet<String>) -> Vec<String> {
    let of_device = |(device, ids): &(String, BTreeSet<String>)| {
        let lost: Vec<_> = ids.difference(stored).collect();
        let some: Vec<_> = lost.iter().take(5).collect();
        let all = ids.len();
        (!lost.is_empty()).then(|| format!("{device}: {} of {all}, like {some:?}", lost.len()))
    };
    acknowledged.iter().filter_map(of_device).collect()
}
