//! What two policies make of the same inputs, alert by alert. Pure.

use serde::Serialize;
use std::collections::{BTreeMap, VecDeque};
use vigil_core::alert::{Alert, AlertId, Rule, Status, Subject};
use vigil_core::time::Timestamp;

/// Who raises, clears and withdraws by itself, in the history of an alert.
const AGENT: &str = "agent";

/// What becomes of an alert under the new policy.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// Only the new policy raises it.
    Raised,
    /// Only the policy in force raises it.
    Gone,
    /// Both raise it, and not alike.
    Changed,
    /// Both raise it alike.
    Kept,
}

impl Verdict {
    /// The name on every edge.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Raised => "raised",
            Self::Gone => "gone",
            Self::Changed => "changed",
            Self::Kept => "kept",
        }
    }
}

/// What is not alike.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Difference {
    /// When it was detected.
    DetectedAt,
    /// How bad it became.
    Severity,
    /// Where the agent left it.
    Status,
    /// When it was cleared, or whether.
    ClearedAt,
    /// Whether it was escalated.
    Escalated,
}

impl Difference {
    /// The name on every edge.
    pub const fn name(self) -> &'static str {
        match self {
            Self::DetectedAt => "detected_at",
            Self::Severity => "severity",
            Self::Status => "status",
            Self::ClearedAt => "cleared_at",
            Self::Escalated => "escalated",
        }
    }
}

/// One alert under both policies, or under one of them.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Pair {
    /// What becomes of it.
    pub verdict: Verdict,
    /// What is not alike, if both raise it.
    pub differs: Vec<Difference>,
    /// Which rule.
    pub rule: Rule,
    /// What it is about.
    pub subject: Subject,
    /// As the policy in force leaves it.
    pub in_force: Option<Alert>,
    /// As the new policy leaves it.
    pub new: Option<Alert>,
}

/// How many alerts of a rule.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Counts {
    /// Under the policy in force.
    pub in_force: usize,
    /// Under the new one.
    pub new: usize,
    /// Only under the new one.
    pub raised: usize,
    /// Only under the one in force.
    pub gone: usize,
    /// Under both, and not alike.
    pub changed: usize,
    /// Under both alike.
    pub kept: usize,
}

/// Pairs the alerts of two runs over the same inputs, in the order in which they were detected.
pub fn compare(in_force: BTreeMap<AlertId, Alert>, mut new: BTreeMap<AlertId, Alert>) -> Vec<Pair> {
    let (mut pairs, mut alone) = (Vec::new(), Vec::new());
    for (id, old) in in_force {
        match new.remove(&id) {
            Some(same) => pairs.push(both(old, same)),
            None => alone.push(old),
        }
    }
    alone.sort_by_key(|alert| (alert.detected_at, alert.id));
    let mut left = by_subject(new);
    for old in alone {
        let counterpart = left.get_mut(&(old.rule, old.subject.clone())).and_then(|l| take_same(l, &old));
        pairs.push(match counterpart {
            Some(same) => both(old, same),
            None => gone(old),
        });
    }
    pairs.extend(left.into_values().flatten().map(raised));
    pairs.sort_by_cached_key(|pair| {
        (pair.detected_at(), pair.rule.name(), pair.subject.to_string(), pair.first().map(|alert| alert.id))
    });
    pairs
}

/// Each rule that raised anything, with how many; in the order of the rules.
pub fn counts(pairs: &[Pair]) -> BTreeMap<Rule, Counts> {
    let mut all = BTreeMap::new();
    for pair in pairs {
        let counts: &mut Counts = all.entry(pair.rule).or_default();
        counts.in_force += usize::from(pair.in_force.is_some());
        counts.new += usize::from(pair.new.is_some());
        let which = match pair.verdict {
            Verdict::Raised => &mut counts.raised,
            Verdict::Gone => &mut counts.gone,
            Verdict::Changed => &mut counts.changed,
            Verdict::Kept => &mut counts.kept,
        };
        *which += 1;
    }
    all
}

impl Pair {
    /// The earlier of both.
    pub fn detected_at(&self) -> Timestamp {
        let both = self.in_force.iter().chain(&self.new);
        both.map(|alert| alert.detected_at).min().unwrap_or_default()
    }

    fn first(&self) -> Option<&Alert> {
        self.in_force.as_ref().or(self.new.as_ref())
    }
}

