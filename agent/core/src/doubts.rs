//! What a site file may say and its author hardly meant. The rules take it as it stands; `vigil check` says it.

use crate::geofence::{distance_m, encloses_nothing, middle_and_half_extent};
use crate::site::{Device, DeviceKind, Geofence, Shift, ShiftHours, Site};
use crate::time::LocalTime;
use std::collections::BTreeSet;

/// A checkpoint may hang beyond a fence that is drawn tightly, and a survey has its error: so far outside it is a typo.
const FAR_OUTSIDE_M: f64 = 1_000.0;
/// Minutes of a day on the wall clock.
const DAY: u16 = 1_440;

/// Something that is allowed and looks like a mistake.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Doubt {
    /// Where, like `shifts[0].breaks[1]` (indexes from 0).
    pub path: String,
    /// What is strange about it, and what it comes to.
    pub what: String,
}

impl Doubt {
    fn new(path: String, what: impl Into<String>) -> Self {
        Self { path, what: what.into() }
    }
}

impl Site {
    /// Everything that looks like a mistake.
    pub fn doubts(&self) -> Vec<Doubt> {
        let mut doubts = Vec::new();
        doubts.extend(self.nameless());
        doubts.extend(self.fence_without_ground());
        doubts.extend(self.devices.iter().enumerate().filter_map(|(i, device)| without_effect(i, device)));
        doubts.extend(self.places_far_off());
        doubts.extend(self.starts_said_twice());
        doubts.extend(self.shifts.iter().enumerate().flat_map(|(i, shift)| odd_breaks(i, shift)));
        doubts
    }

    fn nameless(&self) -> impl Iterator<Item = Doubt> {
        let site = std::iter::once(("site".to_owned(), &self.name));
        let guards = self.guards.iter().enumerate().map(|(i, g)| (format!("guards[{i}]"), &g.name));
        let places = self.checkpoints.iter().enumerate().map(|(i, c)| (format!("checkpoints[{i}]"), &c.name));
        let tours = self.tours.iter().enumerate().map(|(i, t)| (format!("tours[{i}]"), &t.name));
        let blank = site.chain(guards).chain(places).chain(tours).filter(|(_, name)| name.trim().is_empty());
        blank.map(|(path, _)| {
            Doubt::new(format!("{path}.name"), "the name is blank, and alerts speak in names")
        })
    }

    fn fence_without_ground(&self) -> Option<Doubt> {
        let Some(Geofence::Polygon(corners)) = &self.geofence else { return None };
        let what = "the corners lie on one line, so that nobody is ever inside";
        encloses_nothing(corners).then(|| Doubt::new("site.geofence.polygon".into(), what))
    }

    fn places_far_off(&self) -> Vec<Doubt> {
        let Some((middle, half)) = self.geofence.as_ref().and_then(middle_and_half_extent) else {
            return vec![];
        };
        let far = self.checkpoints.iter().enumerate().filter_map(|(i, place)| {
            let outside = distance_m(place.position?, middle) - half;
            (outside > FAR_OUTSIDE_M).then(|| {
                let km = outside / 1_000.0;
                Doubt::new(
                    format!("checkpoints[{i}].lat"),
                    format!("the place is {km:.1} km outside of the geofence"),
                )
            })
        });
        far.collect()
    }

    fn starts_said_twice(&self) -> impl Iterator<Item = Doubt> {
        self.tours.iter().enumerate().flat_map(|(i, tour)| {
            let mut seen = BTreeSet::new();
            let again = tour.start.iter().enumerate().filter(move |(_, at)| !seen.insert(**at));
            again.map(move |(j, at)| {
                Doubt::new(
                    format!("tours[{i}].start[{j}]"),
                    format!("{at} stands there twice, and is one run"),
                )
            })
        })
    }
}

/// What is said of a device and changes nothing.
fn without_effect(i: usize, device: &Device) -> Option<Doubt> {
    match device.kind {
        DeviceKind::Handset | DeviceKind::Gps if device.checkpoint.is_some() => {
            let what = "only a reader hangs at a checkpoint; this has no effect";
            Some(Doubt::new(format!("devices[{i}].checkpoint"), what))
        }
        DeviceKind::Reader if device.guard.is_some() => {
            let what = "a reader is nobody's own: whose badge it reads was there; this has no effect";
            Some(Doubt::new(format!("devices[{i}].guard"), what))
        }
        DeviceKind::Handset | DeviceKind::Gps | DeviceKind::Reader | DeviceKind::Button => None,
    }
}

fn odd_breaks(i: usize, shift: &Shift) -> Vec<Doubt> {
    let ShiftHours::Weekly { from, to, .. } = shift.hours else { return vec![] };
    let shift_mins = minutes(from, to);
    let odd = shift.breaks.iter().enumerate().filter_map(|(j, (start, end))| {
        let (ahead, mins) = (ahead(from, *start), minutes(*start, *end));
        let what = if mins >= shift_mins {
            "the break is as long as the shift: its guard is never on duty"
        } else if ahead >= shift_mins {
            "the break lies outside of the shift, and is none"
        } else if ahead + mins > shift_mins {
            "the break goes on past the end of the shift, and ends with it"
        } else {
            return None;
        };
        Some(Doubt::new(format!("shifts[{i}].breaks[{j}]"), format!("{start} to {end}: {what}")))
    });
    odd.collect()
}

/// Minutes from one time of day forward to another.
fn ahead(from: LocalTime, to: LocalTime) -> u16 {
    (to.minute_of_day() + DAY - from.minute_of_day()) % DAY
}

