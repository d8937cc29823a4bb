//! Section 11: many alerts of one rule within a minute are one storm. A dead access point silences thirty handsets, and
//! the operator reads one line of it instead of thirty.
//!
//! The first twenty have been told by then; the storm names them. What comes after them is held: it lives on in the
//! book, is cleared and withdrawn like any other, and is told by itself as soon as a person touches it.

use crate::alert::{Alert, AlertId, Rule, Severity, Status, Subject};
use crate::book::{Finding, Held};
use crate::deadline::Deadline;
use crate::engine::Engine;
use crate::evidence::{Evidence, StormEvidence, StormMember};
use crate::time::{Span, Timestamp};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// More than so many alerts of one rule
const MANY: usize = 20;
/// within this time are a storm; and it gathers on as long as the next comes within it.
const WITHIN: Span = Span::from_secs(60);
/// How many members the alert names: 200 of them are some 30 KB, and a payload may be 64 KiB.
const NAMED: usize = 200;

/// What is going on, and what may become a storm.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Storms {
    /// The alerts of the last minute, by rule; never more than make a storm.
    recent: BTreeMap<Rule, BTreeSet<(Timestamp, AlertId)>>,
    going: BTreeMap<AlertId, Storm>,
}

/// One storm whose members are not all over.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Storm {
    rule: Rule,
    /// With whether they were told by themselves.
    members: BTreeMap<AlertId, bool>,
    last_at: Timestamp,
    /// How many members it had when it was last told.
    told: usize,
}

impl Storms {
    /// Forgets alerts that are not known any more.
    pub(crate) fn forget(&mut self, known: impl Fn(AlertId) -> bool) {
        self.recent.values_mut().for_each(|recent| recent.retain(|(_, id)| known(*id)));
        self.recent.retain(|_, recent| !recent.is_empty());
        self.going.retain(|id, _| known(*id));
        self.going.values_mut().for_each(|storm| storm.members.retain(|id, _| known(*id)));
    }

    /// Our own clock was set back: what happens next is not long before the last.
    pub(crate) fn set_back(&mut self, to: Timestamp) {
        self.recent.clear();
        self.going.values_mut().for_each(|storm| storm.last_at = storm.last_at.min(to));
    }

    /// The storms of a rule that an alert of this instant would belong to.
    fn gathering(&self, rule: Rule, at: Timestamp) -> impl Iterator<Item = AlertId> {
        let near = move |s: &Storm| s.rule == rule && at.since(s.last_at).millis().abs() <= WITHIN.millis();
        self.going.iter().filter(move |(_, storm)| near(storm)).map(|(id, _)| *id)
    }

    /// Whether a storm is not over.
    pub(crate) fn is_going(&self, storm: AlertId) -> bool {
        self.going.contains_key(&storm)
    }

    /// Notes an alert; those of its minute.
    fn note(&mut self, rule: Rule, at: Timestamp, id: AlertId) -> Vec<AlertId> {
        let recent = self.recent.entry(rule).or_default();
        recent.insert((at, id));
        let latest = recent.last().map_or(at, |(latest, _)| *latest);
        recent.retain(|(at, _)| *at + WITHIN >= latest);
        let all: Vec<AlertId> = recent.iter().map(|(_, id)| *id).collect();
        if all.len() > MANY {
            recent.clear();
        }
        all
    }
}

impl Engine {
    /// Whether an alert that was just raised is one of many: then the storm tells of it. One that was told before is a
    /// member, and is not held.
    pub(crate) fn joins_a_storm(&mut self, alert: &Alert, told: bool) -> bool {
        if matches!(alert.rule, Rule::Sos | Rule::ManDown | Rule::Storm) {
            return false;
        }
        if let Some(storm) = self.open_storm(alert) {
            self.join(storm, alert, told);
            return !told;
        }
        let recent = self.state.book.storms.note(alert.rule, alert.detected_at, alert.id);
        recent.len() > MANY && self.begin_storm(alert, &recent, told) && !told
    }

    /// The storm that an alert belongs to. Whoever has closed one has not seen what comes now.
    fn open_storm(&self, alert: &Alert) -> Option<AlertId> {
        let book = &self.state.book;
        let open = |id: &AlertId| book.get(*id).is_some_and(|storm| !storm.status.is_final());
        book.storms.gathering(alert.rule, alert.detected_at).find(open)
    }

    fn join(&mut self, id: AlertId, alert: &Alert, told: bool) {
        if !told {
            self.state.book.hold(alert.id, Held::InStorm(id));
        }
        let Some(storm) = self.state.book.storms.going.get_mut(&id) else { return };
        storm.members.insert(alert.id, told);
        storm.last_at = storm.last_at.max(alert.detected_at);
        // A revision for each would be a storm of its own.
        let doubled = storm.members.len() >= 2 * storm.told;
        self.arm_storm(id);
        if doubled {
            self.tell_of_storm(id, alert.updated_at);
        }
        self.follow_severity(id, alert.severity, alert.updated_at);
    }

    fn begin_storm(&mut self, alert: &Alert, recent: &[AlertId], told: bool) -> bool {
        let members = recent.iter().map(|id| (*id, told || *id != alert.id)).collect();
        let storm = Storm { rule: alert.rule, members, last_at: alert.detected_at, told: recent.len() };
        let severities = recent.iter().filter_map(|id| self.state.book.get(*id)).map(|a| a.severity);
        let evidence = self.storm_evidence(&storm);
        let finding = Finding {
            rule: Rule::Storm,
            severity: severities.max().unwrap_or(alert.severity),
            subject: Subject::Rule(alert.rule),
            guard: None,
            detected_at: alert.detected_at,
            summary: summary(&evidence),
            evidence: Evidence::Storm(Box::new(evidence)),
        };
        let Some(id) = self.raise(finding, alert.updated_at) else { return false };
        if !told {
            self.state.book.hold(alert.id, Held::InStorm(id));
        }
        self.state.book.storms.going.insert(id, storm);
        self.arm_escalation(id);
        self.arm_storm(id);
        true
    }

