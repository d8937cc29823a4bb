//! The fields of one object, each read with its type and its bounds. Every error says which field, what was
//! found, and what is allowed.

use super::Reason;
use super::json::{Json, shown};
use std::borrow::Cow;
use std::fmt::Display;
use std::ops::RangeInclusive;
use std::str::FromStr;
use vigil_core::time::Timestamp;

/// Why one object is refused.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Fault {
    pub(super) reason: Reason,
    pub(super) detail: String,
}

impl Fault {
    pub(super) fn wrong_type(field: &str, found: impl Display, expected: &str) -> Self {
        let detail = format!("{field}: found {found}, expected {expected}");
        Self { reason: Reason::WrongType, detail }
    }

    pub(super) fn out_of_range(field: &str, found: impl Display, allowed: impl Display) -> Self {
        let detail = format!("{field}: found {found}, allowed: {allowed}");
        Self { reason: Reason::OutOfRange, detail }
    }
}

/// What is in range of a counter: nobody touches a phone or takes a step a million times between two heartbeats.
const COUNTS: RangeInclusive<i64> = 0..=1_000_000;

/// The fields of one object.
#[derive(Debug, Clone, Copy)]
pub(super) struct Fields<'j, 'a>(&'j [(Cow<'a, str>, Json<'a>)]);

impl<'j, 'a> Fields<'j, 'a> {
    pub(super) fn of(value: &'j Json<'a>, what: &str) -> Result<Self, Fault> {
        let Json::Object(fields) = value else { return Err(Fault::wrong_type(what, value, "an object")) };
        Ok(Self(fields))
    }

    /// The field of that name; the last one counts if it is there twice, and null is as good as nothing.
    fn get(self, name: &str) -> Option<&'j Json<'a>> {
        let field = self.0.iter().rev().find(|(n, _)| n == name);
        field.map(|(_, value)| value).filter(|value| **value != Json::Null)
    }

    pub(super) fn object(self, name: &str) -> Result<Option<Self>, Fault> {
        self.get(name).map(|value| Self::of(value, name)).transpose()
    }

    pub(super) fn flag(self, name: &str) -> Result<Option<bool>, Fault> {
        match self.get(name) {
            None => Ok(None),
            Some(Json::Bool(flag)) => Ok(Some(*flag)),
            Some(other) => Err(Fault::wrong_type(name, other, "true or false")),
        }
    }

    pub(super) fn number(self, name: &str, range: RangeInclusive<f64>) -> Result<Option<f64>, Fault> {
        #[expect(clippy::cast_precision_loss, reason = "every range ends far below 2^53")]
        let number = match self.get(name) {
            None => return Ok(None),
            Some(Json::Int(number)) => *number as f64,
            Some(Json::Float(number)) => *number,
            Some(other) => return Err(Fault::wrong_type(name, other, "a number")),
        };
        if range.contains(&number) {
            return Ok(Some(number));
        }
        Err(Fault::out_of_range(name, number, format!("{} to {}", range.start(), range.end())))
    }

    #[expect(
        clippy::cast_possible_truncation,
        reason = "24 bits of mantissa are 1 m in 16,000 km; bounds are given"
    )]
    pub(super) fn short_number(self, name: &str, range: RangeInclusive<f64>) -> Result<Option<f32>, Fault> {
        Ok(self.number(name, range)?.map(|number| number as f32))
    }

    /// A number that may stand in quotes, as older apps write every one, or not at all. Below `range` it says, by the
    /// custom of phones, that it is not known.
    pub(super) fn loose(self, name: &str, range: RangeInclusive<f64>) -> Result<Option<f64>, Fault> {
        let Some(value) = self.get(name) else { return Ok(None) };
        if matches!(value, Json::Text(text) if text.trim().is_empty()) {
            return Ok(None);
        }
        let number = value.number().ok_or_else(|| Fault::wrong_type(name, value, "a number"))?;
        if number < 0.0 && *range.start() >= 0.0 {
            return Ok(None);
        }
        if range.contains(&number) {
            return Ok(Some(number));
        }
        Err(Fault::out_of_range(name, number, format!("{} to {}", range.start(), range.end())))
    }

    /// What stands under that name, whatever it is.
    pub(super) fn value(self, name: &str) -> Option<&'j Json<'a>> {
        self.get(name)
    }

    /// A share of one, in thousandths.
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "0 to 1000 by the range")]
    pub(super) fn permille(self, name: &str) -> Result<Option<u16>, Fault> {
        Ok(self.number(name, 0.0..=1.0)?.map(|share| (share * 1_000.0).round() as u16))
    }

    /// A whole number of things that happened; nothing said is none.
    pub(super) fn count(self, name: &str) -> Result<u32, Fault> {
        let number = match self.get(name) {
            None => 0,
            Some(Json::Int(number)) => *number,
            Some(Json::Float(number)) => whole(name, *number)?,
            Some(other) => return Err(Fault::wrong_type(name, other, "a whole number")),
        };
        let allowed = || format!("{} to {}", COUNTS.start(), COUNTS.end());
        let count = u32::try_from(number).ok().filter(|_| COUNTS.contains(&number));
        count.ok_or_else(|| Fault::out_of_range(name, number, allowed()))
    }

    pub(super) fn text(self, name: &str) -> Result<Option<&'j str>, Fault> {
        match self.get(name) {
            None => Ok(None),
            Some(Json::Text(text)) => Ok(Some(text)),
            Some(other) => Err(Fault::wrong_type(name, other, "a text")),
        }
    }

    /// A text of at least one and at most `max` characters.
    pub(super) fn bounded(self, name: &str, max: usize) -> Result<Option<&'j str>, Fault> {
        let text = self.text(name)?;
        match text.map(|text| text.chars().take(max + 1).count()) {
            Some(chars) if chars == 0 || chars > max => {
                let found = text.map(shown).unwrap_or_default();
                Err(Fault::out_of_range(name, found, format!("1 to {max} characters")))
            }
            Some(_) | None => Ok(text),
        }
    }

    /// An id, a tag, or what else a text can be read as.
    pub(super) fn parsed<T: FromStr<Err: Display>>(self, name: &str) -> Result<Option<T>, Fault> {
        let Some(text) = self.text(name)? else { return Ok(None) };
        let refused = |error| Fault { reason: Reason::OutOfRange, detail: format!("{name}: {error}") };
        text.parse().map(Some).map_err(refused)
    }

    pub(super) fn instant(self, name: &str) -> Result<Option<Timestamp>, Fault> {
        let Some(text) = self.text(name)? else { return Ok(None) };
        let refused = |error| Fault { reason: Reason::WrongType, detail: format!("{name}: {error}") };
        Timestamp::parse(text).map(Some).map_err(refused)
    }

    /// One of a closed list of words.
    pub(super) fn choice<T: Copy>(self, name: &str, words: &[(&str, T)]) -> Result<Option<T>, Fault> {
        let Some(text) = self.text(name)? else { return Ok(None) };
        let found = words.iter().find(|(word, _)| *word == text);
        let allowed = || words.iter().map(|(word, _)| *word).collect::<Vec<_>>().join(", ");
        found.map(|(_, value)| Some(*value)).ok_or_else(|| Fault::out_of_range(name, shown(text), allowed()))
    }
}

