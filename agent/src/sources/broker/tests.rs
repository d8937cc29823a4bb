use vigil_core::id::*;
use vigil_core::policy::{Policy, PolicyParts};
use vigil_core::site::*;

/// A site with two phones (the second with OwnTracks) and a Tasmota reader.
pub(super) fn site() -> Site {
    let device = |id: &str, kind, owntracks: Option<&str>, topic: Option<&str>| Device {
        id: DeviceId::new(id).unwrap(),
        kind,
        guard: None,
        checkpoint: None,
        owntracks: owntracks.map(Into::into),
        topic: topic.map(Into::into),
        fixes: FixMode::Periodic,
    };
    Site::new(SiteParts {
        id: SiteId::new("plant-7").unwrap(),
        name: "Plant 7".into(),
        tenant: TenantId::new("acme").unwrap(),
        client: ClientId::new("north").unwrap(),
        timezone: "UTC".parse().unwrap(),
        geofence: None,
        guards: vec![],
        devices: vec![
            device("phone-1", DeviceKind::Handset, None, None),
            device("phone-2", DeviceKind::Handset, Some("mira/pixel"), None),
            device("tasmota-1", DeviceKind::Gps, None, Some("tele/gate/SENSOR")),
        ],
        checkpoints: vec![],
        tours: vec![],
        shifts: vec![],
        tasks: vec![],
        policy: Policy::new(PolicyParts::default()).unwrap(),
    })
    .unwrap()
}
