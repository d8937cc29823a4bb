//! `vigil alerts`: the alerts of the running agent.

use super::{Failure, ask::Whom};
use comfy_table::{Table, presets::UTF8_HORIZONTAL_ONLY};
use serde_json::Value;
use std::io::Write;

/// `vigil alerts`
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    whom: Whom,
    /// Only those that are neither cleared nor closed
    #[arg(long)]
    open: bool,
    /// At most so many, newest first
    #[arg(long, default_value_t = 50)]
    limit: usize,
}

/// Runs the command.
pub fn run(args: &Args) -> Result<(), Failure> {
    let (_, all): (_, Vec<Value>) = args.whom.ask("/api/alerts")?;
    let shown: Vec<&Value> = all.iter().filter(|a| !args.open || is_open(a)).take(args.limit).collect();
    let mut out = std::io::stdout().lock();
    if args.whom.json {
        for alert in shown {
            writeln!(out, "{alert}")?;
        }
        return Ok(());
    }
    if shown.is_empty() {
        writeln!(out, "no alerts")?;
        return Ok(());
    }
    let mut table = Table::new();
    table.load_preset(UTF8_HORIZONTAL_ONLY);
    table.set_header(["detected", "severity", "rule", "subject", "status", "what"]);
    for alert in shown {
        let text = |key: &str| alert.get(key).and_then(Value::as_str).unwrap_or("-").to_owned();
        let status = if alert.get("cleared_at").is_some_and(Value::is_string) { ", cleared" } else { "" };
        table.add_row([
            text("detected_at"),
            text("severity"),
            text("rule"),
            text("subject"),
            format!("{}{status}", text("status")),
            text("summary"),
        ]);
    }
    Ok(writeln!(out, "{table}")?)
}

fn is_open(alert: &Value) -> bool {
    let status = alert.get("status").and_then(Value::as_str);
    alert.get("cleared_at").is_some_and(Value::is_null) && matches!(status, Some("DETECTED" | "VERIFYING"))
}
