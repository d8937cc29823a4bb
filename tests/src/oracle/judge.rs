//! The judgement: what is in the store and at the NOC is held against the oracle's own lists.

use super::books::{AlertWords, Books, Heard};
use super::plan::Plan;
use super::road::Noc;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;
use vigil_agent::pump::give;
use vigil_agent::store::{Input, Journal, Store};
use vigil_cloud_sync::EventKind;
use vigil_core::engine::{Commit, Engine, Outcome, Record};
use vigil_core::observation::{Kind, Observation};
use vigil_core::time::Timestamp;
use vigil_noc::Scope;

/// More records than some days make.
const ALL: u32 = 1_000_000;

/// Something that must be readable is not.
pub type Unreadable = Box<dyn std::error::Error>;

/// Looks at what a run has left in `folder` and at the NOC, and writes down what is wrong.
pub fn judge(plan: &Plan, books: &mut Books, noc: &mut Noc, folder: &Path) -> Result<(), Unreadable> {
    let journal = Journal::of_closed(&folder.join("db"))?;
    let (proof, _) = journal.prove(&[]);
    if !proof.is_whole() {
        books.fault(format!("the journal is not whole: {:?}", proof.faults));
    }
    let inputs: Vec<Input> = journal.blocks().flatten().flat_map(|(_, inputs)| inputs).collect();
    observations(plan, books, &inputs);
    let mut store = Store::open(&folder.join("db"))?;
    alerts(books, noc, &mut store)?;
    numbers(books, noc)?;
    calls_for_help(plan, books);
    if plan.clock.kept {
        lived_again(plan, books, noc, &mut store, inputs)?;
    }
    Ok(())
}

/// Every word that was acknowledged is in the journal once, as it was said; and nothing else is.
fn observations(plan: &Plan, books: &mut Books, inputs: &[Input]) {
    let mut faults = vec![];
    let mut found: BTreeMap<_, Vec<&Observation>> = BTreeMap::new();
    for input in inputs {
        match input {
            Input::Observation(_, Outcome::Duplicate) => {}
            Input::Observation(o, _) if matches!(o.kind, Kind::Status { .. }) => {}
            Input::Observation(o, _) => found.entry((o.device.clone(), o.at)).or_default().push(o),
            Input::Down { .. } | Input::Unset { .. } | Input::Clock { .. } | Input::Command(..) => {}
        }
    }
    for script in &plan.scripts {
        for said in &script.words {
            let key = (script.device.clone(), said.at);
            let word = books.words.get(&key).cloned().unwrap_or_default();
            let there = found.remove(&key).unwrap_or_default();
            let name = || format!("{} of {} at {}", said.kind.name(), script.device, said.at);
            match there.as_slice() {
                [] if word.acknowledged.is_some() => faults.push(format!("LOST: {}", name())),
                [] => {}
                [one] if one.kind != said.kind => {
                    faults.push(format!("CHANGED: {}: {:?}, said was {:?}", name(), one.kind, said.kind));
                }
                [one] if word.sent.is_none() => faults.push(format!("unsaid: {one:?}")),
                [one] if plan.clock.kept && !came_in_time(one, word.sent, word.acknowledged) => {
                    faults.push(format!("{} came at {}, by {word:?}", name(), one.received_at));
                }
                [_] => {}
                many => faults.push(format!("DOUBLED: {} counts {} times", name(), many.len())),
            }
        }
    }
    faults.extend(found.into_keys().map(|(device, at)| format!("INVENTED: {device} at {at}")));
    faults.into_iter().for_each(|fault| books.fault(fault));
}

/// Between the first sending and the acknowledgement, by a clock that may be rounded.
fn came_in_time(one: &Observation, sent: Option<Timestamp>, acknowledged: Option<Timestamp>) -> bool {
    let after = sent.is_some_and(|sent| one.received_at.just_after() >= sent);
    after && acknowledged.is_none_or(|at| one.received_at <= at.just_after())
}