    fn storm_evidence(&self, storm: &Storm) -> StormEvidence {
        let known = |(id, told): (&AlertId, &bool)| self.state.book.get(*id).map(|a| (a, *told));
        let mut members: Vec<(&Alert, bool)> = storm.members.iter().filter_map(known).collect();
        members.sort_by_key(|(a, _)| (a.detected_at, a.id));
        let count = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
        let member = |(a, told): &(&Alert, bool)| StormMember {
            alert: a.id,
            subject: a.subject.clone(),
            guard: a.guard.clone(),
            detected_at: a.detected_at,
            told: *told,
        };
        StormEvidence {
            rule: storm.rule,
            count: count(members.len()),
            standing: count(members.iter().filter(|(a, _)| a.is_open()).count()),
            first_at: members.first().map_or(storm.last_at, |(a, _)| a.detected_at),
            last_at: storm.last_at,
            members: members.iter().take(NAMED).map(member).collect(),
        }
    }

    fn tell_of_storm(&mut self, id: AlertId, now: Timestamp) {
        let Some(storm) = self.state.book.storms.going.get_mut(&id) else { return };
        storm.told = storm.members.len();
        let storm = storm.clone();
        let evidence = self.storm_evidence(&storm);
        self.revise(id, now, |alert| {
            alert.summary = summary(&evidence);
            alert.evidence = Evidence::Storm(Box::new(evidence));
            true
        });
    }

    fn follow_severity(&mut self, id: AlertId, severity: Severity, now: Timestamp) {
        self.revise(id, now, |alert| {
            let worse = severity > alert.severity && !alert.status.is_final();
            alert.severity = alert.severity.max(severity);
            worse
        });
    }

    fn arm_storm(&mut self, id: AlertId) {
        let Some(storm) = self.state.book.storms.going.get(&id) else { return };
        if storm.told != storm.members.len() {
            self.agenda.arm(storm.last_at + WITHIN + self.settle(), Deadline::StormGathered(id));
        }
    }

    /// Arms the end of every storm that still gathers.
    pub(crate) fn arm_storms(&mut self) {
        let going: Vec<AlertId> = self.state.book.storms.going.keys().copied().collect();
        going.into_iter().for_each(|id| self.arm_storm(id));
    }

    /// For as long as a storm gathers, nothing has joined it.
    pub(crate) fn on_storm_gathered(&mut self, id: AlertId) {
        let Some(storm) = self.state.book.storms.going.get(&id) else { return };
        let gathered_at = storm.last_at + WITHIN;
        if gathered_at + self.settle() > self.state.now {
            return self.arm_storm(id);
        }
        if storm.told != storm.members.len() {
            self.tell_of_storm(id, gathered_at);
        }
    }

    /// An alert has changed: a storm that it belongs to may be worse, or over.
    pub(crate) fn look_at_storms(&mut self, member: AlertId, now: Timestamp) {
        let going = self.state.book.storms.going.iter();
        let of_member: Vec<AlertId> =
            going.filter(|(_, s)| s.members.contains_key(&member)).map(|(id, _)| *id).collect();
        for id in of_member {
            if let Some(severity) = self.state.book.get(member).map(|a| a.severity) {
                self.follow_severity(id, severity, now);
            }
            self.end_storm(id, now);
        }
    }

    /// A storm is over when all of its members are; what the agent knows of all of them, it says of the storm.
    fn end_storm(&mut self, id: AlertId, now: Timestamp) {
        let Some(storm) = self.state.book.storms.going.get(&id) else { return };
        let members: Vec<&Alert> =
            storm.members.keys().filter_map(|member| self.state.book.get(*member)).collect();
        if members.iter().any(|a| a.is_open()) {
            return;
        }
        let cleared_at = members.iter().filter_map(|a| a.cleared_at).max().unwrap_or(now);
        let all_false = members.iter().all(|a| a.status == Status::FalsePositive);
        let all_final = members.iter().all(|a| a.status.is_final());
        self.tell_of_storm(id, now);
        self.state.book.storms.going.remove(&id);
        match (all_false, all_final) {
            (true, _) => self.withdraw(id, now),
            (false, true) => self.clear_and_resolve(id, cleared_at, "all of them are over", now),
            (false, false) => self.clear(id, cleared_at, now),
        }
    }

    /// Whether somebody has to answer a storm, as its members would have to be answered.
    pub(crate) fn storm_must_be_answered(&self, id: AlertId) -> bool {
        let Some(storm) = self.state.book.storms.going.get(&id) else { return false };
        let critical = |a: &Alert| matches!(&a.subject, Subject::Task(t) if self.state.tasks.is_critical(t));
        let mut members = storm.members.keys().filter_map(|member| self.state.book.get(*member));
        matches!(storm.rule, Rule::TourMissed | Rule::TourPartial)
            || (storm.rule == Rule::TaskOverdue && members.any(critical))
    }
}

fn summary(evidence: &StormEvidence) -> String {
    let StormEvidence { rule, count, .. } = evidence;
    let secs = evidence.last_at.since(evidence.first_at).millis() / 1_000;
    format!("{count} alerts of {rule} within {secs} s: one cause is likely")
}