/// The same as a length: equal ends are a whole day.
fn minutes(from: LocalTime, to: LocalTime) -> u16 {
    match ahead(from, to) {
        0 => DAY,
        minutes => minutes,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::{CheckpointId, DeviceId, GuardId, ShiftId, TourId};
    use crate::site::tests::empty_site;
    use crate::site::{Checkpoint, FixMode, Guard, Position, SiteParts, Tour, TourType};
    use crate::time::{Days, Span};

    fn time(text: &str) -> LocalTime {
        LocalTime::parse(text).unwrap()
    }

    fn place(name: &str, position: Option<Position>) -> Checkpoint {
        Checkpoint {
            id: CheckpointId::new("gate").unwrap(),
            name: name.into(),
            tag: None,
            position,
            sun_key: None,
        }
    }

    fn told(parts: SiteParts) -> Vec<String> {
        let doubts = Site::new(parts).unwrap().doubts();
        doubts.into_iter().map(|doubt| format!("{}: {}", doubt.path, doubt.what)).collect()
    }

    #[test]
    fn a_break_lies_within_its_shift_and_is_shorter() {
        for (from, to, expected) in [
            ("00:00", "00:30", None),
            ("20:00", "20:30", None),
            ("05:30", "06:00", None),
            ("05:45", "06:15", Some("goes on past the end")),
            ("06:00", "06:30", Some("lies outside")),
            ("12:00", "12:30", Some("lies outside")),
            ("20:00", "06:00", Some("as long as the shift")),
            ("01:00", "01:00", Some("as long as the shift")),
        ] {
            let mut parts = empty_site();
            let guard = GuardId::new("G-1").unwrap();
            parts.guards = vec![Guard { id: guard.clone(), name: "One".into(), badge: None }];
            let hours = ShiftHours::Weekly { days: Days::ALL, from: time("20:00"), to: time("06:00") };
            let breaks = vec![(time(from), time(to))];
            parts.shifts = vec![Shift { id: ShiftId::new("s").unwrap(), guard, hours, breaks }];
            let found = told(parts);
            let fits = match expected {
                None => found.is_empty(),
                Some(what) => {
                    found.len() == 1
                        && found[0].starts_with("shifts[0].breaks[0]: ")
                        && found[0].contains(what)
                }
            };
            assert!(fits, "{from} to {to}: {found:?}");
        }
    }

    #[test]
    fn a_fence_has_ground_and_places_lie_near_it() {
        let corner = |lat: f64, lon: f64| Position { lat, lon };
        let at = |lat| vec![place("Gate", Some(corner(lat, 77.595)))];
        let square =
            vec![corner(12.97, 77.59), corner(12.98, 77.59), corner(12.98, 77.60), corner(12.97, 77.60)];
        let near =
            SiteParts { geofence: Some(Geofence::Polygon(square)), checkpoints: at(12.985), ..empty_site() };
        assert_eq!(told(near.clone()), Vec::<String>::new());
        let far = SiteParts { checkpoints: at(13.975), ..near };
        assert_eq!(told(far), ["checkpoints[0].lat: the place is 110.4 km outside of the geofence"]);
        let line = vec![corner(12.97, 77.59), corner(12.98, 77.60), corner(12.99, 77.61)];
        let flat = SiteParts { geofence: Some(Geofence::Polygon(line)), ..empty_site() };
        assert!(told(flat)[0].starts_with("site.geofence.polygon: "));
        let circle = Geofence::Circle { centre: corner(12.97, 77.595), radius_m: 300.0 };
        let wrong_way = SiteParts { geofence: Some(circle), checkpoints: at(-12.97), ..empty_site() };
        assert!(told(wrong_way)[0].starts_with("checkpoints[0].lat: the place is 28"));
    }

    #[test]
    fn what_has_no_effect_is_said() {
        let device = |id: &str, kind, guard: Option<&str>, place: Option<&str>| Device {
            id: DeviceId::new(id).unwrap(),
            kind,
            guard: guard.map(|g| GuardId::new(g).unwrap()),
            checkpoint: place.map(|c| CheckpointId::new(c).unwrap()),
            owntracks: None,
            topic: None,
            fixes: FixMode::Periodic,
        };
        let mut parts = empty_site();
        parts.guards = vec![Guard { id: GuardId::new("G").unwrap(), name: "  ".into(), badge: None }];
        parts.checkpoints = vec![place("Gate", None)];
        parts.devices = vec![
            device("hs", DeviceKind::Handset, Some("G"), Some("gate")),
            device("rd", DeviceKind::Reader, Some("G"), Some("gate")),
            device("bt", DeviceKind::Button, Some("G"), Some("gate")),
        ];
        parts.tours = vec![Tour {
            id: TourId::new("t").unwrap(),
            name: "T".into(),
            kind: TourType::Routine,
            mandatory: true,
            checkpoints: vec![CheckpointId::new("gate").unwrap()],
            ordered: false,
            start: vec![time("22:00"), time("23:00"), time("22:00")],
            days: Days::ALL,
            duration: Span::from_mins(40),
            guard: None,
            min_dwell: None,
        }];
        let paths: Vec<String> =
            told(parts).into_iter().map(|doubt| doubt.split(": ").next().unwrap().to_owned()).collect();
        assert_eq!(
            paths,
            ["guards[0].name", "devices[0].checkpoint", "devices[1].guard", "tours[0].start[2]"]
        );
    }
}
