//! `vigil config explain`: the value of each key that is in force, who set it, and what it means.

use crate::agent::keys::{KEYS, Key};
use crate::agent::{AgentConfig, draft as agent_draft};
use crate::problem::Problems;
use crate::sheet::{Sheet, read_file};
use crate::site::layers::{Layer, Layers, Said, load_layers, parse_layers};
use serde::Serialize;
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use vigil_core::figures::{FIGURES, Figure, FigureValue};
use vigil_core::policy::{Maintenance, PolicyParts};

/// What a maintenance interval is made of.
const INTERVALS: &str =
    "[[policy.maintenance]] with from and to, instants with their offset, and rules, a list of rules";

/// One key, explained.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Explained {
    /// Its path, like `policy.inactivity.window`.
    pub key: String,
    /// The value in force; null if there is none.
    pub value: Value,
    /// Who set it: a layer, the file, nobody (`default`).
    pub set_by: &'static str,
    /// In which file.
    pub file: Option<PathBuf>,
    /// On which line, from 1.
    pub line: Option<usize>,
    /// What holds if nobody sets it; null if nothing does.
    pub default: Value,
    /// What each layer says, the weakest first; only of the policy.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub layers: Vec<Word>,
    /// What is allowed.
    pub allowed: String,
    /// What it means, in one sentence.
    pub means: &'static str,
}

/// What one layer says of a figure.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Word {
    /// The layer.
    pub layer: &'static str,
    /// What it says; null if nothing.
    pub value: Value,
    /// In which file.
    pub file: Option<PathBuf>,
    /// On which line, from 1.
    pub line: Option<usize>,
}

/// Every figure of a site's policy.
pub fn explain_site(file: &Path) -> Result<Vec<Explained>, Problems> {
    Ok(explain_layers(&load_layers(file)?))
}

/// The same of the tree that a bundle carries.
pub fn explain_bundle(file: &Path, tree: &[u8]) -> Result<Vec<Explained>, Problems> {
    Ok(explain_layers(&parse_layers(file, tree)?))
}

fn explain_layers(layers: &Layers) -> Vec<Explained> {
    let mut explained: Vec<_> = FIGURES.iter().map(|figure| explain_figure(figure, layers)).collect();
    explained.push(explain_maintenance(layers));
    explained
}

/// Every key of `agent.toml`, and the configuration that it comes to.
pub fn explain_agent(file: &Path) -> Result<(AgentConfig, Vec<Explained>), Problems> {
    let (sheet, config) = agent_draft(file, &read_file(file)?);
    let explained = KEYS.iter().map(|key| explain_key(key, &sheet)).collect();
    Ok((Sheet::approve((sheet, config))?, explained))
}

fn explain_figure(figure: &'static Figure, layers: &Layers) -> Explained {
    let default = as_json(figure.get(&mut PolicyParts::default()));
    let words = Layer::ALL.map(|layer| {
        let said = layers.of(layer).figure(figure.key);
        word(layer, said.map(|said| as_json(said.value)), said)
    });
    let tie = figure.tie.map(|tie| format!("; {tie}")).unwrap_or_default();
    let allowed = format!("{}{tie}", figure.allowed());
    in_force(format!("policy.{}", figure.key), default, words, allowed, figure.means)
}

fn explain_maintenance(layers: &Layers) -> Explained {
    let every = |said: &[Said<Maintenance>]| said.iter().map(|said| interval(&said.value)).collect();
    let words = Layer::ALL.map(|layer| {
        let said = layers.of(layer).maintenance();
        word(layer, (!said.is_empty()).then(|| every(said)), said.first())
    });
    let means = "The intervals in which chosen rules are mute; those of all layers add up.";
    let explained = in_force("policy.maintenance".into(), json!([]), words, INTERVALS.into(), means);
    Explained { value: every(layers.merged().maintenance()), ..explained }
}

fn interval(interval: &Maintenance) -> Value {
    let rules: Vec<&str> = interval.rules.iter().map(|rule| rule.name()).collect();
    json!({"from": interval.starts_at, "to": interval.ends_at, "rules": rules})
}

fn word<T>(layer: Layer, value: Option<Value>, said: Option<&Said<T>>) -> Word {
    Word {
        layer: layer.name(),
        value: value.unwrap_or_default(),
        file: said.map(|said| said.file.clone()),
        line: said.and_then(|said| said.line),
    }
}

/// The strongest word counts.
fn in_force(
    key: String,
    default: Value,
    words: [Word; 3],
    allowed: String,
    means: &'static str,
) -> Explained {
    let strongest = words.iter().rev().find(|word| !word.value.is_null());
    let unset = Word { layer: "default", value: default.clone(), file: None, line: None };
    let Word { layer: set_by, value, file, line } = strongest.cloned().unwrap_or(unset);
    Explained { key, value, set_by, file, line, default, layers: words.to_vec(), allowed, means }
}

/// A value of the policy reads the same in TOML and JSON.
fn as_json(value: FigureValue) -> Value {
    serde_json::from_str(&value.to_string()).unwrap_or_default()
}

fn explain_key(key: &Key, sheet: &Sheet) -> Explained {
    let default: Value = key.default.and_then(|text| serde_json::from_str(text).ok()).unwrap_or_default();
    let paths = sheet.written_below(key.path);
    // What is written in TOML alone, like a number in hex, is shown as text.
    let read = |text: &String| serde_json::from_str(text).unwrap_or_else(|_| Value::from(text.as_str()));
    let mut values: Vec<Value> =
        paths.iter().filter_map(|path| sheet.written_at(path)).map(|t| read(&t)).collect();
    let value = match values.len() {
        0 => default.clone(),
        1 => values.remove(0),
        _ => Value::Array(values),
    };
    let line = paths.first().and_then(|path| sheet.line_of(path));
    let set_by = if paths.is_empty() { "default" } else { "file" };
    let file = line.map(|_| sheet.file().to_owned());
    let (allowed, means) = (key.allowed.to_owned(), key.means);
    Explained { key: key.path.to_owned(), value, set_by, file, line, default, layers: vec![], allowed, means }
}

/// Of all keys those at or below `key`; an empty one is above all of them.
pub fn at_or_below<'e>(all: &'e [Explained], key: &str) -> Vec<&'e Explained> {
    let below = |e: &&Explained| {
        let rest = e.key.strip_prefix(key);
        key.is_empty() || rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
    };
    all.iter().filter(below).collect()
}

/// The key, or the table of keys, that is most likely meant by one that there is not.
pub fn nearest_key(all: &[Explained], key: &str) -> Option<String> {
    // Distance takes time in proportion to the lengths; no key is longer than this.
    let key: String = key.chars().take(80).collect();
    // Whoever writes `layers.tenant.inactivity.window` or `inactivity.window` means the figure.
    let bare = ["layers.tenant.", "layers.client."].iter().find_map(|layer| key.strip_prefix(layer));
    let bare = bare.unwrap_or(&key);
    let mut names: Vec<&str> = Vec::new();
    for explained in all {
        let ends = explained.key.match_indices('.').map(|(at, _)| &explained.key[..at]);
        names.extend(ends.chain([explained.key.as_str()]));
    }
    let ends_so = |name: &&&str| name.strip_suffix(bare).is_some_and(|rest| rest.ends_with('.'));
    let whole = names.iter().filter(ends_so).min_by_key(|name| name.len());
    let alike = || names.iter().min_by_key(|name| strsim::osa_distance(&key, name));
    whole.or_else(alike).map(|name| (*name).to_owned())
}