/// What the NOC has of each alert revision: by the event's id.
fn at_the_noc(noc: &mut Noc, kind: EventKind) -> Result<BTreeMap<String, String>, Unreadable> {
    let records = noc.ledger.records(&Scope::whole(), kind, ALL)?;
    Ok(records.into_iter().map(|record| (record.id, record.data.get().to_owned())).collect())
}

/// What was heard on site is at the NOC, word for word, and the other way round; the store says the same.
fn alerts(books: &mut Books, noc: &mut Noc, store: &mut Store) -> Result<(), Unreadable> {
    let mut faults = vec![];
    let mut noc_has = at_the_noc(noc, EventKind::Alert)?;
    // What the stop itself raised is on its way to both.
    let sent: BTreeMap<String, String> =
        store.next_events(usize::MAX)?.into_iter().map(|event| (event.id, event.data)).collect();
    noc_has.extend(sent.iter().map(|(id, data)| (id.clone(), data.clone())));
    let mut told: BTreeMap<(String, u32), String> =
        books.heard.iter().map(|(key, heard)| (key.clone(), heard.payload.clone())).collect();
    for (_, announcement) in store.next_announcements(usize::MAX)? {
        let words: AlertWords = serde_json::from_str(&announcement.payload)?;
        told.insert((words.id, words.revision), announcement.payload);
    }
    let mut latest: BTreeMap<&str, (u32, &str)> = BTreeMap::new();
    for ((id, revision), payload) in &told {
        let name = format!("{id}.{revision}");
        match noc_has.get(&name) {
            None => faults.push(format!("LOST: {name} is not at the NOC: {payload}")),
            Some(there) if there != payload => {
                faults.push(format!("CHANGED: {name} is at the NOC as {there}, told was {payload}"));
            }
            Some(_) => {}
        }
        let before = latest.insert(id, (*revision, payload)).map_or(0, |(revision, _)| revision);
        if *revision != before + 1 {
            faults.push(format!("LOST: {id} was told on site as {before} and then as {revision}"));
        }
    }
    let known: BTreeSet<String> = told.keys().map(|(id, revision)| format!("{id}.{revision}")).collect();
    let of_alerts = |id: &&String| id.rsplit_once('.').is_some_and(|(alert, _)| latest.contains_key(alert));
    let strangers =
        noc_has.keys().filter(|id| !known.contains(*id) && (of_alerts(id) || !sent.contains_key(*id)));
    faults.extend(strangers.map(|id| format!("{id} is at the NOC and was never told on site")));
    let stored: BTreeMap<String, (u32, String)> = store
        .alerts()?
        .iter()
        .map(|alert| Ok((alert.id.to_string(), (alert.revision, serde_json::to_string(alert)?))))
        .collect::<Result<_, serde_json::Error>>()?;
    for (id, (revision, payload)) in &latest {
        if stored.get(*id).map(|(r, text)| (*r, text.as_str())) != Some((*revision, *payload)) {
            faults.push(format!("the store does not have {id}.{revision} as it was told"));
        }
    }
    faults.extend(
        stored.keys().filter(|id| !latest.contains_key(id.as_str())).map(|id| format!("{id} was never told")),
    );
    for row in noc.ledger.alerts(&Scope::whole(), ALL)? {
        let shown: AlertWords = serde_json::from_str(row.alert.get())?;
        let last = books.heard.keys().filter(|(id, _)| *id == shown.id).map(|(_, revision)| *revision).max();
        if last != Some(shown.revision) {
            faults.push(format!("the NOC shows {}.{}, the last is {last:?}", shown.id, shown.revision));
        }
    }
    faults.into_iter().for_each(|fault| books.fault(fault));
    Ok(())
}

/// The receiver misses no number.
fn numbers(books: &mut Books, noc: &mut Noc) -> Result<(), Unreadable> {
    for row in noc.ledger.gateways(&Scope::whole())? {
        if row.missing != 0 {
            books.fault(format!("the NOC misses {} numbers: {:?}", row.missing, row.holes));
        }
    }
    Ok(())
}

