//! What is committed, and what must be there afterwards: all of it follows from the number of the commit.

use super::below;
use std::collections::BTreeSet;
use std::path::Path;
use vigil_agent::simulate::Chance;
use vigil_agent::store::{Announcement, Draft, Input, Lane, RunQuery, Store, StoreError, StoredEvent};
use vigil_core::alert::{Alert, AlertId, Method, Rule, Severity, Status, Subject, Verification};
use vigil_core::engine::Outcome;
use vigil_core::evidence::{Evidence, SafetyEvidence};
use vigil_core::id::{DeviceId, GuardId, InvalidId, SiteId, TourId};
use vigil_core::observation::{Kind, Observation};
use vigil_core::report::{DailyReport, Tally};
use vigil_core::rules::compliance::{Compliance, RunRecord};
use vigil_core::rules::tours::RunStatus;
use vigil_core::site::Site;
use vigil_core::time::{Date, Span, Timestamp};

/// A second before the first commit.
const BEGAN: Timestamp = Timestamp::from_millis(1_773_100_800_000);
/// So that several snapshots of the engine are written over each other.
pub const SNAPSHOT_EVERY: u64 = 20;
/// So that an alert is revised again and again.
const ALERTS: u64 = 40;
/// How often what is past its time goes, and keys of the store with it.
const HOUSEKEEPING_EVERY: u64 = 10;
/// How many commits the inputs are kept for: so few that the keys of every life go as well.
const KEPT: u64 = 30;
/// An engine of a small site, as large as it needs to be to take several pages.
const ENGINE_BYTES: usize = 40_000;

/// Something of the work cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum WorkError {
    /// A name of it is not valid.
    #[error("{0}")]
    Name(String),
    /// The store fails.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl From<InvalidId> for WorkError {
    fn from(bad: InvalidId) -> Self {
        Self::Name(bad.to_string())
    }
}

/// When commit number `n` is made.
fn at(n: u64) -> Timestamp {
    BEGAN + Span::from_secs(i64::try_from(n).unwrap_or(0))
}

/// The commit whose instant that is.
fn number(at: Timestamp) -> u64 {
    u64::try_from(at.since(BEGAN).millis() / 1_000).unwrap_or(0)
}

/// Commit number `n`, from 1. The sequence of its event is `n` as well.
pub fn draft(n: u64) -> Result<Draft, WorkError> {
    let mut draft = Draft { judged_until: at(n), ..Draft::default() };
    draft.inputs = (0..=n % 3).map(|part| input(n, part)).collect::<Result<_, _>>()?;
    draft.events = vec![event(n)];
    draft.delivered = delivered(n).into_iter().collect();
    draft.dead = dead(n).map(|sequence| (sequence, "not wanted".to_owned())).into_iter().collect();
    draft.announcements = vec![Announcement { payload: format!("announcement {n}") }];
    if n.is_multiple_of(2) {
        draft.alerts = vec![alert(n)?];
    }
    if n.is_multiple_of(3) {
        draft.runs = vec![run(n)?];
    }
    if n.is_multiple_of(7) {
        draft.reports = vec![report(n)?];
    }
    if n.is_multiple_of(SNAPSHOT_EVERY) {
        draft.snapshot = Some((site()?, engine(n)));
    }
    Ok(draft)
}

/// The engine of commit number `n`. It cannot be packed, so that it lies on as many pages as it has bytes.
fn engine(n: u64) -> Vec<u8> {
    let mut chance = Chance::of(n, 0);
    (0..ENGINE_BYTES).map(|_| u8::try_from(below(&mut chance, 256)).unwrap_or(0)).collect()
}

/// Whether the snapshot is there that the first `commits` commits leave behind.
pub fn has_its_engine(store: &mut Store, commits: u64) -> Result<bool, StoreError> {
    let made = commits / SNAPSHOT_EVERY * SNAPSHOT_EVERY;
    let held = store.past()?.snapshot.map(|(_, bytes)| bytes);
    Ok(held == (made > 0).then(|| engine(made)))
}

