//! What is written: the entries of each kind of record, and the draft of one commit.

use super::chain::Digest;
use super::records::{CHAINED, Unreadable, Unwritable, VERSION, decode, decode_as, encode_as};
use crate::clock::Keeping;
use crate::sources::decode::{Reason, Refusal};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, VecDeque};
use vigil_cloud_sync::wire::EventKind;
use vigil_core::alert::Alert;
use vigil_core::command::{Answer, Command};
use vigil_core::engine::Outcome;
use vigil_core::id::CommandId;
use vigil_core::observation::Observation;
use vigil_core::report::DailyReport;
use vigil_core::rules::compliance::RunRecord;
use vigil_core::rules::welfare::Prompt;
use vigil_core::site::Site;
use vigil_core::time::{Span, Timestamp};

/// One entry of the journal. Variants are appended, never reordered.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum Input {
    /// An observation, with what became of it.
    Observation(Observation, Outcome),
    /// The agent was down.
    Down {
        /// From here.
        from: Timestamp,
        /// Until here.
        until: Timestamp,
    },
    /// The clock is not set: from here on time is provisional.
    Unset {
        /// The instant from which it goes on.
        at: Timestamp,
    },
    /// Time was told again, and a snapshot of what came of it was taken.
    Clock {
        /// So many inputs before this one were told again.
        inputs: u64,
        /// From this instant on, by the clock that was wrong.
        from: Timestamp,
        /// So much later they really came, in milliseconds.
        by_ms: i64,
        /// How far that may be off.
        uncertainty_ms: i64,
    },
    /// A command, with what became of it.
    Command(Box<Command>, Answer),
}

impl Input {
    /// When it came.
    pub const fn received_at(&self) -> Timestamp {
        match self {
            Self::Observation(o, _) => o.received_at,
            Self::Down { until, .. } => *until,
            Self::Unset { at } | Self::Clock { from: at, .. } => *at,
            Self::Command(command, _) => command.received_at,
        }
    }
}

/// A block of the journal: what one commit took in.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Block {
    pub(super) received_at: Timestamp,
    pub(super) inputs: Vec<Input>,
}

/// The same as a link of the chain: it names the digest of the block before it.
#[derive(Debug)]
pub(super) struct ChainedBlock {
    /// `None` in one that was written before the journal was a chain.
    pub(super) previous: Option<Digest>,
    pub(super) received_at: Timestamp,
    pub(super) inputs: Vec<Input>,
}

impl ChainedBlock {
    /// The record of a block.
    pub(super) fn write(
        previous: Digest,
        received_at: Timestamp,
        inputs: &[Input],
    ) -> Result<Vec<u8>, Unwritable> {
        encode_as(CHAINED, &(previous, received_at, inputs))
    }

    /// A block of either version.
    pub(super) fn read(record: &[u8]) -> Result<Self, Unreadable> {
        match decode_as(CHAINED, record) {
            Ok((previous, received_at, inputs)) => Ok(Self { previous: Some(previous), received_at, inputs }),
            Err(Unreadable::Version(VERSION)) => {
                let Block { received_at, inputs } = decode(record)?;
                Ok(Self { previous: None, received_at, inputs })
            }
            Err(other) => Err(other),
        }
    }
}

/// An announcement for the site: one alert revision on MQTT.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Announcement {
    /// The object of contract 6, as JSON.
    pub payload: String,
}

/// An event that the NOC rejected.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct DeadLetter {
    /// When it was rejected.
    pub at: Timestamp,
    /// Why, in the NOC's words.
    pub reason: String,
    /// The event, as it would be sent again.
    pub event: StoredEvent,
}

/// An event as it waits in the outbox; its sequence is in the key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoredEvent {
    /// The id of the event.
    pub id: String,
    /// Its type.
    pub kind: Lane,
    /// What it is about.
    pub subject: String,
    /// When it happened.
    pub time: Timestamp,
    /// The object, as JSON, kept to the letter.
    pub data: String,
}

/// The lanes to the NOC; the order is that of urgency, and of the store.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Lane {
    /// Alerts whose severity is CRITICAL.
    Critical,
    /// Every other alert.
    Alert,
    /// Closed runs.
    Tour,
    /// Daily reports.
    Report,
    /// The gateway's own health.
    Health,
}

impl Lane {
    /// Every lane, by urgency.
    pub const ALL: [Self; 5] = [Self::Critical, Self::Alert, Self::Tour, Self::Report, Self::Health];

    pub(super) const fn kind(self) -> EventKind {
        match self {
            Self::Critical | Self::Alert => EventKind::Alert,
            Self::Tour => EventKind::Tour,
            Self::Report => EventKind::Report,
            Self::Health => EventKind::Health,
        }
    }
}

/// The marks that tie the records together; one record, written with every commit.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Marks {
    /// Everything due at or before this instant has been judged, and what followed is stored.
    pub judged_until: Timestamp,
    /// The number of the next input.
    pub next_input: u64,
    /// The sequence of the next event to the NOC: rises by one for each, and is never used twice.
    pub next_sequence: u64,
    pub(super) next_announcement: u64,
    pub(super) next_refusal: u64,
    /// Inputs refused since the store was made, by reason.
    pub refused: BTreeMap<Reason, u64>,
    /// Observations since the store was made, by what became of them.
    pub outcomes: BTreeMap<Outcome, u64>,
    /// Events that the NOC rejected.
    pub dead: u64,
    /// Records that could not be read and were set aside.
    pub set_aside: u64,
    /// What is known of the time.
    pub clock: Option<Keeping>,
}

