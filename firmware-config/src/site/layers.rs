//! Three layers of figures, tenant < client < site, laid on each other key by key.

use crate::problem::Problems;
use crate::sheet::Sheet;
use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};
use vigil_core::figures::{FIGURES, Figure, FigureValue};
use vigil_core::policy::{Invalid, Maintenance, Policy, PolicyParts};

/// Who says something of a figure, from the weakest to the strongest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Layer {
    /// Whoever has the contract with the guards: `[layers.tenant]`.
    Tenant,
    /// Whose sites they guard: `[layers.client]`.
    Client,
    /// The site itself: `[policy]`.
    Site,
}

impl Layer {
    /// Every layer, the weakest first.
    pub const ALL: [Self; 3] = [Self::Tenant, Self::Client, Self::Site];

    /// The name that people use.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Tenant => "tenant",
            Self::Client => "client",
            Self::Site => "site",
        }
    }

    /// Where a figure stands in the tree of the site.
    pub fn path(self, key: &str) -> String {
        match self {
            Self::Site => format!("policy.{key}"),
            Self::Tenant | Self::Client => format!("layers.{self}.{key}"),
        }
    }
}

impl fmt::Display for Layer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// What a layer says, and where.
#[derive(Debug, Clone, PartialEq)]
pub struct Said<T> {
    /// What.
    pub value: T,
    /// Who.
    pub layer: Layer,
    /// In which file.
    pub file: PathBuf,
    /// On which line, from 1.
    pub line: Option<usize>,
}

/// What one layer says, or several that lie on each other.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Overlay {
    pub(super) figures: BTreeMap<&'static str, Said<FigureValue>>,
    pub(super) maintenance: Vec<Said<Maintenance>>,
}

impl Overlay {
    /// What is said of the figure at `key`.
    pub fn figure(&self, key: &str) -> Option<&Said<FigureValue>> {
        self.figures.get(key)
    }

    /// Every maintenance interval.
    pub fn maintenance(&self) -> &[Said<Maintenance>] {
        &self.maintenance
    }

    /// This layer on a weaker one: its figures win key by key. Maintenance intervals add up, because each is an
    /// appointment of its own: one of the site does not call off one of the tenant.
    #[must_use]
    pub fn on(self, weaker: Self) -> Self {
        let mut both = weaker;
        both.figures.extend(self.figures);
        both.maintenance.extend(self.maintenance);
        both
    }

    /// The layer and the line of the strongest word on any of these figures, and the last of it.
    fn strongest(&self, figures: &[&Figure]) -> Option<(Layer, Option<usize>)> {
        let said = figures.iter().filter_map(|figure| self.figure(figure.key));
        said.map(|said| (said.layer, said.line)).max()
    }

    /// The figures of the trade with these laid on them.
    pub fn parts(&self) -> PolicyParts {
        let mut parts = PolicyParts::default();
        for figure in FIGURES {
            if let Some(said) = self.figures.get(figure.key) {
                figure.set(&mut parts, said.value);
            }
        }
        parts.maintenance = self.maintenance.iter().map(|said| said.value.clone()).collect();
        parts
    }
}

/// The layers of a site, each as it was written.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Layers {
    /// The weakest.
    pub tenant: Overlay,
    /// The one between.
    pub client: Overlay,
    /// The strongest.
    pub site: Overlay,
}

impl Layers {
    /// What one layer says.
    pub const fn of(&self, layer: Layer) -> &Overlay {
        match layer {
            Layer::Tenant => &self.tenant,
            Layer::Client => &self.client,
            Layer::Site => &self.site,
        }
    }

    /// All three as one.
    pub fn merged(&self) -> Overlay {
        self.site.clone().on(self.client.clone()).on(self.tenant.clone())
    }

    /// The policy that they come to, or a stand-in and what is wrong with it, noted in `sheet`.
    pub(super) fn policy(&self, sheet: &Sheet) -> Policy {
        let merged = self.merged();
        Policy::new(merged.parts()).unwrap_or_else(|found| {
            for problem in found {
                match problem.path.strip_prefix("policy.maintenance[") {
                    Some(_) => refuse_interval(sheet, &merged, problem),
                    None => self.refuse(sheet, &merged, problem),
                }
            }
            Policy::default()
        })
    }

