//! Whose topic it is: the site file gives topics to its foreign devices, and who may publish there.

use std::collections::BTreeSet;
use vigil_core::mapping::{Mapping, Sender};
use vigil_core::site::{Device, Site};

/// Where OwnTracks publishes unless it is told otherwise.
const OWNTRACKS: &str = "owntracks/";
/// What of OwnTracks is read, below `owntracks/user/device`.
const OWNTRACKS_PARTS: [&str; 4] = ["", "/event", "/step", "/status"];
/// The last level of the topic on which Tasmota tells what it read.
const SENSOR: &str = "/SENSOR";
/// Its other topics, which go along.
const TASMOTA_PARTS: [(&str, TasmotaPart); 3] =
    [(SENSOR, TasmotaPart::Sensor), ("/STATE", TasmotaPart::State), ("/LWT", TasmotaPart::Will)];
/// The end of a ChirpStack topic that is read.
const CHIRPSTACK_PARTS: [(&str, ChirpStackPart); 2] =
    [("/event/up", ChirpStackPart::Up), ("/event/status", ChirpStackPart::Status)];

/// The user of the password file as which a Traccar server speaks for its devices.
pub(super) const TRACCAR_USER: &str = "traccar";
/// The same of a ChirpStack server.
pub(super) const CHIRPSTACK_USER: &str = "chirpstack";

/// Who speaks on a topic that is none of the contract's own.
#[derive(Debug, Clone, PartialEq)]
pub enum Source<'s> {
    /// A phone with the OwnTracks app.
    OwnTracks(&'s Device),
    /// A Tasmota reader.
    Tasmota(&'s Device, TasmotaPart),
    /// A Traccar server, on the topic of one device or on one for all.
    Traccar(Option<&'s Device>),
    /// A ChirpStack server.
    ChirpStack(&'s Device, ChirpStackPart),
    /// What the site file maps.
    Mapped(Vec<&'s Mapping>),
}

/// Which of its topics a Tasmota device speaks on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TasmotaPart {
    /// What it read.
    Sensor,
    /// How it is, every few minutes.
    State,
    /// Whether it is there.
    Will,
}

/// Which event of a LoRaWAN device it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ChirpStackPart {
    /// A message of the device.
    Up,
    /// Its battery.
    Status,
}

impl<'s> Source<'s> {
    /// Who speaks on `topic`, if the site file says so. What it maps it means, whatever else the topic looks like.
    pub fn of(site: &'s Site, topic: &str) -> Option<Self> {
        let mapped: Vec<_> = site.mappings().iter().filter(|mapping| mapping.covers(topic)).collect();
        if !mapped.is_empty() {
            return Some(Self::Mapped(mapped));
        }
        let mut shared = false;
        for device in &site.devices {
            if speaks_owntracks(device, topic) {
                return Some(Self::OwnTracks(device));
            }
            let Some(given) = device.topic.as_deref() else { continue };
            if let Some(source) = Self::given(device, given, topic) {
                return Some(source);
            }
            shared |= parent(given) == Some(topic);
        }
        shared.then_some(Self::Traccar(None))
    }

    /// Whether a device with that topic in the site file speaks on `topic`, and in whose tongue.
    fn given(device: &'s Device, given: &str, topic: &str) -> Option<Self> {
        if let Some(stem) = given.strip_suffix(SENSOR) {
            let part = topic.strip_prefix(stem)?;
            let known = TASMOTA_PARTS.iter().find(|(end, _)| *end == part);
            return known.map(|(_, part)| Self::Tasmota(device, *part));
        }
        if let Some(stem) = chirpstack_stem(given) {
            let part = topic.strip_prefix(stem)?;
            let known = CHIRPSTACK_PARTS.iter().find(|(end, _)| *end == part);
            return known.map(|(_, part)| Self::ChirpStack(device, *part));
        }
        (given == topic).then_some(Self::Traccar(Some(device)))
    }
}

fn speaks_owntracks(device: &Device, topic: &str) -> bool {
    let rest = device.owntracks.as_deref().and_then(|name| topic.strip_prefix(OWNTRACKS)?.strip_prefix(name));
    rest.is_some_and(|rest| OWNTRACKS_PARTS.contains(&rest))
}

/// `application/{id}/device/{eui}` of a topic of the site file, with or without the event behind it.
fn chirpstack_stem(given: &str) -> Option<&str> {
    let stem = CHIRPSTACK_PARTS.iter().find_map(|(end, _)| given.strip_suffix(end)).unwrap_or(given);
    let levels: Vec<&str> = stem.split('/').collect();
    matches!(levels[..], ["application", _, "device", _]).then_some(stem)
}

/// The topic above: where a Traccar server publishes for all devices whose own topics lie below it.
fn parent(topic: &str) -> Option<&str> {
    topic.rsplit_once('/').map(|(above, _)| above)
}

/// Whether the user of that name may publish on a foreign topic: the device itself, or the server that speaks for it.
/// Nobody in particular (`None`) may wherever anybody may.
pub fn may_speak(site: &Site, user: Option<&str>, topic: &str) -> bool {
    let (Some(source), Some(user)) = (Source::of(site, topic), user) else {
        return user.is_none() && Source::of(site, topic).is_some();
    };
    let is = |device: &Device| device.id.as_str() == user;
    match source {
        Source::OwnTracks(device) | Source::Tasmota(device, _) => is(device),
        Source::Traccar(device) => user == TRACCAR_USER || device.is_some_and(is),
        Source::ChirpStack(device, _) => user == CHIRPSTACK_USER || is(device),
        Source::Mapped(mappings) => mappings.into_iter().any(|mapping| speaks_mapped(mapping, user, topic)),
    }
}

fn speaks_mapped(mapping: &Mapping, user: &str, topic: &str) -> bool {
    match (&mapping.user, &mapping.sender) {
        (Some(known), _) => known == user,
        (None, Sender::Device(id)) => id.as_str() == user,
        (None, Sender::Level(level)) => level_of(topic, *level) == Some(user),
        (None, Sender::At(_)) => false,
    }
}

/// A level of a topic, counted from 1.
pub(super) fn level_of(topic: &str, level: u8) -> Option<&str> {
    topic.split('/').nth(usize::from(level).checked_sub(1)?)
}

/// The filters under which the foreign devices of a site are heard at a broker outside.
pub fn filters(site: &Site) -> BTreeSet<String> {
    let mut filters: BTreeSet<String> = site.mappings().iter().map(|mapping| mapping.topic.clone()).collect();
    for device in &site.devices {
        if let Some(name) = &device.owntracks {
            filters.extend(OWNTRACKS_PARTS.map(|part| format!("{OWNTRACKS}{name}{part}")));
        }
        let Some(given) = device.topic.as_deref() else { continue };
        if let Some(stem) = given.strip_suffix(SENSOR) {
            filters.extend(TASMOTA_PARTS.map(|(end, _)| format!("{stem}{end}")));
        } else if let Some(stem) = chirpstack_stem(given) {
            filters.extend(CHIRPSTACK_PARTS.map(|(end, _)| format!("{stem}{end}")));
        } else {
            filters.insert(given.to_owned());
            filters.extend(parent(given).map(str::to_owned));
        }
    }
    filters
}
