//! Devices under load: what they were promised is known to the last message.

use super::{Handset, message, now, topic};
use serde_json::Value;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

/// Messages of one device that wait for their acknowledgement.
const IN_FLIGHT: usize = 20;
/// After so many failed connections in a row the agent is not coming back.
const TRIES: usize = 600;
/// Between two of them.
const AGAIN: Duration = Duration::from_millis(20);

/// Where the agent listens at the moment, and whether the night is over.
#[derive(Debug, Clone)]
pub struct Field {
    address: Arc<Mutex<SocketAddr>>,
    over: Arc<AtomicBool>,
    acknowledged: Arc<AtomicUsize>,
    /// Behind every acknowledgement.
    pause: Duration,
}

impl Field {
    /// Around an agent; a device pauses behind every acknowledgement.
    pub fn around(address: SocketAddr, pause: Duration) -> Self {
        let address = Arc::new(Mutex::new(address));
        Self { address, over: Arc::default(), acknowledged: Arc::default(), pause }
    }

    /// Where the agent listens, to be read and to be changed.
    pub fn address(&self) -> MutexGuard<'_, SocketAddr> {
        self.address.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How many messages of load were acknowledged.
    pub fn acknowledged(&self) -> usize {
        self.acknowledged.load(Ordering::Acquire)
    }

    /// The night is over: every device ends behind its next acknowledgement.
    pub fn end(&self) {
        self.over.store(true, Ordering::Release);
    }

    fn is_over(&self) -> bool {
        self.over.load(Ordering::Acquire)
    }

    /// Connects, however often the agent dies meanwhile.
    pub fn connect(&self, device: &str) -> Handset {
        let attempt = || {
            let at = *self.address();
            Handset::connect(at, device).inspect_err(|_| std::thread::sleep(AGAIN)).ok()
        };
        let mut attempts = std::iter::repeat_with(attempt).take(TRIES);
        attempts.find_map(|found| found).expect("an agent that can be found")
    }

    /// Publishes one event until it is acknowledged.
    pub fn insist(&self, device: &str, kind: &str, event: &Value) {
        while self.connect(device).publish(&topic(device, kind), event.to_string().as_bytes()).is_err() {
            std::thread::sleep(AGAIN);
        }
    }
}

/// One message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Said {
    /// Where it was published.
    pub topic: String,
    /// What.
    pub payload: String,
}

/// What a device got acknowledgements for, by the ids of its events: in the order in which it said them.
pub type Promised = BTreeMap<String, Said>;

/// What a device says under an id, the `n`-th time: the kind, and its fields.
pub type Script = fn(id: &str, n: u32) -> (&'static str, Value);

/// A device under load: it sends what is not acknowledged again after every loss of its connection, as devices do.
#[derive(Debug)]
pub struct Busy {
    name: String,
    field: Field,
    script: Script,
    waiting: Promised,
    promised: Promised,
    serial: u32,
}

impl Busy {
    /// Starts one; it gives its name and what it was promised when the night is over.
    pub fn start(name: String, field: Field, script: Script) -> JoinHandle<(String, Promised)> {
        let (waiting, promised) = (BTreeMap::new(), BTreeMap::new());
        let mut device = Self { name, field, script, waiting, promised, serial: 0 };
        std::thread::spawn(move || {
            while !device.field.is_over() {
                // A lost connection is what such a night is about; the next one goes on where it broke.
                let _lost = device.live();
            }
            (device.name, device.promised)
        })
    }

    fn live(&mut self) -> std::io::Result<()> {
        let mut handset = self.field.connect(&self.name);
        let mut sent: BTreeMap<u16, String> = BTreeMap::new();
        for (id, Said { topic, payload }) in &self.waiting {
            sent.insert(handset.send(topic, payload.as_bytes())?, id.clone());
        }
        while !self.field.is_over() {
            while sent.len() < IN_FLIGHT {
                let (id, Said { topic, payload }) = self.next_event();
                let packet = handset.send(&topic, payload.as_bytes())?;
                sent.insert(packet, id);
            }
            let packet = handset.acknowledged()?;
            let id = sent.remove(&packet).expect("an acknowledgement of what was sent");
            let said = self.waiting.remove(&id).expect("what was sent waits");
            self.promised.insert(id, said);
            self.field.acknowledged.fetch_add(1, Ordering::AcqRel);
            std::thread::sleep(self.field.pause);
        }
        Ok(())
    }

    fn next_event(&mut self) -> (String, Said) {
        let id = format!("{}-{:06}", self.name, self.serial);
        let (kind, mut fields) = (self.script)(&id, self.serial);
        self.serial += 1;
        fields["id"] = id.clone().into();
        let said = Said { topic: topic(&self.name, kind), payload: message(now(), fields).to_string() };
        self.waiting.insert(id.clone(), said.clone());
        (id, said)
    }
}
