//! Tags that were read and say nothing: nobody's, or those of something else. They are shown with what was read, so that an
//! operator can enrol them.
//!
//! In memory: of those of an earlier start, the ones that were read since the last snapshot.

use serde::Serialize;
use std::collections::BTreeMap;
use vigil_core::engine::Outcome;
use vigil_core::id::{DeviceId, Tag};
use vigil_core::observation::{Kind, Observation, Scan};
use vigil_core::site::{DeviceKind, Site};
use vigil_core::time::Timestamp;

/// The most that are shown: a delivery of new cards; more are somebody's pocket full of cards.
const MAX_STRAYS: usize = 200;

/// One tag that was read by one device.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Stray {
    /// What was read, in its normal form: it can be written into the site file as it is.
    pub tag: Tag,
    /// By which device.
    pub device: DeviceId,
    /// What it is, and what to do.
    pub what: String,
    /// When it was first read.
    pub first_at: Timestamp,
    /// When it was last read.
    pub last_at: Timestamp,
    /// How often.
    pub count: u64,
}

/// The tags that were read and say nothing.
#[derive(Debug, Default)]
pub(super) struct Strays(BTreeMap<(Tag, DeviceId), Stray>);

impl Strays {
    /// Notes what an observation says of its tag. One that means something now, and only one thing, is none any more.
    pub(super) fn note(&mut self, site: &Site, observation: &Observation, outcome: Outcome) {
        let Kind::Scan(scan) = &observation.kind else { return };
        let key = (scan.tag.clone(), observation.device.clone());
        let what = match outcome {
            Outcome::UnknownTag => Some(unknown(site, &observation.device, scan)),
            Outcome::Applied | Outcome::Late => twofold(site, &scan.tag),
            Outcome::Duplicate | Outcome::TooOld | Outcome::UnknownDevice => return,
        };
        let Some(what) = what else {
            self.0.remove(&key);
            return;
        };
        let at = observation.received_at;
        if self.0.len() >= MAX_STRAYS && !self.0.contains_key(&key) {
            let oldest = self.0.iter().min_by_key(|(_, stray)| stray.last_at).map(|(key, _)| key.clone());
            self.0.retain(|key, _| Some(key) != oldest.as_ref());
        }
        let (tag, device) = key.clone();
        let new = || Stray { tag, device, what: String::new(), first_at: at, last_at: at, count: 0 };
        let stray = self.0.entry(key).or_insert_with(new);
        stray.what = what;
        stray.last_at = at;
        stray.count += 1;
    }

    /// All of them, the latest first.
    pub(super) fn list(&self) -> Vec<Stray> {
        let mut strays: Vec<_> = self.0.values().cloned().collect();
        strays.sort_by(|a, b| b.last_at.cmp(&a.last_at).then_with(|| a.tag.cmp(&b.tag)));
        strays
    }
}

/// What a tag is that its device could make nothing of.
fn unknown(site: &Site, device: &DeviceId, scan: &Scan) -> String {
    let tag = &scan.tag;
    let reader = site.device(device.as_str()).is_some_and(|device| device.kind == DeviceKind::Reader);
    let (guard, place) = (site.guard_with_badge(tag), site.checkpoint_with_tag(tag));
    match (reader, guard, place) {
        (true, None, Some(place)) => {
            format!("the tag of checkpoint {place}, and a fixed reader reads badges: carry the tag back")
        }
        (true, _, _) => format!("nobody's badge: add badge = \"{tag}\" to its guard in the site file"),
        (false, Some(guard), None) => {
            format!("the badge of {guard}, and a handset reads the tags of checkpoints: scan those")
        }
        (false, _, Some(_)) => {
            let guard = scan.guard.as_ref().map_or_else(|| "nobody".to_owned(), ToString::to_string);
            format!("read for {guard}, who is not on the roster of the site file")
        }
        (false, _, None) => {
            format!("no checkpoint's tag: add tag = \"{tag}\" to its checkpoint in the site file")
        }
    }
}

