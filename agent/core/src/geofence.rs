//! Distances on the ground and the extent of a site. With `movement` the only user of `geo`.

use crate::site::{Geofence, Position, Site};
use geo::{Area, Distance, Haversine, LineString, Point, Polygon};

/// Metres between two positions.
pub fn distance_m(a: Position, b: Position) -> f64 {
    Haversine.distance(Point::new(a.lon, a.lat), Point::new(b.lon, b.lat))
}

/// Half the extent of the site in metres: the radius of its geofence, else half the diagonal of the box around
/// the polygon or the checkpoints. `None` if the site has neither: then no position can be too coarse for it.
pub fn half_extent_m(site: &Site) -> Option<f64> {
    match &site.geofence {
        Some(fence) => middle_and_half_extent(fence).map(|(_, half)| half),
        None => half_diagonal_m(site.checkpoints.iter().filter_map(|c| c.position)),
    }
}

/// The middle of a fence, and how far it reaches from there at most.
pub fn middle_and_half_extent(fence: &Geofence) -> Option<(Position, f64)> {
    match fence {
        Geofence::Circle { centre, radius_m } => Some((*centre, *radius_m)),
        Geofence::Polygon(corners) => {
            let (low, high) = bounds(corners.iter().copied())?;
            let middle = Position { lat: (low.lat + high.lat) / 2.0, lon: (low.lon + high.lon) / 2.0 };
            Some((middle, distance_m(low, high) / 2.0))
        }
    }
}

/// Less ground than this, in square degrees, is none: about a square metre at the equator.
const NO_GROUND: f64 = 1e-10;

/// Whether a polygon has no ground inside: its corners lie on one line.
pub fn encloses_nothing(corners: &[Position]) -> bool {
    let ring: LineString = corners.iter().map(|corner| (corner.lon, corner.lat)).collect();
    Polygon::new(ring, vec![]).unsigned_area() < NO_GROUND
}

fn half_diagonal_m(positions: impl Iterator<Item = Position>) -> Option<f64> {
    let (low, high) = bounds(positions)?;
    Some(distance_m(low, high) / 2.0)
}

/// The south-west and the north-east corner of the box around them.
fn bounds(mut positions: impl Iterator<Item = Position>) -> Option<(Position, Position)> {
    let first = positions.next()?;
    Some(positions.fold((first, first), |(low, high), p| {
        (
            Position { lat: low.lat.min(p.lat), lon: low.lon.min(p.lon) },
            Position { lat: high.lat.max(p.lat), lon: high.lon.max(p.lon) },
        )
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_extent_is_half_the_diagonal() {
        let corners = [(12.9702430, 77.5934025), (12.9729570, 77.5957975)];
        let half =
            half_diagonal_m(corners.iter().map(|(lat, lon)| Position { lat: *lat, lon: *lon })).unwrap();
        assert!((half - 198.4).abs() < 1.0, "{half}");
    }
}
