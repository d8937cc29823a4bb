//! Bytes to observations. Pure: the same bytes at the same instant give the same result.

mod fields;
pub mod foreign;
mod json;
mod kinds;

use fields::{Fault, Fields, required};
use foreign::{Aside, Source};
use json::Json;
use serde::{Deserialize, Serialize};
use std::fmt;
use vigil_core::id::GuardId;
use vigil_core::mapping::KindName;
use vigil_core::observation::{Kind, Observation};
use vigil_core::site::{Device, Site};
use vigil_core::time::{Span, Timestamp};

/// What became of one message.
#[derive(Debug, Default, PartialEq)]
pub struct Decoded {
    /// What was understood, in the sender's order.
    pub observations: Vec<Observation>,
    /// What was not.
    pub refused: Vec<Refusal>,
    /// What only the messages before it can settle.
    pub asides: Vec<Aside>,
}

impl Decoded {
    fn of_one(observation: Observation) -> Self {
        Self { observations: vec![observation], ..Self::default() }
    }

    fn refused(refusal: Refusal) -> Self {
        Self { refused: vec![refusal], ..Self::default() }
    }
}

/// Why an input is refused. Appended to, never reordered: the order is that of the store.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reason {
    /// The payload is no JSON.
    NotJson,
    /// A field is missing or has the wrong type.
    WrongType,
    /// A value is outside what can be.
    OutOfRange,
    /// The device is not in the site file.
    UnknownDevice,
    /// The topic names another site.
    NotThisSite,
    /// The topic is none of the contract.
    UnknownTopic,
    /// The event's instant is a day or more in the future.
    Future,
    /// The payload or the array is too large.
    TooLarge,
    /// The sender may not publish there.
    NotAllowed,
    /// A command that cannot be carried out.
    Command,
    /// A position that came within a minute of another while the disk was short of room.
    NoRoom,
    /// A heartbeat or a position of a device that talks without end.
    Flood,
}

impl Reason {
    /// The name on every edge.
    pub const fn name(self) -> &'static str {
        match self {
            Self::NotJson => "not_json",
            Self::WrongType => "wrong_type",
            Self::OutOfRange => "out_of_range",
            Self::UnknownDevice => "unknown_device",
            Self::NotThisSite => "not_this_site",
            Self::UnknownTopic => "unknown_topic",
            Self::Future => "future",
            Self::TooLarge => "too_large",
            Self::NotAllowed => "not_allowed",
            Self::Command => "command",
            Self::NoRoom => "no_room",
            Self::Flood => "flood",
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// How much of a refused payload is kept (contract 4).
pub const REFUSED_HEAD_BYTES: usize = 200;

/// One refused input, as it is kept for `vigil status --refused`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refusal {
    /// When it came.
    pub received_at: Timestamp,
    /// Why it was refused.
    pub reason: Reason,
    /// Where it was published.
    pub topic: String,
    /// What is wrong, and what would be right.
    pub detail: String,
    /// The first 200 bytes, as text; bytes that are no UTF-8 are replaced.
    pub head: String,
}

impl Refusal {
    /// A refusal that keeps the head of the payload.
    pub fn new(received_at: Timestamp, reason: Reason, topic: &str, detail: String, payload: &[u8]) -> Self {
        let head = String::from_utf8_lossy(payload.get(..REFUSED_HEAD_BYTES).unwrap_or(payload)).into_owned();
        let topic = topic.chars().take(256).collect();
        Self { received_at, reason, topic, detail, head }
    }
}

/// The largest payload that is looked at (contract 4).
pub const MAX_PAYLOAD_BYTES: usize = 64 * 1024;
/// The longest array (contract 4): a backlog of four hours at two events a minute.
pub const MAX_ITEMS: usize = 500;
/// The longest `id` of an event: twice an id of ours, so that a UUID with a prefix fits.
const MAX_EVENT_ID_CHARS: usize = 128;
/// From this far in the future on an event is refused (contract 4).
const FUTURE: Span = Span::from_hours(24);

/// When a message came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Arrival {
    /// By our clock.
    pub at: Timestamp,
    /// Whether that clock is set: only then can it be said what lies in the future.
    pub known: bool,
}

