//! The site file of a scenario: as text for a real agent, and as the rules see it for tests.

use super::night::tag;
use super::patrol::Place;
use super::scenario::{DAY, Scenario, ScriptedTour};
use std::fmt::Write as _;
use std::path::Path;
use vigil_config::{Problems, parse_site};
use vigil_core::site::{Position, Site};
use vigil_core::time::{Span, Timestamp};

/// The radius of the geofence in metres: well outside the circle of checkpoints and the error of a fix.
const GEOFENCE_M: f64 = 300.0;
/// How long a run may take: twice the slowest walk around the circle.
const DURATION: Span = Span::from_mins(40);

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
    let Position { lat, lon } = scenario.centre;
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
    /// The same site as the rules see it: read from its text, as a real agent does.
    pub fn site(&self) -> Result<Site, Problems> {
        parse_site(Path::new("simulated site.toml"), site_toml(self).as_bytes())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use vigil_core::policy::Policy;
    use vigil_core::time::LocalTime;

    #[test]
    fn the_text_is_what_the_scenario_says() {
        let scenario = Scenario::demo();
        let site = scenario.site().unwrap();
        assert_eq!((site.guards.len(), site.devices.len(), site.checkpoints.len()), (6, 6, 8));
        assert_eq!((site.timezone, &site.policy), (scenario.timezone, &Policy::default()));
        let [perimeter, stores] = site.tours.as_slice() else { panic!("two tours") };
        assert_eq!(perimeter.start[0], LocalTime::parse("21:15").unwrap());
        assert_eq!(
            (perimeter.start.len(), perimeter.checkpoints.len(), perimeter.duration),
            (8, 8, DURATION)
        );
        assert_eq!(stores.guard.as_ref().unwrap().as_str(), "G-2");
        assert!(site.shifts.iter().all(|shift| shift.id.as_str().starts_with("night-G-")));
    }

    #[test]
    fn every_checkpoint_lies_within_the_fence_and_has_a_tag_of_its_own() {
        let site = Scenario::quiet_night().site().unwrap();
        for (index, place) in site.checkpoints.iter().enumerate() {
            assert_eq!(place.tag.as_ref().unwrap().as_str(), tag(index));
            assert!((place.position.unwrap().lat - 12.9716).abs() < GEOFENCE_M / 111_320.0);
        }
    }

    #[test]
    fn large_sites_are_whole() {
        let site = Scenario::sized(200, 60, 1).site().unwrap();
        assert_eq!((site.guards.len(), site.tours.len()), (200, 200));
    }

    #[test]
    fn names_that_no_site_file_takes_are_refused() {
        let scenario = Scenario { site: "plant \"7\"".into(), ..Scenario::demo() };
        assert!(scenario.site().is_err());
    }
}
