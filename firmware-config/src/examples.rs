//! The commented examples, held against the code: a key or a default cannot drift away from its description.

use crate::agent::draft as agent_draft;
use crate::noc::draft as noc_draft;
use crate::sheet::Sheet;
use crate::site::draft as site_draft;
use std::collections::BTreeMap;
use std::fmt::Debug;
use std::path::Path;
use vigil_core::policy::PolicyParts;
use vigil_core::site::Site;

const AGENT: &str = include_str!("../examples/agent.toml");
const SITE: &str = include_str!("../examples/site.toml");
const NOC: &str = include_str!("../examples/noc.toml");

/// The example with every `#key = value` taken as written.
fn with_defaults_written(example: &str) -> String {
    let is_default =
        |line: &str| line.starts_with('#') && line[1..].starts_with(|c: char| c.is_ascii_lowercase());
    let lines = example.lines().map(|line| if is_default(line) { &line[1..] } else { line });
    lines.collect::<Vec<_>>().join("\n")
}

/// The text of each section, by its name without brackets; a list of tables is one section.
fn sections(example: &str) -> BTreeMap<String, String> {
    let mut sections = BTreeMap::from([(String::new(), String::new())]);
    let mut current = String::new();
    for line in example.lines() {
        let bare = line.trim_start_matches(['#', ' ']);
        if let Some((name, _)) = bare.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
            current = name.trim_start_matches('[').to_owned();
        }
        let text = sections.entry(current.clone()).or_default();
        text.push(' ');
        text.push_str(line.trim_start_matches('#'));
    }
    sections
}

fn is_described(sections: &BTreeMap<String, String>, table: &str, key: &str) -> bool {
    let path = if table.is_empty() { key.to_owned() } else { format!("{table}.{key}") };
    let is_section = sections.keys().any(|name| *name == path || name.starts_with(&format!("{path}.")));
    let around = sections.iter().filter(|(name, _)| table.starts_with(name.as_str()));
    let text = around.max_by_key(|(name, _)| name.len()).map_or("", |(_, text)| text);
    is_section || [" ", "\"", "{"].iter().any(|before| text.contains(&format!("{before}{key} =")))
}

fn holds<T: PartialEq + Debug>(example: &str, draft: fn(&Path, &[u8]) -> (Sheet, Option<T>)) -> T {
    let file = Path::new("example.toml");
    let (sheet, _) = draft(file, with_defaults_written(example).as_bytes());
    let sections = sections(example);
    // What a layer may say is what [policy] may say, and is described there.
    let own = sheet.every_known_path().into_iter().filter(|(table, _)| !table.starts_with("layers."));
    for (table, key) in own {
        assert!(is_described(&sections, &table, key), "[{table}] {key} is not in the example");
    }
    let written = Sheet::approve(draft(file, with_defaults_written(example).as_bytes())).unwrap();
    let silent = Sheet::approve(draft(file, example.as_bytes())).unwrap();
    assert_eq!(written, silent, "a default in the example is not the default in the code");
    silent
}

#[test]
fn the_agent_example_describes_every_key_and_its_default() {
    let agent = holds(AGENT, agent_draft);
    assert_eq!(agent.gateway().as_str(), "gw-1");
}

fn site_alone(file: &Path, text: &[u8]) -> (Sheet, Option<Site>) {
    let (sheet, draft) = site_draft(file, text);
    (sheet, draft.map(|(site, _)| site))
}

#[test]
fn the_site_example_describes_every_key_and_its_default() {
    let site = holds(SITE, site_alone);
    let mut policy = PolicyParts::clone(&site.policy);
    policy.maintenance.clear();
    assert_eq!(policy, PolicyParts::default());
}

#[test]
fn the_noc_example_describes_every_key_and_its_default() {
    let noc = holds(NOC, noc_draft);
    assert_eq!(noc.gateways().len(), 1);
}

/// What the example only speaks of, because a receiver does without.
#[test]
fn the_noc_example_describes_every_key_of_escalation() {
    let written = format!(
        "{NOC}\n[[contacts]]\nname = \"a\"\nwebhook = \"https://x/\"\ncredential = \"a\"\n[[escalation]]\nafter = \"5m\"\n\
         to = [\"a\"]\n[smtp]\nhost = \"localhost\"\nfrom = \"a@b.example\"\n"
    );
    let (sheet, _) = noc_draft(Path::new("example.toml"), written.as_bytes());
    let sections = sections(NOC);
    let own = ["contacts", "escalation", "smtp"];
    let known: Vec<_> =
        sheet.every_known_path().into_iter().filter(|(table, _)| own.contains(&table.as_str())).collect();
    assert_eq!(known.len(), 5 + 6 + 7);
    for (table, key) in known {
        assert!(is_described(&sections, &table, key), "[{table}] {key} is not in the example");
    }
}

#[test]
fn the_examples_belong_together() {
    let agent = holds(AGENT, agent_draft);
    let site = holds(SITE, site_alone);
    assert_eq!(crate::check_together(&agent, &site), Ok(()));
}