impl From<Timestamp> for Arrival {
    fn from(at: Timestamp) -> Self {
        Self { at, known: true }
    }
}

/// Decodes one message of contract 4: of our own topics, or of those that the site file gives to foreign devices.
///
/// An array is taken item by item: one that is refused does not take the others along. Faults of the content
/// come before those of the address, so that `refused` tells the sender what to mend first.
pub fn message(site: &Site, arrival: impl Into<Arrival>, topic: &str, payload: &[u8]) -> Decoded {
    let Arrival { at: received_at, known } = arrival.into();
    let letter = Letter { site, received_at, known, topic, payload };
    let read = match Address::of(topic) {
        Some(_) if payload.len() > MAX_PAYLOAD_BYTES => Err(letter.too_large()),
        Some(address) if address.kind == KindName::Status => letter.status(address),
        Some(address) => letter.events(address),
        None => letter.foreign(),
    };
    read.unwrap_or_else(|fault| Decoded::refused(letter.refusal(fault, None)))
}

/// The levels of a topic of the contract.
#[derive(Debug, Clone, Copy)]
struct Address<'a> {
    site: &'a str,
    device: &'a str,
    kind: KindName,
}

impl<'a> Address<'a> {
    /// Levels are matched exactly and never normalised: `a/../b` is a legal topic of somebody else.
    fn of(topic: &'a str) -> Option<Self> {
        let mut levels = topic.strip_prefix("vigil/v1/")?.split('/');
        let address =
            Self { site: levels.next()?, device: levels.next()?, kind: KindName::of(levels.next()?)? };
        levels.next().is_none().then_some(address)
    }
}

/// One message with what is needed to judge it.
#[derive(Clone, Copy)]
struct Letter<'a> {
    site: &'a Site,
    received_at: Timestamp,
    known: bool,
    topic: &'a str,
    payload: &'a [u8],
}

/// One event whose content is in order.
struct Event {
    at: Timestamp,
    id: Option<String>,
    kind: Kind,
}

impl<'a> Letter<'a> {
    fn status(self, address: Address<'_>) -> Result<Decoded, Fault> {
        let online = match self.payload.trim_ascii() {
            b"online" => true,
            b"offline" => false,
            other => {
                let found = json::shown(&String::from_utf8_lossy(other));
                return Err(Fault::wrong_type("status", found, "online or offline as plain text"));
            }
        };
        let device = self.device(address)?;
        let kind = Kind::Status { online };
        let said = Observation::new(device.id.clone(), self.received_at, self.received_at, None, kind);
        Ok(Decoded::of_one(said))
    }

    fn foreign(self) -> Result<Decoded, Fault> {
        match Source::of(self.site, self.topic) {
            None => Err(self.unknown_topic()),
            Some(_) if self.payload.len() > MAX_PAYLOAD_BYTES => Err(self.too_large()),
            Some(source) => foreign::message(self, source),
        }
    }

