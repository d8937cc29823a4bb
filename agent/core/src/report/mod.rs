//! Section 12: what the nights were like, from closed facts.
//!
//! A day is a date on the site's calendar, from its first instant to the first of the next date: 23 or 25 hours long when
//! the clocks change. A night crosses midnight, and each thing in it belongs to one day: a run to that on which it was
//! due, an alert to that on which the rule held, a task to that on which it was closed or else fell overdue, and time
//! to the day in which it lies.
//!
//! A report is made when its day is over and has settled, and again, with the next revision, when late evidence or an
//! operator's step has changed it: at most once an hour, and for 72 h, because nothing later is taken.

pub mod edge;
mod facts;
mod figures;
pub mod ranking;
mod tally;

pub use facts::Facts;
pub use figures::{Alerts, Duty, Figures, Inactivity, Lengths, Ratios, Runs, Tasks};
pub use ranking::{Standing, rank, ranking, worst_first};
pub use tally::{Failures, Tally};

use crate::book::LATE;
use crate::deadline::Deadline;
use crate::engine::{Engine, Record};
use crate::id::SiteId;
use crate::time::{Date, LocalTime, Timestamp};
use facts::Sent;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// How many days can be open at once: 72 hours touch four dates, and one more is running.
const OPEN_DAYS: usize = 5;

/// The report of one day.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DailyReport {
    /// Of which site.
    pub site: SiteId,
    /// Of which day on its calendar.
    pub date: Date,
    /// From 1; 0 before the first is sent.
    pub revision: u32,
    /// Whose calendar it is.
    pub timezone: String,
    /// The first instant of the day.
    pub from: Timestamp,
    /// The first instant behind it.
    pub to: Timestamp,
    /// When it was made.
    pub made_at: Timestamp,
    /// Whether the day was over by then.
    pub complete: bool,
    /// What it counts.
    pub tally: Tally,
}

impl Engine {
    /// The report of a day as it is at `now`, unless the day is closed for good or has not begun.
    pub fn report(&self, date: Date, now: Timestamp) -> Option<DailyReport> {
        let (from, to) = (self.start_of(date), self.end_of(date));
        if date < self.state.facts.open_from || from > now {
            return None;
        }
        Some(DailyReport {
            site: self.site.id.clone(),
            date,
            revision: self.state.facts.sent.get(&date).map_or(0, |sent| sent.revision),
            timezone: self.site.timezone.name().to_owned(),
            from,
            to,
            made_at: now,
            complete: to + self.settle() <= now,
            tally: self.tally(from, to, now),
        })
    }

    /// Every day that can still change, and today, in order.
    pub fn open_days(&self, now: Timestamp) -> Vec<Date> {
        let today = now.local_date(self.site.timezone);
        let (open_from, settled_until) = (self.state.facts.open_from, self.settled_until(now));
        // After a long absence: those that were open when it began, and those of the last 72 h.
        let before = open_from.iter_days().take_while(|date| *date < settled_until).take(OPEN_DAYS);
        let since = settled_until.max(open_from).iter_days().take_while(|date| *date <= today);
        before.chain(since).collect()
    }

    /// The first instant of a day: midnight, or the first that exists after it.
    pub(super) fn start_of(&self, date: Date) -> Timestamp {
        LocalTime::hour(0).on(date, self.site.timezone)
    }

    fn end_of(&self, date: Date) -> Timestamp {
        self.start_of(date.succ_opt().unwrap_or(date))
    }

    /// Arms the end of the first day that was not over when it was last looked.
    pub(crate) fn arm_report(&mut self) {
        let next = (self.state.facts.looked_at - self.settle()).local_date(self.site.timezone);
        self.agenda.arm(self.end_of(next) + self.settle(), Deadline::Report);
    }

    /// A day is over, or an hour in which one of the last may have changed.
    pub(crate) fn on_report(&mut self) {
        let now = self.state.now;
        for date in self.open_days(now) {
            if let Some(report) = self.report(date, now).filter(|report| report.complete) {
                self.send_report(report);
            }
        }
        self.close_days();
        self.state.facts.looked_at = now;
        self.arm_report();
    }

    /// Sends a report unless it says what the last one of its day said.
    fn send_report(&mut self, mut report: DailyReport) {
        let digest = digest(&report.tally);
        let last = self.state.facts.sent.get(&report.date);
        if last.is_some_and(|sent| sent.digest == digest) {
            return;
        }
        report.revision = last.map_or(0, |sent| sent.revision) + 1;
        self.state.facts.sent.insert(report.date, Sent { revision: report.revision, digest });
        self.effects.records.push(Record::Report(Box::new(report)));
    }

    /// Nothing that is still taken can change the days before this one.
    fn settled_until(&self, now: Timestamp) -> Date {
        (now - LATE).local_date(self.site.timezone)
    }

    fn close_days(&mut self) {
        let first = self.settled_until(self.state.now).max(self.state.facts.open_from);
        self.state.facts.open_from = first;
        self.state.facts.sent = self.state.facts.sent.split_off(&first);
    }
}

/// 64 bits of a name-based UUID of what a report counts.
fn digest(tally: &Tally) -> u64 {
    // Plain data always encodes; if it did not, a report would be sent once and never corrected.
    let bytes = postcard::to_allocvec(tally).unwrap_or_default();
    Uuid::new_v5(&Uuid::NAMESPACE_OID, &bytes).as_u64_pair().0
}
