//! Tasmota readers (tasmota.github.io/docs, and the drivers xsns_40, 51, 80 and 82 of its source): the tag that was read.
//!
//! `Time` has no zone, so the instant of arrival counts; it still tells one reading from another, so a message that is
//! sent again counts once.

use super::super::fields::{Fault, Fields};
use super::super::json::Json;
use super::super::{Letter, json};
use super::Said;
use super::source::TasmotaPart;
use vigil_core::id::Tag;
use vigil_core::observation::{Kind, Scan};

/// The drivers that read tags.
const DRIVERS: [&str; 4] = ["PN532", "RDM6300", "RC522", "Wiegand"];
/// A keypad on a Wiegand line sends its keys as frames of 4 or 8 bits: they are no tag.
const KEYS_BITS: f64 = 8.0;

/// Reads one message of a reader.
pub(super) fn read(letter: Letter<'_>, part: TasmotaPart) -> Result<Said, Fault> {
    let mut said = Said::default();
    match part {
        TasmotaPart::Sensor => sensor(letter, &mut said)?,
        TasmotaPart::State => {
            letter.json()?;
            said.alive(letter.received_at, None);
        }
        TasmotaPart::Will => {
            let online = match letter.payload.trim_ascii() {
                b"Online" => true,
                b"Offline" => false,
                other => {
                    let found = json::shown(&String::from_utf8_lossy(other));
                    return Err(Fault::wrong_type("LWT", found, "Online or Offline as plain text"));
                }
            };
            said.push(letter.received_at, None, Kind::Status { online });
        }
    }
    Ok(said)
}

/// What the sensors say; one that reads no tags, like a thermometer beside the reader, makes it a sign of life.
fn sensor(letter: Letter<'_>, said: &mut Said) -> Result<(), Fault> {
    let value = letter.json()?;
    let fields = Fields::of(&value, "payload")?;
    let time = fields.text("Time").unwrap_or_default();
    for driver in DRIVERS {
        let Some(reader) = fields.object(driver)? else { continue };
        let Some(tag) = tag(driver, reader)? else { continue };
        let id = time.map(|time| format!("{driver} {time} {}", tag.as_str()));
        let scan = Scan { tag, guard: None, sun: None };
        said.push_repeatable(letter.received_at, id, Kind::Scan(scan));
    }
    if said.events.is_empty() {
        said.alive(letter.received_at, None);
    }
    Ok(())
}

fn tag(driver: &str, reader: Fields<'_, '_>) -> Result<Option<Tag>, Fault> {
    let keys = reader.loose("Size", 0.0..=64.0)?.is_some_and(|bits| bits <= KEYS_BITS);
    let Some(uid) = reader.value("UID").filter(|_| !keys) else { return Ok(None) };
    let name = format!("{driver}.UID");
    read_tag(&name, uid, driver == "Wiegand").map(Some)
}

/// A UID: hex digits, with an `h` behind them if the reader was told to write it so; or a decimal number, bare, or by a
/// Wiegand reader in quotes too.
fn read_tag(name: &str, uid: &Json<'_>, wiegand: bool) -> Result<Tag, Fault> {
    let expected = "the hex digits of a tag, or its number";
    let wrong = || Fault::wrong_type(name, uid, expected);
    match uid {
        Json::Int(number) => {
            u64::try_from(*number).ok().filter(|n| *n > 0).map(Tag::of_number).ok_or_else(wrong)
        }
        Json::Text(text) => {
            let hex = text.strip_suffix(['h', 'H']);
            let number = text.parse().ok().filter(|_| wiegand).map(Tag::of_number);
            number.or_else(|| Tag::new(hex.unwrap_or(text)).ok()).ok_or_else(wrong)
        }
        Json::Null | Json::Bool(_) | Json::Float(_) | Json::List(_) | Json::Object(_) => Err(wrong()),
    }
}
