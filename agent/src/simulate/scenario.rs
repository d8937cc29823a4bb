//! Who is on the site, what is to be walked, and what goes wrong.

use chrono_tz::Tz;
use vigil_core::site::Position;
use vigil_core::time::{LocalTime, Span, Timestamp};

/// One departure from a quiet night. Instants are counted from the start of the night.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Behaviour {
    /// From then on the guard does nothing and stays where he is; the handset lives.
    FallsStill {
        /// When.
        at: Span,
    },
    /// The handset dies without a goodbye, and may come back.
    HandsetDies {
        /// When.
        at: Span,
        /// When it is switched on again.
        back: Option<Span>,
    },
    /// The guard does not walk one of his runs.
    MissesTour {
        /// Which of the night, from 0.
        run: usize,
    },
    /// The guard calls for help.
    SendsSos {
        /// When.
        at: Span,
    },
}

/// A guard: he walks rounds, handles his phone and scans, but for what is scripted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ScriptedGuard {
    /// Who; the handset is `hs-` and this.
    pub id: String,
    /// What goes otherwise.
    pub behaviours: Vec<Behaviour>,
}

impl ScriptedGuard {
    /// The id of his handset.
    pub fn handset(&self) -> String {
        format!("hs-{}", self.id)
    }
}

/// A patrol of the site file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ScriptedTour {
    /// Its id.
    pub id: String,
    /// The name that people use.
    pub name: String,
    /// Its type, as in the site file.
    pub kind: &'static str,
    /// Whose it is, by his place among the guards.
    pub guard: usize,
    /// What is visited, by the places of the checkpoints.
    pub checkpoints: Vec<usize>,
    /// The starts of its runs, counted from the start of the night; they come again every 24 h.
    pub starts: Vec<Span>,
}

/// A site, its people and one night.
#[derive(Debug, Clone, PartialEq)]
pub struct Scenario {
    /// The site's id.
    pub site: String,
    /// Its wall clock.
    pub timezone: Tz,
    /// Its middle.
    pub centre: Position,
    /// How many checkpoints lie on a circle around it.
    pub checkpoints: usize,
    /// Everyone on duty.
    pub guards: Vec<ScriptedGuard>,
    /// Every patrol.
    pub tours: Vec<ScriptedTour>,
    /// When the night starts, and everyone checks in.
    pub starts_at: Timestamp,
    /// When it ends, and everyone checks out who still can.
    pub ends_at: Timestamp,
    /// What names this night among all others.
    pub seed: u64,
}

/// 2026-03-10, 21:00 in Kolkata: the night of the published vectors.
const NIGHT: Timestamp = Timestamp::from_millis(1_773_156_600_000);
/// From 21:00 to 06:00.
const NIGHT_LENGTH: Span = Span::from_hours(9);
/// A day: starts of tours come again after it.
pub(super) const DAY: Span = Span::from_hours(24);

impl Scenario {
    /// Six guards and two tours. G-1 misses the perimeter of 21:15, G-3 falls still at 21:20, the handset of G-4
    /// dies at 21:25. The first inactivity alert comes a little more than two hours later.
    pub fn demo() -> Self {
        let mut night = Self::quiet_night();
        let script = [
            (0, Behaviour::MissesTour { run: 0 }),
            (2, Behaviour::FallsStill { at: Span::from_mins(20) }),
            (3, Behaviour::HandsetDies { at: Span::from_mins(25), back: None }),
        ];
        for (guard, behaviour) in script {
            night.guards[guard].behaviours.push(behaviour);
        }
        night
    }

    /// The same six guards and two tours, and nothing goes wrong.
    pub fn quiet_night() -> Self {
        let hourly = |first: i64| (0..8).map(|n| Span::from_mins(first + 60 * n)).collect();
        let perimeter = ScriptedTour {
            id: "perimeter".into(),
            name: "Perimeter".into(),
            kind: "PERIMETER",
            guard: 0,
            checkpoints: (0..8).collect(),
            starts: hourly(15),
        };
        let stores = ScriptedTour {
            id: "stores".into(),
            name: "Stores and gate".into(),
            kind: "ROUTINE",
            guard: 1,
            checkpoints: (0..4).collect(),
            starts: hourly(30),
        };
        Self { tours: vec![perimeter, stores], ..Self::staffed(6, NIGHT_LENGTH, 7) }
    }

    /// As many guards as wanted, each with an hourly tour of his own, for so many minutes: for load.
    pub fn sized(guards: usize, minutes: u32, seed: u64) -> Self {
        let length = Span::from_mins(i64::from(minutes));
        let starts = |first: i64| {
            let starts = (0..24).map(|n| Span::from_mins(first + 60 * n));
            starts.filter(|start| *start < length || *start < Span::from_hours(1)).collect()
        };
        let first = (0..guards).map(|n| 5 + i64::try_from(n % 50).unwrap_or(0));
        let tour = |(guard, first): (usize, i64)| ScriptedTour {
            id: format!("round-{}", guard + 1),
            name: format!("Round {}", guard + 1),
            kind: "ROUTINE",
            guard,
            checkpoints: (0..6).map(|n| (n + guard) % 8).collect(),
            starts: starts(first),
        };
        let tours = first.enumerate().map(tour).collect();
        Self { tours, ..Self::staffed(guards, length, seed) }
    }

    fn staffed(guards: usize, length: Span, seed: u64) -> Self {
        let guard = |n: usize| ScriptedGuard { id: format!("G-{n}"), behaviours: vec![] };
        Self {
            site: "plant-7".into(),
            timezone: Tz::Asia__Kolkata,
            centre: Position { lat: 12.9716, lon: 77.5946 },
            checkpoints: 8,
            guards: (1..=guards).map(guard).collect(),
            tours: vec![],
            starts_at: NIGHT,
            ends_at: NIGHT + length,
            seed,
        }
    }

    /// The same night, beginning at 21:00 on the site's wall clock on the day of `instant`.
    #[must_use]
    pub fn on_the_night_of(self, instant: Timestamp) -> Self {
        let evening = LocalTime::hour(21).on(instant.local_date(self.timezone), self.timezone);
        self.starting(evening)
    }

    /// The same night, beginning at `starts_at`.
    #[must_use]
    pub fn starting(self, starts_at: Timestamp) -> Self {
        let ends_at = starts_at + self.ends_at.since(self.starts_at);
        Self { starts_at, ends_at, ..self }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_night_starts_at_nine_and_ends_at_six() {
        let demo = Scenario::demo();
        assert_eq!(demo.starts_at.local_clock(demo.timezone), "21:00");
        assert_eq!(demo.ends_at.local_clock(demo.timezone), "06:00");
        let tonight = demo.on_the_night_of(Timestamp::parse("2027-07-01T12:00:00+05:30").unwrap());
        assert_eq!(tonight.starts_at, Timestamp::parse("2027-07-01T21:00:00+05:30").unwrap());
        assert_eq!(tonight.ends_at.since(tonight.starts_at), NIGHT_LENGTH);
    }

    #[test]
    fn every_run_of_the_quiet_night_closes_before_it_ends() {
        let night = Scenario::quiet_night();
        let last = night.tours.iter().flat_map(|t| &t.starts).max().unwrap();
        assert!(night.starts_at + *last + Span::from_mins(70) <= night.ends_at);
    }
}
