//! `vigil alerts verify | confirm | resolve | reject`: what a person on the gateway says of an alert.

use super::{Failure, ask::Whom};
use serde_json::{Value, json};
use std::io::Write;

/// The shortest beginning of an id that is taken: as much as `vigil alerts` shows.
pub const SHOWN_ID_CHARS: usize = 8;

/// One step.
#[derive(Debug, clap::Subcommand)]
pub enum Step {
    /// Somebody is finding out: VERIFYING
    Verify(Said),
    /// It was true: CONFIRMED, which is final
    Confirm(Said),
    /// It is over: RESOLVED, which is final
    Resolve(Said),
    /// It was not true: FALSE_POSITIVE, which is final
    Reject(Said),
}

/// What is said.
#[derive(Debug, clap::Args)]
pub struct Said {
    #[command(flatten)]
    whom: Whom,
    /// The alert's id, or as much of its beginning as `vigil alerts` shows
    id: Id,
    /// Who says so
    #[arg(long)]
    by: String,
    /// How somebody made sure
    #[arg(long, ignore_case = true)]
    method: Option<How>,
    /// What the guard answered
    #[arg(long)]
    response: Option<String>,
    /// What else there is to say
    #[arg(long)]
    note: Option<String>,
}

#[derive(Debug, Clone, Copy, clap::ValueEnum)]
#[value(rename_all = "UPPER")]
enum How {
    Call,
    Ivr,
    Supervisor,
    Camera,
    Handset,
}

impl How {
    const fn name(self) -> &'static str {
        match self {
            Self::Call => "CALL",
            Self::Ivr => "IVR",
            Self::Supervisor => "SUPERVISOR",
            Self::Camera => "CAMERA",
            Self::Handset => "HANDSET",
        }
    }
}

/// An id, or its beginning, in lower case.
#[derive(Debug, Clone)]
struct Id(String);

impl std::str::FromStr for Id {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let hex = text.chars().all(|c| c.is_ascii_hexdigit() || c == '-');
        if hex && text.len() >= SHOWN_ID_CHARS {
            return Ok(Self(text.to_lowercase()));
        }
        Err(format!("an id is {SHOWN_ID_CHARS} hex digits or more; `vigil alerts` shows them"))
    }
}

/// Runs the command.
pub fn run(step: &Step) -> Result<(), Failure> {
    let (said, status) = match step {
        Step::Verify(said) => (said, "VERIFYING"),
        Step::Confirm(said) => (said, "CONFIRMED"),
        Step::Resolve(said) => (said, "RESOLVED"),
        Step::Reject(said) => (said, "FALSE_POSITIVE"),
    };
    let (_, all): (_, Vec<Value>) = said.whom.ask("/api/alerts")?;
    let id = the_one(&all, &said.id)?;
    let body = json!({
        "status": status,
        "method": said.method.map(How::name),
        "response": said.response,
        "by": said.by,
        "note": said.note,
    });
    let (text, alert): (String, Value) = said.whom.tell(&format!("/api/v1/alerts/{id}/status"), &body)?;
    let mut out = std::io::stdout().lock();
    if said.whom.json {
        return Ok(writeln!(out, "{text}")?);
    }
    let summary = alert.get("summary").and_then(Value::as_str).unwrap_or_default();
    Ok(writeln!(out, "{status} by {}: {summary}", said.by)?)
}

/// The only alert whose id begins so.
fn the_one<'a>(all: &'a [Value], id: &Id) -> Result<&'a str, Failure> {
    let ids = all.iter().filter_map(|alert| alert.get("id").and_then(Value::as_str));
    let mut found = ids.filter(|known| known.starts_with(&id.0));
    match (found.next(), found.next()) {
        (Some(one), None) => Ok(one),
        (None, _) => Err(Failure::failed(
            format!("this gateway knows no alert whose id begins with {}", id.0),
            "`vigil alerts` lists them with their ids.",
        )),
        (Some(_), Some(_)) => Err(Failure::failed(
            format!("the ids of several alerts begin with {}", id.0),
            "Give more of it; `vigil alerts --json` shows whole ids.",
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_beginning_of_an_id_is_enough_if_it_is_the_only_one() {
        let all =
            [json!({"id": "afd1abb5-6bf6"}), json!({"id": "afd1abb5-7777"}), json!({"id": "0d8478b7-0989"})];
        let found = |text: &str| the_one(&all, &text.parse().unwrap()).map_err(|why| why.to_string());
        assert_eq!(found("0D8478B7"), Ok("0d8478b7-0989"));
        assert_eq!(found("afd1abb5-7"), Ok("afd1abb5-7777"));
        assert!(found("afd1abb5").unwrap_err().contains("several alerts"));
        assert!(found("12345678").unwrap_err().contains("no alert"));
    }

    #[test]
    fn what_is_no_id_is_said_before_anybody_is_asked() {
        for text in ["", "afd1ab", "the last one"] {
            assert!(text.parse::<Id>().unwrap_err().contains("8 hex digits"), "{text}");
        }
    }
}
