//! What a site file says to somebody who looks at an alert: the fence and the checkpoints for its plan, and from which score on
//! a guard counted as inactive. Its tags and keys stay here.

use crate::ledger::{Database, LedgerError, args};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use vigil_cloud_sync::bundle::content;
use vigil_core::policy::Inactivity;
use vigil_core::time::Timestamp;

/// The ground of a site, as its newest file has it.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
pub struct Ground {
    /// Of which version of the file.
    version: i64,
    /// Where the site ends, if that was said.
    geofence: Option<Fence>,
    /// The places to visit whose position was surveyed.
    checkpoints: Vec<Spot>,
}

/// The fence of a site, as its file has it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
enum Fence {
    /// At least three corners, each a latitude and a longitude.
    Polygon { polygon: Vec<[f64; 2]> },
    /// A middle, and a radius in metres.
    Circle { lat: f64, lon: f64, radius: f64 },
}

/// A place to visit.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
struct Spot {
    id: String,
    name: String,
    lat: f64,
    lon: f64,
}

/// What is read of the tree of a site.
#[derive(Deserialize)]
struct Tree {
    site: Named,
    #[serde(default)]
    checkpoints: Vec<Surveyed>,
    #[serde(default)]
    layers: Layers,
    #[serde(default)]
    policy: Figures,
}

/// The figures of the tenant and of the client, below those of the site.
#[derive(Default, Deserialize)]
struct Layers {
    #[serde(default)]
    tenant: Figures,
    #[serde(default)]
    client: Figures,
}

#[derive(Default, Deserialize)]
struct Figures {
    #[serde(default)]
    inactivity: Stillness,
}

#[derive(Default, Deserialize)]
struct Stillness {
    threshold: Option<f64>,
}

/// From which score on a guard counted as inactive.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, JsonSchema)]
pub struct Threshold {
    /// By which version of the site file.
    version: i64,
    /// From 0 to 1.
    score: f64,
}

#[derive(Deserialize)]
struct Named {
    geofence: Option<Fence>,
}

#[derive(Deserialize)]
struct Surveyed {
    id: String,
    name: Option<String>,
    lat: Option<f64>,
    lon: Option<f64>,
}

impl Surveyed {
    fn spot(self) -> Option<Spot> {
        let (lat, lon) = self.lat.zip(self.lon)?;
        Some(Spot { name: self.name.unwrap_or_else(|| self.id.clone()), id: self.id, lat, lon })
    }
}

/// The ground of a site; `None` if no file was given for it.
pub fn ground(database: &mut dyn Database, place: &str) -> Result<Option<Ground>, LedgerError> {
    let sql = "SELECT version, sealed FROM site_files WHERE place = $1 ORDER BY version DESC LIMIT 1";
    let Some(mut row) = database.one(sql, args![place])? else { return Ok(None) };
    let (version, sealed) = (row.int(0)?, row.text(1)?);
    Ok(tree(place, &sealed).map(|Tree { site, checkpoints, .. }| Ground {
        version,
        geofence: site.geofence,
        checkpoints: checkpoints.into_iter().filter_map(Surveyed::spot).collect(),
    }))
}

/// The threshold of what was judged at `judged_at` by a gateway that has bundle `in_use` now: the newest version then, unless the
/// gateway has stayed with an older one.
pub fn threshold(
    database: &mut dyn Database,
    place: &str,
    judged_at: Timestamp,
    in_use: i64,
) -> Result<Option<Threshold>, LedgerError> {
    let sql = "SELECT version, sealed FROM site_files WHERE place = $1 AND at_ms <= $2 AND version <= $3
               ORDER BY version DESC LIMIT 1";
    let Some(mut row) = database.one(sql, args![place, judged_at, in_use])? else { return Ok(None) };
    let (version, sealed) = (row.int(0)?, row.text(1)?);
    // The site says it before its client, the client before the tenant; else it is what it is without a word of anybody.
    let without = || f64::from(Inactivity::default().threshold.get()) / 1_000.0;
    Ok(tree(place, &sealed).map(|Tree { layers, policy, .. }| {
        let mut said = [policy, layers.client, layers.tenant].into_iter();
        let score = said.find_map(|figures| figures.inactivity.threshold).unwrap_or_else(without);
        Threshold { version, score }
    }))
}

