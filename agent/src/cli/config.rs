//! `vigil config explain`: which value of a key is in force, who set it, and what it means.

use super::Failure;
use super::table::{rows, table, text, width};
use crate::bundles::Kept;
use serde_json::Value;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use vigil_config::{
    AgentConfig, Explained, at_or_below, explain_agent, explain_bundle, explain_site, nearest_key,
};

/// `vigil config`
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    about: About,
}

#[derive(Debug, clap::Subcommand)]
enum About {
    /// Show the value of a key that is in force, the layer that set it, and what it means
    Explain(Explain),
}

#[derive(Debug, clap::Args)]
struct Explain {
    /// The key, like policy.inactivity.window, or the beginning of several, like policy.tours; all without it
    #[arg(default_value = "", hide_default_value = true)]
    key: String,
    /// The agent's configuration, whose keys and whose site are explained
    #[arg(long, default_value = "agent.toml")]
    config: PathBuf,
    /// A site file alone
    #[arg(long, conflicts_with = "config")]
    site: Option<PathBuf>,
    /// Print one JSON object for each key
    #[arg(long)]
    json: bool,
}

/// Runs the command.
pub fn run(args: &Args) -> Result<(), Failure> {
    let About::Explain(args) = &args.about;
    let all = match &args.site {
        Some(site) => explain_site(site)?,
        None => {
            let (config, all) = explain_agent(&args.config)?;
            with_site(config, all)?
        }
    };
    let key = args.key.trim_end_matches('.');
    let chosen = at_or_below(&all, key);
    let mut out = std::io::stdout().lock();
    match chosen.as_slice() {
        [] => Err(unknown(&all, key)),
        chosen if args.json => {
            for explained in chosen {
                serde_json::to_writer(&mut out, explained).map_err(std::io::Error::from)?;
                out.write_all(b"\n")?;
            }
            Ok(())
        }
        [one] => Ok(write!(out, "{}", in_full(one, width()))?),
        several => Ok(write!(out, "{}", listed(several, width()))?),
    }
}

/// The keys of the site that counts: of the bundle in use, which then stands for the site file, or of that file.
fn with_site(config: AgentConfig, mut all: Vec<Explained>) -> Result<Vec<Explained>, Failure> {
    let amiss = |why| {
        Failure::invalid(why, "Mend it; `vigil check` shows every problem of the configuration at once.")
    };
    let trusted = crate::setup::bundle_keys(&config).map_err(amiss)?;
    let site = vigil_config::load_site(config.site_file());
    let config = Arc::new(config);
    // One that cannot be used is for `vigil check` to tell.
    let kept = crate::bundles::kept(&config, &trusted, site.as_ref().ok()).ok().flatten();
    let Some(Kept { in_use, content, file, .. }) = kept else {
        all.extend(explain_site(config.site_file())?);
        return Ok(all);
    };
    for key in all.iter_mut().filter(|explained| explained.key == "agent.site") {
        key.value = Value::from(format!("bundle {} of {} by {}", in_use.version, in_use.made_at, in_use.by));
        (key.set_by, key.file, key.line) = ("bundle", Some(file.clone()), None);
    }
    all.extend(explain_bundle(&file, content.as_bytes())?);
    Ok(all)
}

fn unknown(all: &[Explained], key: &str) -> Failure {
    let nearest = nearest_key(all, key).unwrap_or_default();
    Failure::invalid(
        format!("there is no key {key:?}; did you mean {nearest:?}?"),
        "`vigil config explain` without a key lists all of them.",
    )
}

/// A value as in the file; a list by its length.
fn shown(value: &Value) -> String {
    match value {
        Value::Null => "-".to_owned(),
        Value::Array(list) if list.iter().any(Value::is_object) => format!("a list of {}", list.len()),
        Value::Array(_) | Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Object(_) => {
            value.to_string()
        }
    }
}

fn place(file: Option<&Path>, line: Option<usize>) -> String {
    let file = file.map(|file| file.display().to_string()).unwrap_or_default();
    line.map_or_else(|| file.clone(), |line| format!("{file}:{line}"))
}

/// One key with all that there is to say of it.
fn in_full(e: &Explained, width: u16) -> String {
    let set_by = match e.set_by {
        "default" if e.value.is_null() => {
            "nobody: it is not in the file, and nothing stands in for it".to_owned()
        }
        "default" => "nobody: this is the default".to_owned(),
        "file" | "bundle" => place(e.file.as_deref(), e.line),
        layer => format!("the {layer} layer, {}", place(e.file.as_deref(), e.line)),
    };
    let mut shown_as = rows(width);
    shown_as.add_row(["set by", &set_by]);
    shown_as.add_row(["default", &shown(&e.default)]);
    for word in &e.layers {
        let said = format!("{} {}", shown(&word.value), place(word.file.as_deref(), word.line));
        shown_as.add_row([word.layer, said.trim_end()]);
    }
    shown_as.add_row(["allowed", &e.allowed]);
    shown_as.add_row(["means", e.means]);
    format!("{} = {}\n{}{}", e.key, shown(&e.value), text(&shown_as), elements(&e.value))
}

