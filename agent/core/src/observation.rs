//! One normalised input: who or what, where, and at what instant it happened.

use crate::id::{CommandId, DeviceId, GuardId, Tag, TaskId};
use crate::time::{Span, Timestamp};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// What a device said, in the terms of the rules.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Observation {
    /// Who said it.
    pub device: DeviceId,
    /// When it happened, by the device's clock.
    pub at: Timestamp,
    /// When the gateway got it.
    pub received_at: Timestamp,
    /// What makes two deliveries one event.
    pub identity: Identity,
    /// What it says.
    pub kind: Kind,
}

/// The identity of an event: device, kind and its `id`, or else device, kind, instant and content. A device that
/// counts each kind by itself, or from one again after a restart, loses no call for help: that one's instant is part
/// of it in any case. 64 bits of a UUIDv5:
/// a device would have to send four thousand million events before two are likely to collide.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Identity(u64);

/// The kinds of contract 4.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum Kind {
    /// The device lives; with what its user did since the last one.
    Heartbeat(Heartbeat),
    /// A position.
    Location(Fix),
    /// A tag was read.
    Scan(Scan),
    /// A task changed.
    Task(TaskUpdate),
    /// A guard came, went or took a break.
    Attendance(Attendance),
    /// One phone event, in free text up to 64 characters.
    Activity(String),
    /// A call for help, with its note.
    Sos(Option<String>),
    /// The session state that the broker keeps for the device: its last will says `offline`.
    Status {
        /// False while the last will is in force.
        online: bool,
    },
}

impl Kind {
    /// The name of contract 4.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Heartbeat(_) => "heartbeat",
            Self::Location(_) => "location",
            Self::Scan(_) => "scan",
            Self::Task(_) => "task",
            Self::Attendance(_) => "attendance",
            Self::Activity(_) => "activity",
            Self::Sos(_) => "sos",
            Self::Status { .. } => "status",
        }
    }

    /// The same with the sender's own instants moved: they are of the clock that stamped the message.
    pub(crate) fn moved(&self, by: Span) -> Self {
        match self {
            Self::Task(update) => Self::Task(TaskUpdate {
                created_at: update.created_at.map(|t| t + by),
                due_at: update.due_at.map(|t| t + by),
                ..update.clone()
            }),
            Self::Heartbeat(_)
            | Self::Location(_)
            | Self::Scan(_)
            | Self::Attendance(_)
            | Self::Activity(_)
            | Self::Sos(_)
            | Self::Status { .. } => self.clone(),
        }
    }

    /// Whether somebody needs help: never gated, never muted, whatever the clock says.
    pub const fn is_call_for_help(&self) -> bool {
        match self {
            Self::Sos(_) => true,
            Self::Heartbeat(heartbeat) => heartbeat.man_down,
            Self::Location(_)
            | Self::Scan(_)
            | Self::Task(_)
            | Self::Attendance(_)
            | Self::Activity(_)
            | Self::Status { .. } => false,
        }
    }
}

/// A sign of life.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Heartbeat {
    /// Charge in thousandths.
    pub battery_permille: Option<u16>,
    /// Whether it is on a charger.
    pub charging: Option<bool>,
    /// Touches, unlocks and calls since the last heartbeat.
    pub interactions: u32,
    /// Steps since the last heartbeat.
    pub steps: u32,
    /// The handset believes that its guard has fallen.
    pub man_down: bool,
}

/// A position, WGS 84.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Fix {
    /// Degrees north.
    pub lat: f64,
    /// Degrees east.
    pub lon: f64,
    /// Radius of 68 % confidence in metres, if the device gave one.
    pub accuracy_m: Option<f32>,
    /// Speed over ground in m/s.
    pub speed_mps: Option<f32>,
    /// Course over ground in degrees.
    pub heading_deg: Option<f32>,
    /// What it was computed from.
    pub provider: Option<Provider>,
    /// The handset says that the position was injected.
    pub mock: bool,
    /// A repeat of an old position: no evidence of being anywhere now.
    pub outdated: bool,
}

impl Fix {
    /// A position of which nothing else is known.
    pub const fn at(lat: f64, lon: f64) -> Self {
        let (accuracy_m, speed_mps, heading_deg, provider) = (None, None, None, None);
        Self { lat, lon, accuracy_m, speed_mps, heading_deg, provider, mock: false, outdated: false }
    }
}