    /// Notes a problem at the place of the strongest layer that has a part in it, and names the other places.
    fn refuse(&self, sheet: &Sheet, merged: &Overlay, problem: Invalid) {
        let Invalid { path, found, mut allowed, beside } = problem;
        let key = path.trim_start_matches("policy.");
        let own = figures_at(key);
        let others = beside.iter().flat_map(|path| figures_at(path.trim_start_matches("policy.")));
        let all: Vec<&Figure> = own.iter().copied().chain(others).collect();
        let in_doubt = |figure: &&Figure| Layer::ALL.iter().any(|l| sheet.is_in_doubt(&l.path(figure.key)));
        if all.iter().any(in_doubt) {
            return;
        }
        let mine = merged.strongest(&own);
        let Some(place) = mine.or_else(|| merged.strongest(&all)) else { return };
        for figure in all {
            let Some(said) = merged.figure(figure.key).filter(|s| (s.layer, s.line) != place) else {
                continue;
            };
            let line = said.line.map(|line| format!(":{line}")).unwrap_or_default();
            let path = said.layer.path(figure.key);
            allowed.push_str(&format!("; {path} is set at {}{line}", said.file.display()));
        }
        let (layer, line) = place;
        match mine {
            Some(_) => sheet.refuse_at(line, &layer.path(key), found, allowed),
            None => sheet.refuse_at(line, &path, format!("{found} by default"), allowed),
        }
    }
}

/// The figures at or below `key`.
fn figures_at(key: &str) -> Vec<&'static Figure> {
    let below = |f: &&Figure| f.key.strip_prefix(key).is_some_and(|r| r.is_empty() || r.starts_with('.'));
    FIGURES.iter().filter(below).collect()
}

/// The core counts the intervals of all layers, and calls their ends `starts_at` and `ends_at`.
fn refuse_interval(sheet: &Sheet, merged: &Overlay, problem: Invalid) {
    let Some((index, rest)) = problem.path.trim_start_matches("policy.maintenance[").split_once(']') else {
        return;
    };
    let index: usize = index.parse().unwrap_or(0);
    let Some(said) = merged.maintenance.get(index) else { return };
    let before = merged.maintenance.iter().take(index).filter(|other| other.layer == said.layer).count();
    let rest = rest.replace("ends_at", "to");
    let path = format!("{}[{before}]{rest}", said.layer.path("maintenance"));
    if !sheet.is_in_doubt(&path) {
        let found = sheet.written_at(&path).unwrap_or(problem.found);
        sheet.refuse(&path, found, problem.allowed.replace("starts_at", "from"));
    }
}

/// Reads the layers of a site file; every problem of the file at once.
pub fn load_layers(file: &Path) -> Result<Layers, Problems> {
    parse_layers(file, &crate::sheet::read_file(file)?)
}

