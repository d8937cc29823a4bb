//! The site file as the rules see it: guards, devices, checkpoints, tours, shifts, tasks, policy.
//!
//! A [`Site`] that exists is whole: every reference leads somewhere, every id is unique.

use crate::id::{CheckpointId, ClientId, DeviceId, GuardId, ShiftId, SiteId, Tag, TaskId, TenantId, TourId};
use crate::mapping::{Mapping, Sender};
use crate::observation::Priority;
use crate::policy::{Invalid, Policy};
use crate::time::{Days, LocalTime, Span, Timestamp};
use chrono_tz::Tz;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// The most entries of one kind in a site file: the engine is measured with 1,000 guards; ten times that is a typo.
pub const MAX_ENTRIES: usize = 10_000;

/// A position, degrees, WGS 84.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Position {
    /// Degrees north, -90 to 90.
    pub lat: f64,
    /// Degrees east, -180 to 180.
    pub lon: f64,
}

impl Position {
    /// A position that exists; `None` off the globe.
    pub fn new(lat: f64, lon: f64) -> Option<Self> {
        ((-90.0..=90.0).contains(&lat) && (-180.0..=180.0).contains(&lon)).then_some(Self { lat, lon })
    }
}

/// The bounds of the site.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum Geofence {
    /// A circle.
    Circle {
        /// Its middle.
        centre: Position,
        /// Its radius in metres.
        radius_m: f64,
    },
    /// A polygon of at least three corners, not closed.
    Polygon(Vec<Position>),
}

/// A person on guard.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Guard {
    /// Who.
    pub id: GuardId,
    /// The name that people use.
    pub name: String,
    /// The card that a fixed reader reads.
    pub badge: Option<Tag>,
}

/// What a device is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DeviceKind {
    /// A guard's phone.
    Handset,
    /// A fixed reader at a checkpoint.
    Reader,
    /// A GPS receiver.
    Gps,
    /// A panic button.
    Button,
}

/// When a device sends fixes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FixMode {
    /// At regular intervals.
    Periodic,
    /// Only when it moves.
    OnMove,
}

/// A handset, a fixed reader, a GPS receiver or a button.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Device {
    /// Which.
    pub id: DeviceId,
    /// What it is.
    pub kind: DeviceKind,
    /// Whose it is; a shared handset has none.
    pub guard: Option<GuardId>,
    /// Where a fixed reader hangs.
    pub checkpoint: Option<CheckpointId>,
    /// Its OwnTracks name, `user/device`.
    pub owntracks: Option<String>,
    /// The topic of a foreign device.
    pub topic: Option<String>,
    /// When it sends fixes.
    pub fixes: FixMode,
}

/// A place to visit.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Checkpoint {
    /// Which.
    pub id: CheckpointId,
    /// The name that people use.
    pub name: String,
    /// The tag that proves the visit.
    pub tag: Option<Tag>,
    /// Where it was surveyed.
    pub position: Option<Position>,
    /// The name of the credential with its rolling-code key.
    pub sun_key: Option<String>,
}

/// What a tour is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum TourType {
    /// The usual round.
    Routine,
    /// One that matters more.
    Critical,
    /// Along the fence.
    Perimeter,
    /// Inside.
    Building,
}

/// The definition of a patrol.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tour {
    /// Which.
    pub id: TourId,
    /// The name that people use.
    pub name: String,
    /// What it is for.
    pub kind: TourType,
    /// Whether a missed run raises an alert.
    pub mandatory: bool,
    /// What is to be visited.
    pub checkpoints: Vec<CheckpointId>,
    /// Whether in that order.
    pub ordered: bool,
    /// When it starts, on the wall clock.
    pub start: Vec<LocalTime>,
    /// On which days.
    pub days: Days,
    /// How long it takes.
    pub duration: Span,
    /// Whose it is.
    pub guard: Option<GuardId>,
    /// How long a visit must last.
    pub min_dwell: Option<Span>,
}

/// When a shift is worked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum ShiftHours {
    /// On these days, on the wall clock; `to` at or before `from` is the next day.
    Weekly {
        /// The days on which it starts.
        days: Days,
        /// Its start.
        from: LocalTime,
        /// Its end.
        to: LocalTime,
    },
    /// Once.
    Once {
        /// Its start.
        starts_at: Timestamp,
        /// Its end.
        ends_at: Timestamp,
    },
}

