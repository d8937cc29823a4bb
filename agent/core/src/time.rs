//! Instants, spans and the site's wall clock. Everything is milliseconds; local time exists only here.

use chrono::{
    DateTime, Datelike, LocalResult, NaiveDate, NaiveDateTime, SecondsFormat, TimeZone, Timelike, Utc,
    Weekday,
};
use chrono_tz::Tz;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::fmt;
use std::ops::{Add, Sub};

/// A date on the calendar of a site, `2026-03-10` as text.
pub use chrono::NaiveDate as Date;

/// An instant: milliseconds since the epoch, UTC. RFC 3339 with milliseconds as text.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[cfg_attr(feature = "schema", schemars(with = "String", extend("format" = "date-time")))]
pub struct Timestamp(i64);

/// A length of time in milliseconds. `90s`, `15m`, `2h` as text.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Span(i64);

/// A text that is no instant.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{found:?} is not an instant: RFC 3339 with an offset is expected, like 2026-03-10T20:00:00Z")]
pub struct InvalidTimestamp {
    /// The text as it was found, cut to 80 characters.
    pub found: String,
}

/// A text that is no length of time.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{found:?} is not a duration: a whole number with s, m, h or d is expected, like 90s, 15m or 2h")]
pub struct InvalidSpan {
    /// The text as it was found, cut to 80 characters.
    pub found: String,
}

/// The earliest instant that is taken: 1970-01-01.
const EARLIEST_MS: i64 = 0;
/// The latest instant that is taken: 9999-12-31, the last year that RFC 3339 can write.
const LATEST_MS: i64 = 253_402_300_799_999;

impl Timestamp {
    /// From milliseconds since the epoch, clamped to the years 1970 to 9999.
    pub const fn from_millis(ms: i64) -> Self {
        if ms < EARLIEST_MS {
            return Self(EARLIEST_MS);
        }
        if ms > LATEST_MS {
            return Self(LATEST_MS);
        }
        Self(ms)
    }

    /// Milliseconds since the epoch.
    pub const fn millis(self) -> i64 {
        self.0
    }

    /// Reads RFC 3339; a text without an offset is refused.
    pub fn parse(text: &str) -> Result<Self, InvalidTimestamp> {
        match DateTime::parse_from_rfc3339(text) {
            Ok(t) if (EARLIEST_MS..=LATEST_MS).contains(&t.timestamp_millis()) => {
                Ok(Self(t.timestamp_millis()))
            }
            _ => Err(InvalidTimestamp { found: text.chars().take(80).collect() }),
        }
    }

    /// The smallest instant strictly after this one.
    pub const fn just_after(self) -> Self {
        Self::from_millis(self.0.saturating_add(1))
    }

    /// The latest multiple of `step` since the epoch that is not after this instant.
    pub fn floor_to(self, step: Span) -> Self {
        Self(self.0 - self.0.rem_euclid(step.0.max(1)))
    }

    /// From `earlier` to this instant; negative if it is not earlier.
    pub const fn since(self, earlier: Self) -> Span {
        Span(self.0 - earlier.0)
    }

    fn utc(self) -> DateTime<Utc> {
        DateTime::from_timestamp_millis(self.0).unwrap_or(DateTime::UNIX_EPOCH)
    }

    /// Minutes after local midnight, 0 to 1439.
    pub fn local_minute(self, zone: Tz) -> u16 {
        let local = self.utc().with_timezone(&zone);
        u16::try_from(local.hour() * 60 + local.minute()).unwrap_or(0)
    }

    /// The local date.
    pub fn local_date(self, zone: Tz) -> NaiveDate {
        self.utc().with_timezone(&zone).date_naive()
    }

    /// `HH:MM` on the site's clock, for sentences that people read.
    pub fn local_clock(self, zone: Tz) -> String {
        let minute = self.local_minute(zone);
        format!("{:02}:{:02}", minute / 60, minute % 60)
    }
}

impl Add<Span> for Timestamp {
    type Output = Self;
    fn add(self, span: Span) -> Self {
        Self::from_millis(self.0.saturating_add(span.0))
    }
}

impl Sub<Span> for Timestamp {
    type Output = Self;
    fn sub(self, span: Span) -> Self {
        Self::from_millis(self.0.saturating_sub(span.0))
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.utc().to_rfc3339_opts(SecondsFormat::Millis, true))
    }
}

impl fmt::Debug for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Serialize for Timestamp {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if serializer.is_human_readable() {
            serializer.collect_str(self)
        } else {
            self.0.serialize(serializer)
        }
    }
}

