//! `[[mappings]]`: any other message, made into an object of the contract field by field, and then read as one.

use super::super::fields::{Fault, Fields, required};
use super::super::json::Json;
use super::super::kinds;
use super::super::{Decoded, Event, Letter, MAX_EVENT_ID_CHARS, MAX_ITEMS, Reason, json, too_many};
use super::source::level_of;
use super::{Aside, time};
use std::borrow::Cow;
use vigil_core::id::Tag;
use vigil_core::mapping::{FieldSource, KindName, MappedField, Mapping, Measure, Sender, Unit};
use vigil_core::observation::Kind;
use vigil_core::site::Device;

/// Metres in a foot.
const FOOT: f64 = 0.3048;
/// Kilometres an hour, knots and miles an hour in metres a second.
const KMH: f64 = 1.0 / 3.6;
const KNOT: f64 = 0.514_444;
const MPH: f64 = 0.447_04;

/// Decodes one message by every mapping whose filter covers its topic.
pub(super) fn message(letter: Letter<'_>, mappings: &[&Mapping]) -> Result<Decoded, Fault> {
    let value = payload(letter)?;
    let mut decoded = Decoded::default();
    for mapping in mappings {
        let items = match mapping.items.as_ref().map(|at| value.at(at.steps())) {
            None => std::slice::from_ref(&value),
            Some(Some(Json::List(items))) if items.len() > MAX_ITEMS => return Err(too_many(items.len())),
            Some(Some(Json::List(items))) => items,
            Some(Some(other)) => return Err(Fault::wrong_type("items", other, "an array")),
            // A message without the list has nothing to say to this mapping.
            Some(None) => continue,
        };
        for (index, item) in items.iter().enumerate() {
            let numbered = mapping.items.is_some().then_some(index);
            if !counts(mapping, item) {
                continue;
            }
            match event(letter, mapping, item) {
                Ok((device, event, timeless)) => match letter.in_time(event, device) {
                    Ok(observation) => {
                        if timeless && matches!(observation.kind, Kind::Scan(_)) {
                            decoded.asides.push(Aside::Repeats(decoded.observations.len()));
                        }
                        decoded.observations.push(observation);
                    }
                    Err(fault) => decoded.refused.push(letter.refusal(fault, numbered)),
                },
                Err(fault) => decoded.refused.push(letter.refusal(fault, numbered)),
            }
        }
    }
    Ok(decoded)
}

/// JSON, or a plain word like the UID that a reader publishes: then the whole payload is one text.
fn payload(letter: Letter<'_>) -> Result<Json<'_>, Fault> {
    letter.json().or_else(|fault| {
        let plain = std::str::from_utf8(letter.payload).map_err(|_| fault)?;
        Ok(Json::Text(Cow::Borrowed(plain.trim())))
    })
}

fn counts(mapping: &Mapping, item: &Json<'_>) -> bool {
    mapping.only.as_ref().is_none_or(|(at, words)| {
        let found = item.at(at.steps()).and_then(Json::word);
        found.is_some_and(|found| words.iter().any(|word| *word == *found))
    })
}

/// One event, whose it is, and whether it has no instant of its own.
fn event<'s>(
    letter: Letter<'s>,
    mapping: &Mapping,
    item: &Json<'_>,
) -> Result<(&'s Device, Event, bool), Fault> {
    let mapped = fields(mapping, item)?;
    let fields = Fields::of(&mapped, "payload")?;
    let told_at = fields.instant("ts")?;
    let at = told_at.unwrap_or(letter.received_at);
    let id = fields.bounded("id", MAX_EVENT_ID_CHARS)?.map(str::to_owned);
    let device = device(letter, mapping, item)?;
    let kind = if mapping.kind == KindName::Status {
        Kind::Status { online: required("online", fields.flag("online")?, "true or false")? }
    } else {
        kinds::kind(mapping.kind, fields, device.guard.as_ref())?
    };
    Ok((device, Event { at, id, kind }, told_at.is_none()))
}

