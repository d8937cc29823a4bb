//! Every figure of the rules. The defaults are those of the trade; a site changes them key by key.
//!
//! A [`Policy`] that exists is valid: it is made by [`Policy::new`], which names every problem at once.

use crate::alert::{Rule, Severity};
use crate::figures::FIGURES;
use crate::time::{LocalHours, LocalTime, Span, Timestamp};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::ops::Deref;

/// One thing wrong with a configuration, by the path of its key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Invalid {
    /// The path, like `policy.inactivity.window` or `tours[2].checkpoints[1]` (indexes from 0).
    pub path: String,
    /// What was found there.
    pub found: String,
    /// What is allowed.
    pub allowed: String,
    /// The paths of other keys that have a part in it.
    pub beside: Vec<&'static str>,
}

impl Invalid {
    /// One problem.
    pub fn new(path: impl Into<String>, found: impl fmt::Display, allowed: impl Into<String>) -> Self {
        Self { path: path.into(), found: found.to_string(), allowed: allowed.into(), beside: vec![] }
    }

    /// The same, with other keys that have a part in it.
    #[must_use]
    pub fn with(self, beside: &[&'static str]) -> Self {
        Self { beside: beside.to_vec(), ..self }
    }
}

impl fmt::Display for Invalid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: found {}, allowed: {}", self.path, self.found, self.allowed)
    }
}

/// A share in thousandths, 0 to 1000. Configuration writes it as 0.0 to 1.0.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Permille(u16);

impl Permille {
    /// From thousandths; `None` above 1000.
    pub const fn new(thousandths: u16) -> Option<Self> {
        if thousandths <= 1_000 { Some(Self(thousandths)) } else { None }
    }
    /// From 0.0 to 1.0, rounded to the nearest thousandth.
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "the range is checked first")]
    pub fn from_fraction(fraction: f64) -> Option<Self> {
        (0.0..=1.0).contains(&fraction).then(|| Self((fraction * 1_000.0).round() as u16))
    }
    /// In thousandths.
    pub const fn get(self) -> u16 {
        self.0
    }
}

/// Every policy of a site, as parts: plain data, not yet checked.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct PolicyParts {
    /// Section 3 and 4.
    pub inactivity: Inactivity,
    /// Section 5.
    pub tasks: Tasks,
    /// Section 6.
    pub tours: Tours,
    /// Section 2 and 9.
    pub attendance: AttendancePolicy,
    /// Section 8.
    pub devices: Devices,
    /// Section 10.
    pub fraud: Fraud,
    /// Section 11: when which rules are mute.
    pub maintenance: Vec<Maintenance>,
    /// Section 1: how long after its instant a deadline is judged.
    pub settle: Settle,
}

/// How long after its instant a deadline is judged, so that messages in flight can arrive.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Settle(pub Span);

impl Default for Settle {
    fn default() -> Self {
        Self(Span::from_secs(5))
    }
}

/// When guards are watched for stillness.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Monitor {
    /// In `hours`.
    Night,
    /// Round the clock.
    Always,
}

/// How the deep night weighs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DeepNight {
    /// Score x 1.2.
    Factor,
    /// Other weights, then the same factor.
    Weights,
}

/// What a signal without evidence counts for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Expectation {
    /// Nothing: no evidence comes from what was not due or not observed.
    WhenDue,
    /// Inactivity: the classic four-signal sum.
    Always,
}

/// How movement is judged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MovementRule {
    /// The stay-point residual of section 4.
    Robust,
    /// The summed distance of the classic rule.
    Summed,
}

/// The weights of the four signals, in thousandths.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Weights {
    /// Phone events.
    pub phone: Permille,
    /// Displacement.
    pub movement: Permille,
    /// Completed tasks.
    pub tasks: Permille,
    /// Checkpoints scanned.
    pub tours: Permille,
}

impl Weights {
    /// In the order of the rules: phone, movement, tasks, tours.
    pub const fn in_order(self) -> [u32; 4] {
        [self.phone.0 as u32, self.movement.0 as u32, self.tasks.0 as u32, self.tours.0 as u32]
    }
}

/// `[policy.inactivity]`
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Inactivity {
    /// When guards are watched.
    pub monitor: Monitor,
    /// The monitored hours with `monitor = "night"`.
    pub hours: LocalHours,
    /// The deep night.
    pub deep_night_hours: LocalHours,
    /// How the deep night weighs.
    pub deep_night: DeepNight,
    /// Length of a bucket, and how often a guard is evaluated.
    pub cycle: Span,
    /// Duty time that an evaluation looks back on.
    pub window: Span,
    /// Inactive from this score on.
    pub threshold: Permille,
    /// How many inactive evaluations in a row raise the alert.
    pub consecutive: u16,
    /// What a signal without evidence counts for.
    pub expectation: Expectation,
    /// The signals' weights.
    pub weights: Weights,
    /// Their weights in deep night with `deep_night = "weights"`.
    pub deep_night_weights: Weights,
    /// Below this weight of evidence there is no verdict.
    pub min_evidence: Permille,
    /// How movement is judged.
    pub movement: MovementRule,
    /// With `movement = "summed"`: less than this is no movement.
    pub min_movement_m: f64,
    /// An act this recent proves that the guard is awake.
    pub proof_of_life: Span,
    /// How long the guard has to answer the prompt; `None` switches the check off.
    pub welfare_check: Option<Span>,
}