impl<'de> Deserialize<'de> for Timestamp {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        if deserializer.is_human_readable() {
            let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
            return Self::parse(&text).map_err(serde::de::Error::custom);
        }
        i64::deserialize(deserializer).map(Self::from_millis)
    }
}

impl Span {
    /// No time at all.
    pub const ZERO: Self = Self(0);

    /// From milliseconds.
    pub const fn from_millis(ms: i64) -> Self {
        Self(ms)
    }
    /// From seconds.
    pub const fn from_secs(secs: i64) -> Self {
        Self(secs * 1_000)
    }
    /// From minutes.
    pub const fn from_mins(mins: i64) -> Self {
        Self(mins * 60_000)
    }
    /// From hours.
    pub const fn from_hours(hours: i64) -> Self {
        Self(hours * 3_600_000)
    }
    /// In milliseconds.
    pub const fn millis(self) -> i64 {
        self.0
    }
    /// Whole minutes, rounded up.
    pub const fn mins_up(self) -> i64 {
        (self.0 + 59_999).div_euclid(60_000)
    }
    /// For the libraries that speak of unsigned durations; a negative span is zero.
    pub fn to_std(self) -> std::time::Duration {
        std::time::Duration::from_millis(u64::try_from(self.0).unwrap_or(0))
    }

    /// Reads `90s`, `15m`, `2h`, `3d`; at most ten years.
    pub fn parse(text: &str) -> Result<Self, InvalidSpan> {
        let invalid = || InvalidSpan { found: text.chars().take(80).collect() };
        let unit_ms = match text.as_bytes().last() {
            Some(b's') => 1_000,
            Some(b'm') => 60_000,
            Some(b'h') => 3_600_000,
            Some(b'd') => 86_400_000,
            _ => return Err(invalid()),
        };
        let digits = &text[..text.len() - 1];
        if digits.is_empty() || !digits.bytes().all(|b| b.is_ascii_digit()) {
            return Err(invalid());
        }
        let count: i64 = digits.parse().map_err(|_| invalid())?;
        let ms = count.checked_mul(unit_ms).filter(|ms| *ms <= 10 * 366 * 86_400_000).ok_or_else(invalid)?;
        Ok(Self(ms))
    }
}

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (unit_ms, unit) in [(3_600_000, "h"), (60_000, "m"), (1_000, "s")] {
            if self.0 != 0 && self.0 % unit_ms == 0 {
                return write!(f, "{}{unit}", self.0 / unit_ms);
            }
        }
        if self.0 == 0 { f.write_str("0s") } else { write!(f, "{}ms", self.0) }
    }
}

impl fmt::Debug for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A time of day on the site's wall clock, to the minute.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct LocalTime {
    minute: u16,
}

/// A text that is no time of day.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{found:?} is not a time of day: HH:MM from 00:00 to 23:59 is expected")]
pub struct InvalidLocalTime {
    /// The text as it was found, cut to 80 characters.
    pub found: String,
}

impl LocalTime {
    /// From an hour and a minute; `None` outside 00:00 to 23:59.
    pub const fn new(hour: u16, minute: u16) -> Option<Self> {
        if hour < 24 && minute < 60 { Some(Self { minute: hour * 60 + minute }) } else { None }
    }

    /// Whole hours of the day, for constants: the hour is taken modulo 24.
    pub const fn hour(hour: u16) -> Self {
        Self { minute: (hour % 24) * 60 }
    }

    /// Reads `HH:MM`.
    pub fn parse(text: &str) -> Result<Self, InvalidLocalTime> {
        let invalid = || InvalidLocalTime { found: text.chars().take(80).collect() };
        let b = text.as_bytes();
        let digit = |i: usize| b.get(i).filter(|d| d.is_ascii_digit()).map(|d| u16::from(d - b'0'));
        let parts = (b.len() == 5 && b.get(2) == Some(&b':'))
            .then(|| Some((digit(0)? * 10 + digit(1)?, digit(3)? * 10 + digit(4)?)))
            .flatten();
        parts.and_then(|(h, m)| Self::new(h, m)).ok_or_else(invalid)
    }

    /// Minutes after midnight.
    pub const fn minute_of_day(self) -> u16 {
        self.minute
    }

    /// The instant at which the wall clock of `zone` shows this time on `date`. A time that a DST change
    /// skips moves forward to the first instant that exists; one that happens twice means the first.
    pub fn on(self, date: NaiveDate, zone: Tz) -> Timestamp {
        let midnight = date.and_time(chrono::NaiveTime::MIN);
        let wall = midnight + chrono::TimeDelta::minutes(i64::from(self.minute));
        Timestamp::from_millis(first_existing(wall, zone))
    }
}