/// What is wrong with a tag that was understood.
fn twofold(site: &Site, tag: &Tag) -> Option<String> {
    let (guard, place) = (site.guard_with_badge(tag)?, site.checkpoint_with_tag(tag)?);
    Some(format!("both the badge of {guard} and the tag of checkpoint {place}: give one of them another tag"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use vigil_core::id::{CheckpointId, GuardId};
    use vigil_core::site::{Checkpoint, Device, FixMode, Guard, SiteParts};

    fn site(change: impl FnOnce(&mut SiteParts)) -> Site {
        let mut parts = SiteParts::from(crate::simulate::Scenario::sized(1, 1, 1).site().unwrap());
        let place = |id: &str, tag: &str| Checkpoint {
            id: CheckpointId::new(id).unwrap(),
            name: id.into(),
            tag: Tag::new(tag).ok(),
            position: None,
            sun_key: None,
        };
        let device = |id: &str, kind| Device {
            id: DeviceId::new(id).unwrap(),
            kind,
            guard: None,
            checkpoint: CheckpointId::new("gate").ok(),
            owntracks: None,
            topic: None,
            fixes: FixMode::Periodic,
        };
        let guard =
            Guard { id: GuardId::new("Asha").unwrap(), name: "Asha".into(), badge: Tag::new("B0B0").ok() };
        parts.guards.push(guard);
        parts.checkpoints.extend([place("gate", "C0C0"), place("hall", "D0D0")]);
        parts.devices.extend([device("reader", DeviceKind::Reader), device("hs", DeviceKind::Handset)]);
        change(&mut parts);
        Site::new(parts).unwrap()
    }

    fn scan(device: &str, tag: &str, secs: i64) -> Observation {
        let at = Timestamp::from_millis(1_773_172_800_000 + secs * 1_000);
        let scan = Scan { tag: Tag::new(tag).unwrap(), guard: None, sun: None };
        Observation::new(DeviceId::new(device).unwrap(), at, at, None, Kind::Scan(scan))
    }

    #[test]
    fn what_was_read_is_told_with_what_to_do() {
        let site = site(|_| {});
        let told = |device: &str, tag: &str| {
            let mut strays = Strays::default();
            strays.note(&site, &scan(device, tag, 0), Outcome::UnknownTag);
            strays.list().remove(0).what
        };
        for (device, tag, part) in [
            ("reader", "E0:E0", "add badge = \"E0E0\""),
            ("reader", "C0C0", "the tag of checkpoint gate"),
            ("hs", "E0E0", "add tag = \"E0E0\""),
            ("hs", "B0B0", "the badge of Asha"),
        ] {
            let what = told(device, tag);
            assert!(what.contains(part), "{device} {tag}: {what}");
        }
        let mut strays = Strays::default();
        let mut by_stranger = scan("hs", "C0C0", 0);
        if let Kind::Scan(scan) = &mut by_stranger.kind {
            scan.guard = GuardId::new("stranger").ok();
        }
        strays.note(&site, &by_stranger, Outcome::UnknownTag);
        assert_eq!(strays.list()[0].what, "read for stranger, who is not on the roster of the site file");
    }

    #[test]
    fn a_tag_is_counted_until_it_is_enrolled() {
        let mut strays = Strays::default();
        for secs in [0, 60] {
            strays.note(&site(|_| {}), &scan("hs", "E0E0", secs), Outcome::UnknownTag);
        }
        strays.note(&site(|_| {}), &scan("hs", "E0E0", 60), Outcome::Duplicate);
        let [stray] = <[Stray; 1]>::try_from(strays.list()).unwrap();
        assert_eq!((stray.count, stray.last_at.since(stray.first_at).millis()), (2, 60_000));
        let enrolled = site(|parts| parts.checkpoints[0].tag = Tag::new("E0E0").ok());
        strays.note(&enrolled, &scan("hs", "E0E0", 120), Outcome::Applied);
        assert_eq!(strays.list(), []);
    }

    #[test]
    fn a_badge_that_is_a_checkpoint_s_tag_too_is_told_though_it_counts() {
        let twofold = site(|parts| parts.guards[0].badge = Tag::new("C0C0").ok());
        let mut strays = Strays::default();
        strays.note(&twofold, &scan("hs", "C0C0", 0), Outcome::Applied);
        assert!(strays.list()[0].what.starts_with("both the badge of"), "{:?}", strays.list());
    }

    #[test]
    fn the_list_is_bounded_and_keeps_the_latest() {
        let mut strays = Strays::default();
        let site = site(|_| {});
        for n in 0..2 * MAX_STRAYS {
            let secs = i64::try_from(n).unwrap();
            strays.note(&site, &scan("hs", &format!("F0{n:06}"), secs), Outcome::UnknownTag);
        }
        let kept = strays.list();
        assert_eq!((kept.len(), kept[0].tag.as_str()), (MAX_STRAYS, "F0000399"));
    }
}
