//! Asks the receiver for the bundle of the site, and says what its answer means. It is asked once; when to ask again is for
//! whoever asks.

use crate::uplink::Uplink;
use crate::verdict::{Outcome, said, wait_asked};
use std::time::Duration;

/// What a receiver answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Offer {
    /// This document; nothing of it is proved yet.
    Given(Vec<u8>),
    /// The one that we have.
    Same,
    /// It has none for us, or knows of no bundles.
    Nothing,
    /// It does not know us: a person has to look.
    Unauthorized {
        /// What it said.
        why: String,
    },
    /// Ask again.
    Later {
        /// What the receiver asked for.
        after: Option<Duration>,
        /// What happened.
        why: String,
    },
}

impl Uplink {
    /// Asks for the bundle of our site, unless it is still the one with this `ETag`.
    pub async fn bundle(&self, known: Option<&str>) -> Offer {
        judge(self.ask_for_bundle(known).await)
    }
}

fn judge(outcome: Outcome) -> Offer {
    let (status, retry_after, date, body) = match outcome {
        Outcome::Broken { why } => return Offer::Later { after: None, why },
        Outcome::Answered { status, retry_after, date, body } => (status, retry_after, date, body),
    };
    match status {
        200 => Offer::Given(body),
        304 => Offer::Same,
        401 | 403 => Offer::Unauthorized { why: said(status, &body) },
        404 | 405 | 410 | 501 => Offer::Nothing,
        _ => {
            let after = retry_after.as_deref().and_then(|text| wait_asked(text, date.as_deref()));
            Offer::Later { after, why: said(status, &body) }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table() {
        let offer = |status: u16| {
            judge(Outcome::Answered {
                status,
                retry_after: Some("7".into()),
                date: None,
                body: b"b".to_vec(),
            })
        };
        assert_eq!(offer(200), Offer::Given(b"b".to_vec()));
        assert_eq!(offer(304), Offer::Same);
        for status in [404, 405, 410, 501] {
            assert_eq!(offer(status), Offer::Nothing, "{status}");
        }
        for status in [401, 403] {
            assert!(matches!(offer(status), Offer::Unauthorized { .. }), "{status}");
        }
        for status in [204, 206, 302, 400, 413, 429, 500, 503] {
            let Offer::Later { after, why } = offer(status) else { panic!("{status}") };
            assert!(after == Some(Duration::from_secs(7)) && why.contains(&status.to_string()), "{why}");
        }
        let broken = judge(Outcome::Broken { why: "cut".into() });
        assert_eq!(broken, Offer::Later { after: None, why: "cut".into() });
    }
}