/// Where the numbers stand: whatever a commit adds moves one of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stand([u64; 5], Timestamp);

impl Marks {
    /// Where they stand.
    pub const fn stand(&self) -> Stand {
        let Self { next_input, next_sequence, next_announcement, next_refusal, dead, .. } = *self;
        Stand([next_input, next_sequence, next_announcement, next_refusal, dead], self.judged_until)
    }
}

/// How many refusals of commands that nobody can read are put on record in an hour: more than people make, and a receiver
/// that runs wild does not fill the way back to it.
const UNREAD_AN_HOUR: u32 = 60;
/// How many of them are known again: with the longest ids they still fit a piece of the store.
const UNREAD_KNOWN: usize = 64;
/// What counts as that hour.
const HOUR: Span = Span::from_hours(1);

/// How far the commands of the operations centre are decided; written with what follows from them.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CommandMarks {
    /// The number of the last one.
    pub after: u64,
    /// The latest that could not be read; the engine knows the others.
    unread: VecDeque<CommandId>,
    /// The hour in which these are counted, and how many there were.
    recorded: (Timestamp, u32),
}

impl CommandMarks {
    /// Whether a command that cannot be read comes for the first time; remembers it.
    pub fn is_new(&mut self, id: &CommandId) -> bool {
        if self.unread.contains(id) {
            return false;
        }
        if self.unread.len() >= UNREAD_KNOWN {
            self.unread.pop_front();
        }
        self.unread.push_back(id.clone());
        true
    }

    /// Whether another one is put on record.
    pub fn may_record(&mut self, now: Timestamp) -> bool {
        let hour = now.floor_to(HOUR);
        if self.recorded.0 != hour {
            self.recorded = (hour, 0);
        }
        self.recorded.1 = self.recorded.1.saturating_add(1);
        self.recorded.1 <= UNREAD_AN_HOUR
    }
}

/// What the snapshot is worth: the inputs before `next_input` are in it. The pieces are its site, then the engine.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct SnapshotHead {
    pub(super) next_input: u64,
    pub(super) pieces: u32,
    pub(super) site_bytes: u64,
    pub(super) bytes: u64,
}

/// A restored past: the engine's snapshot with its site, and the inputs behind it.
#[derive(Debug)]
pub struct Past {
    /// The snapshot and the site that it was made under.
    pub snapshot: Option<(Site, Vec<u8>)>,
    /// The inputs after it, in order.
    pub inputs: Vec<Input>,
}

/// Everything that one commit writes.
#[derive(Debug, Default)]
pub struct Draft {
    /// Inputs, in order.
    pub inputs: Vec<Input>,
    /// Alert revisions, in order.
    pub alerts: Vec<Alert>,
    /// Runs that closed.
    pub runs: Vec<RunRecord>,
    /// Daily reports, in order.
    pub reports: Vec<DailyReport>,
    /// Events for the NOC.
    pub events: Vec<StoredEvent>,
    /// Announcements for the site.
    pub announcements: Vec<Announcement>,
    /// Guards who are asked for a sign of life.
    pub prompts: Vec<Prompt>,
    /// Inputs that were refused.
    pub refusals: Vec<Refusal>,
    /// How many positions were not taken for want of room: acknowledged and counted, but not kept.
    pub thinned: u64,
    /// How many heartbeats and positions of devices that talk without end were not kept by themselves.
    pub flooded: u64,
    /// Keys of outbox events that the NOC has.
    pub delivered: Vec<u64>,
    /// Outbox events that the NOC rejected.
    pub dead: Vec<(u64, String)>,
    /// Announcements that the broker has.
    pub announced: Vec<u64>,
    /// Questions that the broker has, or that nobody can answer in time any more.
    pub prompted: Vec<u64>,
    /// How far commands are decided, if that has changed.
    pub commands: Option<CommandMarks>,
    /// A snapshot of the engine with its site.
    pub snapshot: Option<(Site, Vec<u8>)>,
    /// How far everything due has been judged.
    pub judged_until: Timestamp,
    /// Whether that is so although more had been judged, by a clock that was wrong.
    pub set_back: bool,
    /// What is known of the time, if there is anything new.
    pub clock: Option<Keeping>,
}

impl Draft {
    /// Whether there is nothing that must be on stable storage.
    pub const fn is_empty(&self) -> bool {
        self.inputs.is_empty()
            && self.alerts.is_empty()
            && self.runs.is_empty()
            && self.reports.is_empty()
            && self.events.is_empty()
            && self.announcements.is_empty()
            && self.refusals.is_empty()
            && self.thinned == 0
            && self.flooded == 0
            && self.delivered.is_empty()
            && self.dead.is_empty()
            && self.announced.is_empty()
            && self.prompts.is_empty()
            && self.prompted.is_empty()
            && self.commands.is_none()
            && self.snapshot.is_none()
    }
}
