//! `site.toml`: the site that this box guards, into the core's own [`Site`].

pub(crate) mod layers;
mod mappings;
mod people;
mod place;
mod policy;
mod roster;

use crate::problem::Problems;
use crate::sheet::{Sheet, read_file};
use crate::table::Table;
use crate::value::{text, zone};
use layers::Layers;
use std::path::Path;
use vigil_core::policy::Policy;
use vigil_core::site::{Site, SiteParts};

/// The most mappings: each is held against every foreign topic, and a site has a few makes of devices.
const MAX_MAPPINGS: usize = 200;

/// Reads a site file; every problem at once.
pub fn load_site(file: &Path) -> Result<Site, Problems> {
    parse_site(file, &read_file(file)?)
}

/// Reads the text of a site file as if it stood in `file`; every problem at once.
pub fn parse_site(file: &Path, text: &[u8]) -> Result<Site, Problems> {
    Sheet::approve(draft(file, text)).map(|(site, _)| site)
}

/// The site and its layers as far as they can be read, with the problems so far.
pub(crate) fn draft(file: &Path, text: &[u8]) -> (Sheet, Option<(Site, Layers)>) {
    Sheet::read(file, text, |sheet, root| {
        let layers = policy::layers(root);
        let parts = shape(root, layers.policy(sheet))?;
        let mappings = root.tables("mappings", mappings::mapping);
        if mappings.len() > MAX_MAPPINGS {
            root.refuse("mappings", format!("at most {MAX_MAPPINGS} mappings"));
        }
        let site = Site::new(parts).and_then(|site| site.with_mappings(mappings));
        let site = site.map_err(|found| sheet.refuse_all(found)).ok()?;
        Some((site, layers))
    })
}

fn shape(root: &mut Table<'_>, policy: Policy) -> Option<SiteParts> {
    let mut site = root.table("site");
    let parts = SiteParts {
        id: site.id("id")?,
        name: site.required("name", text, String::new()),
        tenant: site.id("tenant")?,
        client: site.id("client")?,
        timezone: site.required("timezone", zone, chrono_tz::UTC),
        geofence: place::geofence(&mut site),
        guards: root.tables("guards", people::guard),
        devices: root.tables("devices", people::device),
        checkpoints: root.tables("checkpoints", place::checkpoint),
        tours: root.tables("tours", roster::tour),
        shifts: root.tables("shifts", roster::shift),
        tasks: root.tables("tasks", roster::task),
        policy,
    };
    site.finish();
    Some(parts)
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    pub(crate) const HEAD: &str = "[site]\nid = \"plant-7\"\nname = \"Plant 7\"\ntenant = \"acme\"\n\
        client = \"north\"\ntimezone = \"Asia/Kolkata\"\n";

    /// A site of [`HEAD`] and `rest`, which begins on line 7.
    pub(crate) fn site(rest: &str) -> Site {
        parse_site(Path::new("site.toml"), format!("{HEAD}{rest}").as_bytes()).unwrap()
    }

    /// What is wrong with [`HEAD`] and `rest`, which begins on line 7.
    pub(crate) fn problems(rest: &str) -> Vec<String> {
        let found = parse_site(Path::new("site.toml"), format!("{HEAD}{rest}").as_bytes()).unwrap_err();
        found.as_slice().iter().map(ToString::to_string).collect()
    }

    #[test]
    fn five_mistakes_are_five_problems_each_at_its_line() {
        let rest = r#"[[guards]]
id = "G-7"
badge = "not hex"

[[devices]]
id = "hs-1"
kind = "handset"
guard = "G-8"

[[tours]]
id = "round"
checkpoints = ["gate"]
start = ["25:00", "22:00"]
duration = "40m"

[policy.inactivity]
window = "121m"
"#;
        assert_eq!(
            problems(rest),
            [
                "site.toml:9: guards[0].badge: found \"not hex\", allowed: 2 to 40 hex digits in quotes, like \"04A1B2C3\", or the number of a card without quotes",
                "site.toml:14: devices[0].guard: found \"G-8\", allowed: the id of a guard",
                "site.toml:18: tours[0].checkpoints[0]: found \"gate\", allowed: the id of a checkpoint",
                "site.toml:19: tours[0].start[0]: found \"25:00\", allowed: a time of day from \"00:00\" to \"23:59\"",
                "site.toml:23: policy.inactivity.window: found \"121m\", allowed: a whole multiple of cycle (5m)",
            ]
        );
    }

    #[test]
    fn a_problem_is_not_told_twice() {
        let found = problems("[[shifts]]\nid = \"s\"\nfrom = \"20:00\"\nto = \"06:00\"\n");
        assert_eq!(found.len(), 1, "{found:?}");
        assert!(found[0].starts_with("site.toml:7: shifts[0].guard: found nothing"), "{found:?}");
    }

    #[test]
    fn an_empty_file_names_all_that_a_site_needs() {
        let found = parse_site(Path::new("site.toml"), b"").unwrap_err();
        let keys: Vec<_> = found.as_slice().iter().map(|p| p.key.as_str()).collect();
        assert_eq!(keys, ["site.id", "site.name", "site.tenant", "site.client", "site.timezone"]);
    }
}
