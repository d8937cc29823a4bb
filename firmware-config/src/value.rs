//! The kinds of values: one parser each, which says what is allowed when it refuses.

use crate::credential::Credential;
use crate::table::Table;
use chrono_tz::Tz;
use std::fmt::Display;
use std::net::SocketAddr;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use toml::de::DeValue;
use vigil_core::alert::Rule;
use vigil_core::figures::{Figure, FigureKind, FigureValue};
use vigil_core::id::Tag;
use vigil_core::mapping::Pointer;
use vigil_core::policy::Permille;
use vigil_core::time::{Days, LocalTime, Span, Timestamp};

/// The longest text: a name or a title has to fit on a line of the page.
const MAX_TEXT_CHARS: usize = 200;

/// A value that is not allowed.
#[derive(Debug)]
pub(crate) struct Mismatch {
    /// What is allowed.
    pub(crate) allowed: String,
}

impl<T: Into<String>> From<T> for Mismatch {
    fn from(allowed: T) -> Self {
        Self { allowed: allowed.into() }
    }
}

/// What a parser answers.
pub(crate) type Read<T> = Result<T, Mismatch>;

/// A text that people read.
pub(crate) fn text(value: &DeValue<'_>) -> Read<String> {
    let fits =
        |t: &&str| (1..=MAX_TEXT_CHARS).contains(&t.chars().count()) && !t.chars().any(char::is_control);
    value.as_str().filter(fits).map(str::to_owned).ok_or_else(|| "a text of 1 to 200 characters".into())
}

/// `true` or `false`.
pub(crate) fn flag(value: &DeValue<'_>) -> Read<bool> {
    value.as_bool().ok_or_else(|| "true or false".into())
}

/// The id of something.
pub(crate) fn id<K: FromStr>(value: &DeValue<'_>) -> Read<K> {
    let parsed = value.as_str().and_then(|t| t.parse().ok());
    parsed.ok_or_else(|| "an id of 1 to 64 characters of A-Z a-z 0-9 . _ -".into())
}

/// A length of time.
pub(crate) fn span(value: &DeValue<'_>) -> Read<Span> {
    let parsed = value.as_str().and_then(|t| Span::parse(t).ok());
    parsed.ok_or_else(|| "a duration like \"90s\", \"15m\" or \"2h\"".into())
}

/// A length of time within bounds.
pub(crate) fn span_within(from: Span, to: Span) -> impl Fn(&DeValue<'_>) -> Read<Span> {
    move |value| match span(value) {
        Ok(span) if (from..=to).contains(&span) => Ok(span),
        _ => Err(format!("a duration from \"{from}\" to \"{to}\"").into()),
    }
}

