//! The site of the study: one guard on duty, six checkpoints, hourly tours.

use super::path::Place;
use crate::night::{plant_7, position, tour, with_policy};
use std::sync::Arc;
use vigil_core::id::ShiftId;
use vigil_core::policy::{Expectation, MovementRule, Permille};
use vigil_core::site::{Device, DeviceKind, FixMode, Geofence, Shift, ShiftHours, Site, SiteParts};
use vigil_core::time::{Days, LocalTime, Span};

/// The guard of the study.
pub const GUARD: &str = "G-7";
/// The guard's handset.
pub const HANDSET: &str = "hs-7";
/// The reader at the first checkpoint, where there is one.
pub const READER: &str = "reader-gate";
/// Where the control room makes its tasks.
pub const CONSOLE: &str = "console";
/// How many checkpoints a tour has.
pub const CHECKPOINTS: usize = 6;

/// What is different from site to site.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Ground {
    /// The radius of its geofence: half its extent.
    pub radius_m: f64,
    /// Whether the guard has hourly tours.
    pub tours: bool,
    /// Whether a reader with heartbeats hangs at the first checkpoint.
    pub reader: bool,
    /// Whether two breaks stand in the roster: 00:30 to 01:00 and 03:30 to 04:00.
    pub rostered_breaks: bool,
}

impl Default for Ground {
    fn default() -> Self {
        Self { radius_m: 300.0, tours: true, reader: false, rostered_breaks: false }
    }
}

impl Ground {
    /// Where a checkpoint is: halfway to the fence.
    pub fn checkpoint(&self, n: usize) -> Place {
        let turn = [0.0, 1.0, 2.0, 3.0, 4.0, 5.0].get(n).copied().unwrap_or(0.0) / 6.0;
        let angle = std::f64::consts::FRAC_PI_2 - turn * std::f64::consts::TAU;
        Place::polar(self.radius_m / 2.0, angle)
    }

    /// Where the guard sits between tours.
    pub fn post(&self) -> Place {
        Place { x: 0.1 * self.radius_m, y: -0.05 * self.radius_m }
    }

    /// The site under a rule.
    pub fn site(&self, rule: Rule) -> Arc<Site> {
        let mut parts = plant_7();
        parts.geofence = Some(Geofence::Circle { centre: position(0.0, 0.0), radius_m: self.radius_m });
        for (n, checkpoint) in parts.checkpoints.iter_mut().enumerate() {
            let place = self.checkpoint(n);
            checkpoint.position = Some(position(place.y, place.x));
        }
        parts.devices.push(Device {
            id: CONSOLE.parse().expect("an id"),
            kind: DeviceKind::Button,
            guard: None,
            checkpoint: None,
            owntracks: None,
            topic: None,
            fixes: FixMode::Periodic,
        });
        self.plan_work(&mut parts);
        rule.rule(&mut parts);
        Arc::new(Site::new(parts).expect("a whole site"))
    }

    fn plan_work(&self, parts: &mut SiteParts) {
        if self.tours {
            let starts = ["21:00", "22:00", "23:00", "00:00", "01:00", "02:00", "03:00", "04:00", "05:00"];
            let mut hourly = tour("hourly", &starts, Span::from_mins(30));
            hourly.guard = Some(GUARD.parse().expect("an id"));
            parts.tours.push(hourly);
        }
        if self.rostered_breaks {
            let clock = |text: &str| LocalTime::parse(text).expect("a time of day");
            parts.shifts.push(Shift {
                id: ShiftId::new("night").expect("an id"),
                guard: GUARD.parse().expect("an id"),
                hours: ShiftHours::Weekly { days: Days::ALL, from: clock("20:00"), to: clock("06:00") },
                breaks: vec![(clock("00:30"), clock("01:00")), (clock("03:30"), clock("04:00"))],
            });
        }
    }
}

/// Which rule watches.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Rule {
    /// The defaults of the rules.
    Ours,
    /// The classic four-signal sum: `expectation = "always"`, `movement = "summed"`, everything else alike.
    Classic,
    /// One of these with another threshold, in thousandths.
    At(u16, Family),
}

/// What a rule descends from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Family {
    /// Of ours.
    Ours,
    /// Of the classic sum.
    Classic,
}

impl Rule {
    /// What it descends from.
    pub const fn family(self) -> Family {
        match self {
            Self::Ours | Self::At(_, Family::Ours) => Family::Ours,
            Self::Classic | Self::At(_, Family::Classic) => Family::Classic,
        }
    }

    fn rule(self, parts: &mut SiteParts) {
        with_policy(parts, |policy| {
            if self.family() == Family::Classic {
                policy.inactivity.expectation = Expectation::Always;
                policy.inactivity.movement = MovementRule::Summed;
            }
            if let Self::At(thousandths, _) = self {
                policy.inactivity.threshold = Permille::new(thousandths).expect("at most a thousand");
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use vigil_core::geofence::{distance_m, half_extent_m};

    #[test]
    fn the_site_is_as_large_as_it_says_and_its_checkpoints_are_where_the_guard_walks() {
        for radius_m in [20.0, 300.0] {
            let ground = Ground { radius_m, rostered_breaks: true, ..Ground::default() };
            let site = ground.site(Rule::Ours);
            assert!((half_extent_m(&site).unwrap() - radius_m).abs() < 1e-9);
            let centre = position(0.0, 0.0);
            for (n, checkpoint) in site.checkpoints.iter().enumerate() {
                let off = distance_m(centre, checkpoint.position.unwrap());
                assert!((off - ground.checkpoint(n).distance_m(Place::MIDDLE)).abs() < 0.1, "{n}: {off}");
            }
        }
    }

    #[test]
    fn the_rules_differ_in_what_they_say_and_in_nothing_else() {
        let policy = |rule| Ground::default().site(rule).policy.clone();
        assert_eq!(policy(Rule::Ours), vigil_core::policy::Policy::default());
        assert_eq!(policy(Rule::Classic).inactivity.expectation, Expectation::Always);
        assert_eq!(policy(Rule::Classic).inactivity.movement, MovementRule::Summed);
        assert_eq!(policy(Rule::At(700, Family::Ours)).inactivity.threshold.get(), 700);
        assert_eq!(policy(Rule::At(800, Family::Classic)), policy(Rule::Classic));
    }
}
