//! From what came back to what is done. Pure: one table says what each answer means for the outbox.
//!
//! Only [`Verdict::Stored`] lets an event leave. A status that speaks of the address or the set-up (404,
//! 405, a redirect) says nothing of the events, so they stay.

use crate::wire::{Answer, Rejection};
use std::collections::BTreeMap;
use std::time::{Duration, UNIX_EPOCH};

/// The most bytes of an answer that are read: 500 rejections of 500 bytes each.
pub const MAX_ANSWER_BYTES: usize = 256 * 1024;

/// What became of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// A whole answer came.
    Answered {
        /// The HTTP status.
        status: u16,
        /// The `Retry-After` header.
        retry_after: Option<String>,
        /// The `Date` header: the clock by which a date in `Retry-After` is to be read.
        date: Option<String>,
        /// The body.
        body: Vec<u8>,
    },
    /// No whole answer came: no connection, a cut, a timeout, or a body beyond the limit.
    Broken {
        /// What happened.
        why: String,
    },
}

/// What is to be done with the batch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// The receiver has all of it but the rejected ones: it leaves the outbox.
    Stored(Answer),
    /// Keep it and send it again.
    Retry {
        /// What the receiver asked for.
        after: Option<Duration>,
        /// What happened.
        why: String,
    },
    /// The receiver does not know us: keep everything, say so, ask again slowly.
    Unauthorized {
        /// What it said.
        why: String,
    },
    /// Send it in smaller pieces.
    TooLarge,
    /// The receiver will not have this batch: smaller pieces find out which event is at fault.
    RejectedWhole {
        /// What it said.
        why: String,
    },
}

/// The verdict on a batch of the events `ids`.
pub fn judge(outcome: &Outcome, ids: &[String]) -> Verdict {
    judged(outcome, |body| stored(body, ids))
}

/// The verdict on what was sent; what the body of a success says is another matter with each kind of receiver.
pub(crate) fn judged(outcome: &Outcome, succeeded: impl FnOnce(&[u8]) -> Verdict) -> Verdict {
    let (status, retry_after, date, body) = match outcome {
        Outcome::Broken { why } => return Verdict::Retry { after: None, why: why.clone() },
        Outcome::Answered { status, retry_after, date, body } => (*status, retry_after, date, body),
    };
    match status {
        200..=299 => succeeded(body),
        401 | 403 => Verdict::Unauthorized { why: said(status, body) },
        413 => Verdict::TooLarge,
        // 404, 405, 406, 407, 410, 415, 421 and 426 speak of the address or the set-up, 408, 425 and 429 of the
        // moment; none of them of an event.
        404..=408 | 410 | 415 | 421 | 425 | 426 | 429 => retry(status, retry_after, date, body),
        400..=499 => Verdict::RejectedWhole { why: said(status, body) },
        _ => retry(status, retry_after, date, body),
    }
}

fn retry(status: u16, retry_after: &Option<String>, date: &Option<String>, body: &[u8]) -> Verdict {
    let after = retry_after.as_deref().and_then(|text| wait_asked(text, date.as_deref()));
    Verdict::Retry { after, why: said(status, body) }
}

fn stored(body: &[u8], ids: &[String]) -> Verdict {
    let answer: Answer = match serde_json::from_slice(body) {
        Ok(answer) => answer,
        Err(e) => return Verdict::Retry { after: None, why: format!("the answer cannot be read: {e}") },
    };
    let told = answer.accepted.saturating_add(answer.duplicates).saturating_add(answer.rejected.len());
    if told != ids.len() || !all_sent(&answer.rejected, ids) {
        let why = format!("the answer accounts for {told} of {} events", ids.len());
        return Verdict::Retry { after: None, why };
    }
    Verdict::Stored(answer)
}

/// Whether every rejection names an event of the batch, none more often than it was sent.
fn all_sent(rejected: &[Rejection], ids: &[String]) -> bool {
    let mut left: BTreeMap<&str, usize> = BTreeMap::new();
    for id in ids {
        *left.entry(id).or_default() += 1;
    }
    rejected.iter().all(|r| match left.get_mut(r.id.as_str()) {
        Some(count) if *count > 0 => {
            *count -= 1;
            true
        }
        _ => false,
    })
}

/// `Retry-After`: whole seconds, or a date that is read against the sender's own `Date`.
pub fn wait_asked(text: &str, date: Option<&str>) -> Option<Duration> {
    if let Ok(secs) = text.trim().parse() {
        return Some(Duration::from_secs(secs));
    }
    let until = httpdate::parse_http_date(text.trim()).ok()?.duration_since(UNIX_EPOCH).ok()?;
    let sent = httpdate::parse_http_date(date?).ok()?.duration_since(UNIX_EPOCH).ok()?;
    Some(until.saturating_sub(sent))
}

