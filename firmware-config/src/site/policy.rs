//! `[policy]`, and the same below `[layers]`: what one layer says, by the core's own table of figures.

use super::layers::{Layer, Layers, Overlay, Said};
use crate::table::Table;
use crate::value::{figure, instant, rule};
use std::collections::BTreeSet;
use vigil_core::figures::FIGURES;
use vigil_core::policy::Maintenance;
use vigil_core::time::Timestamp;

/// The most maintenance intervals of all layers: one a day for a year fits.
const MAX_MAINTENANCE: usize = 500;

/// The layers of the tree whose root this is.
pub(super) fn layers(root: &mut Table<'_>) -> Layers {
    let mut above = root.table("layers");
    let tenant = overlay(Layer::Tenant, above.table("tenant"));
    let client = overlay(Layer::Client, above.table("client"));
    above.finish();
    let site = overlay(Layer::Site, root.table("policy"));
    let layers = Layers { tenant, client, site };
    let merged = layers.merged();
    if let Some(last) = merged.maintenance().last().filter(|_| merged.maintenance().len() > MAX_MAINTENANCE) {
        let path = last.layer.path("maintenance");
        root.refuse_path(&path, format!("at most {MAX_MAINTENANCE} intervals in all layers"));
    }
    layers
}

fn overlay(layer: Layer, mut table: Table<'_>) -> Overlay {
    let mut overlay = Overlay::default();
    figures(layer, &mut table, "", &mut overlay);
    overlay.maintenance = table.tables("maintenance", |one| {
        let interval = interval(one);
        Some(said(layer, one, "from", interval))
    });
    table.finish();
    overlay
}

/// Takes the figures whose keys begin with `prefix`, table by table.
fn figures(layer: Layer, table: &mut Table<'_>, prefix: &str, overlay: &mut Overlay) {
    let mut opened = BTreeSet::new();
    for one in FIGURES {
        let Some(rest) = one.key.strip_prefix(prefix) else { continue };
        match rest.split_once('.') {
            None => {
                if let Some(value) = table.optional(rest, figure(one)) {
                    overlay.figures.insert(one.key, said(layer, table, rest, value));
                }
            }
            Some((name, _)) if opened.insert(name) => {
                let mut below = table.table(name);
                figures(layer, &mut below, &format!("{prefix}{name}."), overlay);
                below.finish();
            }
            Some(_) => {}
        }
    }
}

fn said<T>(layer: Layer, table: &Table<'_>, key: &str, value: T) -> Said<T> {
    Said { value, layer, file: table.file().into(), line: table.line_of(key) }
}

fn interval(table: &mut Table<'_>) -> Maintenance {
    let starts_at = table.required("from", instant, Timestamp::default());
    let ends_at = table.required("to", instant, starts_at.just_after());
    let rules = table.list("rules", rule);
    // Who empties the list to end the silence would silence everything.
    if rules.as_ref().is_some_and(Vec::is_empty) {
        table.refuse("rules", "at least one rule, or no such key for all of them");
    }
    let rules = rules.unwrap_or_default();
    Maintenance { starts_at, ends_at, rules }
}

#[cfg(test)]
mod tests {
    use crate::site::tests::{problems, site};
    use vigil_core::alert::{Rule, Severity};
    use vigil_core::policy::{Inactivity, Policy, PolicyParts};
    use vigil_core::time::{LocalTime, Span};

    #[test]
    fn without_a_policy_the_defaults_hold() {
        assert_eq!(site("").policy, Policy::new(PolicyParts::default()).unwrap());
    }

    #[test]
    fn an_empty_list_of_rules_does_not_mute_them_all() {
        let found = problems(
            "[[policy.maintenance]]\nfrom = \"2026-03-10T20:00:00Z\"\nto = \"2026-03-10T21:00:00Z\"\nrules = []\n",
        );
        assert!(found.iter().any(|problem| problem.contains("at least one rule")), "{found:?}");
    }

    #[test]
    fn a_key_changes_nothing_but_itself() {
        let site = site(
            "[policy.inactivity]\nhours = { from = \"19:00\" }\nwelfare_check = \"2m\"\n\
             weights = { phone = 0.3, movement = 0.2 }\n\
             [policy.tasks]\nsla = { low = \"3h\" }\ncritical_overdue_severity = \"HIGH\"\n",
        );
        let mut expected = PolicyParts::default();
        expected.inactivity.hours.from = LocalTime::hour(19);
        expected.inactivity.welfare_check = Some(Span::from_mins(2));
        let Inactivity { weights, .. } = &mut expected.inactivity;
        std::mem::swap(&mut weights.phone, &mut weights.movement);
        expected.tasks.sla_low = Span::from_hours(3);
        expected.tasks.critical_overdue_severity = Severity::High;
        assert_eq!(site.policy, Policy::new(expected).unwrap());
    }

    #[test]
    fn maintenance_has_an_order_and_never_mutes_a_cry_for_help() {
        let interval = |to: &str, rules: &str| {
            format!("[[policy.maintenance]]\nfrom = 2026-03-10T20:00:00Z\nto = {to}\nrules = [{rules}]\n")
        };
        let site = site(&interval("2026-03-10T21:00:00Z", "\"tour_missed\""));
        assert_eq!(site.policy.maintenance[0].rules, [Rule::TourMissed]);
        let found = problems(&interval("2026-03-10T19:00:00Z", "\"sos\", \"tours\""));
        assert_eq!(
            found,
            [
                "site.toml:9: policy.maintenance[0].to: found 2026-03-10T19:00:00Z, allowed: an instant after from",
                "site.toml:10: policy.maintenance[0].rules[1]: found \"tours\", allowed: the name of a rule, like \
             \"inactivity\" or \"tour_missed\"",
            ]
        );
        let found = problems(&interval("2026-03-10T21:00:00Z", "\"sos\""));
        assert_eq!(found.len(), 1, "{found:?}");
    }

    #[test]
    fn figures_out_of_range_are_named_at_their_lines() {
        let found = problems(
            "[policy.inactivity]\nthreshold = 1.5\nweights = { phone = 0.9 }\nconsecutive = 0\n\
             [policy.fraud]\nmax_speed_kmh = 0\n[policy.devices]\nbattery_ok = 0.1\n",
        );
        assert_eq!(
            found,
            [
                "site.toml:8: policy.inactivity.threshold: found 1.5, allowed: a number from 0.001 to 1.0",
                "site.toml:9: policy.inactivity.weights: found a sum of 1.700, allowed: four weights whose sum is 1.0",
                "site.toml:10: policy.inactivity.consecutive: found 0, allowed: a whole number from 1 to 100",
                "site.toml:12: policy.fraud.max_speed_kmh: found 0, allowed: a number from 1 to 2000",
                "site.toml:14: policy.devices.battery_ok: found 0.1, allowed: at least battery_low",
            ]
        );
    }
}
