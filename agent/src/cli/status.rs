//! `vigil status`: what the running agent sees.

use super::{Failure, ask::Whom};
use comfy_table::{Table, presets::UTF8_HORIZONTAL_ONLY};
use serde_json::Value;
use std::io::{StdoutLock, Write};

/// `vigil status`
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    whom: Whom,
    /// Show the inputs that were refused, newest first
    #[arg(long)]
    refused: bool,
}

/// Runs the command.
pub fn run(args: &Args) -> Result<(), Failure> {
    let path = if args.refused { "/api/refused" } else { "/api/status" };
    let (text, value): (String, Value) = args.whom.ask(path)?;
    let mut out = std::io::stdout().lock();
    if args.whom.json {
        writeln!(out, "{text}")?;
    } else if args.refused {
        print_refused(&mut out, &value)?;
    } else {
        print_status(&mut out, &value)?;
    }
    Ok(())
}

fn table(header: &[&str]) -> Table {
    let mut table = Table::new();
    table.load_preset(UTF8_HORIZONTAL_ONLY).set_header(header);
    table
}

fn entries<'a>(value: &'a Value, key: &str) -> &'a [Value] {
    value.get(key).and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default()
}

/// The value of `key` as a person reads it.
fn plain(value: &Value, key: &str) -> String {
    match value.pointer(key) {
        Some(Value::String(text)) => text.clone(),
        Some(Value::Null) | None => "-".to_owned(),
        Some(other) => other.to_string(),
    }
}

fn print_refused(out: &mut StdoutLock<'_>, refused: &Value) -> std::io::Result<()> {
    let list = refused.as_array().map(Vec::as_slice).unwrap_or_default();
    if list.is_empty() {
        return writeln!(out, "nothing was refused");
    }
    let mut shown = table(&["received", "reason", "topic", "what is wrong", "begins with"]);
    for r in list {
        shown.add_row(["/received_at", "/reason", "/topic", "/detail", "/head"].map(|key| plain(r, key)));
    }
    writeln!(out, "{shown}")
}

fn print_status(out: &mut StdoutLock<'_>, s: &Value) -> std::io::Result<()> {
    writeln!(out, "{} · gateway {} · {}", plain(s, "/name"), plain(s, "/gateway"), plain(s, "/now"))?;
    let uplink = match s.pointer("/uplink/reachable") {
        _ if s.get("uplink").is_none_or(Value::is_null) => "not configured",
        _ if s.pointer("/uplink/unauthorized") == Some(&Value::Bool(true)) => "credential refused",
        Some(Value::Bool(true)) => "reached",
        Some(Value::Bool(false)) => "not reached",
        _ => "not tried yet",
    };
    writeln!(out, "messages: {} at {}", plain(s, "/source/mode"), plain(s, "/source/address"))?;
    let waiting = ["critical", "alerts", "tours", "reports", "health"]
        .map(|lane| format!("{lane} {}", plain(s, &format!("/outbox/{lane}"))));
    writeln!(out, "NOC: {uplink}; waiting: {}; rejected {}", waiting.join(", "), plain(s, "/outbox/dead"))?;
    writeln!(out, "stored: {}; refused: {}\n", counts(s, "outcomes"), counts(s, "refused"))?;
    print_guards(out, s)?;
    print_runs(out, s)?;
    print_devices(out, s)
}

fn counts(s: &Value, key: &str) -> String {
    let counts = s.get(key).and_then(Value::as_object);
    let texts: Vec<String> = counts.into_iter().flatten().map(|(name, n)| format!("{name} {n}")).collect();
    if texts.is_empty() { "none".to_owned() } else { texts.join(", ") }
}

fn print_guards(out: &mut StdoutLock<'_>, s: &Value) -> std::io::Result<()> {
    let mut shown =
        table(&["guard", "is", "phone", "movement", "tasks", "tours", "score", "last sign of life"]);
    for g in entries(s, "guards") {
        let signal = |name: &str| plain(g, &format!("/window/signals/{name}/state"));
        let last = format!("{} {}", plain(g, "/last_activity"), plain(g, "/last_activity_at"));
        shown.add_row([
            plain(g, "/name"),
            plain(g, "/presence"),
            signal("phone"),
            signal("movement"),
            signal("tasks"),
            signal("tours"),
            plain(g, "/window/score"),
            last,
        ]);
    }
    writeln!(out, "{shown}")
}

fn print_runs(out: &mut StdoutLock<'_>, s: &Value) -> std::io::Result<()> {
    let runs = entries(s, "runs");
    if runs.is_empty() {
        return writeln!(out, "no run is under way");
    }
    let mut shown = table(&["tour", "scheduled", "start by", "status", "scanned %", "guard"]);
    for r in runs.iter().take(20) {
        let keys = ["/name", "/scheduled_at", "/start_by", "/status", "/coverage", "/guard"];
        shown.add_row(keys.map(|key| plain(r, key)));
    }
    writeln!(out, "{shown}")
}

fn print_devices(out: &mut StdoutLock<'_>, s: &Value) -> std::io::Result<()> {
    let mut shown = table(&["device", "kind", "guard", "last heard", "battery", "silent", "offline"]);
    for d in entries(s, "devices") {
        let battery = d.get("battery_permille").and_then(Value::as_u64);
        shown.add_row([
            plain(d, "/id"),
            plain(d, "/kind"),
            plain(d, "/guard"),
            plain(d, "/last_received_at"),
            battery.map_or_else(|| "-".to_owned(), |b| format!("{} %", b / 10)),
            plain(d, "/silent"),
            plain(d, "/offline"),
        ]);
    }
    writeln!(out, "{shown}")
}
