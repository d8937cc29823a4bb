//! What the message of a device that nobody here made says where: `[[mappings]]` of the site file.
//!
//! The rules never look at it: it says how bytes become observations, and two sites that differ only here are the
//! same site to the engine.

use crate::id::DeviceId;

/// One `[[mappings]]`: messages under a topic filter, and where in them the fields of one kind stand.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mapping {
    /// Which topics: a filter of MQTT.
    pub topic: String,
    /// Whose messages they are.
    pub sender: Sender,
    /// Who publishes them at the embedded broker, if it is not the device itself.
    pub user: Option<String>,
    /// What they say.
    pub kind: KindName,
    /// Where the events stand, if a message holds a list of them.
    pub items: Option<Pointer>,
    /// Which of them count: the value at a place is one of these. Without it all do.
    pub only: Option<(Pointer, Vec<String>)>,
    /// Where each field of the kind stands.
    pub fields: Vec<MappedField>,
}

impl Mapping {
    /// Whether its filter covers a topic. Levels are compared one by one and never normalised.
    pub fn covers(&self, topic: &str) -> bool {
        covers(&self.topic, topic)
    }
}

/// Whether a filter of MQTT covers a topic; a wildcard at its head covers no topic of the broker's own.
pub fn covers(filter: &str, topic: &str) -> bool {
    if topic.starts_with('$') && filter.starts_with(['+', '#']) {
        return false;
    }
    let mut levels = topic.split('/');
    for wanted in filter.split('/') {
        match (wanted, levels.next()) {
            ("#", _) => return true,
            ("+", Some(_)) => {}
            (text, Some(level)) if text == level => {}
            _ => return false,
        }
    }
    levels.next().is_none()
}

/// How a message says whose it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Sender {
    /// All are of one device.
    Device(DeviceId),
    /// A level of the topic, counted from 1, is its id.
    Level(u8),
    /// Its id stands in the message.
    At(Pointer),
}

/// Where one field stands, and in which unit; or what it always is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MappedField {
    /// Its name in contract 4.
    pub name: String,
    /// Where its value is from.
    pub source: FieldSource,
    /// The unit of a number or an instant, or the spelling of a tag; the usual one if none is given.
    pub unit: Option<Unit>,
}

/// Where the value of a field is from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FieldSource {
    /// From the message.
    At(Pointer),
    /// It is always this word.
    Word(String),
}

/// A JSON pointer (RFC 6901); the empty one is the whole message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pointer(Vec<String>);

impl Pointer {
    /// Reads a pointer; `None` if it does not begin with `/`, or has a `~` that is no escape.
    pub fn parse(text: &str) -> Option<Self> {
        if text.is_empty() {
            return Some(Self(vec![]));
        }
        text.strip_prefix('/')?.split('/').map(unescaped).collect::<Option<_>>().map(Self)
    }

    /// The names on the way, unescaped.
    pub fn steps(&self) -> &[String] {
        &self.0
    }
}

/// `~1` is a slash and `~0` a tilde.
fn unescaped(step: &str) -> Option<String> {
    let mut name = String::with_capacity(step.len());
    let mut letters = step.chars();
    while let Some(letter) = letters.next() {
        match letter {
            '~' => name.push(match letters.next()? {
                '0' => '~',
                '1' => '/',
                _ => return None,
            }),
            plain => name.push(plain),
        }
    }
    Some(name)
}

/// The kinds of contract 4, as the last level of a topic and a mapping name them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum KindName {
    /// A sign of life.
    Heartbeat,
    /// A position.
    Location,
    /// A tag was read.
    Scan,
    /// A task changed.
    Task,
    /// A guard came or went.
    Attendance,
    /// One phone event.
    Activity,
    /// A call for help.
    Sos,
    /// Whether the device is there.
    Status,
}

/// What the value of a field is, and so in which units it can be given.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Measure {
    /// A share of one.
    Share,
    /// A plain number.
    Number,
    /// Metres.
    Length,
    /// Metres a second.
    Speed,
    /// Yes or no.
    Flag,
    /// An instant.
    Instant,
    /// The identity of a tag.
    Tag,
    /// A text.
    Text,
}

/// A unit, or a spelling, with its name in the site file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unit {
    /// A share of one.
    Fraction,
    /// Percent.
    Percent,
    /// Metres.
    Metres,
    /// Feet.
    Feet,
    /// Metres a second.
    MetresPerSecond,
    /// Kilometres an hour.
    KilometresPerHour,
    /// Nautical miles an hour.
    Knots,
    /// Miles an hour.
    MilesPerHour,
    /// RFC 3339 with an offset.
    Rfc3339,
    /// Seconds since 1970.
    EpochSeconds,
    /// Milliseconds since 1970.
    EpochMillis,
    /// Hex digits.
    Hex,
    /// A decimal number.
    Decimal,
}