/// A rostered interval.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Shift {
    /// Which.
    pub id: ShiftId,
    /// Whose.
    pub guard: GuardId,
    /// When.
    pub hours: ShiftHours,
    /// Rostered breaks, on the wall clock.
    pub breaks: Vec<(LocalTime, LocalTime)>,
}

/// A task that the site file brings along.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SiteTask {
    /// Which.
    pub id: TaskId,
    /// What is to be done.
    pub title: String,
    /// How soon.
    pub priority: Priority,
    /// Whose it is.
    pub guard: Option<GuardId>,
    /// When it was made.
    pub created_at: Timestamp,
    /// Its deadline, else by the SLA.
    pub due_at: Option<Timestamp>,
}

/// The parts of a site, not yet checked against each other.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SiteParts {
    /// Which site.
    pub id: SiteId,
    /// The name that people use.
    pub name: String,
    /// Whose NOC.
    pub tenant: TenantId,
    /// Whose site.
    pub client: ClientId,
    /// Its wall clock.
    pub timezone: Tz,
    /// Its bounds.
    pub geofence: Option<Geofence>,
    /// Everyone on its roster.
    pub guards: Vec<Guard>,
    /// Every device.
    pub devices: Vec<Device>,
    /// Every place to visit.
    pub checkpoints: Vec<Checkpoint>,
    /// Every patrol.
    pub tours: Vec<Tour>,
    /// Every rostered interval.
    pub shifts: Vec<Shift>,
    /// Tasks known from the start.
    pub tasks: Vec<SiteTask>,
    /// Every figure of the rules.
    pub policy: Policy,
}

/// A site, whole by construction.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(try_from = "SiteParts", into = "SiteParts")]
pub struct Site {
    parts: SiteParts,
    mappings: Vec<Mapping>,
    guard_at: BTreeMap<GuardId, usize>,
    device_at: BTreeMap<DeviceId, usize>,
    checkpoint_at: BTreeMap<CheckpointId, usize>,
    tour_at: BTreeMap<TourId, usize>,
    badge_of: BTreeMap<Tag, GuardId>,
    place_of: BTreeMap<Tag, CheckpointId>,
}

/// Two are equal if the rules see the same: how foreign messages are read is not of the rules, and not stored with
/// them.
impl PartialEq for Site {
    fn eq(&self, other: &Self) -> bool {
        self.parts == other.parts
    }
}

/// A site that is not whole.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{} problems in the site, the first: {}", .0.len(), .0.first().map(ToString::to_string).unwrap_or_default())]
pub struct InvalidSite(pub Vec<Invalid>);

impl TryFrom<SiteParts> for Site {
    type Error = InvalidSite;
    fn try_from(parts: SiteParts) -> Result<Self, InvalidSite> {
        Self::new(parts).map_err(InvalidSite)
    }
}

impl From<Site> for SiteParts {
    fn from(site: Site) -> Self {
        site.parts
    }
}

impl std::ops::Deref for Site {
    type Target = SiteParts;
    fn deref(&self) -> &SiteParts {
        &self.parts
    }
}

impl Site {
    /// Checks that every id is unique and every reference leads somewhere; names every problem at once.
    pub fn new(parts: SiteParts) -> Result<Self, Vec<Invalid>> {
        let mut problems = Vec::new();
        let guard_at = index("guards", parts.guards.iter().map(|g| &g.id), &mut problems);
        let device_at = index("devices", parts.devices.iter().map(|d| &d.id), &mut problems);
        let checkpoint_at = index("checkpoints", parts.checkpoints.iter().map(|c| &c.id), &mut problems);
        let tour_at = index("tours", parts.tours.iter().map(|t| &t.id), &mut problems);
        index("shifts", parts.shifts.iter().map(|s| &s.id), &mut problems);
        index("tasks", parts.tasks.iter().map(|t| &t.id), &mut problems);
        let badges = parts.guards.iter().map(|g| (g.badge.as_ref(), &g.id));
        let badge_of = tags("guards", "badge", badges, &mut problems);
        let places = parts.checkpoints.iter().map(|c| (c.tag.as_ref(), &c.id));
        let place_of = tags("checkpoints", "tag", places, &mut problems);
        let mappings = vec![];
        let site = Self { parts, mappings, guard_at, device_at, checkpoint_at, tour_at, badge_of, place_of };
        site.check_geofence(&mut problems);
        site.check_devices(&mut problems);
        site.check_tours(&mut problems);
        site.check_roster(&mut problems);
        if problems.is_empty() { Ok(site) } else { Err(problems) }
    }

