//! Keys of the one tree: the first byte is the kind, numbers are big-endian, so that order is the order of scans.

use vigil_core::alert::AlertId;
use vigil_core::time::{Date, Timestamp};

/// What a record is. The bytes are on disk: never reuse one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum Kind {
    /// The latest revision of an alert.
    Alert = b'A',
    /// What the broker inside keeps for its clients.
    Broker = b'B',
    /// An event that the NOC rejected, with its reason.
    Dead = b'D',
    /// A refused input.
    Refusal = b'F',
    /// A block of journal inputs.
    Journal = b'J',
    /// An announcement to people and machines on site that the broker has not taken yet.
    Local = b'L',
    /// Counters and marks.
    Meta = b'M',
    /// An event on its way to the NOC.
    Outbox = b'O',
    /// A question to a guard that the broker has not taken yet.
    Prompt = b'P',
    /// A record that could not be read, under its old key.
    SetAside = b'Q',
    /// A piece of the report of a day.
    Report = b'R',
    /// A piece of the engine's snapshot.
    Snapshot = b'S',
    /// The log entry of a closed run.
    Run = b'T',
}

impl Kind {
    const ALL: [Self; 13] = [
        Self::Alert,
        Self::Broker,
        Self::Dead,
        Self::Refusal,
        Self::Journal,
        Self::Local,
        Self::Meta,
        Self::Outbox,
        Self::Prompt,
        Self::SetAside,
        Self::Report,
        Self::Snapshot,
        Self::Run,
    ];

    /// What the record with this key is.
    pub fn of(key: &[u8]) -> Option<Self> {
        let first = key.first()?;
        Self::ALL.into_iter().find(|kind| *kind as u8 == *first)
    }

    /// The prefix of every key of this kind.
    pub const fn prefix(self) -> [u8; 1] {
        [self as u8]
    }
}

/// A key of `kind` with a number.
pub fn numbered(kind: Kind, number: u64) -> Vec<u8> {
    [&kind.prefix()[..], &number.to_be_bytes()].concat()
}

/// The number of a numbered key.
pub fn number_of(key: &[u8]) -> Option<u64> {
    key.last_chunk::<8>().map(|tail| u64::from_be_bytes(*tail))
}

/// The key of an alert.
pub fn alert(id: AlertId) -> Vec<u8> {
    [&Kind::Alert.prefix()[..], id.as_bytes()].concat()
}

/// The key of an event on its way: lanes first, so that a scan gives CRITICAL before everything else.
pub fn outbox(lane: u8, sequence: u64) -> Vec<u8> {
    [&[Kind::Outbox as u8, lane][..], &sequence.to_be_bytes()].concat()
}

/// The key of a closed run.
pub fn run(scheduled_at: Timestamp, tour: &str) -> Vec<u8> {
    let at = u64::try_from(scheduled_at.millis()).unwrap_or(0);
    [&Kind::Run.prefix()[..], &at.to_be_bytes(), tour.as_bytes()].concat()
}

/// The prefix of every piece of a day's report; the years 0000 to 9999 sort as they come.
pub fn report(date: Date) -> Vec<u8> {
    [&Kind::Report.prefix()[..], date.to_string().as_bytes()].concat()
}

/// The key of one piece of a day's report.
pub fn report_piece(date: Date, piece: u32) -> Vec<u8> {
    [&report(date)[..], &piece.to_be_bytes()].concat()
}

/// The part of a report's key that says of which day it is.
pub fn day_of(key: &[u8]) -> Option<&[u8]> {
    key.len().checked_sub(size_of::<u32>()).and_then(|end| key.get(..end))
}

/// The key of a named mark.
pub fn meta(name: &str) -> Vec<u8> {
    [&Kind::Meta.prefix()[..], name.as_bytes()].concat()
}

/// Where an unreadable record is kept.
pub fn set_aside(key: &[u8]) -> Vec<u8> {
    [&Kind::SetAside.prefix()[..], key].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn order_on_disk_is_order_of_urgency_and_time() {
        assert!(outbox(0, 9) < outbox(1, 1));
        assert!(outbox(1, 255) < outbox(1, 256));
        assert!(numbered(Kind::Journal, 255) < numbered(Kind::Journal, 256));
        assert_eq!(number_of(&outbox(3, 77)), Some(77));
        assert!(
            Kind::ALL.is_sorted_by_key(|kind| *kind as u8) && Kind::of(&meta("marks")) == Some(Kind::Meta)
        );
    }
}
