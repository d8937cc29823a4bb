//! What the last messages of foreign devices said, as far as the next ones are to be understood by it: a tag that lies on a
//! reader, a count of steps that runs on, and how a device is set up.
//!
//! In memory, and small: after a restart a tag that still lies there is read once more, and that changes no rule.

use super::decode::Decoded;
use super::decode::foreign::{About, Advice, Aside};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use vigil_core::id::{DeviceId, Tag};
use vigil_core::observation::{Identity, Kind, Observation};
use vigil_core::time::{Span, Timestamp};

/// The same tag by the same reader within this time is one scan (contract 4): readers repeat it every two seconds.
const LEFT_ON: Span = Span::from_secs(30);
/// Tags that are remembered: a reader can tell a few apart in that time, and a site has hundreds of readers.
const MAX_TAGS: usize = 4_096;

/// The memory of the sources. Cheap to clone; all clones are one.
#[derive(Debug, Clone, Default)]
pub struct Recall(Arc<Mutex<Known>>);

#[derive(Debug, Default)]
struct Known {
    /// By reader and tag: the first scan, and when the tag was last read.
    tags: BTreeMap<(DeviceId, Tag), (Identity, Timestamp)>,
    /// The last count of a device.
    steps: BTreeMap<DeviceId, u32>,
    advice: BTreeMap<(DeviceId, About), &'static str>,
}

impl Recall {
    /// Settles what a message could not by itself. What it says for the first time of how a device is set up goes to the
    /// log.
    pub fn settle(&self, decoded: &mut Decoded) {
        if decoded.asides.is_empty() {
            return;
        }
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        for aside in std::mem::take(&mut decoded.asides) {
            let observations = &mut decoded.observations;
            match aside {
                Aside::Repeats(index) => {
                    observations.get_mut(index).into_iter().for_each(|o| known.on_scan(o))
                }
                Aside::RunningSteps(index) => {
                    observations.get_mut(index).into_iter().for_each(|o| known.on_steps(o));
                }
                Aside::Advice(advice) => known.on_advice(advice),
            }
        }
    }

    /// What is to be mended, device by device.
    pub fn advice(&self) -> Vec<Advice> {
        let known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let advice = known.advice.iter();
        advice
            .map(|((d, about), mend)| Advice { device: d.clone(), about: *about, mend: Some(mend) })
            .collect()
    }
}

impl Known {
    /// A scan that repeats the one before it takes its identity: the engine counts it as a duplicate.
    fn on_scan(&mut self, observation: &mut Observation) {
        let Kind::Scan(scan) = &observation.kind else { return };
        let now = observation.received_at;
        let key = (observation.device.clone(), scan.tag.clone());
        if self.tags.len() >= MAX_TAGS && !self.tags.contains_key(&key) {
            self.forget(now);
        }
        let (first, last) = self.tags.entry(key).or_insert((observation.identity, now));
        if now.since(*last) < LEFT_ON {
            observation.identity = *first;
        } else {
            *first = observation.identity;
        }
        *last = now;
    }

    /// Makes room: what nobody repeats any more goes, and if nothing does, everything.
    fn forget(&mut self, now: Timestamp) {
        self.tags.retain(|_, (_, last)| now.since(*last) < LEFT_ON);
        if self.tags.len() >= MAX_TAGS {
            self.tags.clear();
        }
    }

    /// The steps since the last message. A count that fell began anew, with the day or with the device.
    fn on_steps(&mut self, observation: &mut Observation) {
        let Kind::Heartbeat(heartbeat) = &mut observation.kind else { return };
        let count = heartbeat.steps;
        let before = self.steps.insert(observation.device.clone(), count);
        heartbeat.steps = match before {
            Some(before) if count >= before => count - before,
            Some(_) => count,
            // How long ago these were walked nobody knows.
            None => 0,
        };
    }

