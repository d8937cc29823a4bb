//! `vigil alerts`: the alerts of the running agent, and what people make of them.

use super::steps::{self, SHOWN_ID_CHARS, Step};
use super::table::{WallClock, is_open, plain, table, text, width, words};
use super::{Failure, ask::Whom};
use serde_json::Value;
use std::io::Write;

/// `vigil alerts`
#[derive(Debug, clap::Args)]
#[command(args_conflicts_with_subcommands = true)]
pub struct Args {
    #[command(subcommand)]
    step: Option<Step>,
    #[command(flatten)]
    whom: Whom,
    /// Only those that are neither cleared nor closed
    #[arg(long)]
    open: bool,
    /// At most so many, newest first
    #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u16).range(1..=10_000))]
    limit: u16,
}

/// Runs the command.
pub fn run(args: &Args) -> Result<(), Failure> {
    if let Some(step) = &args.step {
        return steps::run(step);
    }
    let (_, all): (_, Vec<Value>) = args.whom.ask("/api/alerts")?;
    let shown: Vec<&Value> =
        all.iter().filter(|a| !args.open || is_open(a)).take(usize::from(args.limit)).collect();
    let mut out = std::io::stdout().lock();
    if args.whom.json {
        for alert in shown {
            writeln!(out, "{alert}")?;
        }
        return Ok(());
    }
    let (_, status): (_, Value) = args.whom.ask("/api/status")?;
    // Which it is says the list itself: the store may have come back since.
    if all.iter().any(is_stale) || (all.is_empty() && status.pointer("/outage/why").is_some()) {
        writeln!(out, "{}", stale(&status))?;
    }
    if shown.is_empty() {
        writeln!(out, "no alerts")?;
        return Ok(());
    }
    Ok(write!(out, "{}", listed(&shown, WallClock::of(&status), width()))?)
}

fn is_stale(alert: &Value) -> bool {
    alert.get("stale") == Some(&Value::Bool(true))
}

/// What a list is worth that does not come from the store.
fn stale(status: &Value) -> String {
    let since = WallClock::of(status).at(status, "/outage/since");
    let why = plain(status, "/outage/why");
    format!(
        "STALE: nothing is stored since {since} ({why}). These are the alerts that were known then, and those that were told since; older ones cannot be read."
    )
}

fn listed(alerts: &[&Value], clock: WallClock, width: u16) -> String {
    let mut shown = table(&["id", "detected", "severity", "what", "rule", "state"], width);
    for alert in alerts {
        shown.add_row([
            plain(alert, "/id").chars().take(SHOWN_ID_CHARS).collect(),
            clock.at(alert, "/detected_at"),
            plain(alert, "/severity"),
            plain(alert, "/summary"),
            words(alert, "/rule"),
            state(alert, clock),
        ]);
    }
    text(&shown)
}

/// Where it stands, and what became of it.
pub(super) fn state(alert: &Value, clock: WallClock) -> String {
    let mut state = words(alert, "/status");
    if alert.get("escalated") == Some(&Value::Bool(true)) {
        state.push_str(", escalated");
    }
    if alert.get("cleared_at").is_some_and(Value::is_string) {
        state = format!("{state}, cleared {}", clock.at(alert, "/cleared_at"));
    }
    if alert.get("stored") == Some(&Value::Bool(false)) {
        state.push_str(", NOT STORED");
    }
    state
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_long_summary_fits_a_hundred_columns() {
        let clock = WallClock::of(&json!({"timezone": "Asia/Kolkata", "now": "2026-03-10T21:00:00.000Z"}));
        let alert = json!({
            "id": "afd1abb5-6bf6-5897-8af9-5d8478b70989",
            "detected_at": "2026-03-10T17:50:00.000Z", "severity": "CRITICAL", "rule": "attendance_impossible_shift",
            "status": "DETECTED", "escalated": true, "cleared_at": "2026-03-10T18:20:00.000Z",
            "summary": "Guard G-3: the handset has not moved and nothing was done in 120 min up to 23:20; last sign \
                        of life 124 min ago (phone)",
        });
        let shown = listed(&[&alert], clock, 100);
        assert!(shown.lines().all(|line| line.chars().count() <= 100), "{shown}");
        let joined = shown.split_whitespace().collect::<Vec<_>>().join(" ");
        for part in ["afd1abb5 23:20 CRITICAL", "cleared", "23:50", "escalated"] {
            assert!(joined.contains(part), "{part}:\n{shown}");
        }
    }
}