/// Reads the layers from the text of a site file as if it stood in `file`.
pub fn parse_layers(file: &Path, text: &[u8]) -> Result<Layers, Problems> {
    Sheet::approve(super::draft(file, text)).map(|(_, layers)| layers)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::site::tests::{HEAD, problems, site};
    use proptest::prelude::*;
    use std::sync::OnceLock;
    use vigil_core::figures::FigureKind;
    use vigil_core::time::{LocalTime, Span};

    fn layers(rest: &str) -> Layers {
        parse_layers(Path::new("site.toml"), format!("{HEAD}{rest}").as_bytes()).unwrap()
    }

    #[test]
    fn the_stronger_word_wins_key_by_key_in_nested_tables_too() {
        let text = "[layers.tenant.inactivity]\nwindow = \"4h\"\ncycle = \"10m\"\nhours = { from = \"18:00\", to = \"07:00\" }\n\
                    [layers.client]\ninactivity.window = \"3h\"\ntasks.sla = { critical = \"10m\", low = \"3h\" }\n\
                    [policy]\ninactivity.hours = { from = \"19:00\" }\n[policy.tasks]\nsla.low = \"4h\"\n";
        let policy = site(text).policy.clone();
        assert_eq!(
            (policy.inactivity.window, policy.inactivity.cycle),
            (Span::from_hours(3), Span::from_mins(10))
        );
        assert_eq!(policy.inactivity.hours.from, LocalTime::hour(19));
        assert_eq!(policy.inactivity.hours.to, LocalTime::hour(7));
        assert_eq!(
            (policy.tasks.sla_critical, policy.tasks.sla_low),
            (Span::from_mins(10), Span::from_hours(4))
        );
        assert_eq!(policy.tasks.sla_high, Span::from_mins(30));
        let said = layers(text).merged().figure("inactivity.window").cloned().unwrap();
        assert_eq!(
            (said.layer, said.line, said.file.as_path()),
            (Layer::Client, Some(12), Path::new("site.toml"))
        );
    }

    #[test]
    fn maintenance_of_every_layer_adds_up() {
        let interval = |layer: &str, hour: u8, rules: &str| {
            format!(
                "[[{layer}.maintenance]]\nfrom = 2026-03-10T{hour}:00:00Z\nto = 2026-03-10T20:00:00Z\n{rules}\n"
            )
        };
        let both = interval("layers.tenant", 11, "") + &interval("policy", 10, "");
        let starts: Vec<_> = site(&both).policy.maintenance.iter().map(|m| m.starts_at.to_string()).collect();
        assert_eq!(starts, ["2026-03-10T11:00:00.000Z", "2026-03-10T10:00:00.000Z"]);
        let wrong = interval("policy", 10, "")
            + &interval("layers.client", 11, "")
            + &interval("layers.client", 21, "")
            + &interval("policy", 12, "rules = [\"sos\"]");
        assert_eq!(
            problems(&wrong),
            [
                "site.toml:17: layers.client.maintenance[1].to: found 2026-03-10T20:00:00Z, allowed: an instant after from",
                "site.toml:22: policy.maintenance[1].rules: found sos, allowed: any rule but sos and man_down, which are \
             never muted",
            ]
        );
    }

    #[test]
    fn what_only_the_layers_together_make_wrong_is_named_at_every_place() {
        let cases = [
            (
                "[layers.tenant.inactivity]\ncycle = \"16m\"\n[policy.inactivity]\nwindow = \"2h\"\n",
                "site.toml:10: policy.inactivity.window: found \"2h\", allowed: a whole multiple of cycle (16m); \
                 layers.tenant.inactivity.cycle is set at site.toml:8",
            ),
            (
                "[layers.client.inactivity]\ncycle = \"16m\"\n",
                "site.toml:8: policy.inactivity.window: found 2h by default, allowed: a whole multiple of cycle (16m)",
            ),
            (
                "[layers.tenant.inactivity]\nweights = { phone = 0.5 }\n[layers.client.inactivity]\n\
                 weights = { tours = 0.3 }\n",
                "site.toml:10: layers.client.inactivity.weights: found a sum of 1.350, allowed: four weights whose sum is \
                 1.0; layers.tenant.inactivity.weights.phone is set at site.toml:8",
            ),
            (
                "[layers.tenant.devices]\nbattery_low = 0.3\n[layers.client.devices]\nbattery_ok = 0.25\n",
                "site.toml:10: layers.client.devices.battery_ok: found 0.25, allowed: at least battery_low; \
                 layers.tenant.devices.battery_low is set at site.toml:8",
            ),
            (
                "[layers.client.devices]\nbattery_low = 0.3\n",
                "site.toml:8: policy.devices.battery_ok: found 0.2 by default, allowed: at least battery_low",
            ),
        ];
        for (text, expected) in cases {
            let found = problems(text);
            assert_eq!(found.len(), 1, "{found:#?}");
            assert!(found[0].starts_with(expected), "{found:#?}\n{expected}");
        }
    }

    #[test]
    fn a_layer_is_read_as_strictly_as_the_site() {
        assert_eq!(
            problems(
                "[layers.tenant.inactivity]\nwindo = \"2h\"\nthreshold = 7\n[layers.clients]\n[policy.inactivity]\n\
                 threshold = 0.9\n"
            ),
            [
                "site.toml:8: layers.tenant.inactivity.windo: unknown key; did you mean \"window\"?",
                "site.toml:9: layers.tenant.inactivity.threshold: found 7, allowed: a number from 0.001 to 1.0",
                "site.toml:10: layers.clients: unknown key; did you mean \"client\"?",
            ]
        );
    }

    /// A line that gives the figure another value than its default, with what has to go with it.
    fn another(figure: &Figure) -> String {
        let now = figure.get(&mut PolicyParts::default());
        let value = match (figure.key, figure.kind()) {
            ("inactivity.cycle", _) => "\"10m\"".into(),
            ("inactivity.window", _) => "\"3h\"".into(),
            ("inactivity.weights.phone", _) => "0.3\ninactivity.weights.movement = 0.2".into(),
            (key, _) if key.starts_with("inactivity.weights.") => {
                let FigureValue::Share(share) = now else { panic!("a weight is a share") };
                format!("{}\ninactivity.weights.phone = 0.1", f64::from(share.get() + 100) / 1_000.0)
            }
            ("devices.battery_low", _) => "0.1".into(),
            (_, FigureKind::Span | FigureKind::SpanOrOff) => {
                let spans = ["\"7s\"", "\"11m\"", "\"3h\""];
                let admitted = |text: &&str| {
                    let span = Span::parse(text.trim_matches('"')).unwrap();
                    figure.admits(FigureValue::Span(span)) && FigureValue::Span(span) != now
                };
                spans.into_iter().find(admitted).unwrap().into()
            }
            (_, FigureKind::Share) => "0.777".into(),
            (_, FigureKind::Whole) => "17".into(),
            (_, FigureKind::Number) => "37.5".into(),
            (_, FigureKind::Flag) => if now == FigureValue::Flag(true) { "false" } else { "true" }.into(),
            (_, FigureKind::Clock) => "\"11:11\"".into(),
            (_, FigureKind::Name) => {
                let names = figure.names().into_iter().map(|name| format!("\"{name}\""));
                names.into_iter().find(|name| *name != now.to_string()).unwrap()
            }
        };
        format!("{} = {value}", figure.key)
    }

    /// In every layer, and from a file: a key that nobody reads would be found here.
    #[test]
    fn every_key_takes_effect_in_every_layer() {
        for figure in FIGURES {
            let default = figure.get(&mut PolicyParts::default());
            for (table, layer) in
                [("layers.tenant", Layer::Tenant), ("layers.client", Layer::Client), ("policy", Layer::Site)]
            {
                let text = format!("[{table}]\n{}\n", another(figure));
                let mut parts = PolicyParts::clone(&site(&text).policy);
                assert_ne!(figure.get(&mut parts), default, "{text}");
                assert_eq!(layers(&text).merged().figure(figure.key).unwrap().layer, layer, "{text}");
            }
        }
    }

    /// Every key of the policy that contract 3 names.
    #[test]
    fn every_key_of_the_contract_is_there() {
        let contract = [
            (
                "inactivity",
                "monitor cycle window threshold consecutive deep_night expectation weights min_movement welfare_check hours",
            ),
            ("tasks", "sla sla.critical auto_escalate escalation_delay critical_overdue_severity"),
            (
                "tours",
                "grace early require_all_checkpoints min_checkpoint_percentage tour_missed_severity mandatory_enforcement",
            ),
            ("attendance", "mode check_in_grace max_break max_duty overtime_grace"),
            ("devices", "silent_after battery_low max_clock_skew"),
            ("fraud", "max_speed_kmh max_scan_speed network_mismatch"),
        ];
        for (table, keys) in contract {
            for key in keys.split(' ') {
                assert!(!figures_at(&format!("{table}.{key}")).is_empty(), "policy.{table}.{key}");
            }
        }
        let tree = "[[policy.maintenance]]\nfrom = 2026-03-10T10:00:00Z\nto = 2026-03-10T20:00:00Z\n";
        assert_eq!(site(tree).policy.maintenance.len(), 1);
    }

    /// For each figure a value that is not its default.
    fn other_values() -> &'static [FigureValue] {
        static VALUES: OnceLock<Vec<FigureValue>> = OnceLock::new();
        let value = |figure: &Figure| {
            let said = layers(&format!("[policy]\n{}\n", another(figure)));
            said.site.figure(figure.key).unwrap().value
        };
        VALUES.get_or_init(|| FIGURES.iter().map(value).collect())
    }

    /// An overlay that says some things, at lines that tell them apart.
    fn overlay(layer: Layer) -> impl Strategy<Value = Overlay> {
        let said = move |value| Said { value, layer, file: "f".into(), line: Some(layer as usize) };
        let figures = prop::collection::btree_set(0..FIGURES.len(), 0..FIGURES.len());
        let figures = figures.prop_map(move |chosen| {
            chosen.into_iter().map(|at| (FIGURES[at].key, said(other_values()[at]))).collect()
        });
        let intervals = prop::collection::vec(any::<u16>(), 0..3);
        (figures, intervals).prop_map(move |(figures, starts)| {
            let interval = |start: u16| Maintenance {
                starts_at: vigil_core::time::Timestamp::from_millis(i64::from(start)),
                ends_at: vigil_core::time::Timestamp::from_millis(i64::from(start) + 1),
                rules: vec![],
            };
            let maintenance = starts.into_iter().map(|start| Said {
                value: interval(start),
                layer,
                file: "f".into(),
                line: None,
            });
            Overlay { figures, maintenance: maintenance.collect() }
        })
    }

    proptest! {
        #[test]
        fn it_does_not_matter_which_two_are_laid_first(
            tenant in overlay(Layer::Tenant), client in overlay(Layer::Client), site in overlay(Layer::Site),
        ) {
            let (from_above, from_below) =
                (site.clone().on(client.clone()).on(tenant.clone()), site.clone().on(client.clone().on(tenant.clone())));
            prop_assert_eq!(&from_above, &from_below);
            prop_assert_eq!(&from_above.clone().on(Overlay::default()), &from_above);
            prop_assert_eq!(&Overlay::default().on(from_above.clone()), &from_above);
            for figure in FIGURES {
                let strongest = [&site, &client, &tenant].into_iter().find_map(|o| o.figure(figure.key));
                prop_assert_eq!(from_above.figure(figure.key), strongest);
            }
            let intervals = [&tenant, &client, &site].map(|o| o.maintenance.len()).iter().sum::<usize>();
            prop_assert_eq!(from_above.maintenance.len(), intervals);
        }

        #[test]
        fn what_nobody_says_has_the_default(site in overlay(Layer::Site)) {
            let mut parts = site.parts();
            for figure in FIGURES {
                let default = figure.get(&mut PolicyParts::default());
                let expected = site.figure(figure.key).map_or(default, |said| said.value);
                prop_assert_eq!(figure.get(&mut parts), expected);
            }
        }
    }
}
