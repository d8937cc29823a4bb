//! What the manifests, the lock file and the text about dependencies say.

use crate::tree::{none, read, table};
use std::collections::{BTreeMap, BTreeSet};
use toml::{Table, Value};

/// Each package of the workspace, and the packages of the workspace that it may depend on.
const ONE_WAY: [(&str, &[&str]); 7] = [
    ("vigil-core", &[]),
    ("vigil-listen", &[]),
    ("vigil-cloud-sync", &["vigil-core"]),
    ("vigil-config", &["vigil-core"]),
    ("vigil-noc", &["vigil-core", "vigil-cloud-sync", "vigil-listen"]),
    ("vigil-agent", &["vigil-core", "vigil-cloud-sync", "vigil-config", "vigil-listen", "vigil-noc"]),
    (
        "vigil-tests",
        &["vigil-core", "vigil-cloud-sync", "vigil-config", "vigil-listen", "vigil-noc", "vigil-agent"],
    ),
];

#[test]
fn dependencies_point_one_way() {
    let mut faults = vec![];
    for member in members() {
        let Some((_, allowed)) = ONE_WAY.iter().find(|(name, _)| *name == member.name) else {
            faults.push(format!("{}:1: a new crate; say in this test what it may depend on", member.path));
            continue;
        };
        for name in member.wants.iter().filter(|name| name.starts_with("vigil-")) {
            if !allowed.contains(&name.as_str()) {
                let mend = "move what is shared down into the core, or pass it in";
                faults.push(member.fault(name, &format!("points the wrong way; {mend}")));
            }
        }
    }
    none(&faults);
}

/// All that a pure state machine needs. Another one is a decision, to be argued in `docs/decisions`.
/// `schemars` only says what the types are, and only for the receiver.
const OF_THE_CORE: [&str; 8] =
    ["chrono", "chrono-tz", "geo", "postcard", "schemars", "serde", "thiserror", "uuid"];

#[test]
fn the_core_depends_on_nothing_that_waits_or_reads() {
    let manifest = table("agent/core/Cargo.toml");
    let wanted = named(&manifest, "dependencies");
    let core = members().into_iter().find(|member| member.name == "vigil-core").expect("there is a core");
    let unknown = wanted.iter().filter(|name| !OF_THE_CORE.contains(&name.as_str()));
    none(
        &unknown
            .map(|name| core.fault(name, "is none of the core's; keep it in the shell"))
            .collect::<Vec<_>>(),
    );
}

/// A second TLS stack, and one that needs a C library per target: what cross builds break on.
const SECOND_TLS: [&str; 4] = ["openssl-sys", "native-tls", "aws-lc-sys", "aws-lc-rs"];

#[test]
fn there_is_one_tls_stack() {
    let lock = read("Cargo.lock");
    let locked = lock.lines().enumerate().filter_map(|(at, line)| {
        let name = line.strip_prefix("name = \"")?.strip_suffix('"')?;
        SECOND_TLS.contains(&name).then_some((at + 1, name))
    });
    let mend = "find who asks for it with `cargo tree --invert`, and choose its rustls feature with ring";
    none(&locked.map(|(at, name)| format!("Cargo.lock:{at}: `{name}` came in; {mend}")).collect::<Vec<_>>());
}

#[test]
fn each_dependency_has_its_reason() {
    let (users, told) = (users(), reasons());
    let mut faults = vec![];
    for (name, users) in &users {
        let row = format!("| `{name}` | {} | why |", users.join(", "));
        match told.get(name) {
            _ if users.is_empty() => faults.push(format!(
                "Cargo.toml:{}: nothing uses `{name}`; take it out of the version table",
                line_of("Cargo.toml", name)
            )),
            None => faults.push(format!("ARCHITECTURE.md:1: `{name}` has no row; add `{row}`")),
            Some(told) if told.users != *users || told.why.len() < 20 => {
                faults.push(format!("ARCHITECTURE.md:{}: the row should be `{row}`", told.line));
            }
            Some(_) => {}
        }
    }
    let gone = told.iter().filter(|(name, _)| !users.contains_key(*name));
    faults.extend(gone.map(|(name, told)| {
        format!("ARCHITECTURE.md:{}: `{name}` is not in the version table; drop its row", told.line)
    }));
    none(&faults);
}

