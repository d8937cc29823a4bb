//! Alerts: one for each episode, changed by revisions, never raised twice.

use crate::id::{DeviceId, GuardId, SiteId, TaskId, TourId};
use crate::time::Timestamp;
use serde::{Deserialize, Serialize, Serializer};
use std::fmt;
use uuid::Uuid;

pub use crate::evidence::Evidence;

/// Every rule that can raise an alert. New rules are appended: the order is that of the store.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
#[expect(missing_docs, reason = "the names are those of the rules page")]
pub enum Rule {
    Inactivity,
    TaskOverdue,
    TaskAtRisk,
    TourMissed,
    TourPartial,
    TourAtRisk,
    TourSequence,
    Sos,
    ManDown,
    DeviceSilent,
    DeviceBatteryLow,
    ClockSkew,
    GuardAbsent,
    BreakOverrun,
    AttendanceUnauthorized,
    AttendanceWrongPerson,
    AttendanceImpossibleShift,
    AttendanceOvertime,
    FraudImpossibleSpeed,
    FraudLocationMismatch,
    FraudMockLocation,
    FraudOutsideGeofence,
    FraudConcurrentUse,
    FraudScanBurst,
    FraudReplayedScan,
    FraudLowBiometric,
    Storm,
}

impl Rule {
    /// Every rule, in order.
    pub const ALL: [Self; 27] = [
        Self::Inactivity,
        Self::TaskOverdue,
        Self::TaskAtRisk,
        Self::TourMissed,
        Self::TourPartial,
        Self::TourAtRisk,
        Self::TourSequence,
        Self::Sos,
        Self::ManDown,
        Self::DeviceSilent,
        Self::DeviceBatteryLow,
        Self::ClockSkew,
        Self::GuardAbsent,
        Self::BreakOverrun,
        Self::AttendanceUnauthorized,
        Self::AttendanceWrongPerson,
        Self::AttendanceImpossibleShift,
        Self::AttendanceOvertime,
        Self::FraudImpossibleSpeed,
        Self::FraudLocationMismatch,
        Self::FraudMockLocation,
        Self::FraudOutsideGeofence,
        Self::FraudConcurrentUse,
        Self::FraudScanBurst,
        Self::FraudReplayedScan,
        Self::FraudLowBiometric,
        Self::Storm,
    ];

    /// The name on every edge.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Inactivity => "inactivity",
            Self::TaskOverdue => "task_overdue",
            Self::TaskAtRisk => "task_at_risk",
            Self::TourMissed => "tour_missed",
            Self::TourPartial => "tour_partial",
            Self::TourAtRisk => "tour_at_risk",
            Self::TourSequence => "tour_sequence",
            Self::Sos => "sos",
            Self::ManDown => "man_down",
            Self::DeviceSilent => "device_silent",
            Self::DeviceBatteryLow => "device_battery_low",
            Self::ClockSkew => "clock_skew",
            Self::GuardAbsent => "guard_absent",
            Self::BreakOverrun => "break_overrun",
            Self::AttendanceUnauthorized => "attendance_unauthorized",
            Self::AttendanceWrongPerson => "attendance_wrong_person",
            Self::AttendanceImpossibleShift => "attendance_impossible_shift",
            Self::AttendanceOvertime => "attendance_overtime",
            Self::FraudImpossibleSpeed => "fraud_impossible_speed",
            Self::FraudLocationMismatch => "fraud_location_mismatch",
            Self::FraudMockLocation => "fraud_mock_location",
            Self::FraudOutsideGeofence => "fraud_outside_geofence",
            Self::FraudConcurrentUse => "fraud_concurrent_use",
            Self::FraudScanBurst => "fraud_scan_burst",
            Self::FraudReplayedScan => "fraud_replayed_scan",
            Self::FraudLowBiometric => "fraud_low_biometric",
            Self::Storm => "storm",
        }
    }

    /// The rule of that name.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|r| r.name() == name)
    }
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// How bad. The order is that of urgency.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Severity {
    /// To be known.
    Low,
    /// To be looked at tonight.
    Medium,
    /// To be looked at now.
    High,
    /// Somebody may be in danger.
    Critical,
}

impl Severity {
    /// The name on every edge.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Low => "LOW",
            Self::Medium => "MEDIUM",
            Self::High => "HIGH",
            Self::Critical => "CRITICAL",
        }
    }
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Where an alert stands in the hands of people.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Status {
    /// The agent raised it.
    Detected,
    /// Somebody is finding out.
    Verifying,
    /// It was true. Final.
    Confirmed,
    /// It is over. Final.
    Resolved,
    /// It was not true. Final.
    FalsePositive,
}