const fn permille(thousandths: u16) -> Permille {
    Permille(thousandths)
}

impl Default for Inactivity {
    fn default() -> Self {
        let weights = |phone, movement, tasks, tours| Weights {
            phone: permille(phone),
            movement: permille(movement),
            tasks: permille(tasks),
            tours: permille(tours),
        };
        Self {
            monitor: Monitor::Night,
            hours: LocalHours { from: LocalTime::hour(20), to: LocalTime::hour(6) },
            deep_night_hours: LocalHours { from: LocalTime::hour(1), to: LocalTime::hour(5) },
            deep_night: DeepNight::Factor,
            cycle: Span::from_mins(5),
            window: Span::from_mins(120),
            threshold: permille(800),
            consecutive: 1,
            expectation: Expectation::WhenDue,
            weights: weights(200, 300, 250, 250),
            deep_night_weights: weights(300, 400, 250, 300),
            min_evidence: permille(500),
            movement: MovementRule::Robust,
            min_movement_m: 10.0,
            proof_of_life: Span::from_mins(30),
            welfare_check: None,
        }
    }
}

/// `[policy.tasks]`
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tasks {
    /// Time to complete a CRITICAL task.
    pub sla_critical: Span,
    /// Time to complete a HIGH task.
    pub sla_high: Span,
    /// Time to complete a MEDIUM task.
    pub sla_medium: Span,
    /// Time to complete a LOW task.
    pub sla_low: Span,
    /// Whether alerts of critical tasks and mandatory tours escalate.
    pub auto_escalate: bool,
    /// After how long.
    pub escalation_delay: Span,
    /// The second step of a CRITICAL task.
    pub critical_overdue_severity: Severity,
}

impl Default for Tasks {
    fn default() -> Self {
        Self {
            sla_critical: Span::from_mins(15),
            sla_high: Span::from_mins(30),
            sla_medium: Span::from_mins(60),
            sla_low: Span::from_mins(120),
            auto_escalate: true,
            escalation_delay: Span::from_mins(15),
            critical_overdue_severity: Severity::Critical,
        }
    }
}

/// `[policy.tours]`
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tours {
    /// How late a run may start.
    pub grace: Span,
    /// How early.
    pub early: Span,
    /// Whether a run needs every checkpoint.
    pub require_all_checkpoints: bool,
    /// If not: how many of them, in percent.
    pub min_checkpoint_percentage: u8,
    /// How bad a missed run is.
    pub tour_missed_severity: Severity,
    /// Whether mandatory tours raise alerts at all.
    pub mandatory_enforcement: bool,
}

impl Default for Tours {
    fn default() -> Self {
        Self {
            grace: Span::from_mins(30),
            early: Span::from_mins(15),
            require_all_checkpoints: true,
            min_checkpoint_percentage: 80,
            tour_missed_severity: Severity::High,
            mandatory_enforcement: true,
        }
    }
}

/// What makes duty.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DutyMode {
    /// Check-in and check-out.
    CheckIn,
    /// The shift itself.
    Roster,
}

/// `[policy.attendance]`
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AttendancePolicy {
    /// What makes duty.
    pub mode: DutyMode,
    /// How late a check-in may be.
    pub check_in_grace: Span,
    /// How long a break may be.
    pub max_break: Span,
    /// How long a duty lasts at most.
    pub max_duty: Span,
    /// How long after shift end duty is overtime.
    pub overtime_grace: Span,
}

impl Default for AttendancePolicy {
    fn default() -> Self {
        Self {
            mode: DutyMode::CheckIn,
            check_in_grace: Span::from_mins(15),
            max_break: Span::from_mins(45),
            max_duty: Span::from_hours(16),
            overtime_grace: Span::from_mins(60),
        }
    }
}

/// `[policy.devices]`
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Devices {
    /// An instrument that says nothing for longer is silent.
    pub silent_after: Span,
    /// A battery below this is low.
    pub battery_low: Permille,
    /// From this charge on it is no longer low.
    pub battery_ok: Permille,
    /// A clock that is off by more is wrong.
    pub max_clock_skew: Span,
}

impl Default for Devices {
    fn default() -> Self {
        Self {
            silent_after: Span::from_mins(15),
            battery_low: permille(150),
            battery_ok: permille(200),
            max_clock_skew: Span::from_secs(120),
        }
    }
}

