//! The table of every figure of a policy: its key, what it means, what is allowed, and where it lies.
//!
//! A site file is read by it, [`Policy::new`](crate::policy::Policy::new) checks by it, and `vigil config explain`
//! tells it, so none of them can drift from the others.

mod list;

pub use list::FIGURES;

use crate::alert::Severity;
use crate::policy::{
    DeepNight, DutyMode, Expectation, Invalid, Monitor, MovementRule, Permille, PolicyParts,
};
use crate::time::{LocalTime, Span};
use serde::{Serialize, Serializer};
use std::fmt;

/// Where a figure lies; one way serves for reading and writing.
type At<T> = fn(&mut PolicyParts) -> &mut T;

/// One figure of a policy.
pub struct Figure {
    /// Its key below `policy`, like `inactivity.window`.
    pub key: &'static str,
    /// What it means, in one sentence.
    pub means: &'static str,
    /// What it has to do with other figures, beside its own bounds.
    pub tie: Option<&'static str>,
    slot: Slot,
}

/// What kind of value stands where, and its bounds.
enum Slot {
    Span(At<Span>, Span, Span),
    SpanOrOff(At<Option<Span>>, Span, Span),
    /// From so many thousandths to 1000.
    Share(At<Permille>, u16),
    Count(At<u16>, u16, u16),
    Percent(At<u8>),
    Number(At<f64>, f64, f64),
    Flag(At<bool>),
    Clock(At<LocalTime>),
    Name(&'static (dyn Choice + Sync)),
}

/// The kind of value that a figure takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FigureKind {
    /// A length of time.
    Span,
    /// A length of time, or `"off"`.
    SpanOrOff,
    /// A share of one.
    Share,
    /// A whole number.
    Whole,
    /// Any number.
    Number,
    /// `true` or `false`.
    Flag,
    /// A time of day.
    Clock,
    /// One of a few names.
    Name,
}

/// What stands at a key. Displayed, it is what a site file says.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum FigureValue {
    /// A length of time.
    Span(Span),
    /// `"off"`.
    Off,
    /// A share of one.
    Share(Permille),
    /// A whole number.
    Whole(u16),
    /// Any number.
    Number(f64),
    /// `true` or `false`.
    Flag(bool),
    /// A time of day.
    Clock(LocalTime),
    /// One of a few names.
    Name(&'static str),
}

impl fmt::Display for FigureValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Span(span) => write!(f, "\"{span}\""),
            Self::Off => f.write_str("\"off\""),
            Self::Share(share) => write!(f, "{:?}", f64::from(share.get()) / 1_000.0),
            Self::Whole(n) => n.fmt(f),
            Self::Number(n) => n.fmt(f),
            Self::Flag(flag) => flag.fmt(f),
            Self::Clock(time) => write!(f, "\"{time}\""),
            Self::Name(name) => write!(f, "\"{name}\""),
        }
    }
}

impl Serialize for FigureValue {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Span(span) => serializer.collect_str(span),
            Self::Off => serializer.serialize_str("off"),
            Self::Share(share) => serializer.serialize_f64(f64::from(share.get()) / 1_000.0),
            Self::Whole(n) => serializer.serialize_u16(*n),
            Self::Number(n) => serializer.serialize_f64(*n),
            Self::Flag(flag) => serializer.serialize_bool(*flag),
            Self::Clock(time) => serializer.collect_str(time),
            Self::Name(name) => serializer.serialize_str(name),
        }
    }
}

/// A setting that is one of a few names.
trait Named: Copy + PartialEq + 'static {
    const NAMES: &'static [(&'static str, Self)];
}