impl Status {
    /// The name on every edge.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Detected => "DETECTED",
            Self::Verifying => "VERIFYING",
            Self::Confirmed => "CONFIRMED",
            Self::Resolved => "RESOLVED",
            Self::FalsePositive => "FALSE_POSITIVE",
        }
    }

    /// Whether nothing can follow it.
    pub const fn is_final(self) -> bool {
        matches!(self, Self::Confirmed | Self::Resolved | Self::FalsePositive)
    }

    /// Whether `next` may follow: DETECTED, then VERIFYING (may be skipped), then one of the final three.
    pub const fn may_become(self, next: Self) -> bool {
        match self {
            Self::Detected => !matches!(next, Self::Detected),
            Self::Verifying => next.is_final(),
            Self::Confirmed | Self::Resolved | Self::FalsePositive => false,
        }
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// What an alert is about.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Subject {
    /// `guard:G-7`
    Guard(GuardId),
    /// `task:T-1`
    Task(TaskId),
    /// `run:{tour}@{scheduled_at}`
    Run(TourId, Timestamp),
    /// `device:D-2`
    Device(DeviceId),
    /// `rule:device_silent`: many alerts of one rule.
    Rule(Rule),
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Guard(id) => write!(f, "guard:{id}"),
            Self::Task(id) => write!(f, "task:{id}"),
            Self::Run(tour, scheduled_at) => write!(f, "run:{tour}@{scheduled_at}"),
            Self::Device(id) => write!(f, "device:{id}"),
            Self::Rule(rule) => write!(f, "rule:{rule}"),
        }
    }
}

/// Text for people and programs, tagged fields for the store.
#[derive(Serialize, Deserialize)]
enum StoredSubject {
    Guard(GuardId),
    Task(TaskId),
    Run(TourId, Timestamp),
    Device(DeviceId),
    Rule(Rule),
}

impl Serialize for Subject {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if serializer.is_human_readable() {
            return serializer.collect_str(self);
        }
        match self.clone() {
            Self::Guard(id) => StoredSubject::Guard(id),
            Self::Task(id) => StoredSubject::Task(id),
            Self::Run(tour, at) => StoredSubject::Run(tour, at),
            Self::Device(id) => StoredSubject::Device(id),
            Self::Rule(rule) => StoredSubject::Rule(rule),
        }
        .serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Subject {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        if deserializer.is_human_readable() {
            let text = String::deserialize(deserializer)?;
            return Self::parse(&text).ok_or_else(|| serde::de::Error::custom("not a subject"));
        }
        Ok(match StoredSubject::deserialize(deserializer)? {
            StoredSubject::Guard(id) => Self::Guard(id),
            StoredSubject::Task(id) => Self::Task(id),
            StoredSubject::Run(tour, at) => Self::Run(tour, at),
            StoredSubject::Device(id) => Self::Device(id),
            StoredSubject::Rule(rule) => Self::Rule(rule),
        })
    }
}

impl Subject {
    fn parse(text: &str) -> Option<Self> {
        let (kind, id) = text.split_once(':')?;
        Some(match kind {
            "guard" => Self::Guard(GuardId::new(id).ok()?),
            "task" => Self::Task(TaskId::new(id).ok()?),
            "device" => Self::Device(DeviceId::new(id).ok()?),
            "rule" => Self::Rule(Rule::named(id)?),
            "run" => {
                let (tour, at) = id.split_once('@')?;
                Self::Run(TourId::new(tour).ok()?, Timestamp::parse(at).ok()?)
            }
            _ => return None,
        })
    }
}

/// The name of one alert: the same night replayed gives the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct AlertId(Uuid);

impl AlertId {
    /// UUIDv5 of site, rule, subject and the instant of detection.
    pub fn of(site: &SiteId, rule: Rule, subject: &Subject, detected_at: Timestamp) -> Self {
        let name = format!("vigil:{site}|{rule}|{subject}|{detected_at}");
        Self(Uuid::new_v5(&Uuid::NAMESPACE_URL, name.as_bytes()))
    }
    /// Its sixteen bytes, for keys.
    pub const fn as_bytes(&self) -> &[u8; 16] {
        self.0.as_bytes()
    }
    /// From text as on every edge.
    pub fn parse(text: &str) -> Option<Self> {
        Uuid::try_parse(text).ok().map(Self)
    }
}

impl fmt::Display for AlertId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

/// How somebody made sure.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
#[expect(missing_docs, reason = "the names are those of the rules page")]
pub enum Method {
    None,
    Call,
    Ivr,
    Supervisor,
    Camera,
    Handset,
}

/// What is entered where a guard was asked, and nobody answered.
pub(crate) const NO_RESPONSE: &str = "no response";

/// Who made sure, how, and what came of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verification {
    /// How.
    pub method: Method,
    /// What the guard answered.
    pub response: Option<String>,
    /// Who asked.
    pub by: Option<String>,
    /// When.
    pub at: Option<Timestamp>,
    /// What else there is to say.
    pub notes: Option<String>,
}

impl Verification {
    /// Nobody has asked.
    pub const NONE: Self = Self { method: Method::None, response: None, by: None, at: None, notes: None };
}

