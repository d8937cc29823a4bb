//! What the oracle knows by itself: what handsets said and had acknowledged, what was heard on site, what went over the
//! wire, and what was made to go wrong. Nothing of it is asked of the agent.

use super::script::Script;
use serde::Deserialize;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use vigil_cloud_sync::EventKind;
use vigil_core::id::DeviceId;
use vigil_core::time::Timestamp;
use vigil_noc::ledger::Entry;

/// The last lines of a life are enough to see how it came to an end.
const TRACE: usize = 60;

/// What became of one word of a handset.
#[derive(Debug, Clone, Default)]
pub struct Word {
    /// When it was first on its way.
    pub sent: Option<Timestamp>,
    /// When its handset heard that it is stored.
    pub acknowledged: Option<Timestamp>,
}

/// An alert revision, as the site heard it.
#[derive(Debug, Clone)]
pub struct Heard {
    /// Word for word.
    pub payload: String,
    /// When it was heard first.
    pub at: Timestamp,
    /// When it was heard last.
    pub last: Timestamp,
    /// What it says of itself.
    pub head: AlertWords,
}

/// What the oracle reads of an alert.
#[derive(Debug, Clone, Deserialize)]
pub struct AlertWords {
    /// Which.
    pub id: String,
    /// The how-manieth.
    pub revision: u32,
    /// Why.
    pub rule: String,
    /// How bad.
    pub severity: String,
    /// Whom it concerns.
    pub subject: String,
}

/// The oracle's own lists.
#[derive(Debug, Default)]
pub struct Books {
    /// By handset and the instant of its clock.
    pub words: BTreeMap<(DeviceId, Timestamp), Word>,
    /// By alert and revision.
    pub heard: BTreeMap<(String, u32), Heard>,
    /// When somebody on site may have been told in vain.
    pub interruptions: Vec<Timestamp>,
    /// What each number was given to.
    numbers: BTreeMap<(Option<String>, u64), (EventKind, String)>,
    /// And the other way round.
    numbered: BTreeMap<String, (Option<String>, u64)>,
    /// Events that the NOC has.
    pub stored: BTreeSet<String>,
    /// Events that were refused because the seed wanted it so.
    pub planted: BTreeSet<String>,
    /// Their numbers: a sign of life takes the place of an older one.
    pub planted_numbers: BTreeSet<u64>,
    /// What is not as it has to be.
    pub faults: Vec<String>,
    /// What happened of late.
    pub trace: VecDeque<String>,
    /// How much of everything.
    pub counts: Counts,
}

/// How much was tried.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// Words of handsets that were acknowledged.
    pub acknowledged: u64,
    /// Words that were sent again.
    pub resent: u64,
    /// Alert revisions that the site heard.
    pub revisions: u64,
    /// Those that were told again.
    pub told_again: u64,
    /// Batches to the NOC.
    pub batches: u64,
    /// Batches that did not end well.
    pub failed: u64,
    /// Ends of lives.
    pub deaths: u64,
    /// Engines that were compared with the one before.
    pub compared: u64,
    /// Events that were buried, and dug out at the end.
    pub buried: u64,
}

impl Counts {
    /// Both together.
    pub const fn and(self, other: Self) -> Self {
        Self {
            acknowledged: self.acknowledged + other.acknowledged,
            resent: self.resent + other.resent,
            revisions: self.revisions + other.revisions,
            told_again: self.told_again + other.told_again,
            batches: self.batches + other.batches,
            failed: self.failed + other.failed,
            deaths: self.deaths + other.deaths,
            compared: self.compared + other.compared,
            buried: self.buried + other.buried,
        }
    }
}

impl Books {
    /// Nothing has been said yet.
    pub fn open(scripts: &[Script]) -> Self {
        let words = scripts.iter().flat_map(|script| {
            let device = &script.device;
            script.words.iter().map(move |said| ((device.clone(), said.at), Word::default()))
        });
        Self { words: words.collect(), ..Self::default() }
    }

    /// Something that is worth a line.
    pub fn note(&mut self, now: Timestamp, what: impl Into<String>) {
        if self.trace.len() == TRACE {
            self.trace.pop_front();
        }
        self.trace.push_back(format!("{now} {}", what.into()));
    }

    /// Something that must not be.
    pub fn fault(&mut self, what: impl Into<String>) {
        self.faults.push(what.into());
    }

    /// A word is on its way.
    pub fn sends(&mut self, device: &DeviceId, at: Timestamp, now: Timestamp) {
        if let Some(word) = self.words.get_mut(&(device.clone(), at)) {
            self.counts.resent += u64::from(word.sent.is_some());
            word.sent.get_or_insert(now);
        }
    }

    /// Its handset heard that it is stored.
    pub fn acknowledges(&mut self, device: &DeviceId, at: Timestamp, now: Timestamp) {
        if let Some(word) = self.words.get_mut(&(device.clone(), at)) {
            word.acknowledged = Some(now);
            self.counts.acknowledged += 1;
        }
    }

    /// The seed wants this event to be buried.
    pub fn plants(&mut self, entry: &Entry) {
        self.planted.insert(entry.id.clone());
        self.planted_numbers.insert(entry.sequence);
    }