    /// The same site with how foreign messages are read; each that names a device must name one of the site.
    pub fn with_mappings(self, mappings: Vec<Mapping>) -> Result<Self, Vec<Invalid>> {
        let mut problems = vec![];
        for (i, mapping) in mappings.iter().enumerate() {
            if let Sender::Device(id) = &mapping.sender
                && self.device(id.as_str()).is_none()
            {
                problems.push(Invalid::new(format!("mappings[{i}].device"), id, "the id of a device"));
            }
        }
        if problems.is_empty() { Ok(Self { mappings, ..self }) } else { Err(problems) }
    }

    /// How foreign messages are read, in the order of the site file.
    pub fn mappings(&self) -> &[Mapping] {
        &self.mappings
    }

    /// A guard of the roster.
    pub fn guard(&self, id: &GuardId) -> Option<&Guard> {
        self.guard_at.get(id).and_then(|i| self.parts.guards.get(*i))
    }
    /// A device of the site; by text, so that a topic level can be looked up without making an id of it.
    pub fn device(&self, id: &str) -> Option<&Device> {
        self.device_at.get(id).and_then(|i| self.parts.devices.get(*i))
    }
    /// A checkpoint.
    pub fn checkpoint(&self, id: &CheckpointId) -> Option<&Checkpoint> {
        self.checkpoint_at.get(id).and_then(|i| self.parts.checkpoints.get(*i))
    }
    /// A tour.
    pub fn tour(&self, id: &TourId) -> Option<&Tour> {
        self.tour_at.get(id).and_then(|i| self.parts.tours.get(*i))
    }
    /// Whose badge a tag is.
    pub fn guard_with_badge(&self, tag: &Tag) -> Option<&GuardId> {
        owner(&self.badge_of, tag)
    }
    /// Which checkpoint a tag proves.
    pub fn checkpoint_with_tag(&self, tag: &Tag) -> Option<&CheckpointId> {
        owner(&self.place_of, tag)
    }

    fn check_geofence(&self, problems: &mut Vec<Invalid>) {
        match &self.parts.geofence {
            Some(Geofence::Circle { radius_m, .. }) if !(1.0..=100_000.0).contains(radius_m) => {
                problems.push(Invalid::new("site.geofence.radius", radius_m, "1 to 100000 metres"));
            }
            Some(Geofence::Polygon(corners)) if !(3..=1_000).contains(&corners.len()) => {
                let found = format!("{} corners", corners.len());
                problems.push(Invalid::new("site.geofence.polygon", found, "3 to 1000 corners"));
            }
            Some(Geofence::Circle { .. } | Geofence::Polygon(_)) | None => {}
        }
    }

    fn check_devices(&self, problems: &mut Vec<Invalid>) {
        for (i, device) in self.parts.devices.iter().enumerate() {
            self.check_guard(&format!("devices[{i}].guard"), device.guard.as_ref(), problems);
            if let Some(place) = &device.checkpoint
                && self.checkpoint(place).is_none()
            {
                problems.push(Invalid::new(
                    format!("devices[{i}].checkpoint"),
                    place,
                    "the id of a checkpoint",
                ));
            }
            if device.kind == DeviceKind::Reader && device.checkpoint.is_none() {
                let allowed = "checkpoint = the place where the reader hangs";
                problems.push(Invalid::new(format!("devices[{i}].checkpoint"), "nothing", allowed));
            }
        }
    }

