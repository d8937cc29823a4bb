//! Instants, in the spellings that foreign devices have for them.

use super::super::fields::{Fault, Fields};
use super::super::json::Json;
use vigil_core::time::Timestamp;

/// From here on a number of seconds would lie after the year 5138: it counts milliseconds.
const MILLIS_FROM: f64 = 1e11;

/// The instant under a name: RFC 3339, also with an offset without a colon; or seconds or milliseconds since 1970.
pub(super) fn instant(fields: Fields<'_, '_>, name: &str) -> Result<Option<Timestamp>, Fault> {
    let Some(value) = fields.value(name) else { return Ok(None) };
    let read = match (value, value.number()) {
        (_, Some(number)) if number >= MILLIS_FROM => epoch(number),
        (_, Some(number)) => epoch(number * 1_000.0),
        (Json::Text(text), None) => written(text),
        (
            Json::Null | Json::Bool(_) | Json::Int(_) | Json::Float(_) | Json::List(_) | Json::Object(_),
            None,
        ) => None,
    };
    let expected = "an instant in RFC 3339 with an offset, or the seconds since 1970";
    read.map(Some).ok_or_else(|| Fault::wrong_type(name, value, expected))
}

/// The instant so many milliseconds after 1970, if there is one that a calendar knows.
pub(super) fn epoch(millis: f64) -> Option<Timestamp> {
    #[expect(clippy::cast_possible_truncation, reason = "the range ends far below 2^53")]
    let at = (0.0..=LATEST_MS).contains(&millis).then(|| Timestamp::from_millis(millis.round() as i64));
    at
}

/// The end of the year 9999: no later instant can be written down.
const LATEST_MS: f64 = 253_402_300_799_999.0;

/// An instant as text; `+0530` is as good as `+05:30`.
pub(super) fn written(text: &str) -> Option<Timestamp> {
    let text = text.trim();
    Timestamp::parse(text).ok().or_else(|| {
        let (head, offset) = text.split_at_checked(text.len().checked_sub(5)?)?;
        let (sign, digits) = offset.split_at_checked(1)?;
        let (hours, minutes) = digits.split_at_checked(2)?;
        let plain = matches!(sign, "+" | "-") && digits.bytes().all(|b| b.is_ascii_digit());
        plain.then(|| Timestamp::parse(&format!("{head}{sign}{hours}:{minutes}")).ok()).flatten()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_instant_has_many_spellings() {
        let expected = Timestamp::parse("2024-05-20T14:29:55Z").unwrap();
        for spelling in [
            r#""2024-05-20T14:29:55.000+00:00""#,
            r#""2024-05-20T14:29:55.000+0000""#,
            r#""2024-05-20T19:59:55+0530""#,
            "1716215395",
            "1716215395000",
            r#""1716215395""#,
            "1716215395.0",
        ] {
            let text = format!("{{\"t\":{spelling}}}");
            let value: Json<'_> = serde_json::from_str(&text).unwrap();
            let read = instant(Fields::of(&value, "payload").unwrap(), "t");
            assert_eq!(read, Ok(Some(expected)), "{spelling}");
        }
        for bad in [r#""2024-05-20T14:29:55""#, r#""é0000""#, "-1", "1e300", "true", "[]", r#""""#] {
            let text = format!("{{\"t\":{bad}}}");
            let value: Json<'_> = serde_json::from_str(&text).unwrap();
            assert!(instant(Fields::of(&value, "payload").unwrap(), "t").is_err(), "{bad}");
        }
    }
}
