//! What the store is given to do: heartbeats of a whole site, and snapshots of a real size.

use super::Failure;
use super::devices::{DEVICES, payload};
use std::path::Path;
use std::sync::Arc;
use vigil_agent::simulate::{Scenario, site_toml};
use vigil_agent::sources::decode;
use vigil_agent::store::Draft;
use vigil_core::engine::Engine;
use vigil_core::observation::Observation;
use vigil_core::site::Site;
use vigil_core::time::{Span, Timestamp};

/// The pump's own pace.
pub const SNAPSHOT_INPUTS: usize = 20_000;

/// When the first heartbeat comes.
pub const BEGAN: Timestamp = Timestamp::from_millis(1_800_000_000_000);

/// An engine whose windows are full, for snapshots of a real size.
pub fn full_engine() -> Result<Engine, Failure> {
    let scenario = Scenario::sized(DEVICES, 240, 1);
    let text = site_toml(&scenario);
    let site =
        vigil_config::parse_site(Path::new("site.toml"), text.as_bytes()).map_err(|p| p.to_string())?;
    let mut engine = Engine::new(Arc::new(site), scenario.starts_at);
    for message in vigil_agent::simulate::Night::of(&scenario) {
        let decoded = decode::message(engine.site(), message.at, &message.topic, message.payload.as_bytes());
        decoded.observations.into_iter().for_each(|o| drop(engine.on_observation(o)));
    }
    Ok(engine)
}

/// A commit that holds a snapshot of it.
pub fn snapshot(engine: &Engine) -> Result<Draft, Failure> {
    Ok(Draft { snapshot: Some(((**engine.site()).clone(), engine.snapshot()?)), ..Draft::default() })
}

/// So many heartbeats from number `first` on, one every `apart`.
pub fn heartbeats(
    site: &Site,
    first: usize,
    events: usize,
    apart: Span,
) -> Result<Vec<Observation>, Failure> {
    let mut all = Vec::with_capacity(events);
    for n in first..first + events {
        let topic = format!("vigil/v1/plant-7/hs-G-{}/heartbeat", n % DEVICES + 1);
        let received_at = BEGAN + Span::from_millis(apart.millis() * i64::try_from(n)?);
        all.extend(decode::message(site, received_at, &topic, &payload(1, 0, n)?).observations);
    }
    if all.len() == events { Ok(all) } else { Err("a heartbeat was refused".into()) }
}