/// `[policy.fraud]`
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Fraud {
    /// Faster than this between two fixes is impossible.
    pub max_speed_kmh: f64,
    /// Faster than this between two checkpoints is a burst, in m/s.
    pub max_scan_speed: f64,
    /// A network fix further than this from a GPS fix is a mismatch, in metres.
    pub network_mismatch: f64,
    /// A fix further than this from a scanned checkpoint is a mismatch, in metres.
    pub scan_mismatch: f64,
    /// Biometric confidence below this is low.
    pub min_biometric: Permille,
}

impl Default for Fraud {
    fn default() -> Self {
        Self {
            max_speed_kmh: 150.0,
            max_scan_speed: 4.0,
            network_mismatch: 1_000.0,
            scan_mismatch: 150.0,
            min_biometric: permille(700),
        }
    }
}

/// One interval in which chosen rules are mute.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Maintenance {
    /// From this instant on.
    pub starts_at: Timestamp,
    /// Until just before this one.
    pub ends_at: Timestamp,
    /// The rules; none means all that may be muted.
    pub rules: Vec<Rule>,
}

/// The policy of a site, valid by construction.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Policy(PolicyParts);

impl Deref for Policy {
    type Target = PolicyParts;
    fn deref(&self) -> &PolicyParts {
        &self.0
    }
}

impl Policy {
    /// Checks every figure and how they fit together.
    pub fn new(mut parts: PolicyParts) -> Result<Self, Vec<Invalid>> {
        let mut problems: Vec<Invalid> = FIGURES.iter().filter_map(|f| f.check(&mut parts)).collect();
        check_inactivity(&parts.inactivity, &mut problems);
        check_the_rest(&parts, &mut problems);
        if problems.is_empty() { Ok(Self(parts)) } else { Err(problems) }
    }
}

fn check_inactivity(i: &Inactivity, problems: &mut Vec<Invalid>) {
    if i.cycle > Span::ZERO && i.window.millis() % i.cycle.millis() != 0 {
        let allowed = format!("a whole multiple of cycle ({})", i.cycle);
        let uneven = Invalid::new("policy.inactivity.window", i.window, allowed);
        problems.push(uneven.with(&["policy.inactivity.cycle"]));
    }
    if i.cycle > Span::ZERO && Span::from_hours(24).millis() % i.cycle.millis() != 0 {
        problems.push(Invalid::new("policy.inactivity.cycle", i.cycle, "a length that divides 24h, like 5m"));
    }
    let base = i.weights.in_order().iter().sum::<u32>();
    if base != 1_000 {
        let found = format!("a sum of {}.{:03}", base / 1_000, base % 1_000);
        problems.push(Invalid::new("policy.inactivity.weights", found, "four weights whose sum is 1.0"));
    }
    if i.deep_night_weights.in_order().iter().sum::<u32>() == 0 {
        problems.push(Invalid::new("policy.inactivity.deep_night_weights", "a sum of 0", "a sum above 0"));
    }
}

fn check_the_rest(p: &PolicyParts, problems: &mut Vec<Invalid>) {
    if p.devices.battery_ok < p.devices.battery_low {
        let found = f64::from(p.devices.battery_ok.get()) / 1_000.0;
        let crossed = Invalid::new("policy.devices.battery_ok", found, "at least battery_low");
        problems.push(crossed.with(&["policy.devices.battery_low"]));
    }
    for (index, interval) in p.maintenance.iter().enumerate() {
        if interval.ends_at <= interval.starts_at {
            let path = format!("policy.maintenance[{index}].ends_at");
            problems.push(Invalid::new(path, interval.ends_at, "an instant after starts_at"));
        }
        for rule in interval.rules.iter().filter(|r| matches!(r, Rule::Sos | Rule::ManDown)) {
            let path = format!("policy.maintenance[{index}].rules");
            problems.push(Invalid::new(path, rule, "any rule but sos and man_down, which are never muted"));
        }
        for rule in interval.rules.iter().filter(|r| **r == Rule::Storm) {
            let path = format!("policy.maintenance[{index}].rules");
            let allowed = "the rule of its alerts: a storm is mute where they are";
            problems.push(Invalid::new(path, rule, allowed));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_are_valid() {
        assert!(Policy::new(PolicyParts::default()).is_ok());
    }

    #[test]
    fn every_problem_is_named_at_once() {
        let mut parts = PolicyParts::default();
        parts.inactivity.window = Span::from_mins(121);
        parts.inactivity.weights.phone = permille(201);
        parts.devices.silent_after = Span::ZERO;
        let paths: Vec<_> = Policy::new(parts).unwrap_err().into_iter().map(|p| p.path).collect();
        let expected =
            ["policy.devices.silent_after", "policy.inactivity.window", "policy.inactivity.weights"];
        assert_eq!(paths, expected);
    }
}
