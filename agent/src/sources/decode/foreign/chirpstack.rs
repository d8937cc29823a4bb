//! ChirpStack v4, a LoRaWAN server (chirpstack.io/docs/chirpstack/integrations/events.html): what a device sends, as its
//! device profile's codec decodes it, and its battery.
//!
//! Its JSON leaves out what is zero, false or empty.

use super::super::Letter;
use super::super::fields::{Fault, Fields, required};
use super::super::json::Json;
use super::super::kinds::MAX_ACCURACY_M;
use super::source::ChirpStackPart;
use super::{Said, time};
use vigil_core::observation::{Fix, Heartbeat, Kind};
use vigil_core::site::{Device, DeviceKind};
use vigil_core::time::Timestamp;

/// Names under which codecs say that somebody calls for help.
const SOS: [&str; 5] = ["sos", "panic", "emergency", "alarm_status", "sos_status"];
/// Names under which they say that a button was pressed: on a device that is a button, a call for help.
const PRESSED: [&str; 6] = ["button", "press", "pressed", "button_status", "alarm", "push"];
/// Names under which they say that somebody fell.
const FALLEN: [&str; 3] = ["man_down", "fall", "fall_detected"];
/// Names under which they give the charge in percent.
const BATTERY: [&str; 4] = ["battery", "batterylevel", "battery_level", "battery_percent"];
/// Names of a position, the two of a pair at one place.
const LATITUDE: [&str; 2] = ["latitude", "lat"];
const LONGITUDE: [&str; 3] = ["longitude", "lon", "lng"];
/// From here down the charge of a reader or a receiver is told, in thousandths: one that is told makes it a device that is
/// watched for silence, and such a device speaks once a day.
const LOW_PERMILLE: u16 = 200;

/// Reads one event.
pub(super) fn read(letter: Letter<'_>, device: &Device, part: ChirpStackPart) -> Result<Said, Fault> {
    let value = letter.json()?;
    let fields = Fields::of(&value, "payload")?;
    let info = required("deviceInfo", fields.object("deviceInfo")?, "an event of ChirpStack v4")?;
    required("deviceInfo.devEui", info.text("devEui")?, "the EUI of the device")?;
    let at = time::instant(fields, "time")?.unwrap_or(letter.received_at);
    let id = fields.text("deduplicationId")?.map(|id| format!("chirpstack {id}"));
    let mut said = Said::default();
    match part {
        ChirpStackPart::Up => up(fields, device, (at, id), &mut said)?,
        ChirpStackPart::Status => status(fields, device, (at, id), &mut said)?,
    }
    Ok(said)
}

type Stamp = (Timestamp, Option<String>);

fn up(fields: Fields<'_, '_>, device: &Device, (at, id): Stamp, said: &mut Said) -> Result<(), Fault> {
    let Some(object) = fields.value("object") else {
        // Without a codec the bytes say nothing; that they came says that the device lives.
        heard(device, Heartbeat::default(), (at, id), said);
        return Ok(());
    };
    Fields::of(object, "object")?;
    let pressed = device.kind == DeviceKind::Button && says(object, &PRESSED);
    if pressed || says(object, &SOS) {
        said.push(at, id.clone(), Kind::Sos(None));
    }
    let heartbeat = Heartbeat {
        battery_permille: named(object, &BATTERY).and_then(Json::number).and_then(percent),
        man_down: says(object, &FALLEN),
        ..Heartbeat::default()
    };
    heard(device, heartbeat, (at, id.clone()), said);
    if let Some(fix) = fix(object) {
        said.push(at, id, Kind::Location(fix));
    }
    Ok(())
}

/// The charge in percent is left out if it is zero, and then it is the whole of the news.
fn status(fields: Fields<'_, '_>, device: &Device, stamp: Stamp, said: &mut Said) -> Result<(), Fault> {
    let powered = fields.flag("externalPowerSource")?.unwrap_or(false);
    let unknown = fields.flag("batteryLevelUnavailable")?.unwrap_or(false);
    let level = fields.loose("batteryLevel", 0.0..=100.0)?.unwrap_or(0.0);
    let battery_permille = if powered || unknown { None } else { percent(level) };
    let charging = powered.then_some(true);
    heard(device, Heartbeat { battery_permille, charging, ..Heartbeat::default() }, stamp, said);
    Ok(())
}

/// A button is not watched for silence, so that all it says of itself can be told; a reader or a receiver that has never
/// sent a heartbeat is not watched either, and one that speaks once a day must not be.
fn heard(device: &Device, heartbeat: Heartbeat, (at, id): Stamp, said: &mut Said) {
    let charge = heartbeat.battery_permille;
    let news = match device.kind {
        DeviceKind::Handset => true,
        DeviceKind::Button => charge.is_some() || heartbeat.charging.is_some() || heartbeat.man_down,
        DeviceKind::Reader | DeviceKind::Gps => {
            charge.is_some_and(|level| level <= LOW_PERMILLE) || heartbeat.man_down
        }
    };
    if news {
        said.push(at, id, Kind::Heartbeat(heartbeat));
    }
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "0 to 1000 by the range")]
fn percent(level: f64) -> Option<u16> {
    (0.0..=100.0).contains(&level).then(|| (level * 10.0).round() as u16)
}

/// What a codec gives under one of these names, in any case.
fn named<'j, 'a>(object: &'j Json<'a>, names: &[&str]) -> Option<&'j Json<'a>> {
    let Json::Object(fields) = object else { return None };
    let is = |name: &str| names.iter().any(|known| known.eq_ignore_ascii_case(name));
    fields.iter().rev().find(|(name, value)| is(name) && *value != Json::Null).map(|(_, value)| value)
}

/// Whether one of these names stands for something that happened: a word that is not no, or a number that is not zero.
fn says(object: &Json<'_>, names: &[&str]) -> bool {
    names.iter().any(|name| {
        named(object, &[name]).is_some_and(|value| match value {
            Json::Text(text) => value.flag() != Some(false) && !is_rest(text),
            Json::Bool(_) | Json::Int(_) | Json::Float(_) => {
                value.number().map_or(value.flag(), |n| Some(n != 0.0)) == Some(true)
            }
            Json::Null | Json::List(_) | Json::Object(_) => false,
        })
    })
}

/// Words for: nothing happened.
fn is_rest(text: &str) -> bool {
    const REST: [&str; 5] = ["none", "normal", "idle", "inactive", "unpressed"];
    REST.iter().any(|word| word.eq_ignore_ascii_case(text.trim()))
}

/// A position that the codec gives; 0, 0 is the word of many receivers for: none.
fn fix(object: &Json<'_>) -> Option<Fix> {
    let number = |names: &[&str]| named(object, names).and_then(Json::number);
    let (lat, lon) = (number(&LATITUDE)?, number(&LONGITUDE)?);
    let on_earth = (-90.0..=90.0).contains(&lat) && (-180.0..=180.0).contains(&lon);
    let accuracy = number(&["accuracy"]).filter(|metres| (0.0..=MAX_ACCURACY_M).contains(metres));
    #[expect(clippy::cast_possible_truncation, reason = "24 bits of mantissa are 1 m in 16,000 km")]
    let accuracy_m = accuracy.map(|metres| metres as f32);
    (on_earth && (lat, lon) != (0.0, 0.0)).then_some(Fix {
        lat,
        lon,
        accuracy_m,
        speed_mps: None,
        heading_deg: None,
        provider: None,
        mock: false,
        outdated: false,
    })
}