/// A whole number within bounds.
pub(crate) fn whole<N>(range: RangeInclusive<N>) -> impl Fn(&DeValue<'_>) -> Read<N>
where
    N: TryFrom<u64> + PartialOrd + Display + Copy,
{
    move |value| {
        let number = value.as_integer().and_then(|n| u64::from_str_radix(n.as_str(), n.radix()).ok());
        let number = number.and_then(|n| N::try_from(n).ok()).filter(|n| range.contains(n));
        number.ok_or_else(|| format!("a whole number from {} to {}", range.start(), range.end()).into())
    }
}

fn finite(value: &DeValue<'_>) -> Option<f64> {
    let whole = value.as_integer().filter(|n| n.radix() == 10).map(|n| n.as_str());
    let digits = whole.or_else(|| value.as_float().map(|n| n.as_str()));
    digits.and_then(|d| d.parse().ok()).filter(|n: &f64| n.is_finite())
}

/// A number, whole or not.
pub(crate) fn number(value: &DeValue<'_>) -> Read<f64> {
    finite(value).ok_or_else(|| "a number".into())
}

/// A number within bounds.
pub(crate) fn number_within(range: RangeInclusive<f64>) -> impl Fn(&DeValue<'_>) -> Read<f64> {
    move |value| {
        let number = finite(value).filter(|n| range.contains(n));
        number.ok_or_else(|| format!("a number from {} to {}", range.start(), range.end()).into())
    }
}

/// A share.
pub(crate) fn fraction(value: &DeValue<'_>) -> Read<Permille> {
    finite(value).and_then(Permille::from_fraction).ok_or_else(|| "a number from 0.0 to 1.0".into())
}

/// A size with its unit, in bytes.
pub(crate) fn size_within(range: RangeInclusive<u64>) -> impl Fn(&DeValue<'_>) -> Read<u64> {
    move |value| {
        let bytes = value.as_str().and_then(bytes_of).filter(|bytes| range.contains(bytes));
        let (from, to) = (with_unit(*range.start()), with_unit(*range.end()));
        bytes.ok_or_else(|| format!("a size in KiB, MiB or GiB from \"{from}\" to \"{to}\"").into())
    }
}

fn with_unit(bytes: u64) -> String {
    match bytes >> 30 {
        0 => format!("{}MiB", bytes >> 20),
        gib => format!("{gib}GiB"),
    }
}

fn bytes_of(text: &str) -> Option<u64> {
    let units = [("KiB", 10), ("MiB", 20), ("GiB", 30)];
    let (digits, shift) = units.iter().find_map(|(unit, shift)| Some((text.strip_suffix(unit)?, shift)))?;
    let all_digits = digits.bytes().all(|b| b.is_ascii_digit());
    all_digits.then(|| digits.parse::<u64>().ok()?.checked_mul(1 << shift)).flatten()
}

/// An instant, as text or as TOML writes it.
pub(crate) fn instant(value: &DeValue<'_>) -> Read<Timestamp> {
    let bare = value.as_datetime().map(ToString::to_string);
    let parsed = value.as_str().or(bare.as_deref()).and_then(|t| Timestamp::parse(t).ok());
    parsed.ok_or_else(|| "an instant from 1970 on with its offset, like \"2026-03-10T20:00:00+05:30\"".into())
}

/// A time of day.
pub(crate) fn local_time(value: &DeValue<'_>) -> Read<LocalTime> {
    let parsed = value.as_str().and_then(|t| LocalTime::parse(t).ok());
    parsed.ok_or_else(|| "a time of day from \"00:00\" to \"23:59\"".into())
}

/// The name of a day.
pub(crate) fn day(value: &DeValue<'_>) -> Read<String> {
    let name = value.as_str().filter(|name| { Days::NONE }.insert(name));
    name.map(str::to_owned).ok_or_else(|| "mon, tue, wed, thu, fri, sat or sun".into())
}

/// An address to listen on.
pub(crate) fn address(value: &DeValue<'_>) -> Read<SocketAddr> {
    let parsed = value.as_str().and_then(|t| t.parse().ok());
    parsed.ok_or_else(|| "an address with a port, like \"127.0.0.1:1883\"".into())
}

/// A path, relative to `base`.
pub(crate) fn path_in(base: &Path) -> impl Fn(&DeValue<'_>) -> Read<PathBuf> {
    move |value| {
        let fits = |t: &&str| (1..=4_096).contains(&t.len()) && !t.contains('\0');
        value.as_str().filter(fits).map(|t| base.join(t)).ok_or_else(|| "a path".into())
    }
}

/// The name of a credential.
pub(crate) fn credential(value: &DeValue<'_>) -> Read<Credential> {
    let named = value.as_str().and_then(Credential::new);
    named.ok_or_else(|| {
        "the name of a credential: 1 to 64 characters of A-Z a-z 0-9 . _ -, no leading dot".into()
    })
}

/// A tag in any spelling.
pub(crate) fn tag(value: &DeValue<'_>) -> Read<Tag> {
    let number = value.as_integer().and_then(|n| u64::from_str_radix(n.as_str(), n.radix()).ok());
    let parsed = value.as_str().and_then(|t| Tag::new(t).ok());
    parsed.or(number.filter(|n| *n > 0).map(Tag::of_number)).ok_or_else(|| {
        "2 to 40 hex digits in quotes, like \"04A1B2C3\", or the number of a card without quotes".into()
    })
}

/// A time zone.
pub(crate) fn zone(value: &DeValue<'_>) -> Read<Tz> {
    let parsed = value.as_str().and_then(|t| t.parse().ok());
    parsed.ok_or_else(|| "the IANA name of a time zone, like \"Asia/Kolkata\"".into())
}

/// One of a few names.
pub(crate) fn one_of<T: Copy>(names: &'static [(&'static str, T)]) -> impl Fn(&DeValue<'_>) -> Read<T> {
    move |value| {
        let named = |text: &str| names.iter().find(|(name, _)| *name == text).map(|(_, meant)| *meant);
        value.as_str().and_then(named).ok_or_else(|| {
            let quoted: Vec<_> = names.iter().map(|(name, _)| format!("{name:?}")).collect();
            quoted.join(" or ").into()
        })
    }
}