    fn events(self, address: Address<'_>) -> Result<Decoded, Fault> {
        let refused = |error: serde_json::Error| Fault { reason: Reason::NotJson, detail: error.to_string() };
        match serde_json::from_slice::<Json<'_>>(self.payload).map_err(refused)? {
            Json::List(items) if items.len() > MAX_ITEMS => Err(too_many(items.len())),
            Json::List(items) => Ok(self.items(address, &items, true)),
            item @ Json::Object(_) => Ok(self.items(address, &[item], false)),
            other @ (Json::Null | Json::Bool(_) | Json::Int(_) | Json::Float(_) | Json::Text(_)) => {
                Err(Fault::wrong_type("payload", other, "one object, or an array of up to 500"))
            }
        }
    }

    fn items(self, address: Address<'_>, items: &[Json<'_>], numbered: bool) -> Decoded {
        let device = self.device(address);
        let owner = device.as_ref().ok().and_then(|device| device.guard.as_ref());
        let mut decoded = Decoded { observations: Vec::with_capacity(items.len()), ..Decoded::default() };
        let mut stranded = false;
        for (index, item) in items.iter().enumerate() {
            let event = event(address.kind, item, owner);
            match (event, &device) {
                (Ok(event), Ok(device)) => match self.in_time(event, device) {
                    Ok(observation) => decoded.observations.push(observation),
                    Err(fault) => decoded.refused.push(self.refusal(fault, numbered.then_some(index))),
                },
                (Ok(_), Err(_)) => stranded = true,
                (Err(fault), _) => decoded.refused.push(self.refusal(fault, numbered.then_some(index))),
            }
        }
        // A wrong address is one mistake, however many items came with it.
        let misdirected = device.err().filter(|_| stranded);
        decoded.refused.extend(misdirected.map(|fault| self.refusal(fault, None)));
        decoded
    }

    fn in_time(self, event: Event, device: &Device) -> Result<Observation, Fault> {
        // Rules, section 7: a call for help is never gated, and a clock that is wrong is no gate.
        let future = self.known && event.at.since(self.received_at) >= FUTURE;
        if future && !event.kind.is_call_for_help() {
            let detail =
                format!("ts: found {}, allowed: less than a day after {}", event.at, self.received_at);
            return Err(Fault { reason: Reason::Future, detail });
        }
        let Event { at, id, kind } = event;
        Ok(Observation::new(device.id.clone(), at, self.received_at, id.as_deref(), kind))
    }

    fn device(self, address: Address<'_>) -> Result<&'a Device, Fault> {
        if address.site != self.site.id.as_str() {
            let detail = format!("site: found {}, allowed: {}", json::shown(address.site), self.site.id);
            return Err(Fault { reason: Reason::NotThisSite, detail });
        }
        let unknown = || {
            let found = json::shown(address.device);
            Fault {
                reason: Reason::UnknownDevice,
                detail: format!("device: found {found}, allowed: a device of the site file; add it there"),
            }
        };
        self.site.device(address.device).ok_or_else(unknown)
    }

    fn unknown_topic(self) -> Fault {
        let found = json::shown(self.topic);
        let kinds = KindName::ALL.map(|(name, _)| name).join(", ");
        let detail = format!(
            "topic: found {found}, allowed: vigil/v1/{}/{{device}}/{{kind}} with one of {kinds}, or the topic of a foreign \
             device that the site file names",
            self.site.id
        );
        Fault { reason: Reason::UnknownTopic, detail }
    }

    fn too_large(self) -> Fault {
        let detail = format!("payload: found {} bytes, allowed: {MAX_PAYLOAD_BYTES}", self.payload.len());
        Fault { reason: Reason::TooLarge, detail }
    }

    fn refusal(self, fault: Fault, index: Option<usize>) -> Refusal {
        let detail = match index {
            Some(index) => format!("item {index}: {}", fault.detail),
            None => fault.detail,
        };
        Refusal::new(self.received_at, fault.reason, self.topic, detail, self.payload)
    }
}

fn too_many(items: usize) -> Fault {
    let detail =
        format!("payload: found {items} items, allowed: {MAX_ITEMS}; send the rest in a message of its own");
    Fault { reason: Reason::TooLarge, detail }
}

fn event(kind: KindName, item: &Json<'_>, owner: Option<&GuardId>) -> Result<Event, Fault> {
    let fields = Fields::of(item, "payload")?;
    let expected = "an instant in RFC 3339 with an offset, like 2026-03-10T20:00:00Z";
    let at = required("ts", fields.instant("ts")?, expected)?;
    let id = fields.bounded("id", MAX_EVENT_ID_CHARS)?.map(str::to_owned);
    let kind = kinds::kind(kind, fields, owner)?;
    Ok(Event { at, id, kind })
}

#[cfg(test)]
mod tests;
