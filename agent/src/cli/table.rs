//! Tables and times for a person at a terminal; programs take `--json`.

use chrono_tz::Tz;
use comfy_table::{ContentArrangement, Table};
use serde_json::Value;
use vigil_core::time::{Span, Timestamp};

/// If nobody says how wide the terminal is: fits beside another window on a laptop, and a mail.
const WIDTH: u16 = 100;
/// Below that a table is a column of letters.
const NARROWEST: u16 = 60;
/// A line that is longer is not read.
const WIDEST: u16 = 140;
/// Within a night and its eve an hour alone is clear, on whichever side of midnight.
const HOUR_ALONE: Span = Span::from_hours(18);
/// A rule below the header, and nothing but space elsewhere.
const PLAIN: &str = "    ──             ";

/// How wide the terminal is.
pub fn width() -> u16 {
    terminal_size::terminal_size().map_or(WIDTH, |(width, _)| width.0.clamp(NARROWEST, WIDEST))
}

/// An empty table of that width, without a header; long cells are wrapped.
pub fn rows(width: u16) -> Table {
    let mut table = Table::new();
    table.load_preset(PLAIN).set_content_arrangement(ContentArrangement::Dynamic).set_width(width);
    table
}

/// The same with a header.
pub fn table(header: &[&str], width: u16) -> Table {
    let mut table = rows(width);
    table.set_header(header);
    table
}

/// The text of a table, without the space that fills its lines.
pub fn text(table: &Table) -> String {
    table.lines().map(|line| format!("{}\n", line.trim_end())).collect()
}

/// The value at `pointer` as a person reads it. What a device wrote must not command the terminal.
pub fn plain(value: &Value, pointer: &str) -> String {
    match value.pointer(pointer) {
        Some(Value::String(text)) => harmless(text),
        Some(Value::Null) | None => "-".to_owned(),
        Some(other @ (Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_))) => {
            other.to_string()
        }
    }
}

/// A text without control characters: each is shown as what it is, but for those that only part words.
fn harmless(text: &str) -> String {
    let shown = |c: char| match c {
        '\n' | '\r' | '\t' => " ".to_owned(),
        c if c.is_control() => c.escape_default().to_string(),
        c => c.to_string(),
    };
    if text.contains(char::is_control) { text.chars().map(shown).collect() } else { text.to_owned() }
}

/// The name at `pointer`, like `IN_PROGRESS`, as words.
pub fn words(value: &Value, pointer: &str) -> String {
    plain(value, pointer).replace('_', " ").to_lowercase()
}

/// Whether an alert is neither cleared nor closed.
pub fn is_open(alert: &Value) -> bool {
    let closed = ["CONFIRMED", "RESOLVED", "FALSE_POSITIVE"].map(Value::from);
    alert.get("cleared_at").is_some_and(Value::is_null)
        && alert.get("status").is_some_and(|status| !closed.contains(status))
}

/// The wall clock of a site, at one moment.
#[derive(Debug, Clone, Copy)]
pub struct WallClock {
    /// The site's zone.
    pub zone: Tz,
    /// The instant of the answer.
    pub now: Timestamp,
}

impl WallClock {
    /// That of the site of a status; UTC if this program does not know its zone.
    pub fn of(status: &Value) -> Self {
        let zone = plain(status, "/timezone").parse().unwrap_or(Tz::UTC);
        Self { zone, now: Timestamp::parse(&plain(status, "/now")).unwrap_or_default() }
    }

    /// `23:20`, or `2026-03-10 23:20` if that is far from now; `-` for nothing.
    pub fn at(&self, value: &Value, pointer: &str) -> String {
        let Ok(instant) = Timestamp::parse(&plain(value, pointer)) else { return "-".to_owned() };
        let (apart, clock) = (self.now.since(instant), instant.local_clock(self.zone));
        if apart < HOUR_ALONE && instant.since(self.now) < HOUR_ALONE {
            return clock;
        }
        format!("{} {clock}", instant.local_date(self.zone))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn times_are_those_of_the_site() {
        let clock = WallClock::of(&json!({"timezone": "Asia/Kolkata", "now": "2026-03-10T21:00:00.000Z"}));
        let at = |instant: &str| clock.at(&json!({ "at": instant }), "/at");
        assert_eq!(at("2026-03-10T17:50:00.000Z"), "23:20");
        assert_eq!(at("2026-03-09T17:50:00.000Z"), "2026-03-09 23:20");
        assert_eq!([at("never"), clock.at(&json!({"at": null}), "/at")], ["-", "-"]);
    }

    #[test]
    fn long_cells_are_wrapped_and_lines_end_with_a_letter() {
        let mut shown = table(&["a", "what"], 60);
        shown.add_row(["1", &"word ".repeat(40)]);
        let shown = text(&shown);
        assert!(shown.lines().count() > 4, "{shown}");
        assert!(shown.lines().all(|line| line.chars().count() <= 60 && !line.ends_with(' ')), "{shown}");
    }

    #[test]
    fn what_a_device_wrote_does_not_command_the_terminal() {
        let said = json!({"note": "help\u{1b}[2J\u{0}\nnow \u{9b}1m é"});
        assert_eq!(plain(&said, "/note"), "help\\u{1b}[2J\\u{0} now \\u{9b}1m é");
    }

    #[test]
    fn an_alert_is_open_until_it_is_cleared_or_closed() {
        let open = |status: &str, cleared: Value| is_open(&json!({"status": status, "cleared_at": cleared}));
        assert!(open("DETECTED", Value::Null) && open("VERIFYING", Value::Null));
        assert!(!open("CONFIRMED", Value::Null) && !open("DETECTED", json!("2026-03-10T17:50:00.000Z")));
        assert!(!is_open(&json!({})));
    }
}