/// Whoever called for help, and was told that it is stored, has a CRITICAL alert.
fn calls_for_help(plan: &Plan, books: &mut Books) {
    let raised = |rule: &str, guard: &str| {
        let of = |heard: &&Heard| heard.head.rule == rule && heard.head.subject == format!("guard:{guard}");
        books.heard.values().find(of).map(|heard| heard.head.severity.clone())
    };
    let mut faults = vec![];
    for script in &plan.scripts {
        for rule in ["sos", "man_down"] {
            let calls = script.words.iter().filter(|said| match &said.kind {
                Kind::Sos(_) => rule == "sos",
                Kind::Heartbeat(heartbeat) => rule == "man_down" && heartbeat.man_down,
                Kind::Location(_)
                | Kind::Scan(_)
                | Kind::Task(_)
                | Kind::Attendance(_)
                | Kind::Activity(_)
                | Kind::Status { .. } => false,
            });
            let called = calls
                .filter(|said| {
                    let word = books.words.get(&(script.device.clone(), said.at));
                    word.is_some_and(|word| word.acknowledged.is_some())
                })
                .count();
            let alert = raised(rule, script.guard.as_str());
            let expected = (called > 0).then(|| "CRITICAL".to_owned());
            if alert != expected {
                faults.push(format!("{} called for help {called} times ({rule}): {alert:?}", script.guard));
            }
        }
    }
    faults.into_iter().for_each(|fault| books.fault(fault));
}

/// An engine that lives through the journal in one go, without a store, an outbox or a death, says the same, word for
/// word, and ends in the same state.
fn lived_again(
    plan: &Plan,
    books: &mut Books,
    noc: &mut Noc,
    store: &mut Store,
    inputs: Vec<Input>,
) -> Result<(), Unreadable> {
    let mut said = Said::default();
    let mut engine = Engine::new(Arc::clone(&plan.site), plan.began);
    for input in inputs {
        said.note(give(&mut engine, input))?;
    }
    said.note(engine.on_deadline(store.marks().judged_until))?;
    let mut told: BTreeMap<String, String> = books
        .heard
        .iter()
        .map(|((id, revision), heard)| (format!("{id}.{revision}"), heard.payload.clone()))
        .collect();
    let mut tours = at_the_noc(noc, EventKind::Tour)?;
    for event in store.next_events(usize::MAX)? {
        match event.kind {
            EventKind::Alert => drop(told.insert(event.id, event.data)),
            EventKind::Tour => drop(tours.insert(event.id, event.data)),
            EventKind::Report | EventKind::Health => {}
        }
    }
    differ(books, "alert", &said.alerts, &told);
    differ(books, "run", &said.tours, &tours);
    let snapshot = store.past()?.snapshot.map(|(_, bytes)| bytes);
    if snapshot != Some(engine.snapshot()?) {
        books.fault("an engine that lives through the journal does not end as the one that died");
    }
    Ok(())
}

/// What an engine says of its life.
#[derive(Default)]
struct Said {
    alerts: BTreeMap<String, String>,
    tours: BTreeMap<String, String>,
}

impl Said {
    fn note(&mut self, commit: Commit) -> Result<(), serde_json::Error> {
        for alert in commit.effects.alerts {
            let text = serde_json::to_string(&alert)?;
            self.alerts.insert(format!("{}.{}", alert.id, alert.revision), text);
        }
        for record in commit.effects.records {
            match record {
                Record::Run(run) => {
                    let id = format!("{}@{}.{}", run.tour, run.scheduled_at, run.revision);
                    self.tours.insert(id, serde_json::to_string(&run)?);
                }
                Record::Report(_) | Record::Refused(_) | Record::Welfare(_) => {}
            }
        }
        Ok(())
    }
}

fn differ(
    books: &mut Books,
    what: &str,
    expected: &BTreeMap<String, String>,
    there: &BTreeMap<String, String>,
) {
    for (id, text) in expected {
        if there.get(id) != Some(text) {
            books.fault(format!("{what} {id} is {:?}; lived again it is {text}", there.get(id)));
        }
    }
    for id in there.keys().filter(|id| !expected.contains_key(*id)) {
        books.fault(format!("{what} {id} does not come out of the journal"));
    }
}