/// The status and the head of what was said with it, for a person.
pub(crate) fn said(status: u16, body: &[u8]) -> String {
    let head = String::from_utf8_lossy(body.get(..200).unwrap_or(body)).replace(char::is_control, " ");
    match head.trim() {
        "" => format!("the receiver answered {status}"),
        head => format!("the receiver answered {status}: {head}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn answered(status: u16, body: &str) -> Outcome {
        Outcome::Answered { status, retry_after: None, date: None, body: body.into() }
    }

    fn asked(retry_after: &str, date: Option<&str>) -> Outcome {
        Outcome::Answered {
            status: 429,
            retry_after: Some(retry_after.into()),
            date: date.map(Into::into),
            body: vec![],
        }
    }

    fn ids(n: usize) -> Vec<String> {
        (0..n).map(|i| format!("e{i}")).collect()
    }

    fn name(verdict: &Verdict) -> &'static str {
        match verdict {
            Verdict::Stored(_) => "stored",
            Verdict::Retry { .. } => "retry",
            Verdict::Unauthorized { .. } => "unauthorized",
            Verdict::TooLarge => "too large",
            Verdict::RejectedWhole { .. } => "rejected",
        }
    }

    #[test]
    fn the_table() {
        let all = r#"{"accepted":1,"duplicates":1,"rejected":[]}"#;
        let table = [
            (200, all, "stored"),
            (202, all, "stored"),
            (200, r#"{"accepted":1,"duplicates":0,"rejected":[{"id":"e1","reason":"no"}]}"#, "stored"),
            (200, r#"{"accepted":1,"duplicates":0,"rejected":[{"id":"other","reason":"no"}]}"#, "retry"),
            (200, r#"{"accepted":1,"duplicates":0,"rejected":[]}"#, "retry"),
            (200, r#"{"accepted":1,"dupl"#, "retry"),
            (200, "<html>log in to the guest network</html>", "retry"),
            (204, "", "retry"),
            (302, "", "retry"),
            (400, "", "rejected"),
            (401, "", "unauthorized"),
            (403, "", "unauthorized"),
            (404, "", "retry"),
            (408, "", "retry"),
            (413, "", "too large"),
            (415, "", "retry"),
            (422, "", "rejected"),
            (429, "", "retry"),
            (500, "", "retry"),
            (503, "", "retry"),
        ];
        for (status, body, expected) in table {
            assert_eq!(name(&judge(&answered(status, body), &ids(2))), expected, "{status} {body}");
        }
        assert_eq!(name(&judge(&Outcome::Broken { why: "cut".into() }, &ids(2))), "retry");
    }

    #[test]
    fn one_event_is_not_rejected_twice() {
        let twice =
            r#"{"accepted":0,"duplicates":0,"rejected":[{"id":"e0","reason":""},{"id":"e0","reason":""}]}"#;
        assert_eq!(name(&judge(&answered(200, twice), &ids(2))), "retry");
    }

    #[test]
    fn retry_after_is_seconds_or_a_date_on_the_receivers_clock() {
        let after = |outcome| {
            let Verdict::Retry { after, .. } = judge(&outcome, &ids(1)) else { panic!("not retried") };
            after
        };
        let (sent, until) = ("Tue, 10 Mar 2026 20:00:00 GMT", "Tue, 10 Mar 2026 20:01:30 GMT");
        assert_eq!(after(asked("120", None)), Some(Duration::from_secs(120)));
        assert_eq!(after(asked(until, Some(sent))), Some(Duration::from_secs(90)));
        assert_eq!(after(asked(sent, Some(until))), Some(Duration::ZERO));
        assert_eq!(after(asked(until, None)), None);
        assert_eq!(after(asked("soon", Some(sent))), None);
    }

    #[test]
    fn what_was_said_is_kept_for_a_person() {
        let verdict = judge(&answered(401, "{\"error\":\n\"unknown token\"}"), &ids(1));
        let why = "the receiver answered 401: {\"error\": \"unknown token\"}".to_owned();
        assert_eq!(verdict, Verdict::Unauthorized { why });
    }

    proptest! {
        #[test]
        fn only_a_success_that_accounts_for_every_event_stores(status in 0u16..1000, body in ".{0,60}", sent in 1usize..4) {
            let verdict = judge(&answered(status, &body), &ids(sent));
            prop_assert!(!matches!(verdict, Verdict::Stored(_)), "{body} stored {sent} events");
        }
    }
}
