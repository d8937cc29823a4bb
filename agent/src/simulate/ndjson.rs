//! A night as the lines that `vigil replay` reads.

use super::night::{Message, Night};
use std::io::{self, Write};
use vigil_core::time::Span;

/// How long a message is under way, as in the published vectors.
const UNDER_WAY: Span = Span::from_secs(1);

/// Writes `{"received_at","topic","payload"}` line by line in order of `received_at`; tells how many.
pub fn write_ndjson(night: Night, out: &mut impl Write) -> io::Result<u64> {
    let mut lines = 0;
    for message in night {
        line(&message, out)?;
        lines += 1;
    }
    out.flush()?;
    Ok(lines)
}

fn line(message: &Message, out: &mut impl Write) -> io::Result<()> {
    let Message { at, topic, payload, .. } = message;
    write!(out, "{{\"received_at\":\"{}\",\"topic\":\"{topic}\",\"payload\":", *at + UNDER_WAY)?;
    // The one payload that is no JSON is the plain text of a status.
    let quote = if payload.starts_with('{') { "" } else { "\"" };
    writeln!(out, "{quote}{payload}{quote}}}")
}

#[cfg(test)]
mod tests {
    use super::super::Scenario;
    use super::*;
    use vigil_core::time::Timestamp;

    #[test]
    fn every_line_is_json_in_the_order_of_arrival() {
        let mut text = Vec::new();
        let lines = write_ndjson(Night::of(&Scenario::demo()), &mut text).unwrap();
        let mut before = Timestamp::default();
        let mut seen = 0;
        for line in std::str::from_utf8(&text).unwrap().lines() {
            let line: serde_json::Value = serde_json::from_str(line).unwrap();
            let received_at = Timestamp::parse(line["received_at"].as_str().unwrap()).unwrap();
            assert!(received_at >= before);
            assert!(line["topic"].as_str().unwrap().starts_with("vigil/v1/plant-7/hs-G-"));
            assert!(
                line["payload"].is_object() || matches!(line["payload"].as_str(), Some("online" | "offline"))
            );
            (before, seen) = (received_at, seen + 1);
        }
        assert_eq!((seen, seen > 5_000), (lines, true));
    }
}