    fn check_tours(&self, problems: &mut Vec<Invalid>) {
        for (i, tour) in self.parts.tours.iter().enumerate() {
            self.check_guard(&format!("tours[{i}].guard"), tour.guard.as_ref(), problems);
            let mut seen = BTreeSet::new();
            for (j, place) in tour.checkpoints.iter().enumerate() {
                let path = || format!("tours[{i}].checkpoints[{j}]");
                if self.checkpoint(place).is_none() {
                    problems.push(Invalid::new(path(), place, "the id of a checkpoint"));
                } else if !seen.insert(place) {
                    problems.push(Invalid::new(path(), place, "each checkpoint once"));
                }
            }
            if tour.checkpoints.is_empty() {
                problems.push(Invalid::new(
                    format!("tours[{i}].checkpoints"),
                    "none",
                    "at least one checkpoint",
                ));
            }
            if tour.start.is_empty() {
                problems.push(Invalid::new(format!("tours[{i}].start"), "none", "at least one time of day"));
            }
            if !(Span::from_mins(1)..=Span::from_hours(24)).contains(&tour.duration) {
                problems.push(Invalid::new(format!("tours[{i}].duration"), tour.duration, "1m to 24h"));
            }
            if let Some(dwell) = tour.min_dwell
                && !(Span::from_secs(1)..=tour.duration).contains(&dwell)
            {
                let allowed = format!("1s to {}, the duration of the tour", tour.duration);
                problems.push(Invalid::new(format!("tours[{i}].min_dwell"), dwell, allowed));
            }
        }
    }

    fn check_roster(&self, problems: &mut Vec<Invalid>) {
        for (i, shift) in self.parts.shifts.iter().enumerate() {
            self.check_guard(&format!("shifts[{i}].guard"), Some(&shift.guard), problems);
            if let ShiftHours::Once { starts_at, ends_at } = shift.hours
                && !(Span::from_mins(1)..=Span::from_hours(48)).contains(&ends_at.since(starts_at))
            {
                let path = format!("shifts[{i}].ends_at");
                problems.push(Invalid::new(path, ends_at, "1m to 48h after starts_at"));
            }
        }
        for (i, task) in self.parts.tasks.iter().enumerate() {
            self.check_guard(&format!("tasks[{i}].guard"), task.guard.as_ref(), problems);
            if task.due_at.is_some_and(|due| due <= task.created_at) {
                let path = format!("tasks[{i}].due_at");
                problems.push(Invalid::new(path, "an earlier instant", "an instant after created_at"));
            }
        }
    }

    fn check_guard(&self, path: &str, guard: Option<&GuardId>, problems: &mut Vec<Invalid>) {
        if let Some(id) = guard.filter(|id| self.guard(id).is_none()) {
            problems.push(Invalid::new(path, id, "the id of a guard"));
        }
    }
}

fn index<'a, K: Ord + Clone + std::fmt::Display + 'a>(
    list: &str,
    ids: impl Iterator<Item = &'a K>,
    problems: &mut Vec<Invalid>,
) -> BTreeMap<K, usize> {
    let mut found = BTreeMap::new();
    for (i, id) in ids.enumerate() {
        if i == MAX_ENTRIES {
            problems.push(Invalid::new(list, "more entries", format!("at most {MAX_ENTRIES}")));
        }
        if found.insert(id.clone(), i).is_some() {
            problems.push(Invalid::new(format!("{list}[{i}].id"), id, "an id that is used once"));
        }
    }
    found
}

fn tags<'a, K: Clone + std::fmt::Display + 'a>(
    list: &str,
    key: &str,
    entries: impl Iterator<Item = (Option<&'a Tag>, &'a K)>,
    problems: &mut Vec<Invalid>,
) -> BTreeMap<Tag, K> {
    let mut owners: BTreeMap<Tag, K> = BTreeMap::new();
    for (i, (tag, id)) in entries.enumerate() {
        let Some(tag) = tag else { continue };
        if let Some(other) = owners.insert(tag.clone(), id.clone()) {
            let allowed = format!("a tag of its own ({other} has this one)");
            problems.push(Invalid::new(format!("{list}[{i}].{key}"), tag, allowed));
        }
    }
    owners
}