/// A field that must be there.
pub(super) fn required<T>(name: &str, value: Option<T>, expected: &str) -> Result<T, Fault> {
    value.ok_or_else(|| Fault::wrong_type(name, "nothing", expected))
}

#[expect(clippy::cast_possible_truncation, reason = "whole, and below 2^53 by the check")]
fn whole(name: &str, number: f64) -> Result<i64, Fault> {
    const EXACT: f64 = 9_007_199_254_740_992.0;
    if number.fract() == 0.0 && number.abs() < EXACT {
        return Ok(number as i64);
    }
    Err(Fault::wrong_type(name, number, "a whole number"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with<T>(text: &str, read: impl FnOnce(Fields<'_, '_>) -> T) -> T {
        let value: Json<'_> = serde_json::from_str(text).unwrap();
        read(Fields::of(&value, "payload").unwrap())
    }

    #[test]
    fn numbers_may_be_written_either_way() {
        assert_eq!(with(r#"{"x":3}"#, |f| f.number("x", 0.0..=9.0)), Ok(Some(3.0)));
        assert_eq!(with(r#"{"x":3.0}"#, |f| f.count("x")), Ok(3));
        assert_eq!(with(r#"{"x":3.5}"#, |f| f.count("x")).unwrap_err().reason, Reason::WrongType);
        assert_eq!(with(r#"{"x":-1}"#, |f| f.count("x")).unwrap_err().reason, Reason::OutOfRange);
        assert_eq!(with(r#"{"x":1e300}"#, |f| f.count("x")).unwrap_err().reason, Reason::WrongType);
    }

    #[test]
    fn a_loose_number_may_stand_in_quotes_and_less_than_nothing_is_unknown() {
        let loose = |text| with(text, |f| f.loose("x", 0.0..=9.0));
        assert_eq!(loose(r#"{"x":"3.5"}"#), Ok(Some(3.5)));
        assert_eq!(loose(r#"{"x":" 3 "}"#), Ok(Some(3.0)));
        for unknown in ["{}", r#"{"x":""}"#, r#"{"x":-1}"#, r#"{"x":null}"#] {
            assert_eq!(loose(unknown), Ok(None), "{unknown}");
        }
        assert_eq!(loose(r#"{"x":10}"#).unwrap_err().reason, Reason::OutOfRange);
        for bad in [r#"{"x":"three"}"#, r#"{"x":"inf"}"#, r#"{"x":true}"#, r#"{"x":[]}"#] {
            assert_eq!(loose(bad).unwrap_err().reason, Reason::WrongType, "{bad}");
        }
    }

    #[test]
    fn nothing_and_null_are_the_same() {
        assert_eq!(with(r#"{"x":null}"#, |f| f.flag("x")), Ok(None));
        assert_eq!(with("{}", |f| f.count("x")), Ok(0));
    }

    #[test]
    fn the_last_of_two_counts() {
        assert_eq!(with(r#"{"x":1,"x":2}"#, |f| f.count("x")), Ok(2));
    }

    #[test]
    fn shares_are_thousandths() {
        assert_eq!(with(r#"{"x":0.8}"#, |f| f.permille("x")), Ok(Some(800)));
        let fault = with(r#"{"x":80}"#, |f| f.permille("x")).unwrap_err();
        assert_eq!(fault, Fault::out_of_range("x", 80, "0 to 1"));
    }

    #[test]
    fn a_word_outside_the_list_is_answered_with_the_list() {
        let fault = with(r#"{"x":"c"}"#, |f| f.choice("x", &[("a", 1), ("b", 2)])).unwrap_err();
        assert_eq!(fault.detail, "x: found \"c\", allowed: a, b");
    }
}
