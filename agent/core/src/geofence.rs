//! Distances on the ground and the extent of a site. With `movement` the only user of `geo`.

use crate::site::{Geofence, Position, Site};
use geo::{Distance, Haversine, Point};

/// Metres between two positions.
pub fn distance_m(a: Position, b: Position) -> f64 {
    Haversine.distance(Point::new(a.lon, a.lat), Point::new(b.lon, b.lat))
}

/// Half the extent of the site in metres: the radius of its geofence, else half the diagonal of the box around
/// the polygon or the checkpoints. `None` if the site has neither: then no position can be too coarse for it.
pub fn half_extent_m(site: &Site) -> Option<f64> {
    match &site.geofence {
        Some(Geofence::Circle { radius_m, .. }) => Some(*radius_m),
        Some(Geofence::Polygon(corners)) => half_diagonal_m(corners.iter().copied()),
        None => half_diagonal_m(site.checkpoints.iter().filter_map(|c| c.position)),
    }
}

fn half_diagonal_m(positions: impl Iterator<Item = Position>) -> Option<f64> {
    let grow = |bounds: Option<(Position, Position)>, p: Position| {
        let (low, high) = bounds.unwrap_or((p, p));
        Some((
            Position { lat: low.lat.min(p.lat), lon: low.lon.min(p.lon) },
            Position { lat: high.lat.max(p.lat), lon: high.lon.max(p.lon) },
        ))
    };
    let (low, high) = positions.fold(None, grow)?;
    Some(distance_m(low, high) / 2.0)
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
