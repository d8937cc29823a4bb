//! Where things are: `site.geofence` and `[[checkpoints]]`.

use crate::table::Table;
use crate::value::{Read, credential, number, number_within, tag, text};
use toml::de::DeValue;
use vigil_core::id::CheckpointId;
use vigil_core::site::{Checkpoint, Geofence, Position};

pub(super) fn geofence(site: &mut Table<'_>) -> Option<Geofence> {
    let mut table = site.optional_table("geofence")?;
    let polygon = table.list("polygon", corner);
    let geofence = if table.has("polygon") {
        for key in ["lat", "lon", "radius"] {
            table.forbid(key, "nothing here beside polygon");
        }
        polygon.map(Geofence::Polygon)
    } else {
        let centre = required_position(&mut table);
        let radius_m = table.required("radius", number, 1.0);
        Some(Geofence::Circle { centre, radius_m })
    };
    table.finish();
    geofence
}

fn corner(value: &DeValue<'_>) -> Read<Position> {
    let corner = value.as_array().filter(|pair| pair.len() == 2).and_then(|pair| {
        let mut degrees = pair.iter().map(|e| number(e.get_ref()).ok());
        Position::new(degrees.next()??, degrees.next()??)
    });
    corner.ok_or_else(|| "a corner [lat, lon], -90 to 90 and -180 to 180".into())
}

fn required_position(table: &mut Table<'_>) -> Position {
    let lat = table.required("lat", number_within(-90.0..=90.0), 0.0);
    let lon = table.required("lon", number_within(-180.0..=180.0), 0.0);
    Position { lat, lon }
}

pub(super) fn checkpoint(table: &mut Table<'_>) -> Option<Checkpoint> {
    let id: CheckpointId = table.id("id")?;
    let surveyed = table.has("lat") || table.has("lon");
    Some(Checkpoint {
        name: table.optional("name", text).unwrap_or_else(|| id.to_string()),
        id,
        tag: table.optional("tag", tag),
        position: if surveyed { Some(required_position(table)) } else { unsurveyed(table) },
        sun_key: table.optional("sun_key", credential).map(|name| name.as_str().to_owned()),
    })
}

/// No position; the keys are asked for all the same, so that a misspelled one finds its neighbour.
fn unsurveyed(table: &mut Table<'_>) -> Option<Position> {
    let (lat, lon) = (table.optional("lat", number), table.optional("lon", number));
    Position::new(lat?, lon?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::site::tests::{problems, site};

    #[test]
    fn a_polygon_is_a_list_of_corners() {
        let site = site("geofence = { polygon = [[12.97, 77.59], [12.98, 77.59], [12.98, 77.60]] }");
        let Some(Geofence::Polygon(corners)) = &site.geofence else { panic!("no polygon") };
        assert_eq!(corners[2], Position { lat: 12.98, lon: 77.60 });
    }

    #[test]
    fn a_fence_is_one_of_the_two_and_on_the_globe() {
        let found =
            problems("geofence = { polygon = [[91.0, 0.0], [1, 2, 3], [0, 0], [0, 1], [1, 0]], radius = 3 }");
        let keys: Vec<_> = found.iter().map(|p| p.split(": ").nth(1).unwrap()).collect();
        assert_eq!(keys, ["site.geofence.polygon[0]", "site.geofence.polygon[1]", "site.geofence.radius"]);
        let found = problems("geofence = { lat = 12.9, lon = 77.5, radius = 0 }");
        assert_eq!(found, ["site.toml:7: site.geofence.radius: found 0, allowed: 1 to 100000 metres"]);
    }

    #[test]
    fn half_a_position_is_none() {
        let found = problems("[[checkpoints]]\nid = \"gate\"\nlat = 12.9\n");
        assert_eq!(
            found,
            ["site.toml:7: checkpoints[0].lon: found nothing, allowed: a number from -180 to 180"]
        );
    }
}