impl Measure {
    /// The units in which it can be given, the usual one first.
    pub const fn units(self) -> &'static [(&'static str, Unit)] {
        match self {
            Self::Share => &[("fraction", Unit::Fraction), ("%", Unit::Percent)],
            Self::Length => &[("m", Unit::Metres), ("ft", Unit::Feet)],
            Self::Speed => &[
                ("m/s", Unit::MetresPerSecond),
                ("km/h", Unit::KilometresPerHour),
                ("kn", Unit::Knots),
                ("mph", Unit::MilesPerHour),
            ],
            Self::Instant => {
                &[("rfc3339", Unit::Rfc3339), ("s", Unit::EpochSeconds), ("ms", Unit::EpochMillis)]
            }
            Self::Tag => &[("hex", Unit::Hex), ("decimal", Unit::Decimal)],
            Self::Number | Self::Flag | Self::Text => &[],
        }
    }
}

/// A field of a kind: its name in contract 4, what it measures, and whether the kind is nothing without it.
type Known = (&'static str, Measure, bool);

impl KindName {
    /// Every kind with its name.
    pub const ALL: [(&'static str, Self); 8] = [
        ("heartbeat", Self::Heartbeat),
        ("location", Self::Location),
        ("scan", Self::Scan),
        ("task", Self::Task),
        ("attendance", Self::Attendance),
        ("activity", Self::Activity),
        ("sos", Self::Sos),
        ("status", Self::Status),
    ];

    /// The kind of that name.
    pub fn of(name: &str) -> Option<Self> {
        Self::ALL.iter().find(|(known, _)| *known == name).map(|(_, kind)| *kind)
    }

    /// The fields that a mapping can fill, beyond `ts` and `id`.
    pub const fn own_fields(self) -> &'static [Known] {
        use Measure::{Flag, Instant, Length, Number, Share, Speed, Tag, Text};
        match self {
            Self::Heartbeat => &[
                ("battery", Share, false),
                ("charging", Flag, false),
                ("interactions", Number, false),
                ("steps", Number, false),
                ("man_down", Flag, false),
            ],
            Self::Location => &[
                ("lat", Number, true),
                ("lon", Number, true),
                ("accuracy", Length, false),
                ("speed", Speed, false),
                ("heading", Number, false),
                ("provider", Text, false),
                ("mock", Flag, false),
            ],
            Self::Scan => &[("tag", Tag, true), ("guard", Text, false)],
            Self::Task => &[
                ("task", Text, true),
                ("state", Text, true),
                ("priority", Text, false),
                ("title", Text, false),
                ("created_at", Instant, false),
                ("due_at", Instant, false),
                ("guard", Text, false),
            ],
            Self::Attendance => {
                &[("action", Text, true), ("guard", Text, false), ("biometric", Share, false)]
            }
            Self::Activity => &[("event", Text, true)],
            Self::Sos => &[("note", Text, false)],
            Self::Status => &[("online", Flag, true)],
        }
    }

    /// All of them: `ts` is the instant of arrival if it is not mapped, and without `id` the content is the identity.
    pub fn fields(self) -> impl Iterator<Item = Known> {
        let every = [("ts", Measure::Instant, false), ("id", Measure::Text, false)];
        every.into_iter().chain(self.own_fields().iter().copied())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pointer_is_read_as_the_rfc_has_it() {
        let steps = |text| Pointer::parse(text).map(|p| p.steps().to_vec());
        assert_eq!(steps(""), Some(vec![]));
        assert_eq!(steps("/"), Some(vec![String::new()]));
        assert_eq!(steps("/a~1b/m~0n/0"), Some(vec!["a/b".into(), "m~n".into(), "0".into()]));
        for bad in ["a", "/a~", "/a~2"] {
            assert_eq!(steps(bad), None, "{bad}");
        }
    }

    #[test]
    fn a_filter_covers_level_by_level() {
        for (filter, topic, covered) in [
            ("a/+/c", "a/b/c", true),
            ("a/+/c", "a/b/d/c", false),
            ("a/#", "a", true),
            ("a/#", "a/b/c", true),
            ("#", "$SYS/x", false),
            ("a/b", "a/b/", false),
            ("a/../b", "a/x/../b", false),
        ] {
            assert_eq!(covers(filter, topic), covered, "{filter} {topic}");
        }
    }

    #[test]
    fn every_field_has_its_name_once() {
        for (kind, mapped) in KindName::ALL {
            let mut names: Vec<_> = mapped.fields().map(|(name, ..)| name).collect();
            let count = names.len();
            names.sort_unstable();
            names.dedup();
            assert_eq!(names.len(), count, "{kind}");
        }
    }
}