    fn on_advice(&mut self, advice: Advice) {
        let Advice { device, about, mend } = advice;
        let key = (device, about);
        let Some(mend) = mend else {
            self.advice.remove(&key);
            return;
        };
        if self.advice.get(&key) != Some(&mend) {
            tracing::warn!(device = %key.0, mend, "a device is not set up as it should be");
            self.advice.insert(key, mend);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use vigil_core::observation::{Heartbeat, Scan};

    fn at(secs: i64) -> Timestamp {
        Timestamp::from_millis(1_773_172_800_000 + secs * 1_000)
    }

    fn said(device: &str, secs: i64, kind: Kind) -> Observation {
        Observation::new(DeviceId::new(device).unwrap(), at(secs), at(secs), None, kind)
    }

    fn scan(recall: &Recall, device: &str, tag: &str, secs: i64) -> Identity {
        let tag = Tag::new(tag).unwrap();
        let scan = said(device, secs, Kind::Scan(Scan { tag, guard: None, sun: None }));
        let mut decoded = Decoded { observations: vec![scan], ..Decoded::default() };
        decoded.asides.push(Aside::Repeats(0));
        recall.settle(&mut decoded);
        decoded.observations[0].identity
    }

    #[test]
    fn a_tag_that_is_left_on_a_reader_is_one_scan() {
        let recall = Recall::default();
        let first = scan(&recall, "gate", "04A1", 0);
        for secs in (2..120).step_by(2) {
            assert_eq!(scan(&recall, "gate", "04A1", secs), first, "{secs}");
        }
        assert_ne!(scan(&recall, "gate", "04A2", 119), first, "another tag");
        assert_ne!(scan(&recall, "hall", "04A1", 119), first, "another reader");
        assert_eq!(scan(&recall, "gate", "04A1", 118 + 29), first);
        let second = scan(&recall, "gate", "04A1", 118 + 29 + 30);
        assert_ne!(second, first, "it was away for 30 s");
        assert_eq!(scan(&recall, "gate", "04A1", 118 + 29 + 32), second, "and lies there again");
    }

    #[test]
    fn the_memory_of_tags_is_bounded() {
        let recall = Recall::default();
        for n in 0..3 * MAX_TAGS {
            scan(&recall, "gate", &format!("{n:08X}"), 0);
        }
        assert!(recall.0.lock().unwrap().tags.len() <= MAX_TAGS);
    }

    #[test]
    fn a_count_that_runs_on_tells_the_steps_in_between() {
        let recall = Recall::default();
        let walked: Vec<u32> = [4_000, 4_000, 4_030, 12, 20]
            .into_iter()
            .map(|steps| {
                let beat = Kind::Heartbeat(Heartbeat { steps, ..Heartbeat::default() });
                let mut decoded = Decoded { observations: vec![said("t", 0, beat)], ..Decoded::default() };
                decoded.asides.push(Aside::RunningSteps(0));
                recall.settle(&mut decoded);
                let Kind::Heartbeat(beat) = &decoded.observations[0].kind else { panic!("a heartbeat") };
                beat.steps
            })
            .collect();
        assert_eq!(walked, [0, 0, 30, 12, 8]);
    }

    #[test]
    fn advice_stands_until_the_device_is_in_order() {
        let recall = Recall::default();
        let say = |about, mend| {
            let device = DeviceId::new("phone").unwrap();
            let mut decoded = Decoded::default();
            decoded.asides.push(Aside::Advice(Advice { device, about, mend }));
            recall.settle(&mut decoded);
            recall.advice().into_iter().map(|a| (a.about, a.mend.unwrap())).collect::<Vec<_>>()
        };
        assert_eq!(say(About::Mode, Some("move")), [(About::Mode, "move")]);
        assert_eq!(say(About::Mode, Some("quiet")), [(About::Mode, "quiet")], "the latest counts");
        assert_eq!(say(About::Permission, Some("always")).len(), 2);
        assert_eq!(say(About::Mode, None), [(About::Permission, "always")]);
    }
}
