//! `vigil outbox`: what waits for the operations centre, what it rejected, and how to send that again.

use super::table::{WallClock, plain, table, text, width};
use super::{Failure, ask::Whom};
use serde_json::{Value, json};
use std::io::Write;

/// `vigil outbox`
#[derive(Debug, clap::Args)]
#[command(args_conflicts_with_subcommands = true)]
pub struct Args {
    #[command(flatten)]
    whom: Whom,
    #[command(subcommand)]
    act: Option<Act>,
}

#[derive(Debug, clap::Subcommand)]
enum Act {
    /// Send dead letters again, under the numbers that they had
    Resend(Resend),
}

#[derive(Debug, clap::Args)]
struct Resend {
    #[command(flatten)]
    whom: Whom,
    /// The sequence numbers of the dead letters, as `vigil outbox` shows them
    #[arg(required_unless_present = "all")]
    sequences: Vec<u64>,
    /// All that are kept
    #[arg(long, conflicts_with = "sequences")]
    all: bool,
}

/// Runs the command.
pub fn run(args: &Args) -> Result<(), Failure> {
    match &args.act {
        Some(Act::Resend(resend)) => send_again(resend),
        None => show(&args.whom),
    }
}

fn show(whom: &Whom) -> Result<(), Failure> {
    let (_, letters): (_, Vec<Value>) = whom.ask("/api/dead-letters")?;
    let (_, status): (_, Value) = whom.ask("/api/status")?;
    let mut out = std::io::stdout().lock();
    if whom.json {
        let outbox = status.get("outbox").cloned().unwrap_or_default();
        return Ok(writeln!(out, "{}", json!({ "waiting": outbox, "dead": letters }))?);
    }
    write!(out, "{}", waiting(&status))?;
    if letters.is_empty() {
        return Ok(writeln!(out, "the operations centre rejected nothing that is kept")?);
    }
    write!(out, "\n{}", listed(&letters, WallClock::of(&status), width()))?;
    Ok(writeln!(
        out,
        "\n`vigil outbox resend NUMBER` sends one again once its reason is mended; --all sends all."
    )?)
}

fn waiting(status: &Value) -> String {
    let lanes = ["critical", "alerts", "tours", "reports", "health"];
    let depth = |lane: &str| plain(status, &format!("/outbox/{lane}"));
    let depths: Vec<String> = lanes.iter().map(|lane| format!("{lane} {}", depth(lane))).collect();
    format!("waiting: {}\n", depths.join(", "))
}

fn listed(letters: &[Value], clock: WallClock, width: u16) -> String {
    let mut shown = table(&["number", "rejected", "about", "event", "reason"], width);
    for letter in letters {
        let of = |key: &str| plain(letter, key);
        shown.add_row([of("/sequence"), clock.at(letter, "/at"), of("/subject"), of("/id"), of("/reason")]);
    }
    text(&shown)
}

fn send_again(resend: &Resend) -> Result<(), Failure> {
    let wanted = if resend.all { json!({ "all": true }) } else { json!({ "sequences": resend.sequences }) };
    let (text, answer): (String, Value) = resend.whom.tell("/api/v1/dead-letters/resend", &wanted)?;
    let mut out = std::io::stdout().lock();
    if resend.whom.json {
        return Ok(writeln!(out, "{text}")?);
    }
    let count = answer.get("resent").and_then(Value::as_array).map_or(0, Vec::len);
    Ok(writeln!(out, "{count} on their way again")?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_person_sees_what_waits_and_what_was_rejected() {
        let status = json!({"timezone": "Etc/UTC", "now": "2026-03-10T20:00:00Z",
            "outbox": {"critical": 1, "alerts": 0, "tours": 7, "reports": 0, "health": 1}});
        assert_eq!(waiting(&status), "waiting: critical 1, alerts 0, tours 7, reports 0, health 1\n");
        let letter = json!({"sequence": 17, "at": "2026-03-10T19:00:00Z", "subject": "guard:G-7",
            "id": "afd1abb5.2", "reason": "unknown tenant"});
        let shown = listed(&[letter], WallClock::of(&status), 100);
        for part in ["17", "19:00", "guard:G-7", "afd1abb5.2", "unknown tenant"] {
            assert!(shown.contains(part), "{part}: {shown}");
        }
    }
}