/// The first instant at or after the wall-clock reading `wall`; gaps of up to a day (date-line moves) are crossed.
fn first_existing(wall: NaiveDateTime, zone: Tz) -> i64 {
    match zone.from_local_datetime(&wall) {
        LocalResult::Single(t) | LocalResult::Ambiguous(t, _) => t.timestamp_millis(),
        LocalResult::None => {
            let minutes = (1..=1_441).map(|m| wall + chrono::TimeDelta::minutes(m));
            let found = minutes.filter_map(|w| zone.from_local_datetime(&w).earliest()).next();
            found.map_or_else(|| wall.and_utc().timestamp_millis(), |t| t.timestamp_millis())
        }
    }
}

impl fmt::Display for LocalTime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:02}:{:02}", self.minute / 60, self.minute % 60)
    }
}

impl fmt::Debug for LocalTime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Hours of the day on the wall clock, `from` included, `to` not; they may cross midnight. Equal ends are the whole day.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct LocalHours {
    /// First minute inside.
    pub from: LocalTime,
    /// First minute outside.
    pub to: LocalTime,
}

impl LocalHours {
    /// Whether the wall clock of `zone` at `at` lies inside.
    pub fn contains(self, at: Timestamp, zone: Tz) -> bool {
        let (minute, from, to) = (at.local_minute(zone), self.from.minute, self.to.minute);
        if from < to { from <= minute && minute < to } else { minute >= from || minute < to }
    }
}

/// Days of the week.
#[derive(Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Days(u8);

impl Days {
    /// Every day.
    pub const ALL: Self = Self(0x7f);
    /// No day; add some.
    pub const NONE: Self = Self(0);

    /// Adds the day of that short English name (`mon` to `sun`); false if there is none.
    pub fn insert(&mut self, name: &str) -> bool {
        let names = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"];
        let Some(index) = names.iter().position(|n| *n == name) else { return false };
        self.0 |= 1 << index;
        true
    }

    /// Whether `day` is one of them.
    pub fn contains(self, day: Weekday) -> bool {
        self.0 & (1 << day.num_days_from_monday()) != 0
    }

    /// Whether the local `date` falls on one of them.
    pub fn on(self, date: NaiveDate) -> bool {
        self.contains(date.weekday())
    }
}

impl fmt::Debug for Days {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Days({:#09b})", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Timestamp {
        Timestamp::parse(text).unwrap()
    }

    #[test]
    fn instants_are_rfc_3339_with_milliseconds() {
        assert_eq!(at("2026-03-10T20:00:00+05:30").to_string(), "2026-03-10T14:30:00.000Z");
        assert!(Timestamp::parse("2026-03-10T20:00:00").is_err());
        assert!(Timestamp::parse("1969-12-31T23:59:59Z").is_err());
        assert_eq!(at("2026-03-10T20:00:00Z").just_after().to_string(), "2026-03-10T20:00:00.001Z");
    }

    #[test]
    fn spans_are_read_and_written_alike() {
        for text in ["90s", "15m", "2h", "0s"] {
            assert_eq!(Span::parse(text).unwrap().to_string(), text);
        }
        for bad in ["", "15", "m", "-5m", "1.5h", "99999999999999h", "15 m"] {
            assert!(Span::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn the_skipped_hour_moves_forward_and_the_doubled_one_is_the_first() {
        let berlin = chrono_tz::Europe::Berlin;
        let half_past_two = LocalTime::parse("02:30").unwrap();
        let skipped = NaiveDate::from_ymd_opt(2026, 3, 29).unwrap();
        assert_eq!(half_past_two.on(skipped, berlin), at("2026-03-29T01:00:00Z"));
        let doubled = NaiveDate::from_ymd_opt(2026, 10, 25).unwrap();
        assert_eq!(half_past_two.on(doubled, berlin), at("2026-10-25T00:30:00Z"));
    }

    #[test]
    fn hours_cross_midnight() {
        let night = LocalHours { from: LocalTime::hour(20), to: LocalTime::hour(6) };
        let kolkata = chrono_tz::Asia::Kolkata;
        assert!(!night.contains(at("2026-03-10T19:59:59+05:30"), kolkata));
        assert!(night.contains(at("2026-03-10T20:00:00+05:30"), kolkata));
        assert!(night.contains(at("2026-03-11T05:59:59+05:30"), kolkata));
        assert!(!night.contains(at("2026-03-11T06:00:00+05:30"), kolkata));
    }
}
