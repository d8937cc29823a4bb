//! The log of runs, read backwards and a piece at a time: a question about a year must not hold up what comes in.

use super::keys::{self, Kind};
use super::records::decode;
use super::{Store, StoreError};
use vigil_core::id::TourId;
use vigil_core::rules::compliance::{Compliance, RunRecord};
use vigil_core::time::Timestamp;

/// How many entries are looked at before the pump goes back to its work: a few milliseconds.
const AT_ONCE: usize = 2_000;

/// Which runs are wanted.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RunQuery {
    /// Due at this instant or later.
    pub since: Timestamp,
    /// Of this tour only.
    pub tour: Option<TourId>,
    /// Of these classes only; of any if there is none.
    pub compliance: Vec<Compliance>,
}

/// A piece of the answer.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct RunsFound {
    /// The newest first.
    pub runs: Vec<RunRecord>,
    /// Where to go on, if there may be more.
    pub next: Option<Vec<u8>>,
}

impl RunQuery {
    fn wants(&self, run: &RunRecord) -> bool {
        self.tour.as_ref().is_none_or(|tour| *tour == run.tour)
            && (self.compliance.is_empty() || self.compliance.contains(&run.compliance))
    }
}

impl Store {
    /// The latest log entry of one run, if it can be read.
    pub fn run(&self, scheduled_at: Timestamp, tour: &TourId) -> Result<Option<RunRecord>, StoreError> {
        let record = self.disk.get(&keys::run(scheduled_at, tour.as_str()))?;
        Ok(record.and_then(|bytes| decode(&bytes).ok()))
    }

    /// Closed runs, newest first, from the end of the log or from where the last piece ended.
    pub fn runs(&mut self, wanted: &RunQuery, next: Option<Vec<u8>>) -> Result<RunsFound, StoreError> {
        let from = keys::run(wanted.since, "");
        let below = next.unwrap_or_else(|| vec![Kind::Run as u8 + 1]);
        let (mut found, mut unreadable) = (RunsFound::default(), Vec::new());
        for (n, record) in self.disk.scan_between(&from, &below).rev().enumerate() {
            let (key, bytes) = record?;
            if n + 1 == AT_ONCE {
                found.next = Some(key.clone());
            }
            match decode::<RunRecord>(&bytes) {
                Ok(run) if wanted.wants(&run) => found.runs.push(run),
                Ok(_) => {}
                Err(why) => {
                    tracing::error!(kind = ?Kind::Run, %why, "a record cannot be read and is set aside");
                    unreadable.push((key, bytes));
                }
            }
            if found.next.is_some() {
                break;
            }
        }
        self.set_aside(unreadable)?;
        Ok(found)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::Draft;
    use std::collections::BTreeMap;
    use vigil_core::rules::tours::RunStatus;
    use vigil_core::time::Span;

    fn due(minute: i64) -> Timestamp {
        Timestamp::from_millis(1_700_000_000_000) + Span::from_mins(minute)
    }

    fn run(tour: &str, minute: i64, compliance: Compliance) -> RunRecord {
        RunRecord {
            tour: tour.parse().unwrap(),
            name: tour.to_owned(),
            mandatory: true,
            scheduled_at: due(minute),
            start_by: due(minute + 30),
            close_by: due(minute + 70),
            revision: 1,
            status: RunStatus::Missed,
            compliance,
            guard: None,
            walked_by: vec![],
            coverage: 0,
            started_at: None,
            last_scan_at: None,
            overdue_by: 0,
            scanned: vec![],
            scanned_at: BTreeMap::new(),
            missing: vec![],
            out_of_order: vec![],
            too_short: vec![],
            observed: true,
            blind_permille: 0,
        }
    }

    fn log(runs: Vec<RunRecord>) -> (tempfile::TempDir, Store) {
        let folder = tempfile::tempdir().unwrap();
        let mut store = Store::open(&folder.path().join("db")).unwrap();
        store.commit(Draft { runs, ..Draft::default() }).unwrap();
        (folder, store)
    }

    fn found(store: &mut Store, wanted: &RunQuery) -> Vec<String> {
        let (mut all, mut next) = (vec![], None);
        loop {
            let found = store.runs(wanted, next).unwrap();
            all.extend(
                found.runs.iter().map(|r| format!("{}{}", r.tour, r.scheduled_at.since(due(0)).mins_up())),
            );
            next = found.next;
            if next.is_none() {
                return all;
            }
        }
    }

    #[test]
    fn the_newest_come_first_and_only_those_that_are_wanted() {
        use Compliance::{Compliant, GuardAbsent, NotStarted};
        let runs = [("a", 0, NotStarted), ("b", 0, Compliant), ("a", 60, GuardAbsent), ("a", 120, Compliant)];
        let (_folder, mut store) = log(runs.map(|(tour, at, what)| run(tour, at, what)).to_vec());
        let all = RunQuery::default();
        assert_eq!(found(&mut store, &all), ["a120", "a60", "b0", "a0"]);
        assert_eq!(found(&mut store, &RunQuery { since: due(60), ..all.clone() }), ["a120", "a60"]);
        assert_eq!(found(&mut store, &RunQuery { since: due(60).just_after(), ..all.clone() }), ["a120"]);
        assert_eq!(found(&mut store, &RunQuery { tour: "b".parse().ok(), ..all.clone() }), ["b0"]);
        let missed = RunQuery { compliance: vec![NotStarted, GuardAbsent], ..all };
        assert_eq!(found(&mut store, &missed), ["a60", "a0"]);
    }

    #[test]
    fn a_long_log_is_read_in_pieces_and_none_is_lost_between_them() {
        let count = i64::try_from(2 * AT_ONCE + 1).unwrap();
        let (_folder, mut store) = log((0..count).map(|n| run("a", n, Compliance::Compliant)).collect());
        let all = RunQuery::default();
        let first = store.runs(&all, None).unwrap();
        assert_eq!((first.runs.len(), first.next.is_some()), (AT_ONCE, true));
        let expected: Vec<String> = (0..count).rev().map(|n| format!("a{n}")).collect();
        assert_eq!(found(&mut store, &all), expected);
    }

    #[test]
    fn an_unreadable_entry_is_set_aside_and_hides_no_other() {
        let runs = (0..3).map(|n| run("a", n, Compliance::Compliant)).collect();
        let (_folder, mut store) = log(runs);
        let mut writes = crate::store::writes::Writes::default();
        writes.put(keys::run(due(1), "a"), b"not a record".to_vec());
        store.disk.commit(writes).unwrap();
        assert_eq!(found(&mut store, &RunQuery::default()), ["a2", "a0"]);
        assert_eq!(store.marks().set_aside, 1);
    }
}
