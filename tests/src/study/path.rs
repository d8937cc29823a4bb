//! Where a handset is at any second: places and the straight ways between them.

/// Metres east and north of the middle of the site.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Place {
    /// Metres east.
    pub x: f64,
    /// Metres north.
    pub y: f64,
}

impl Place {
    /// The middle.
    pub const MIDDLE: Self = Self { x: 0.0, y: 0.0 };

    /// So far in this direction, which is given in radians.
    pub fn polar(radius_m: f64, angle: f64) -> Self {
        Self { x: radius_m * angle.cos(), y: radius_m * angle.sin() }
    }

    /// This and so much more.
    #[must_use]
    pub fn plus(self, other: Self) -> Self {
        Self { x: self.x + other.x, y: self.y + other.y }
    }

    /// Metres between the two.
    pub fn distance_m(self, other: Self) -> f64 {
        (self.x - other.x).hypot(self.y - other.y)
    }
}

/// A way through the night.
#[derive(Debug, Clone, Default)]
pub struct Path(Vec<(f64, Place)>);

/// What a handset does at one second.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Whereabouts {
    /// Where it is.
    pub place: Place,
    /// Its speed in m/s, 0 at rest.
    pub speed_mps: f64,
}

impl Path {
    /// It is there at that second; what is added comes in order of time.
    pub fn be(&mut self, second: f64, place: Place) {
        self.0.push((second, place));
    }

    /// Where it was told to be last.
    pub fn here(&self) -> Option<(f64, Place)> {
        self.0.last().copied()
    }

    /// Where it is.
    pub fn at(&self, second: f64) -> Whereabouts {
        let next = self.0.partition_point(|(t, _)| *t <= second);
        let before = next.checked_sub(1).and_then(|i| self.0.get(i));
        match (before, self.0.get(next)) {
            (Some((from, a)), Some((to, b))) if to > from => {
                let share = (second - from) / (to - from);
                let place = Place { x: a.x + (b.x - a.x) * share, y: a.y + (b.y - a.y) * share };
                Whereabouts { place, speed_mps: a.distance_m(*b) / (to - from) }
            }
            (Some((_, place)), _) | (None, Some((_, place))) => Whereabouts { place: *place, speed_mps: 0.0 },
            (None, None) => Whereabouts { place: Place::MIDDLE, speed_mps: 0.0 },
        }
    }

    /// For how many of the seconds of `[from, to)` it is on its way.
    pub fn walking_secs(&self, from: f64, to: f64) -> f64 {
        let first = self.0.partition_point(|(t, _)| *t <= from).saturating_sub(1);
        let legs = self.0.get(first..).unwrap_or_default().windows(2).take_while(|w| w[0].0 < to);
        let moving = legs.filter(|w| w[0].1.distance_m(w[1].1) > 0.5);
        moving.map(|w| (w[1].0.min(to) - w[0].0.max(from)).max(0.0)).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_walks_and_rests() {
        let mut path = Path::default();
        for (t, x) in [(0.0, 0.0), (100.0, 0.0), (200.0, 100.0), (300.0, 100.0)] {
            path.be(t, Place { x, y: 0.0 });
        }
        assert_eq!(path.at(50.0), Whereabouts { place: Place::MIDDLE, speed_mps: 0.0 });
        assert_eq!(path.at(150.0), Whereabouts { place: Place { x: 50.0, y: 0.0 }, speed_mps: 1.0 });
        assert_eq!(path.at(900.0).place.x, 100.0);
        assert!((path.walking_secs(0.0, 900.0) - 100.0).abs() < 1e-9);
        assert!((path.walking_secs(150.0, 180.0) - 30.0).abs() < 1e-9);
    }
}
