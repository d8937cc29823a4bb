//! Devices that nobody here made (contract 4, foreign devices): what they say, in the words of the contract.
//!
//! ```text
//!  topic ─► Source::of (the site file says whose it is) ─► owntracks | tasmota | traccar | chirpstack | mapped
//!                                                              └─► observations, refusals, asides
//! ```
//!
//! They work as they come: numbers may stand in quotes, fields may be missing, and those that are unknown are ignored.

mod chirpstack;
mod mapped;
mod owntracks;
mod source;
mod tasmota;
#[cfg(test)]
mod tests;
mod time;
mod traccar;

use super::fields::Fault;
use super::json::Json;
use super::{Decoded, Event, Letter, Reason};
use serde::Serialize;
pub use source::{Source, filters, may_speak};
use vigil_core::id::DeviceId;
use vigil_core::observation::{Heartbeat, Kind};
use vigil_core::site::Device;
use vigil_core::time::Timestamp;

/// What one message cannot settle by itself: whoever has heard the ones before it can.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Aside {
    /// The observation of that index is a scan without an instant of its own, or by a reader that repeats itself: a tag
    /// that is left on it is one scan.
    Repeats(usize),
    /// The steps of the heartbeat of that index are a count that runs on, not those since the last one.
    RunningSteps(usize),
    /// How a device is set up, in one respect: what is to be mended, or that it is in order.
    Advice(Advice),
}

/// What an operator should know of how a device is set up.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Advice {
    /// Which device.
    pub device: DeviceId,
    /// In which respect.
    pub about: About,
    /// What is wrong and the setting that mends it; nothing if it is in order.
    pub mend: Option<&'static str>,
}

/// In which respect a device is set up well or not.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum About {
    /// When it says where it is.
    Mode,
    /// What its operating system lets it do.
    Permission,
    /// Whether somebody opened it or took it off.
    Tampering,
}

/// What a message of a foreign device comes to.
#[derive(Default)]
struct Said {
    events: Vec<Event>,
    asides: Vec<Aside>,
}

impl Said {
    fn push(&mut self, at: Timestamp, id: Option<String>, kind: Kind) {
        self.events.push(Event { at, id, kind });
    }

    /// A tag that was read by a device that may read it again in a moment.
    fn push_repeatable(&mut self, at: Timestamp, id: Option<String>, kind: Kind) {
        self.asides.push(Aside::Repeats(self.events.len()));
        self.push(at, id, kind);
    }

    fn advise(&mut self, device: &Device, about: About, mend: Option<&'static str>) {
        self.asides.push(Aside::Advice(Advice { device: device.id.clone(), about, mend }));
    }

    /// The device lives.
    fn alive(&mut self, at: Timestamp, id: Option<String>) {
        self.push(at, id, Kind::Heartbeat(Heartbeat::default()));
    }
}

/// Decodes a message of a foreign device.
pub(super) fn message(letter: Letter<'_>, source: Source<'_>) -> Result<Decoded, Fault> {
    match source {
        Source::OwnTracks(device) => letter.take(device, owntracks::read(letter, device)?),
        Source::Tasmota(device, part) => letter.take(device, tasmota::read(letter, part)?),
        Source::Traccar(device) => {
            let value = letter.json()?;
            let device = traccar::device(letter, device, &value)?;
            letter.take(device, traccar::read(letter, device, &value)?)
        }
        Source::ChirpStack(device, part) => letter.take(device, chirpstack::read(letter, device, part)?),
        Source::Mapped(mappings) => mapped::message(letter, &mappings),
    }
}

impl<'a> Letter<'a> {
    /// The payload, which has to be JSON.
    fn json(self) -> Result<Json<'a>, Fault> {
        let refused = |error: serde_json::Error| Fault { reason: Reason::NotJson, detail: error.to_string() };
        serde_json::from_slice(self.payload).map_err(refused)
    }

    /// What was said, as observations of a device.
    fn take(self, device: &Device, said: Said) -> Result<Decoded, Fault> {
        let mut decoded = Decoded { asides: said.asides, ..Decoded::default() };
        for event in said.events {
            // All of a message has the instants of one clock: what is refused, is refused whole.
            decoded.observations.push(self.in_time(event, device)?);
        }
        Ok(decoded)
    }
}
