//! What came of a try, and what follows from it. Pure, but for the chance in the waits.

use std::time::Duration;
use vigil_cloud_sync::verdict::wait_asked;
use vigil_cloud_sync::{Cadence, Pace};
use vigil_core::time::{Span, Timestamp};

/// How much of what was answered is kept: a sentence for a person.
pub const SAID_BYTES: usize = 200;

/// How long is waited for what.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Patience {
    /// How long one try may take.
    pub try_for: Duration,
    /// After so long another receiver takes over what one was about to send: longer than a try, or two would send at once.
    pub lease: Duration,
    /// The waits between tries.
    pub pace: Pace,
    /// After so long it is given up.
    pub whole: Span,
}

impl Default for Patience {
    /// A contact's server that says nothing for 10 s is stuck; a receiver that was killed is replaced within half a minute. The
    /// first waits are short, because somebody may be in danger, and the last an hour, because a server that was away for long is
    /// not helped by more. After a day the alert is yesterday's.
    fn default() -> Self {
        let (first, cap) = (Duration::from_secs(5), Duration::from_secs(3_600));
        Self {
            try_for: Duration::from_secs(10),
            lease: Duration::from_secs(30),
            pace: Pace::new(first, cap, cap),
            whole: Span::from_hours(24),
        }
    }
}

/// What came of one try.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// It was taken.
    Taken {
        /// The status of the answer.
        status: Option<u16>,
    },
    /// It will never be taken.
    Refused {
        /// The status of the answer.
        status: Option<u16>,
        /// What was said.
        said: String,
    },
    /// Not now.
    Later {
        /// The status of the answer, if one came.
        status: Option<u16>,
        /// What was said, or what happened.
        said: String,
        /// How long to wait, if that was said.
        after: Option<Duration>,
    },
}

impl Outcome {
    /// Not now, for a reason of our own.
    pub const fn later(said: String) -> Self {
        Self::Later { status: None, said, after: None }
    }

    /// The word under which it is kept.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Taken { .. } => "taken",
            Self::Refused { .. } => "refused",
            Self::Later { .. } => "failed",
        }
    }

    /// The status of the answer, if one came.
    pub const fn status(&self) -> Option<u16> {
        match self {
            Self::Taken { status } | Self::Refused { status, .. } | Self::Later { status, .. } => *status,
        }
    }

    /// What was said.
    pub fn said(&self) -> Option<&str> {
        match self {
            Self::Taken { .. } => None,
            Self::Refused { said, .. } | Self::Later { said, .. } => Some(said),
        }
    }
}

/// What a webhook's answer means. A redirect is not followed: it would carry the alert to somebody else; who set the hook up may
/// mend it within the day.
pub fn answered(status: u16, retry_after: Option<&str>, date: Option<&str>, body: &[u8]) -> Outcome {
    let said = match kept(&String::from_utf8_lossy(body.get(..SAID_BYTES).unwrap_or(body))) {
        said if said.is_empty() => format!("answered {status}"),
        said => said,
    };
    match status {
        200..=299 => Outcome::Taken { status: Some(status) },
        400..=499 if !matches!(status, 408 | 425 | 429) => Outcome::Refused { status: Some(status), said },
        _ => {
            let after = retry_after.and_then(|text| wait_asked(text, date));
            Outcome::Later { status: Some(status), said, after }
        }
    }
}

/// What is kept of a text from outside: one line without control characters, not longer than it may be.
pub fn kept(text: &str) -> String {
    let mut line = String::new();
    for sign in text.trim().chars() {
        if line.len() + sign.len_utf8() > SAID_BYTES {
            break;
        }
        line.push(if sign.is_control() { ' ' } else { sign });
    }
    line
}

/// Where a notice stands after a try.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Then {
    /// The contact has it.
    Told,
    /// It will never be taken.
    Refused,
    /// It was tried for long enough.
    GivenUp,
    /// It is tried again.
    Again(Timestamp),
}

impl Patience {
    /// What follows on a try, which was the `number`th.
    pub fn after(&self, outcome: &Outcome, number: u32, made_at: Timestamp, now: Timestamp) -> Then {
        let asked = match outcome {
            Outcome::Taken { .. } => return Then::Told,
            Outcome::Refused { .. } => return Then::Refused,
            Outcome::Later { after, .. } => *after,
        };
        let mut cadence = Cadence::seeded(self.pace);
        // More doublings than there are change nothing.
        (0..number.min(u32::BITS)).for_each(|_| cadence.on_failure());
        let drawn = cadence.wait(false);
        // Who says "at once" with every answer is not asked without end.
        let wait = asked.map_or(drawn, |after| cadence.wait_asked(after).max(drawn));
        let at = now + Span::from_millis(i64::try_from(wait.as_millis()).unwrap_or(i64::MAX));
        if at.since(made_at) > self.whole { Then::GivenUp } else { Then::Again(at) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn what_each_answer_means() {
        for (status, name) in [
            (200, "taken"),
            (204, "taken"),
            (301, "failed"),
            (308, "failed"),
            (400, "refused"),
            (401, "refused"),
            (404, "refused"),
            (408, "failed"),
            (410, "refused"),
            (425, "failed"),
            (429, "failed"),
            (500, "failed"),
            (503, "failed"),
        ] {
            assert_eq!(answered(status, None, None, b"").name(), name, "{status}");
        }
        let asked = answered(429, Some("7"), None, b"slow\r\ndown");
        let expected = Outcome::Later {
            status: Some(429),
            said: "slow  down".into(),
            after: Some(Duration::from_secs(7)),
        };
        assert_eq!(asked, expected);
        let long = answered(400, None, None, "é".repeat(200).as_bytes());
        assert!(long.said().unwrap().len() <= SAID_BYTES);
    }

    fn later(after: Option<u64>) -> Outcome {
        Outcome::Later { status: None, said: String::new(), after: after.map(Duration::from_secs) }
    }

    const MADE: Timestamp = Timestamp::from_millis(1_773_160_000_000);

    #[test]
    fn after_a_day_it_is_given_up() {
        let patience = Patience::default();
        let after =
            |hours, outcome: &Outcome| patience.after(outcome, 40, MADE, MADE + Span::from_hours(hours));
        assert!(matches!(after(22, &later(None)), Then::Again(_)));
        assert_eq!(after(25, &later(None)), Then::GivenUp);
        assert_eq!(after(25, &Outcome::Taken { status: None }), Then::Told, "a late one is none too late");
    }

    #[test]
    fn a_lease_outlives_a_try() {
        let patience = Patience::default();
        assert!(patience.lease >= 2 * patience.try_for);
    }

    proptest! {
        #[test]
        fn a_wait_is_what_was_asked_and_within_bounds(number in 1_u32..200, asked in prop::option::of(0_u64..10_000)) {
            let patience = Patience::default();
            let Then::Again(at) = patience.after(&later(asked), number, MADE, MADE) else {
                return Err(TestCaseError::fail("it is tried again"));
            };
            let secs = at.since(MADE).millis() / 1_000;
            let most = 5_i64.saturating_mul(1_i64 << (number - 1).min(20)).min(3_600);
            let least = asked.map_or(0, |asked| i64::try_from(asked.min(3_600)).unwrap());
            prop_assert!(secs >= least && secs <= most.max(least + 5), "{secs} of {most}, {least}");
        }
    }
}