    /// The site hears of an alert.
    pub fn hears(&mut self, payload: &[u8], now: Timestamp) {
        let text = String::from_utf8_lossy(payload).into_owned();
        let head: AlertWords = match serde_json::from_str(&text) {
            Ok(head) => head,
            Err(why) => return self.fault(format!("an announcement is no alert ({why}): {text}")),
        };
        let key = (head.id.clone(), head.revision);
        let Some(known) = self.heard.get_mut(&key) else {
            self.counts.revisions += 1;
            self.heard.insert(key, Heard { payload: text, at: now, last: now, head });
            return;
        };
        self.counts.told_again += 1;
        let before = std::mem::replace(&mut known.last, now);
        let same = known.payload == text;
        if !same {
            self.fault(format!("{}.{} was told on site in two ways", key.0, key.1));
        }
        if !self.interruptions.iter().any(|at| before <= *at && *at <= now) {
            self.fault(format!("{}.{} was told on site again without a reason", key.0, key.1));
        }
    }

    /// A batch is on its way: its numbers, and its order.
    pub fn sees(&mut self, entries: &[Entry], now: Timestamp) {
        self.counts.batches += 1;
        entries.iter().for_each(|entry| self.sees_number(entry));
        let critical = |entry: &&Entry| entry.alert.as_ref().is_some_and(|a| a.severity == "CRITICAL");
        let first = entries.iter().take_while(critical).count();
        if entries.iter().skip(first).any(|entry| critical(&entry)) {
            self.fault(format!("{now}: a CRITICAL event stands behind others in its batch"));
        }
        if first == entries.len() {
            return;
        }
        let there: BTreeSet<&str> = entries.iter().map(|entry| entry.id.as_str()).collect();
        let waits = |heard: &&Heard| {
            let id = format!("{}.{}", heard.head.id, heard.head.revision);
            heard.head.severity == "CRITICAL"
                && heard.at < now
                && ![&self.stored, &self.planted].iter().any(|known| known.contains(&id))
                && !there.contains(id.as_str())
        };
        let left = self.heard.values().find(waits).map(|heard| heard.head.id.clone());
        if let Some(id) = left {
            self.fault(format!("{now}: CRITICAL {id} waits while others go"));
        }
    }

    /// No number is given to two, and nothing gets two numbers. A sign of life takes the place of an older one.
    fn sees_number(&mut self, entry: &Entry) {
        let number = (entry.producer.clone(), entry.sequence);
        let of_life = entry.kind == EventKind::Health;
        let known = self.numbers.get(&number);
        let other = known.is_some_and(|(kind, id)| *kind != entry.kind || (!of_life && *id != entry.id));
        if other {
            self.fault(format!("number {} was given to {} and to another: {known:?}", number.1, entry.id));
        }
        if let Some(before) = self.numbered.get(&entry.id)
            && *before != number
        {
            self.fault(format!("{} has two numbers, {} and {}", entry.id, before.1, number.1));
        }
        self.numbers.insert(number.clone(), (entry.kind, entry.id.clone()));
        self.numbered.insert(entry.id.clone(), number);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::value::RawValue;

    fn at(secs: i64) -> Timestamp {
        Timestamp::from_millis(1_773_160_000_000 + secs * 1_000)
    }

    fn alert(id: &str, severity: &str) -> String {
        format!(
            r#"{{"id":"{id}","revision":1,"rule":"sos","severity":"{severity}","status":"DETECTED",
               "subject":"guard:G-1","detected_at":"2026-03-10T22:00:00Z"}}"#
        )
    }

    fn entry(sequence: u64, id: &str, severity: &str) -> Entry {
        let data = RawValue::from_string(alert(id, severity)).unwrap();
        let alert = serde_json::from_str(data.get()).ok();
        let (id, subject) = (format!("{id}.1"), "guard:G-1".to_owned());
        Entry { producer: None, sequence, id, kind: EventKind::Alert, subject, time: at(0), data, alert }
    }

    fn faults(books: &Books) -> String {
        books.faults.join("; ")
    }

    #[test]
    fn a_number_for_two_and_two_numbers_for_one_are_seen() {
        let mut books = Books::default();
        books.sees(&[entry(1, "a", "LOW"), entry(2, "b", "LOW"), entry(1, "a", "LOW")], at(1));
        assert_eq!(faults(&books), "");
        books.sees(&[entry(2, "c", "LOW")], at(2));
        assert!(faults(&books).contains("number 2 was given to c.1"), "{}", faults(&books));
        books.sees(&[entry(7, "a", "LOW")], at(3));
        assert!(faults(&books).contains("a.1 has two numbers, 1 and 7"), "{}", faults(&books));
    }

    #[test]
    fn a_critical_event_that_waits_or_stands_behind_is_seen() {
        let mut books = Books::default();
        books.hears(alert("c", "CRITICAL").as_bytes(), at(1));
        books.sees(&[entry(2, "c", "CRITICAL"), entry(1, "a", "LOW")], at(2));
        books.sees(&[entry(1, "a", "LOW")], at(1));
        assert_eq!(faults(&books), "", "heard in the same instant");
        books.sees(&[entry(1, "a", "LOW")], at(2));
        assert!(faults(&books).contains("CRITICAL c waits while others go"), "{}", faults(&books));
        books.sees(&[entry(1, "a", "LOW"), entry(2, "c", "CRITICAL")], at(3));
        assert!(faults(&books).contains("stands behind others"), "{}", faults(&books));
    }

    #[test]
    fn what_is_told_again_needs_a_reason_and_the_same_words() {
        let mut books = Books::default();
        let low = alert("a", "LOW");
        books.hears(low.as_bytes(), at(1));
        books.interruptions.push(at(2));
        books.hears(low.as_bytes(), at(3));
        assert_eq!((faults(&books).as_str(), books.counts.told_again), ("", 1));
        books.hears(low.as_bytes(), at(4));
        assert!(faults(&books).contains("told on site again without a reason"));
        books.interruptions.push(at(5));
        books.hears(alert("a", "HIGH").as_bytes(), at(6));
        assert!(faults(&books).contains("told on site in two ways"));
    }
}