impl Named for Monitor {
    const NAMES: &'static [(&'static str, Self)] = &[("night", Self::Night), ("always", Self::Always)];
}
impl Named for DeepNight {
    const NAMES: &'static [(&'static str, Self)] = &[("factor", Self::Factor), ("weights", Self::Weights)];
}
impl Named for Expectation {
    const NAMES: &'static [(&'static str, Self)] = &[("when_due", Self::WhenDue), ("always", Self::Always)];
}
impl Named for MovementRule {
    const NAMES: &'static [(&'static str, Self)] = &[("robust", Self::Robust), ("summed", Self::Summed)];
}
impl Named for DutyMode {
    const NAMES: &'static [(&'static str, Self)] = &[("check_in", Self::CheckIn), ("roster", Self::Roster)];
}
impl Named for Severity {
    const NAMES: &'static [(&'static str, Self)] =
        &[("LOW", Self::Low), ("MEDIUM", Self::Medium), ("HIGH", Self::High), ("CRITICAL", Self::Critical)];
}

/// A slot whose type is forgotten, so that all of them fit into one table.
trait Choice {
    fn names(&self) -> Vec<&'static str>;
    fn get(&self, parts: &mut PolicyParts) -> &'static str;
    fn set(&self, parts: &mut PolicyParts, name: &str) -> bool;
}

struct OneOf<T: 'static>(At<T>);

impl<T: Named> Choice for OneOf<T> {
    fn names(&self) -> Vec<&'static str> {
        T::NAMES.iter().map(|(name, _)| *name).collect()
    }
    fn get(&self, parts: &mut PolicyParts) -> &'static str {
        let set = *(self.0)(parts);
        T::NAMES.iter().find(|(_, meant)| *meant == set).map_or("", |(name, _)| name)
    }
    fn set(&self, parts: &mut PolicyParts, name: &str) -> bool {
        let meant = T::NAMES.iter().find(|(known, _)| *known == name);
        meant.map(|(_, meant)| *(self.0)(parts) = *meant).is_some()
    }
}