/// One step in the life of an alert.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Step {
    /// When.
    pub at: Timestamp,
    /// By whom: `agent`, or an operator.
    pub by: String,
    /// The status from then on.
    pub status: Status,
    /// Why.
    pub note: Option<String>,
}

/// One alert, as of its latest revision. Serialised, it is the object of contract 6.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Alert {
    /// Its name.
    pub id: AlertId,
    /// From 1; every change raises it by one.
    pub revision: u32,
    /// Where.
    pub site: SiteId,
    /// Which rule.
    pub rule: Rule,
    /// How bad.
    pub severity: Severity,
    /// Where it stands.
    pub status: Status,
    /// What it is about.
    pub subject: Subject,
    /// Whom it concerns, if anyone.
    pub guard: Option<GuardId>,
    /// The instant at which the rule held, however late it was judged.
    pub detected_at: Timestamp,
    /// The instant of this revision.
    pub updated_at: Timestamp,
    /// When what it says stopped being so.
    pub cleared_at: Option<Timestamp>,
    /// Whether it was passed up for want of an answer.
    pub escalated: bool,
    /// One sentence for a person.
    pub summary: String,
    /// What it rests on.
    pub evidence: Evidence,
    /// What people found out.
    pub verification: Verification,
    /// Every status it had.
    pub history: Vec<Step>,
}

impl Alert {
    /// Whether somebody has still to see to it.
    pub const fn is_open(&self) -> bool {
        self.cleared_at.is_none() && !self.status.is_final()
    }

    /// Whether it was told because the guard was asked for a sign of life, and gave none.
    pub(crate) fn was_unanswered(&self) -> bool {
        let Verification { method, response, by, .. } = &self.verification;
        self.rule == Rule::Inactivity
            && *method == Method::Handset
            && response.as_deref() == Some(NO_RESPONSE)
            && by.as_deref() == Some(crate::book::AGENT)
    }

    /// Whether it was DETECTED and not cleared at `at`, whenever that became known.
    pub(crate) fn is_waiting_at(&self, at: Timestamp) -> bool {
        let answered = self.history.iter().any(|s| s.status != Status::Detected && s.at <= at);
        !answered && self.cleared_at.is_none_or(|cleared_at| cleared_at > at)
    }

    /// Whether want of an answer at `due` escalates it: what was withdrawn meanwhile needs none.
    pub(crate) fn escalates_at(&self, due: Timestamp) -> bool {
        !self.escalated && self.status != Status::FalsePositive && self.is_waiting_at(due)
    }
}

/// `{"method":"NONE"}` on the edges; every field in the store.
#[derive(Serialize, Deserialize)]
struct EdgeVerification {
    method: Method,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    response: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    by: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    at: Option<Timestamp>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    notes: Option<String>,
}

impl Serialize for Verification {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let v = self.clone();
        if serializer.is_human_readable() {
            return EdgeVerification {
                method: v.method,
                response: v.response,
                by: v.by,
                at: v.at,
                notes: v.notes,
            }
            .serialize(serializer);
        }
        (v.method, v.response, v.by, v.at, v.notes).serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Verification {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        if deserializer.is_human_readable() {
            let e = EdgeVerification::deserialize(deserializer)?;
            return Ok(Self { method: e.method, response: e.response, by: e.by, at: e.at, notes: e.notes });
        }
        let (method, response, by, at, notes) = Deserialize::deserialize(deserializer)?;
        Ok(Self { method, response, by, at, notes })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_id_is_that_of_the_published_vectors() {
        let site = SiteId::new("plant-7").unwrap();
        let at = Timestamp::parse("2026-03-10T20:30:00.001Z").unwrap();
        let run = Timestamp::parse("2026-03-10T20:00:00Z").unwrap();
        let subject = Subject::Run(TourId::new("perimeter").unwrap(), run);
        let id = AlertId::of(&site, Rule::TourMissed, &subject, at);
        assert_eq!(id.to_string(), "afd1abb5-6bf6-5897-8af9-5d8478b70989");
    }

    #[test]
    fn steps_are_legal_or_not() {
        use Status::{Confirmed, Detected, FalsePositive, Resolved, Verifying};
        let all = [Detected, Verifying, Confirmed, Resolved, FalsePositive];
        let legal: Vec<_> =
            all.iter().flat_map(|a| all.iter().filter(|b| a.may_become(**b)).map(|b| (*a, *b))).collect();
        let expected = [
            (Detected, Verifying),
            (Detected, Confirmed),
            (Detected, Resolved),
            (Detected, FalsePositive),
            (Verifying, Confirmed),
            (Verifying, Resolved),
            (Verifying, FalsePositive),
        ];
        assert_eq!(legal, expected);
    }

    #[test]
    fn every_rule_has_one_name() {
        for (i, rule) in Rule::ALL.iter().enumerate() {
            assert_eq!(*rule as usize, i);
            assert_eq!(Rule::named(rule.name()), Some(*rule));
            assert_eq!(serde_json::to_string(rule).unwrap(), format!("\"{rule}\""));
        }
    }
}