/// The elements of a list of tables, one a line.
fn elements(value: &Value) -> String {
    let all = value.as_array().into_iter().flatten().filter_map(Value::as_object);
    let fields = all.map(|element| {
        let parts: Vec<String> =
            element.iter().map(|(key, value)| format!("{key} = {}", one(value))).collect();
        format!("  {}\n", parts.join(", "))
    });
    fields.collect()
}

/// A value inside an element; an empty list of rules means all of them.
fn one(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Array(list) if list.is_empty() => "all that can be muted".to_owned(),
        Value::Array(list) => list.iter().map(one).collect::<Vec<_>>().join(" "),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::Object(_) => value.to_string(),
    }
}

/// Several keys, one a line, with what every layer says where there are layers.
fn listed(keys: &[&Explained], width: u16) -> String {
    let layered = keys.iter().any(|e| !e.layers.is_empty());
    let layers = if layered { &["tenant", "client", "site"][..] } else { &[] };
    let mut list = table(&[&["key", "in force", "set by", "default"], layers].concat(), width);
    for e in keys {
        let said = |layer: &&str| {
            let word = e.layers.iter().find(|word| word.layer == *layer);
            word.map_or_else(|| "-".to_owned(), |word| shown(&word.value))
        };
        // The name of the file is enough in a row; one key alone is told with its path.
        let place = place(e.file.as_deref().and_then(Path::file_name).map(Path::new), e.line);
        let set_by = match e.set_by {
            "default" => "-".to_owned(),
            "file" | "bundle" => place,
            layer => format!("{layer} {place}"),
        };
        let first = [e.key.clone(), shown(&e.value), set_by, shown(&e.default)];
        list.add_row(first.into_iter().chain(layers.iter().map(said)));
    }
    text(&list)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;
    use vigil_config::Word;

    #[test]
    fn each_interval_of_a_list_is_shown() {
        let intervals = json!([
            {"from": "2026-03-10T20:00:00Z", "to": "2026-03-10T21:00:00Z", "rules": ["inactivity", "tour_missed"]},
            {"from": "2026-03-11T20:00:00Z", "to": "2026-03-11T21:00:00Z", "rules": []},
        ]);
        let shown = elements(&intervals);
        let lines: Vec<&str> = shown.lines().collect();
        assert_eq!(lines.len(), 2, "{shown}");
        for part in
            ["from = 2026-03-10T20:00:00Z", "to = 2026-03-10T21:00:00Z", "rules = inactivity tour_missed"]
        {
            assert!(lines[0].contains(part), "{shown}");
        }
        assert!(lines[1].contains("rules = all that can be muted"), "{shown}");
    }

    fn window() -> Explained {
        let word = |layer, value: Value, line| Word { layer, value, file: Some("site.toml".into()), line };
        Explained {
            key: "policy.inactivity.window".into(),
            value: json!("3h"),
            set_by: "client",
            file: Some("site.toml".into()),
            line: Some(12),
            default: json!("2h"),
            layers: vec![
                word("tenant", json!("4h"), Some(9)),
                word("client", json!("3h"), Some(12)),
                Word { layer: "site", value: Value::Null, file: None, line: None },
            ],
            allowed: "a duration from \"10m\" to \"12h\"; a whole multiple of cycle".into(),
            means: "How much duty time an evaluation looks back on.",
        }
    }

    #[test]
    fn one_key_is_told_in_full() {
        let told = in_full(&window(), 100);
        let words = told.split_whitespace().collect::<Vec<_>>().join(" ");
        assert_eq!(
            words,
            "policy.inactivity.window = \"3h\" set by the client layer, site.toml:12 default \"2h\" tenant \"4h\" \
             site.toml:9 client \"3h\" site.toml:12 site - allowed a duration from \"10m\" to \"12h\"; a whole multiple of \
             cycle means How much duty time an evaluation looks back on."
        );
    }

    #[test]
    fn several_keys_fit_a_hundred_columns() {
        let told = listed(&[&window(), &window()], 100);
        assert!(told.lines().all(|line| line.chars().count() <= 100), "{told}");
        assert_eq!(told.matches("\"3h\"").count(), 4, "{told}");
    }
}