/// What the agent does once an hour, if it is due after commit number `n`.
pub fn housekeeping(store: &mut Store, n: u64) -> Result<(), StoreError> {
    let retention = Span::from_secs(i64::try_from(KEPT).unwrap_or(0));
    while n.is_multiple_of(HOUSEKEEPING_EVERY) && store.expire(at(n), retention)? {}
    Ok(())
}

/// Every fourth commit tells that an earlier event was delivered, and every tenth that one was rejected.
fn delivered(n: u64) -> Option<u64> {
    n.checked_sub(8).filter(|s| *s > 0 && n.is_multiple_of(4))
}

fn dead(n: u64) -> Option<u64> {
    n.checked_sub(4).filter(|s| *s > 0 && n % 10 == 5)
}

fn input(n: u64, part: u64) -> Result<Input, WorkError> {
    let device = DeviceId::new("hs-1")?;
    let said = Kind::Activity(format!("{n}.{part}"));
    Ok(Input::Observation(Observation::new(device, at(n), at(n), None, said), Outcome::Applied))
}

fn event(n: u64) -> StoredEvent {
    let lane = usize::try_from(n % 5).ok().and_then(|lane| Lane::ALL.get(lane)).copied();
    let data = format!("{{\"n\":{n},\"text\":\"{}\"}}", "as long as an alert is ".repeat(20));
    StoredEvent {
        id: format!("e.{n}"),
        kind: lane.unwrap_or(Lane::Alert),
        subject: "guard:G-1".into(),
        time: at(n),
        data,
    }
}

/// Which alert commit `n` revises, and which revision that makes.
const fn revision(n: u64) -> (u64, u64) {
    (n % ALERTS, n / ALERTS + 1)
}

fn alert(n: u64) -> Result<Alert, WorkError> {
    let (which, revision) = revision(n);
    let (site, guard) = (SiteId::new("s")?, GuardId::new(&format!("G-{which}"))?);
    let subject = Subject::Guard(guard.clone());
    Ok(Alert {
        id: AlertId::of(&site, Rule::Sos, &subject, at(which)),
        revision: u32::try_from(revision).unwrap_or(0),
        site,
        rule: Rule::Sos,
        severity: Severity::Critical,
        status: Status::Detected,
        subject,
        guard: Some(guard.clone()),
        detected_at: at(which),
        updated_at: at(n),
        cleared_at: None,
        escalated: false,
        summary: format!("commit {n}"),
        evidence: Evidence::Safety(SafetyEvidence {
            device: DeviceId::new("hs-1")?,
            guard: Some(guard),
            note: None,
            last_position: None,
        }),
        verification: Verification { method: Method::None, response: None, by: None, at: None, notes: None },
        history: vec![],
    })
}

fn run(n: u64) -> Result<RunRecord, WorkError> {
    Ok(RunRecord {
        tour: TourId::new("north")?,
        name: "North".into(),
        mandatory: true,
        scheduled_at: at(n),
        start_by: at(n + 30),
        close_by: at(n + 60),
        revision: 1,
        status: RunStatus::Missed,
        compliance: Compliance::NotStarted,
        guard: None,
        walked_by: vec![],
        coverage: 0,
        started_at: None,
        last_scan_at: None,
        overdue_by: 0,
        scanned: vec![],
        scanned_at: std::collections::BTreeMap::new(),
        missing: vec![],
        out_of_order: vec![],
        too_short: vec![],
        observed: true,
        blind_permille: 0,
    })
}

/// The day that commit `n` reports on: a week, again and again.
fn day(n: u64) -> Result<Date, WorkError> {
    let date = format!("2026-03-{:02}", 1 + n / 7 % 7);
    date.parse().map_err(|_| WorkError::Name(date))
}

fn report(n: u64) -> Result<DailyReport, WorkError> {
    Ok(DailyReport {
        site: SiteId::new("s")?,
        date: day(n)?,
        revision: u32::try_from(n).unwrap_or(0),
        timezone: "UTC".into(),
        from: at(0),
        to: at(86_400),
        made_at: at(n),
        complete: true,
        tally: Tally::default(),
    })
}

fn site() -> Result<Site, WorkError> {
    let text = "[site]\nid = \"s\"\nname = \"S\"\ntenant = \"t\"\nclient = \"c\"\ntimezone = \"UTC\"\n";
    vigil_config::parse_site(Path::new("site.toml"), text.as_bytes())
        .map_err(|problems| WorkError::Name(problems.to_string()))
}