impl Figure {
    /// The figure at `key`, which is below `policy`.
    pub fn at(key: &str) -> Option<&'static Self> {
        FIGURES.iter().find(|figure| figure.key == key)
    }

    /// The kind of value that it takes.
    pub const fn kind(&self) -> FigureKind {
        match self.slot {
            Slot::Span(..) => FigureKind::Span,
            Slot::SpanOrOff(..) => FigureKind::SpanOrOff,
            Slot::Share(..) => FigureKind::Share,
            Slot::Count(..) | Slot::Percent(_) => FigureKind::Whole,
            Slot::Number(..) => FigureKind::Number,
            Slot::Flag(_) => FigureKind::Flag,
            Slot::Clock(_) => FigureKind::Clock,
            Slot::Name(_) => FigureKind::Name,
        }
    }

    /// The names that it takes, if it takes names.
    pub fn names(&self) -> Vec<&'static str> {
        if let Slot::Name(choice) = self.slot { choice.names() } else { vec![] }
    }

    /// What is allowed, apart from its tie to other figures.
    pub fn allowed(&self) -> String {
        match self.slot {
            Slot::Span(_, from, to) => format!("a duration from \"{from}\" to \"{to}\""),
            Slot::SpanOrOff(_, from, to) => format!("\"off\", or a duration from \"{from}\" to \"{to}\""),
            Slot::Share(_, least) => format!("a number from {:?} to 1.0", f64::from(least) / 1_000.0),
            Slot::Count(_, from, to) => format!("a whole number from {from} to {to}"),
            Slot::Percent(_) => "a whole number from 1 to 100".into(),
            Slot::Number(_, from, to) => format!("a number from {from} to {to}"),
            Slot::Flag(_) => "true or false".into(),
            Slot::Clock(_) => "a time of day from \"00:00\" to \"23:59\"".into(),
            Slot::Name(choice) => {
                choice.names().iter().map(|name| format!("{name:?}")).collect::<Vec<_>>().join(" or ")
            }
        }
    }

    /// Whether `value` is of its kind and within its bounds.
    pub fn admits(&self, value: FigureValue) -> bool {
        match (&self.slot, value) {
            (Slot::Span(_, from, to) | Slot::SpanOrOff(_, from, to), FigureValue::Span(span)) => {
                (*from..=*to).contains(&span)
            }
            (Slot::Share(_, least), FigureValue::Share(share)) => share.get() >= *least,
            (Slot::Count(_, from, to), FigureValue::Whole(n)) => (*from..=*to).contains(&n),
            (Slot::Percent(_), FigureValue::Whole(n)) => (1..=100).contains(&n),
            (Slot::Number(_, from, to), FigureValue::Number(n)) => (*from..=*to).contains(&n),
            (Slot::Name(choice), FigureValue::Name(name)) => choice.names().contains(&name),
            (Slot::SpanOrOff(..), FigureValue::Off)
            | (Slot::Flag(_), FigureValue::Flag(_))
            | (Slot::Clock(_), FigureValue::Clock(_)) => true,
            _ => false,
        }
    }

    /// What stands there. It changes nothing, though one way serves for reading and writing.
    pub fn get(&self, parts: &mut PolicyParts) -> FigureValue {
        match &self.slot {
            Slot::Span(at, ..) => FigureValue::Span(*at(parts)),
            Slot::SpanOrOff(at, ..) => (*at(parts)).map_or(FigureValue::Off, FigureValue::Span),
            Slot::Share(at, _) => FigureValue::Share(*at(parts)),
            Slot::Count(at, ..) => FigureValue::Whole(*at(parts)),
            Slot::Percent(at) => FigureValue::Whole(u16::from(*at(parts))),
            Slot::Number(at, ..) => FigureValue::Number(*at(parts)),
            Slot::Flag(at) => FigureValue::Flag(*at(parts)),
            Slot::Clock(at) => FigureValue::Clock(*at(parts)),
            Slot::Name(choice) => FigureValue::Name(choice.get(parts)),
        }
    }

    /// Puts `value` there; false, and nothing happens, if it is not admitted.
    pub fn set(&self, parts: &mut PolicyParts, value: FigureValue) -> bool {
        if !self.admits(value) {
            return false;
        }
        match (&self.slot, value) {
            (Slot::Span(at, ..), FigureValue::Span(span)) => *at(parts) = span,
            (Slot::SpanOrOff(at, ..), FigureValue::Span(span)) => *at(parts) = Some(span),
            (Slot::SpanOrOff(at, ..), FigureValue::Off) => *at(parts) = None,
            (Slot::Share(at, _), FigureValue::Share(share)) => *at(parts) = share,
            (Slot::Count(at, ..), FigureValue::Whole(n)) => *at(parts) = n,
            (Slot::Percent(at), FigureValue::Whole(n)) => *at(parts) = u8::try_from(n).unwrap_or(100),
            (Slot::Number(at, ..), FigureValue::Number(n)) => *at(parts) = n,
            (Slot::Flag(at), FigureValue::Flag(flag)) => *at(parts) = flag,
            (Slot::Clock(at), FigureValue::Clock(time)) => *at(parts) = time,
            (Slot::Name(choice), FigureValue::Name(name)) => return choice.set(parts, name),
            _ => return false,
        }
        true
    }

    /// What is wrong with what stands there, apart from its tie to other figures.
    pub(crate) fn check(&self, parts: &mut PolicyParts) -> Option<Invalid> {
        let value = self.get(parts);
        (!self.admits(value)).then(|| Invalid::new(format!("policy.{}", self.key), value, self.allowed()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    /// A value that is admitted and is not the default.
    fn another(figure: &Figure) -> FigureValue {
        let now = figure.get(&mut PolicyParts::default());
        let candidates = [
            FigureValue::Span(Span::from_mins(11)),
            FigureValue::Span(Span::from_secs(7)),
            FigureValue::Span(Span::from_hours(3)),
            FigureValue::Share(Permille::new(111).unwrap()),
            FigureValue::Whole(3),
            FigureValue::Number(37.5),
            FigureValue::Flag(now == FigureValue::Flag(false)),
            FigureValue::Clock(LocalTime::hour(11)),
        ];
        let names = figure.names().into_iter().map(FigureValue::Name);
        candidates.into_iter().chain(names).find(|v| figure.admits(*v) && *v != now).unwrap()
    }

    #[test]
    fn every_figure_changes_itself_and_nothing_else() {
        for figure in FIGURES {
            let mut parts = PolicyParts::default();
            let value = another(figure);
            assert!(figure.set(&mut parts, value), "{}", figure.key);
            assert_ne!(parts, PolicyParts::default(), "{}", figure.key);
            for other in FIGURES.iter().filter(|other| other.key != figure.key) {
                assert_eq!(other.get(&mut parts), other.get(&mut PolicyParts::default()), "{}", other.key);
            }
            assert_eq!(figure.get(&mut parts), value, "{}", figure.key);
        }
    }

    /// With every figure at another value no part of the policy is left at its default: none is without a key.
    #[test]
    fn no_part_of_a_policy_is_without_a_key() {
        let mut parts = PolicyParts::default();
        for figure in FIGURES {
            figure.set(&mut parts, another(figure));
        }
        let (set, default) = (leaves(&parts), leaves(&PolicyParts::default()));
        let left: Vec<_> = set.intersection(&default).filter(|(path, _)| path != "maintenance").collect();
        assert!(left.is_empty(), "no figure sets {left:?}");
    }

    /// Every value of the parts, by its path.
    fn leaves(parts: &PolicyParts) -> BTreeSet<(String, String)> {
        fn walk(path: &str, value: &serde_json::Value, into: &mut BTreeSet<(String, String)>) {
            match value.as_object() {
                Some(fields) => {
                    fields.iter().for_each(|(key, value)| walk(&format!("{path}.{key}"), value, into))
                }
                None => drop(into.insert((path.trim_start_matches('.').to_owned(), value.to_string()))),
            }
        }
        let mut found = BTreeSet::new();
        walk("", &serde_json::to_value(parts).unwrap(), &mut found);
        found
    }

    #[test]
    fn each_key_is_there_once_and_says_what_it_means_in_one_sentence() {
        let keys: BTreeSet<_> = FIGURES.iter().map(|f| f.key).collect();
        assert_eq!(keys.len(), FIGURES.len());
        for Figure { key, means, .. } in FIGURES {
            assert!(means.ends_with('.') && !means[..means.len() - 1].contains(". "), "{key}: {means}");
        }
    }

    #[test]
    fn what_is_out_of_bounds_or_of_another_kind_is_not_taken() {
        let cases = [
            ("settle", FigureValue::Span(Span::from_millis(60_001))),
            ("inactivity.cycle", FigureValue::Span(Span::from_millis(59_999))),
            ("inactivity.welfare_check", FigureValue::Span(Span::from_secs(9))),
            ("inactivity.threshold", FigureValue::Share(Permille::new(0).unwrap())),
            ("inactivity.consecutive", FigureValue::Whole(101)),
            ("tours.min_checkpoint_percentage", FigureValue::Whole(0)),
            ("fraud.max_speed_kmh", FigureValue::Number(f64::NAN)),
            ("fraud.max_speed_kmh", FigureValue::Number(0.9)),
            ("attendance.mode", FigureValue::Name("night")),
            ("tours.grace", FigureValue::Off),
        ];
        for (key, value) in cases {
            let mut parts = PolicyParts::default();
            assert!(!Figure::at(key).unwrap().set(&mut parts, value), "{key}");
            assert_eq!(parts, PolicyParts::default(), "{key}");
        }
        let mut bounds = PolicyParts::default();
        assert!(Figure::at("settle").unwrap().set(&mut bounds, FigureValue::Span(Span::from_mins(1))));
        assert!(Figure::at("inactivity.welfare_check").unwrap().set(&mut bounds, FigureValue::Off));
    }

    #[test]
    fn a_value_reads_as_in_a_site_file() {
        let shown = |key: &str| Figure::at(key).unwrap().get(&mut PolicyParts::default()).to_string();
        let keys = [
            "inactivity.window",
            "inactivity.threshold",
            "inactivity.hours.from",
            "inactivity.welfare_check",
            "inactivity.min_movement",
            "attendance.mode",
            "tasks.auto_escalate",
            "inactivity.consecutive",
        ];
        let expected = ["\"2h\"", "0.8", "\"20:00\"", "\"off\"", "10", "\"check_in\"", "true", "1"];
        assert_eq!(keys.map(shown), expected);
    }
}
