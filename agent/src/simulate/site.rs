//! The site file of a scenario: as text for a real agent, and as the rules see it for tests.

use super::night::tag;
use super::patrol::Place;
use super::scenario::{DAY, Scenario, ScriptedTour};
use std::fmt::Write as _;
use vigil_core::id::{
    CheckpointId, ClientId, DeviceId, GuardId, InvalidId, InvalidTag, ShiftId, SiteId, Tag, TenantId, TourId,
};
use vigil_core::policy::Policy;
use vigil_core::site::{
    Checkpoint, Device, DeviceKind, FixMode, Geofence, Guard, InvalidSite, Shift, ShiftHours, Site,
    SiteParts, Tour, TourType,
};
use vigil_core::time::{Days, InvalidLocalTime, LocalTime, Span, Timestamp};

/// The radius of the geofence in metres: well outside the circle of checkpoints and the error of a fix.
const GEOFENCE_M: f64 = 300.0;
/// How long a run may take: twice the slowest walk around the circle.
const DURATION: Span = Span::from_mins(40);

/// A scenario with names that no site file takes.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "each says itself what it is")]
pub enum InvalidScenario {
    #[error(transparent)]
    Id(#[from] InvalidId),
    #[error(transparent)]
    Tag(#[from] InvalidTag),
    #[error(transparent)]
    Time(#[from] InvalidLocalTime),
    #[error(transparent)]
    Site(#[from] InvalidSite),
}

/// The `site.toml` of a scenario, with the default policy.
pub fn site_toml(scenario: &Scenario) -> String {
    let mut text = head(scenario);
    for (n, guard) in scenario.guards.iter().enumerate() {
        let (id, handset) = (&guard.id, guard.handset());
        add(
            &mut text,
            "guards",
            &[("id", quoted(id)), ("name", quoted(&format!("Guard {id}"))), ("badge", quoted(&badge(n)))],
        );
        add(
            &mut text,
            "devices",
            &[("id", quoted(&handset)), ("kind", quoted("handset")), ("guard", quoted(id))],
        );
    }
    for index in 0..scenario.checkpoints {
        let position = Place::of_checkpoint(scenario, index).position(scenario.centre);
        let (lat, lon) = (format!("{:.7}", position.lat), format!("{:.7}", position.lon));
        let name = quoted(&format!("Checkpoint {}", index + 1));
        let fields = [
            ("id", quoted(&checkpoint(index))),
            ("name", name),
            ("tag", quoted(&tag(index))),
            ("lat", lat),
            ("lon", lon),
        ];
        add(&mut text, "checkpoints", &fields);
    }
    for tour in &scenario.tours {
        add_tour(&mut text, scenario, tour);
    }
    for guard in &scenario.guards {
        let clock = |at: Timestamp| quoted(&at.local_clock(scenario.timezone));
        let fields = [
            ("id", quoted(&format!("night-{}", guard.id))),
            ("guard", quoted(&guard.id)),
            ("from", clock(scenario.starts_at)),
            ("to", clock(scenario.ends_at)),
        ];
        add(&mut text, "shifts", &fields);
    }
    text
}

fn head(scenario: &Scenario) -> String {
    let vigil_core::site::Position { lat, lon } = scenario.centre;
    let site = &scenario.site;
    format!(
        "[site]\nid = {site:?}\nname = \"Plant 7\"\ntenant = \"acme\"\nclient = \"north\"\ntimezone = \"{}\"\n\
         geofence = {{ lat = {lat:?}, lon = {lon:?}, radius = {GEOFENCE_M:?} }}\n",
        scenario.timezone.name()
    )
}

fn add(text: &mut String, table: &str, fields: &[(&str, String)]) {
    let lines = fields.iter().map(|(key, value)| format!("{key} = {value}\n"));
    // Writing to a string cannot fail.
    let _ = write!(text, "\n[[{table}]]\n{}", lines.collect::<String>());
}

fn add_tour(text: &mut String, scenario: &Scenario, tour: &ScriptedTour) {
    let list =
        |items: Vec<String>| format!("[{}]", items.iter().map(|i| quoted(i)).collect::<Vec<_>>().join(", "));
    let starts = starts(scenario, tour);
    let mut fields = vec![
        ("id", quoted(&tour.id)),
        ("name", quoted(&tour.name)),
        ("type", quoted(tour.kind)),
        ("mandatory", "true".to_owned()),
        ("checkpoints", list(tour.checkpoints.iter().map(|n| checkpoint(*n)).collect())),
        ("start", list(starts)),
        ("duration", quoted(&DURATION.to_string())),
    ];
    fields.extend(scenario.guards.get(tour.guard).map(|guard| ("guard", quoted(&guard.id))));
    add(text, "tours", &fields);
}

fn starts(scenario: &Scenario, tour: &ScriptedTour) -> Vec<String> {
    let within = tour.starts.iter().filter(|start| **start < DAY);
    within.map(|start| (scenario.starts_at + *start).local_clock(scenario.timezone)).collect()
}

fn quoted(text: &str) -> String {
    format!("{text:?}")
}

fn checkpoint(index: usize) -> String {
    format!("cp-{}", index + 1)
}

fn badge(guard: usize) -> String {
    format!("AA00{:04X}", guard + 1)
}

impl Scenario {
    /// The same site as the rules see it.
    pub fn site(&self) -> Result<Site, InvalidScenario> {
        let fence = Geofence::Circle { centre: self.centre, radius_m: GEOFENCE_M };
        let parts = SiteParts {
            id: SiteId::new(&self.site)?,
            name: "Plant 7".into(),
            tenant: TenantId::new("acme")?,
            client: ClientId::new("north")?,
            timezone: self.timezone,
            geofence: Some(fence),
            guards: self.guards.iter().enumerate().map(|(n, g)| guard(n, &g.id)).collect::<Result<_, _>>()?,
            devices: self.guards.iter().map(|g| device(&g.id, &g.handset())).collect::<Result<_, _>>()?,
            checkpoints: (0..self.checkpoints).map(|n| self.place(n)).collect::<Result<_, _>>()?,
            tours: self.tours.iter().map(|tour| self.tour(tour)).collect::<Result<_, _>>()?,
            shifts: self.guards.iter().map(|g| self.shift(&g.id)).collect::<Result<_, _>>()?,
            tasks: vec![],
            policy: Policy::default(),
        };
        Ok(Site::new(parts).map_err(InvalidSite)?)
    }

    fn place(&self, index: usize) -> Result<Checkpoint, InvalidScenario> {
        Ok(Checkpoint {
            id: CheckpointId::new(&checkpoint(index))?,
            name: format!("Checkpoint {}", index + 1),
            tag: Some(Tag::new(&tag(index))?),
            position: Some(Place::of_checkpoint(self, index).position(self.centre)),
            sun_key: None,
        })
    }

    fn tour(&self, tour: &ScriptedTour) -> Result<Tour, InvalidScenario> {
        let guard = self.guards.get(tour.guard);
        Ok(Tour {
            id: TourId::new(&tour.id)?,
            name: tour.name.clone(),
            kind: if tour.kind == "PERIMETER" { TourType::Perimeter } else { TourType::Routine },
            mandatory: true,
            checkpoints: tour
                .checkpoints
                .iter()
                .map(|n| CheckpointId::new(&checkpoint(*n)))
                .collect::<Result<_, _>>()?,
            ordered: false,
            start: starts(self, tour).iter().map(|text| LocalTime::parse(text)).collect::<Result<_, _>>()?,
            days: Days::ALL,
            duration: DURATION,
            guard: guard.map(|g| GuardId::new(&g.id)).transpose()?,
            min_dwell: None,
        })
    }

    fn shift(&self, guard: &str) -> Result<Shift, InvalidScenario> {
        let clock = |at: Timestamp| LocalTime::parse(&at.local_clock(self.timezone));
        Ok(Shift {
            id: ShiftId::new(&format!("night-{guard}"))?,
            guard: GuardId::new(guard)?,
            hours: ShiftHours::Weekly {
                days: Days::ALL,
                from: clock(self.starts_at)?,
                to: clock(self.ends_at)?,
            },
            breaks: vec![],
        })
    }
}

fn guard(index: usize, id: &str) -> Result<Guard, InvalidScenario> {
    Ok(Guard { id: GuardId::new(id)?, name: format!("Guard {id}"), badge: Some(Tag::new(&badge(index))?) })
}

fn device(guard: &str, handset: &str) -> Result<Device, InvalidId> {
    Ok(Device {
        id: DeviceId::new(handset)?,
        kind: DeviceKind::Handset,
        guard: Some(GuardId::new(guard)?),
        checkpoint: None,
        owntracks: None,
        topic: None,
        fixes: FixMode::Periodic,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_text_has_only_keys_of_the_contract() {
        let allowed = [
            ("site", "id name tenant client timezone geofence"),
            ("guards", "id name badge"),
            ("devices", "id kind guard"),
            ("checkpoints", "id name tag lat lon"),
            ("tours", "id name type mandatory checkpoints start duration guard"),
            ("shifts", "id guard from to"),
        ];
        let tree: toml::Table = site_toml(&Scenario::demo()).parse().unwrap();
        assert_eq!(tree.len(), allowed.len());
        for (table, keys) in allowed {
            let first = tree[table].as_array().map_or(&tree[table], |entries| &entries[0]);
            let mut found: Vec<_> = first.as_table().unwrap().keys().map(String::as_str).collect();
            let mut wanted: Vec<_> = keys.split(' ').collect();
            found.sort_unstable();
            wanted.sort_unstable();
            assert_eq!(found, wanted, "{table}");
        }
    }

    #[test]
    fn the_text_says_what_the_rules_see() {
        let scenario = Scenario::demo();
        let (site, tree) = (scenario.site().unwrap(), site_toml(&scenario).parse::<toml::Table>().unwrap());
        let tours = tree["tours"].as_array().unwrap();
        assert_eq!(tours.len(), site.tours.len());
        for (text, tour) in tours.iter().zip(&site.tours) {
            let starts: Vec<_> = tour.start.iter().map(|s| toml::Value::from(s.to_string())).collect();
            assert_eq!(text["start"].as_array().unwrap(), &starts);
        }
        assert_eq!(tree["guards"].as_array().unwrap().len(), site.guards.len());
        assert_eq!(tree["checkpoints"].as_array().unwrap().len(), site.checkpoints.len());
        assert_eq!(tours[0]["start"][0].as_str(), Some("21:15"));
    }

    #[test]
    fn large_sites_are_whole() {
        let site = Scenario::sized(200, 60, 1).site().unwrap();
        assert_eq!((site.guards.len(), site.tours.len()), (200, 200));
    }
}