#[test]
fn each_setting_says_why() {
    let manifest = read("Cargo.toml");
    let (mut bound, mut before, mut faults) = (false, "", vec![]);
    for (at, line) in manifest.lines().enumerate() {
        if line.starts_with('[') {
            bound = line.starts_with("[workspace.lints.") || line.starts_with("[profile.");
        } else if bound && line.contains(" = ") && !line.starts_with('#') && !before.starts_with("# ") {
            let mend = "put a comment above it that says why";
            faults.push(format!("Cargo.toml:{}: `{line}` stands alone; {mend}", at + 1));
        }
        before = line;
    }
    none(&faults);
}

/// A package of the workspace.
struct Member {
    /// Its manifest.
    path: String,
    name: String,
    /// Everything that it depends on, for tests too.
    wants: BTreeSet<String>,
}

impl Member {
    fn fault(&self, dependency: &str, what: &str) -> String {
        format!("{}:{}: `{dependency}` {what}", self.path, line_of(&self.path, dependency))
    }
}

fn members() -> Vec<Member> {
    let workspace = table("Cargo.toml");
    let folders = workspace["workspace"]["members"].as_array().expect("the workspace has members");
    folders.iter().filter_map(Value::as_str).map(member).collect()
}

fn member(folder: &str) -> Member {
    let path = format!("{folder}/Cargo.toml");
    let manifest = table(&path);
    let name = manifest["package"]["name"].as_str().expect("a package has a name").to_owned();
    let kinds = ["dependencies", "dev-dependencies", "build-dependencies"];
    let mut wants: BTreeSet<String> = kinds.iter().flat_map(|kind| named(&manifest, kind)).collect();
    for platform in manifest.get("target").and_then(Value::as_table).into_iter().flat_map(Table::values) {
        let platform = platform.as_table().expect("a target has tables");
        wants.extend(kinds.iter().flat_map(|kind| named(platform, kind)));
    }
    Member { path, name, wants }
}

/// The packages that one table of a manifest asks for, under the name that they really have.
fn named(manifest: &Table, kind: &str) -> Vec<String> {
    let wanted = manifest.get(kind).and_then(Value::as_table).into_iter().flatten();
    let real = |(key, value): (&String, &Value)| {
        value.get("package").and_then(Value::as_str).unwrap_or(key).to_owned()
    };
    wanted.map(real).collect()
}

/// Every foreign crate of the version table, and who uses it, in the order of the workspace.
fn users() -> BTreeMap<String, Vec<String>> {
    let (workspace, members) = (table("Cargo.toml"), members());
    let versions =
        workspace["workspace"]["dependencies"].as_table().expect("the workspace has a version table");
    let foreign = versions.keys().filter(|name| !name.starts_with("vigil-"));
    let used_by = |name: &String| {
        let users = members.iter().filter(|member| member.wants.contains(name));
        users.map(|member| member.name.trim_start_matches("vigil-").to_owned()).collect()
    };
    foreign.map(|name| (name.clone(), used_by(name))).collect()
}

/// One row of the table of dependencies.
struct Reason {
    line: usize,
    users: Vec<String>,
    why: String,
}

fn reasons() -> BTreeMap<String, Reason> {
    let text = read("ARCHITECTURE.md");
    let lines = text.lines().enumerate().skip_while(|(_, line)| *line != "## Dependencies").skip(1);
    let section = lines.take_while(|(_, line)| !line.starts_with("## "));
    section.filter_map(|(at, line)| reason(at + 1, line)).collect()
}

fn reason(line: usize, row: &str) -> Option<(String, Reason)> {
    let cells: Vec<&str> =
        row.strip_prefix("| `")?.trim_end_matches('|').splitn(3, '|').map(str::trim).collect();
    let [name, users, why] = cells[..] else { return None };
    let users = users.split(", ").map(str::to_owned).collect();
    Some((name.trim_end_matches('`').to_owned(), Reason { line, users, why: why.to_owned() }))
}

/// The line of a manifest that names a dependency; 1 if it cannot be found.
fn line_of(path: &str, dependency: &str) -> usize {
    let names = |line: &str| line.strip_prefix(dependency).is_some_and(|rest| rest.starts_with([' ', '.']));
    read(path).lines().position(names).map_or(1, |at| at + 1)
}