fn by_subject(alerts: BTreeMap<AlertId, Alert>) -> BTreeMap<(Rule, Subject), VecDeque<Alert>> {
    let mut all: Vec<Alert> = alerts.into_values().collect();
    all.sort_by_key(|alert| (alert.detected_at, alert.id));
    let mut sorted: BTreeMap<_, VecDeque<_>> = BTreeMap::new();
    for alert in all {
        sorted.entry((alert.rule, alert.subject.clone())).or_default().push_back(alert);
    }
    sorted
}

/// The first of these that tells of the same.
fn take_same(alerts: &mut VecDeque<Alert>, old: &Alert) -> Option<Alert> {
    let at = alerts.iter().position(|alert| one_episode(alert, old))?;
    alerts.remove(at)
}

/// Whether two alerts of one rule and subject tell of the same: neither was over before the other began. A task and a run
/// are there once, so whatever a rule says of one is the same.
fn one_episode(one: &Alert, other: &Alert) -> bool {
    let lasts_to = |alert: &Alert, at| alert.cleared_at.is_none_or(|cleared_at| cleared_at >= at);
    match one.subject {
        Subject::Task(_) | Subject::Run(..) => true,
        Subject::Guard(_) | Subject::Device(_) | Subject::Rule(_) => {
            lasts_to(one, other.detected_at) && lasts_to(other, one.detected_at)
        }
    }
}

fn both(old: Alert, new: Alert) -> Pair {
    let differs = differences(&old, &new);
    let verdict = if differs.is_empty() { Verdict::Kept } else { Verdict::Changed };
    let (rule, subject) = (old.rule, old.subject.clone());
    Pair { verdict, differs, rule, subject, in_force: Some(old), new: Some(new) }
}

fn gone(old: Alert) -> Pair {
    let (verdict, rule, subject) = (Verdict::Gone, old.rule, old.subject.clone());
    Pair { verdict, differs: vec![], rule, subject, in_force: Some(old), new: None }
}

fn raised(new: Alert) -> Pair {
    let (verdict, rule, subject) = (Verdict::Raised, new.rule, new.subject.clone());
    Pair { verdict, differs: vec![], rule, subject, in_force: None, new: Some(new) }
}

fn differences(old: &Alert, new: &Alert) -> Vec<Difference> {
    let unlike = [
        (Difference::DetectedAt, old.detected_at != new.detected_at),
        (Difference::Severity, old.severity != new.severity),
        (Difference::Status, statuses(old, new).is_some_and(|(old, new)| old != new)),
        (Difference::ClearedAt, old.cleared_at != new.cleared_at),
        (Difference::Escalated, old.escalated != new.escalated),
    ];
    unlike.into_iter().filter_map(|(what, unlike)| unlike.then_some(what)).collect()
}

/// Where the agent left both. What people made of an alert is theirs, and says nothing of a policy that they did not
/// work under.
fn statuses(old: &Alert, new: &Alert) -> Option<(Status, Status)> {
    let by_agent = |alert: &Alert| alert.history.iter().all(|step| step.by == AGENT);
    (by_agent(old) && by_agent(new)).then_some((old.status, new.status))
}

#[cfg(test)]
mod tests {
    use super::*;
    use vigil_core::alert::{Evidence, Severity, Step, Verification};
    use vigil_core::evidence::SafetyEvidence;
    use vigil_core::id::{DeviceId, GuardId, SiteId, TaskId};
    use vigil_core::time::Span;

    fn at(minute: i64) -> Timestamp {
        Timestamp::from_millis(1_700_000_000_000) + Span::from_mins(minute)
    }

    /// An alert of a guard from one minute on, maybe to another one.
    fn alert(guard: &str, from: i64, to: Option<i64>) -> Alert {
        let (site, guard) = (SiteId::new("s").unwrap(), GuardId::new(guard).unwrap());
        let (subject, device) = (Subject::Guard(guard.clone()), DeviceId::new("hs").unwrap());
        let raised = Step { at: at(from), by: AGENT.into(), status: Status::Detected, note: None };
        Alert {
            id: AlertId::of(&site, Rule::Inactivity, &subject, at(from)),
            revision: 1,
            site,
            rule: Rule::Inactivity,
            severity: Severity::High,
            status: Status::Detected,
            subject,
            guard: Some(guard),
            detected_at: at(from),
            updated_at: at(from),
            cleared_at: to.map(at),
            escalated: false,
            summary: String::new(),
            evidence: Evidence::Safety(SafetyEvidence {
                device,
                guard: None,
                note: None,
                last_position: None,
            }),
            verification: Verification::NONE,
            history: vec![raised],
        }
    }