/// What stands at the key of a figure, within its bounds.
pub(crate) fn figure(figure: &Figure) -> impl Fn(&DeValue<'_>) -> Read<FigureValue> {
    move |value| {
        let read = match figure.kind() {
            FigureKind::SpanOrOff if value.as_str() == Some("off") => Some(FigureValue::Off),
            FigureKind::Span | FigureKind::SpanOrOff => span(value).ok().map(FigureValue::Span),
            FigureKind::Share => fraction(value).ok().map(FigureValue::Share),
            FigureKind::Whole => whole(0..=u16::MAX)(value).ok().map(FigureValue::Whole),
            FigureKind::Number => number(value).ok().map(FigureValue::Number),
            FigureKind::Flag => flag(value).ok().map(FigureValue::Flag),
            FigureKind::Clock => local_time(value).ok().map(FigureValue::Clock),
            FigureKind::Name => {
                figure.names().into_iter().find(|name| value.as_str() == Some(name)).map(FigureValue::Name)
            }
        };
        read.filter(|read| figure.admits(*read)).ok_or_else(|| figure.allowed().into())
    }
}

/// The name of a rule.
pub(crate) fn rule(value: &DeValue<'_>) -> Read<Rule> {
    let named = value.as_str().and_then(Rule::named);
    named.ok_or_else(|| "the name of a rule, like \"inactivity\" or \"tour_missed\"".into())
}

/// An MQTT topic without wildcards.
pub(crate) fn topic(value: &DeValue<'_>) -> Read<String> {
    let fits = |t: &&str| (1..=256).contains(&t.len()) && !t.contains(['+', '#', '\0']);
    value
        .as_str()
        .filter(fits)
        .map(str::to_owned)
        .ok_or_else(|| "a topic of 1 to 256 bytes without + and #".into())
}

/// An MQTT topic filter, below a first level that is not the contract's own.
pub(crate) fn filter(value: &DeValue<'_>) -> Read<String> {
    let alone = |(i, level): (usize, &str), last: usize| {
        !level.contains(['+', '#', '\0']) || (i > 0 && (level == "+" || (level == "#" && i == last)))
    };
    let fits = |t: &&str| {
        let levels: Vec<&str> = t.split('/').collect();
        let last = levels.len() - 1;
        (1..=256).contains(&t.len())
            && !levels[0].starts_with('$')
            && levels[0] != "vigil"
            && levels.into_iter().enumerate().all(|level| alone(level, last))
    };
    value.as_str().filter(fits).map(str::to_owned).ok_or_else(|| {
        "a topic filter of 1 to 256 bytes, like \"esphome/gate/tag\" or \"zigbee2mqtt/+/action\", whose first level is \
         no wildcard and not vigil"
            .into()
    })
}

/// A JSON pointer.
pub(crate) fn pointer(value: &DeValue<'_>) -> Read<Pointer> {
    let parsed = value.as_str().filter(|t| t.len() <= 256).and_then(Pointer::parse);
    parsed.ok_or_else(|| "a JSON pointer, like \"/data/tag\"; \"\" is the whole payload".into())
}

/// `user/device`, as OwnTracks names its topics.
pub(crate) fn owntracks(value: &DeValue<'_>) -> Read<String> {
    let name = topic(value).ok().filter(|t| {
        let levels: Vec<_> = t.split('/').collect();
        levels.len() == 2 && levels.iter().all(|level| !level.is_empty())
    });
    name.ok_or_else(|| "\"user/device\" as OwnTracks has it".into())
}

/// A certificate that this box shows to a server, with its key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClientCertificate {
    pub(crate) cert: PathBuf,
    pub(crate) key: PathBuf,
}