/// Whose tag it is: the one that is spelled so, else the only one that a reader of fewer bits would call so.
fn owner<'s, K>(owners: &'s BTreeMap<Tag, K>, tag: &Tag) -> Option<&'s K> {
    owners.get(tag).or_else(|| {
        let mut alike = owners.iter().filter(|(known, _)| known.is_cut_of(tag) || tag.is_cut_of(known));
        let found = alike.next().map(|(_, owner)| owner);
        found.filter(|_| alike.next().is_none())
    })
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::policy::PolicyParts;

    /// A site with no guard and nothing to guard.
    pub(crate) fn empty_site() -> SiteParts {
        SiteParts {
            id: SiteId::new("plant-7").unwrap(),
            name: "Plant 7".into(),
            tenant: TenantId::new("acme").unwrap(),
            client: ClientId::new("north").unwrap(),
            timezone: chrono_tz::Asia::Kolkata,
            geofence: None,
            guards: vec![],
            devices: vec![],
            checkpoints: vec![],
            tours: vec![],
            shifts: vec![],
            tasks: vec![],
            policy: Policy::new(PolicyParts::default()).unwrap(),
        }
    }

    #[test]
    fn a_reader_of_24_bits_finds_the_one_card_that_it_can_mean() {
        let guard = |id: &str, badge: &str| Guard {
            id: GuardId::new(id).unwrap(),
            name: id.into(),
            badge: Tag::new(badge).ok(),
        };
        let mut parts = empty_site();
        parts.guards = vec![
            guard("A", "14763AE8"),
            guard("B", "0415A1B2"),
            guard("C", "0515A1B2"),
            guard("D", "763AE9"),
        ];
        let site = Site::new(parts).unwrap();
        let whose = |tag: &str| site.guard_with_badge(&Tag::new(tag).unwrap()).map(|g| g.as_str().to_owned());
        assert_eq!(whose("763AE8"), Some("A".into()), "Wiegand-26 has the low 24 bits");
        assert_eq!(whose("15A1B2"), None, "two cards end so");
        assert_eq!(whose("0515A1B2"), Some("C".into()));
        assert_eq!(whose("99763AE9"), Some("D".into()), "enrolled by a reader of 24 bits");
        assert_eq!(whose("99763AE8"), None, "another card of 32 bits");
    }

    #[test]
    fn a_site_is_the_same_to_the_rules_however_foreign_messages_are_read() {
        let site = Site::new(empty_site()).unwrap();
        let mapping = |sender| Mapping {
            topic: "a/#".into(),
            sender,
            user: None,
            kind: crate::mapping::KindName::Sos,
            items: None,
            only: None,
            fields: vec![],
        };
        let mapped = site.clone().with_mappings(vec![mapping(Sender::Level(2))]).unwrap();
        assert_eq!((&mapped, mapped.mappings().len()), (&site, 1));
        let nobody = Sender::Device(DeviceId::new("nobody").unwrap());
        let problems = site.with_mappings(vec![mapping(nobody)]).unwrap_err();
        assert_eq!(problems[0].path, "mappings[0].device");
    }

    #[test]
    fn a_visit_cannot_last_longer_than_its_tour() {
        for (secs, problems) in [(0, 1), (1, 0), (2_400, 0), (2_401, 1)] {
            let mut parts = empty_site();
            let place = CheckpointId::new("gate").unwrap();
            parts.checkpoints = vec![Checkpoint {
                id: place.clone(),
                name: "Gate".into(),
                tag: None,
                position: None,
                sun_key: None,
            }];
            parts.tours = vec![Tour {
                id: TourId::new("t").unwrap(),
                name: "T".into(),
                kind: TourType::Routine,
                mandatory: true,
                checkpoints: vec![place],
                ordered: false,
                start: vec![LocalTime::hour(22)],
                days: Days::ALL,
                duration: Span::from_mins(40),
                guard: None,
                min_dwell: Some(Span::from_secs(secs)),
            }];
            let found = Site::new(parts).err().unwrap_or_default();
            assert_eq!(found.len(), problems, "{secs} s: {found:?}");
            assert!(found.iter().all(|p| p.path == "tours[0].min_dwell"));
        }
    }

    #[test]
    fn a_reference_to_nobody_is_named_with_its_place() {
        let mut parts = empty_site();
        let reader = |id: &str| Device {
            id: DeviceId::new(id).unwrap(),
            kind: DeviceKind::Reader,
            guard: GuardId::new("G-9").ok(),
            checkpoint: CheckpointId::new("nowhere").ok(),
            owntracks: None,
            topic: None,
            fixes: FixMode::Periodic,
        };
        parts.devices = vec![reader("r"), reader("r")];
        let paths: Vec<_> = Site::new(parts).unwrap_err().into_iter().map(|p| p.path).collect();
        let expected = [
            "devices[1].id",
            "devices[0].guard",
            "devices[0].checkpoint",
            "devices[1].guard",
            "devices[1].checkpoint",
        ];
        assert_eq!(paths, expected);
    }
}