/// The tree of a bundle that this receiver sealed. One that cannot be read costs the plan, and not the alert.
fn tree(place: &str, sealed: &str) -> Option<Tree> {
    let read = content(sealed.as_bytes()).map(serde_json::from_str);
    match read {
        Ok(Ok(tree)) => Some(tree),
        Ok(Err(why)) => {
            tracing::warn!(place, %why, "the ground of a site cannot be read");
            None
        }
        Err(why) => {
            tracing::warn!(place, %why, "the ground of a site cannot be read");
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ledger::Ledger;
    use crate::ledger::houses::House;
    use crate::sites::store::{self, Given};
    use crate::sites::tests::{given, press};
    use serde_json::{Value, json};
    use vigil_core::id::{SiteId, TenantId};
    use vigil_core::time::Span;

    fn give(ledger: &mut Ledger, after: i64, geofence: &Value, checkpoints: &Value) {
        let (tenant, site) = (TenantId::new("acme").unwrap(), SiteId::new("plant-7").unwrap());
        let mut text =
            json!({"site": {"id": "plant-7", "tenant": "acme", "client": "north", "geofence": geofence}});
        text["checkpoints"] = checkpoints.clone();
        let given = given("ada", after);
        store::give_site(ledger.database(), &press(), (&tenant, &site), &text.to_string(), &given).unwrap();
    }

    #[test]
    fn the_ground_is_that_of_the_newest_file_and_has_no_tags() {
        for house in House::both() {
            let mut ledger = house.open();
            let place = "acme/plant-7";
            assert_eq!(ground(ledger.database(), place).unwrap(), None);
            let circle = json!({"lat": 12.9716, "lon": 77.5946, "radius": 300.0});
            let checkpoints = json!([
                {"id": "gate", "name": "Main gate", "tag": "04AA0000", "lat": 12.973, "lon": 77.5946},
                {"id": "boiler", "tag": "04AA0001"},
                {"id": "shed", "lat": 12.971, "lon": 77.594}
            ]);
            give(&mut ledger, 0, &circle, &checkpoints);
            let found = serde_json::to_value(ground(ledger.database(), place).unwrap()).unwrap();
            let spots = json!([
                {"id": "gate", "name": "Main gate", "lat": 12.973, "lon": 77.5946},
                {"id": "shed", "name": "shed", "lat": 12.971, "lon": 77.594}
            ]);
            assert_eq!(found, json!({"version": 1, "geofence": circle, "checkpoints": spots}));
            let polygon = json!({"polygon": [[12.97, 77.59], [12.98, 77.59], [12.98, 77.6]]});
            give(&mut ledger, 1, &polygon, &json!([]));
            let found = serde_json::to_value(ground(ledger.database(), place).unwrap()).unwrap();
            assert_eq!(found, json!({"version": 2, "geofence": polygon, "checkpoints": []}));
            // What cannot be read costs no more than the plan.
            give(&mut ledger, 2, &json!("everywhere"), &json!([]));
            assert_eq!(ground(ledger.database(), place).unwrap(), None);
        }
    }

    #[test]
    fn the_threshold_is_that_of_the_version_that_was_in_use_and_the_site_has_the_last_word() {
        let inactive = |threshold: f64| json!({"inactivity": {"threshold": threshold}});
        for house in House::both() {
            let mut ledger = house.open();
            let (tenant, site) = (TenantId::new("acme").unwrap(), SiteId::new("plant-7").unwrap());
            let said = [
                json!({}),
                json!({"layers": {"tenant": inactive(0.7)}}),
                json!({"layers": {"tenant": inactive(0.7), "client": inactive(0.75)}}),
                json!({"layers": {"tenant": inactive(0.7), "client": inactive(0.75)}, "policy": inactive(0.9)}),
            ];
            for (after, more) in (0..).zip(&said) {
                let mut text = json!({"site": {"id": "plant-7", "tenant": "acme", "client": "north"}});
                text.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
                let given = given("ada", after);
                let at = given.at + Span::from_hours(after);
                let (given, text) = (Given { at, ..given }, text.to_string());
                store::give_site(ledger.database(), &press(), (&tenant, &site), &text, &given).unwrap();
            }
            let mut by = |hours: i64, in_use: i64| {
                let at = given("ada", 0).at + Span::from_hours(hours);
                threshold(ledger.database(), "acme/plant-7", at, in_use)
                    .unwrap()
                    .map(|t| (t.version, t.score))
            };
            assert_eq!(by(-1, 4), None, "no file was given then");
            let whole = [by(0, 4), by(1, 4), by(2, 4), by(3, 4)];
            assert_eq!(whole, [Some((1, 0.8)), Some((2, 0.7)), Some((3, 0.75)), Some((4, 0.9))]);
            assert_eq!(by(3, 2), Some((2, 0.7)), "the gateway went back to the second");
        }
    }
}