    fn told(in_force: impl AsRef<[Alert]>, new: impl AsRef<[Alert]>) -> Vec<String> {
        let by_id = |alerts: &[Alert]| alerts.iter().map(|a| (a.id, a.clone())).collect();
        let pairs = compare(by_id(in_force.as_ref()), by_id(new.as_ref()));
        let told = pairs.iter().map(|pair| {
            let differs: Vec<&str> = pair.differs.iter().map(|d| d.name()).collect();
            format!("{} {} {}", pair.verdict.name(), pair.subject, differs.join(",")).trim_end().to_owned()
        });
        told.collect()
    }

    #[test]
    fn the_same_is_kept_and_what_is_not_alike_is_named() {
        let old = alert("G-1", 0, Some(10));
        assert_eq!(told([old.clone()], [old.clone()]), ["kept guard:G-1"]);
        let summary = Alert { summary: "otherwise".into(), revision: 7, ..old.clone() };
        assert_eq!(told([old.clone()], [summary]), ["kept guard:G-1"]);
        let worse = Alert { severity: Severity::Critical, cleared_at: None, escalated: true, ..old.clone() };
        assert_eq!(told([old], [worse]), ["changed guard:G-1 severity,cleared_at,escalated"]);
    }

    #[test]
    fn one_episode_is_one_alert_whenever_it_was_detected() {
        let (old, later) = (alert("G-1", 0, Some(10)), alert("G-1", 5, Some(10)));
        assert_eq!(told([old.clone()], [later]), ["changed guard:G-1 detected_at"]);
        assert_eq!(
            told([old.clone()], [alert("G-1", 10, None)]),
            ["changed guard:G-1 detected_at,cleared_at"]
        );
        let next = alert("G-1", 11, Some(20));
        assert_eq!(told([old.clone()], [next]), ["gone guard:G-1", "raised guard:G-1"]);
        assert_eq!(told([old], [alert("G-2", 0, Some(10))]), ["gone guard:G-1", "raised guard:G-2"]);
    }

    #[test]
    fn a_task_is_there_once_however_often_it_was_at_risk() {
        let of_task = |from, to| {
            let subject = Subject::Task(TaskId::new("T-1").unwrap());
            let alert = alert("G-1", from, Some(to));
            let id = AlertId::of(&alert.site, Rule::TaskAtRisk, &subject, alert.detected_at);
            Alert { id, rule: Rule::TaskAtRisk, subject, ..alert }
        };
        let expected = ["changed task:T-1 detected_at,cleared_at"];
        assert_eq!(told([of_task(0, 5)], [of_task(6, 10)]), expected);
    }

    #[test]
    fn each_alert_is_paired_once_and_the_same_id_comes_first() {
        let (old, long) = (alert("G-1", 5, Some(10)), alert("G-1", 0, None));
        let both = [long, old.clone()];
        assert_eq!(told([old], both), ["raised guard:G-1", "kept guard:G-1"]);
        let two = [alert("G-1", 1, Some(2)), alert("G-1", 4, Some(6))];
        let expected = ["changed guard:G-1 detected_at,cleared_at", "gone guard:G-1"];
        assert_eq!(told(two, [alert("G-1", 0, None)]), expected);
    }

    #[test]
    fn what_people_made_of_an_alert_is_no_difference() {
        let old = alert("G-1", 0, None);
        let mut confirmed = Alert { status: Status::Confirmed, ..old.clone() };
        let withdrawn = Alert { status: Status::FalsePositive, ..old.clone() };
        assert_eq!(told([old.clone()], [withdrawn]), ["changed guard:G-1 status"]);
        let step = Step { at: at(3), by: "Asha".into(), status: Status::Confirmed, note: None };
        confirmed.history.push(step);
        assert_eq!(told([confirmed], [old]), ["kept guard:G-1"]);
    }

    #[test]
    fn they_are_counted_by_rule() {
        let old = [alert("G-1", 0, Some(10)), alert("G-2", 0, None), alert("G-3", 0, None)];
        let new = [alert("G-1", 0, None), alert("G-2", 0, None), alert("G-4", 0, None)];
        let by_id = |alerts: &[Alert]| alerts.iter().map(|a| (a.id, a.clone())).collect();
        let counted = counts(&compare(by_id(&old), by_id(&new)));
        let expected = Counts { in_force: 3, new: 3, raised: 1, gone: 1, changed: 1, kept: 1 };
        assert_eq!(counted, BTreeMap::from([(Rule::Inactivity, expected)]));
    }
}