fn device<'s>(letter: Letter<'s>, mapping: &Mapping, item: &Json<'_>) -> Result<&'s Device, Fault> {
    let word;
    let id = match &mapping.sender {
        Sender::Device(id) => id.as_str(),
        Sender::Level(level) => level_of(letter.topic, *level).unwrap_or_default(),
        Sender::At(at) => {
            word = required("device", item.at(at.steps()).and_then(Json::word), "the id of a device")?;
            &word
        }
    };
    letter.site.device(id).ok_or_else(|| Fault {
        reason: Reason::UnknownDevice,
        detail: format!(
            "device: found {}, allowed: a device of the site file; add it there",
            json::shown(id)
        ),
    })
}

/// The object of the contract that an item stands for.
fn fields<'j>(mapping: &'j Mapping, item: &'j Json<'_>) -> Result<Json<'j>, Fault> {
    let mut object = Vec::with_capacity(mapping.fields.len());
    for field in &mapping.fields {
        let measure = mapping.kind.fields().find(|(name, ..)| *name == field.name).map(|(_, m, _)| m);
        let value = match &field.source {
            FieldSource::Word(word) => Some(Json::Text(Cow::Borrowed(word.as_str()))),
            FieldSource::At(at) => item.at(at.steps()).filter(|found| **found != Json::Null).cloned(),
        };
        if let (Some(measure), Some(value)) = (measure, value) {
            let value = converted(field, measure, &value)?;
            object.extend(value.map(|value| (Cow::Borrowed(field.name.as_str()), value)));
        }
    }
    Ok(Json::Object(object))
}

/// A value in the contract's unit and type. An empty text in the place of a number says nothing.
fn converted<'j>(field: &MappedField, measure: Measure, value: &Json<'_>) -> Result<Option<Json<'j>>, Fault> {
    let unit = field.unit.or_else(|| measure.units().first().map(|(_, unit)| *unit));
    let wrong = |expected| Fault::wrong_type(&field.name, value, expected);
    let said = |text: Cow<'_, str>| Json::Text(Cow::Owned(text.into_owned()));
    let silent = matches!(value, Json::Text(text) if text.trim().is_empty());
    Ok(match measure {
        Measure::Number | Measure::Share | Measure::Length | Measure::Speed if silent => None,
        Measure::Number | Measure::Share | Measure::Length | Measure::Speed => {
            let number = value.number().ok_or_else(|| wrong("a number"))?;
            Some(Json::Float(number * factor(unit)))
        }
        Measure::Flag => Some(Json::Bool(value.flag().ok_or_else(|| wrong("true or false"))?)),
        Measure::Instant => Some(said(instant(unit, value).ok_or_else(|| wrong("an instant"))?.into())),
        Measure::Tag => {
            Some(said(tag(unit, value).ok_or_else(|| wrong("the identity of a tag"))?.as_str().into()))
        }
        Measure::Text => Some(said(value.word().ok_or_else(|| wrong("a text"))?)),
    })
}

const fn factor(unit: Option<Unit>) -> f64 {
    match unit {
        Some(Unit::Percent) => 0.01,
        Some(Unit::Feet) => FOOT,
        Some(Unit::KilometresPerHour) => KMH,
        Some(Unit::Knots) => KNOT,
        Some(Unit::MilesPerHour) => MPH,
        Some(
            Unit::Fraction
            | Unit::Metres
            | Unit::MetresPerSecond
            | Unit::Rfc3339
            | Unit::EpochSeconds
            | Unit::EpochMillis
            | Unit::Hex
            | Unit::Decimal,
        )
        | None => 1.0,
    }
}

fn instant(unit: Option<Unit>, value: &Json<'_>) -> Option<String> {
    let at = if unit == Some(Unit::EpochSeconds) {
        time::epoch(value.number()? * 1_000.0)?
    } else if unit == Some(Unit::EpochMillis) {
        time::epoch(value.number()?)?
    } else {
        time::written(&value.word()?)?
    };
    Some(at.to_string())
}

/// A bare number is the decimal number of a card, whatever the unit says.
fn tag(unit: Option<Unit>, value: &Json<'_>) -> Option<Tag> {
    let decimal = unit == Some(Unit::Decimal) || matches!(value, Json::Int(_));
    let word = value.word()?;
    if decimal { word.trim().parse().ok().map(Tag::of_number) } else { Tag::new(word.trim()).ok() }
}