/// What a store holds of the work, each thing by a name that tells it from every other.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Held {
    /// The last commit whose marks are there.
    pub commits: u64,
    /// Everything in it.
    pub things: BTreeSet<String>,
}

impl Held {
    /// What must be there after the first `commits` commits.
    pub fn after(commits: u64) -> Result<Self, WorkError> {
        let mut things = BTreeSet::new();
        for n in 1..=commits {
            things.extend((0..=n % 3).map(|part| format!("input {n}.{part}")));
            things.insert(format!("event e.{n}"));
            things.insert(format!("announcement {n}"));
            if let Some(gone) = delivered(n) {
                things.remove(&format!("event e.{gone}"));
            }
            if let Some(gone) = dead(n) {
                things.remove(&format!("event e.{gone}"));
                things.insert(format!("letter e.{gone}"));
            }
            if n.is_multiple_of(2) {
                let (which, revision) = revision(n);
                things.remove(&format!("alert {which}.{}", revision - 1));
                things.insert(format!("alert {which}.{revision}"));
            }
            if n.is_multiple_of(3) {
                things.insert(format!("run {n}"));
            }
            if n.is_multiple_of(7) {
                let of_day = format!("report {} ", day(n)?);
                things.retain(|thing| !thing.starts_with(&of_day));
                things.insert(format!("{of_day}{n}"));
            }
        }
        Ok(Self { commits, things })
    }

    /// What is there.
    pub fn in_store(store: &mut Store) -> Result<Self, StoreError> {
        let mut things = BTreeSet::new();
        for input in store.inputs_from(0)? {
            if let Input::Observation(Observation { kind: Kind::Activity(name), .. }, _) = input {
                things.insert(format!("input {name}"));
            }
        }
        things.extend(store.next_events(usize::MAX)?.into_iter().map(|e| format!("event {}", e.id)));
        let announced = store.next_announcements(usize::MAX)?;
        things.extend(announced.into_iter().map(|(_, a)| a.payload));
        things.extend(store.dead_letters()?.into_iter().map(|(_, l)| format!("letter {}", l.event.id)));
        let alerts = store.alerts()?.into_iter();
        things.extend(alerts.map(|a| format!("alert {}.{}", number(a.detected_at), a.revision)));
        let mut next = None;
        loop {
            let found = store.runs(&RunQuery::default(), next)?;
            things.extend(found.runs.iter().map(|r| format!("run {}", number(r.scheduled_at))));
            next = found.next;
            if next.is_none() {
                break;
            }
        }
        let week = "2026-03-01".parse().and_then(|from| Ok((from, "2026-03-07".parse()?)));
        if let Ok((from, to)) = week {
            let reports = store.reports(from, to)?.into_iter();
            things.extend(reports.map(|r| format!("report {} {}", r.date, r.revision)));
        }
        Ok(Self { commits: number(store.marks().judged_until), things })
    }

    /// The same without the inputs that housekeeping may have taken: it comes after the commit.
    #[must_use]
    pub fn kept(mut self) -> Self {
        let of = |thing: &str| thing.strip_prefix("input ")?.split_once('.')?.0.parse::<u64>().ok();
        self.things.retain(|thing| of(thing).is_none_or(|n| n + KEPT >= self.commits));
        self
    }

    /// What is in the other and not in this, counted by what it is.
    pub fn missing(&self, other: &Self) -> std::collections::BTreeMap<String, usize> {
        let mut missing = std::collections::BTreeMap::new();
        for thing in other.things.difference(&self.things) {
            *missing.entry(thing.split(' ').next().unwrap_or_default().to_owned()).or_default() += 1;
        }
        missing
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_committed_is_what_must_be_there() {
        let dir = tempfile::tempdir().unwrap();
        let mut store = Store::open(&dir.path().join("db")).unwrap();
        for n in 1..=90 {
            store.commit(draft(n).unwrap()).unwrap();
            if n % 30 == 0 {
                assert_eq!(Held::in_store(&mut store).unwrap(), Held::after(n).unwrap());
            }
        }
    }
}