impl ClientCertificate {
    /// The certificate chain, PEM.
    pub fn cert(&self) -> &Path {
        &self.cert
    }
    /// The private key, PEM.
    pub fn key(&self) -> &Path {
        &self.key
    }

    /// `client_cert` and `client_key`: both or neither.
    pub(crate) fn read(table: &mut Table<'_>, base: &Path) -> Option<Self> {
        let cert = table.optional("client_cert", path_in(base));
        let key = table.optional("client_key", path_in(base));
        match (table.has("client_cert"), table.has("client_key")) {
            (true, false) => table.missing("client_key", "the key that belongs to client_cert"),
            (false, true) => table.missing("client_cert", "the certificate that belongs to client_key"),
            (true, true) | (false, false) => {}
        }
        cert.zip(key).map(|(cert, key)| Self { cert, key })
    }
}

/// The certificate of a listener, with its key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerCertificate {
    pub(crate) cert: PathBuf,
    pub(crate) key: PathBuf,
}

impl ServerCertificate {
    /// The certificate chain, PEM.
    pub fn cert(&self) -> &Path {
        &self.cert
    }
    /// The private key, PEM.
    pub fn key(&self) -> &Path {
        &self.key
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn value(source: &str) -> DeValue<'_> {
        DeValue::parse(source).unwrap().into_inner()
    }

    #[test]
    fn sizes_have_units_and_bounds() {
        let size = size_within(1 << 20..=1 << 40);
        assert_eq!(size(&value("\"256MiB\"")).unwrap(), 256 << 20);
        assert_eq!(size(&value("\"2048KiB\"")).unwrap(), 2 << 20);
        for bad in
            ["256", "\"256\"", "\"MiB\"", "\"-1MiB\"", "\"1KiB\"", "\"99999999999999GiB\"", "\"1.5GiB\""]
        {
            assert!(size(&value(bad)).is_err(), "{bad}");
        }
    }

    #[test]
    fn numbers_stay_within_their_bounds() {
        assert_eq!(whole(1..=100_u16)(&value("0x10")).unwrap(), 16);
        for bad in ["0", "101", "-1", "1.0", "\"1\"", "99999999999999999999999"] {
            assert!(whole(1..=100_u16)(&value(bad)).is_err(), "{bad}");
        }
        assert_eq!(fraction(&value("0.8")).unwrap().get(), 800);
        for bad in ["1.001", "-0.1", "nan", "inf", "true"] {
            assert!(fraction(&value(bad)).is_err(), "{bad}");
        }
    }

    #[test]
    fn instants_are_taken_as_text_and_as_toml_writes_them() {
        let expected = Timestamp::parse("2026-03-10T20:00:00Z").unwrap();
        for good in ["\"2026-03-10T20:00:00Z\"", "2026-03-10T20:00:00Z", "2026-03-11 01:30:00+05:30"] {
            assert_eq!(instant(&value(good)).unwrap(), expected);
        }
        for bad in ["2026-03-10T20:00:00", "2026-03-10", "20:00:00", "1"] {
            assert!(instant(&value(bad)).is_err(), "{bad}");
        }
    }

    #[test]
    fn topics_and_owntracks_names_hold_no_wildcards() {
        assert!(owntracks(&value("\"asha/phone\"")).is_ok());
        for bad in ["\"asha\"", "\"asha/\"", "\"a/b/c\"", "\"a/+\"", "3"] {
            assert!(owntracks(&value(bad)).is_err(), "{bad}");
        }
        assert!(topic(&value("\"tele/#\"")).is_err());
        for good in ["\"a\"", "\"a/+/b\"", "\"a/#\"", "\"/a\""] {
            assert!(filter(&value(good)).is_ok(), "{good}");
        }
        for bad in ["\"#\"", "\"+/a\"", "\"a/#/b\"", "\"a/b+\"", "\"vigil/x\"", "\"$SYS/x\"", "\"\"", "3"] {
            assert!(filter(&value(bad)).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_tag_is_hex_in_quotes_or_a_number_without() {
        assert_eq!(tag(&value("\"4A1B2C3\"")).unwrap(), tag(&value("77705923")).unwrap());
        for bad in ["0", "-1", "1.5", "\"x\"", "99999999999999999999999"] {
            assert!(tag(&value(bad)).is_err(), "{bad}");
        }
    }
}