/// What a fix was computed from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Provider {
    /// Satellites.
    Gps,
    /// Cell towers and access points.
    Network,
    /// The platform's own mixture.
    Fused,
}

/// A tag was read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Scan {
    /// The tag in its normal form.
    pub tag: Tag,
    /// Who held the handset, if several use it.
    pub guard: Option<GuardId>,
    /// The rolling code of an NTAG 424, if the tag has one.
    pub sun: Option<Sun>,
}

/// The rolling code of one tap (NTAG 424 DNA, secure unique NFC message), as hex.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sun {
    /// Encrypted PICC data.
    pub picc: String,
    /// The MAC.
    pub cmac: String,
}

/// A task changed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TaskUpdate {
    /// Which task.
    pub task: TaskId,
    /// To what.
    pub state: TaskState,
    /// With `created`: how soon it must be done.
    pub priority: Option<Priority>,
    /// With `created`: what is to be done.
    pub title: Option<String>,
    /// With `created`: when it was made, else the event's instant.
    pub created_at: Option<Timestamp>,
    /// With `created`: its deadline, else by the SLA.
    pub due_at: Option<Timestamp>,
    /// Whose it is.
    pub guard: Option<GuardId>,
}

/// The states of a task.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TaskState {
    /// It exists.
    Created,
    /// Somebody is at it.
    Started,
    /// Done.
    Completed,
    /// No longer wanted.
    Cancelled,
}

/// The priorities of tasks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Priority {
    /// 15 min.
    Critical,
    /// 30 min.
    High,
    /// 60 min.
    Medium,
    /// 120 min.
    Low,
}

/// A guard came, went or took a break.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attendance {
    /// Which of them.
    pub action: AttendanceAction,
    /// Who.
    pub guard: GuardId,
    /// Confidence of the biometric match in thousandths.
    pub biometric_permille: Option<u16>,
}

/// The attendance actions. The order is that in which actions of one instant are taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AttendanceAction {
    /// Duty starts.
    CheckIn,
    /// A break starts.
    BreakStart,
    /// A break ends.
    BreakEnd,
    /// Duty ends.
    CheckOut,
}

impl Observation {
    /// An observation with its identity: from `event_id` if the sender gave one, else from its content.
    pub fn new(
        device: DeviceId,
        at: Timestamp,
        received_at: Timestamp,
        event_id: Option<&str>,
        kind: Kind,
    ) -> Self {
        let identity = Identity::of(&device, at, event_id, &kind);
        Self { device, at, received_at, identity, kind }
    }
}

impl Identity {
    /// That of a command: commands have one name space of their own.
    pub(crate) fn of_command(id: &CommandId) -> Self {
        let name = Uuid::new_v5(&Uuid::NAMESPACE_OID, format!("command|{id}").as_bytes());
        Self(name.as_u64_pair().0)
    }

    fn of(device: &DeviceId, at: Timestamp, event_id: Option<&str>, kind: &Kind) -> Self {
        let content = match event_id {
            Some(id) => {
                let pressed_at = kind.is_call_for_help().then_some(at);
                postcard::to_allocvec(&(device, "id", kind.name(), id, pressed_at))
            }
            None => postcard::to_allocvec(&(device, "content", at, kind)),
        };
        // An observation is plain data and always encodes; an empty content would only fold duplicates together.
        let name = Uuid::new_v5(&Uuid::NAMESPACE_OID, &content.unwrap_or_default());
        Self(name.as_u64_pair().0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn activity(id: Option<&str>, secs: i64, text: &str) -> Identity {
        let device = DeviceId::new("hs-1").unwrap();
        let at = Timestamp::from_millis(secs * 1_000);
        Observation::new(device, at, at, id, Kind::Activity(text.into())).identity
    }

    #[test]
    fn the_id_is_the_identity_else_the_content() {
        assert_eq!(activity(Some("a"), 1, "x"), activity(Some("a"), 2, "y"));
        assert_eq!(activity(None, 1, "x"), activity(None, 1, "x"));
        assert_ne!(activity(None, 1, "x"), activity(None, 2, "x"));
        assert_ne!(activity(None, 1, "x"), activity(None, 1, "y"));
        assert_ne!(activity(Some("a"), 1, "x"), activity(Some("b"), 1, "x"));
    }
}
