//! Section 8: a device whose clock is wrong. Its event times are corrected, so that the clock neither mutes nor
//! reorders what the device says.

use crate::alert::{AlertId, Rule, Severity, Subject};
use crate::book::Finding;
use crate::engine::Engine;
use crate::evidence::{Evidence, SkewEvidence};
use crate::observation::Observation;
use crate::site::Device;
use crate::time::{Span, Timestamp};
use serde::{Deserialize, Serialize};
use std::collections::VecDeque;

/// So many live messages make a median (rules, section 8).
const LIVE: usize = 5;

/// Two messages vouch for each other if the time between them is the same by both clocks, this closely: a minute's
/// heartbeat is rarely held up for longer by a network that works.
const AGREES: Span = Span::from_secs(10);

/// What comes sooner after another message than this shows no pace: a heartbeat and its fix are made some milliseconds
/// apart, and a backlog is sent some milliseconds apart.
const PACE: Span = Span::from_secs(1);

/// What a device's messages say of its clock.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Skew {
    /// Its last message, and whether that has been counted as live.
    last: Option<(Reading, bool)>,
    /// How far the clock is behind by each of the last live messages, oldest first; negative if it is ahead.
    behind: VecDeque<Span>,
    /// Whether it is wrong now, and the alert that says so, if none muted it.
    wrong: bool,
    alert: Option<AlertId>,
}

/// One message, by both clocks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
struct Reading {
    received_at: Timestamp,
    ts: Timestamp,
}

impl Reading {
    fn behind(self) -> Span {
        self.received_at.since(self.ts)
    }

    /// Whether both were made when they were sent. What was held back arrives at another pace than it happened: all
    /// at once, or behind a pause that its own clock does not show.
    fn vouches_for(self, earlier: Self) -> bool {
        let received = self.received_at.since(earlier.received_at).millis();
        let made = self.ts.since(earlier.ts).millis();
        received > 0 && (received - made).abs() <= AGREES.millis().min(received / 2)
    }
}

impl Skew {
    /// Takes a message into account.
    fn on_message(&mut self, reading: Reading) {
        let too_soon = |(earlier, _): (Reading, bool)| {
            let gap = reading.received_at.since(earlier.received_at);
            Span::ZERO <= gap && gap < PACE
        };
        if self.last.is_some_and(too_soon) {
            return;
        }
        let earlier = self.last.take();
        let live = earlier.is_some_and(|(earlier, _)| reading.vouches_for(earlier));
        if let Some((earlier, false)) = earlier.filter(|_| live) {
            self.count(earlier);
        }
        if live {
            self.count(reading);
        }
        self.last = Some((reading, live));
    }

    fn count(&mut self, reading: Reading) {
        self.behind.push_back(reading.behind());
        if self.behind.len() > LIVE {
            self.behind.pop_front();
        }
    }

    /// What comes next may have been held back for as long as the connection was lost.
    pub(crate) fn on_lost(&mut self) {
        self.last = None;
    }

    /// Our own clock was set back: only what comes next can be compared with it.
    pub(crate) fn forget_readings(&mut self) {
        self.last = None;
        self.behind.clear();
    }

    fn median(&self) -> Option<Span> {
        let mut sorted: Vec<Span> = self.behind.iter().copied().collect();
        sorted.sort_unstable();
        sorted.get(LIVE / 2).copied().filter(|_| sorted.len() == LIVE)
    }

    /// How far a clock that is wrong is behind; what it says is corrected by that.
    pub(crate) fn correction(&self) -> Option<Span> {
        self.median().filter(|_| self.wrong)
    }
}

impl Engine {
    /// Looks at the clock of the device that made an observation; how far its instants are to be moved.
    pub(crate) fn on_device_clock(&mut self, device: &Device, observation: &Observation) -> Span {
        let max = self.site.policy.devices.max_clock_skew.millis();
        let reading = Reading { received_at: observation.received_at, ts: observation.at };
        let skew = &mut self.instrument(&device.id).skew;
        skew.on_message(reading);
        let Some(behind) = skew.median() else { return Span::ZERO };
        let (was, wrong) = (skew.wrong, behind.millis().abs() > max);
        skew.wrong = wrong;
        match (was, wrong) {
            (false, true) => self.raise_skew(device, behind, reading.received_at),
            (true, false) => self.end_skew(device, reading.received_at),
            (true, true) | (false, false) => {}
        }
        if wrong { behind } else { Span::ZERO }
    }

    fn raise_skew(&mut self, device: &Device, behind: Span, at: Timestamp) {
        let way = if behind > Span::ZERO { "behind" } else { "ahead" };
        let minutes = Span::from_millis(behind.millis().abs()).mins_up();
        let summary = format!(
            "the clock of device {} is about {minutes} min {way}; its event times are corrected",
            device.id
        );
        let finding = Finding {
            rule: Rule::ClockSkew,
            severity: Severity::Low,
            subject: Subject::Device(device.id.clone()),
            guard: self.carrier(device, at),
            detected_at: at,
            summary,
            evidence: Evidence::Skew(SkewEvidence {
                device: device.id.clone(),
                behind_ms: behind.millis(),
                max_ms: self.site.policy.devices.max_clock_skew.millis(),
            }),
        };
        let alert = self.raise(finding, at);
        self.instrument(&device.id).skew.alert = alert;
    }

    fn end_skew(&mut self, device: &Device, at: Timestamp) {
        if let Some(alert) = self.instrument(&device.id).skew.alert.take() {
            self.clear_and_resolve(alert, at, "the clock is right again", at);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn at(secs: i64) -> Timestamp {
        Timestamp::from_millis(1_000_000_000 + secs * 1_000)
    }

    /// The median after messages of (second received, second by the device's clock).
    fn median(messages: &[(i64, i64)]) -> Option<i64> {
        let mut skew = Skew::default();
        for (received, ts) in messages {
            skew.on_message(Reading { received_at: at(*received), ts: at(*ts) });
        }
        skew.median().map(|m| m.millis() / 1_000)
    }

    #[test]
    fn the_fifth_message_makes_the_median() {
        let behind: Vec<(i64, i64)> = (0..5).map(|n| (600 + 60 * n, 60 * n)).collect();
        assert_eq!(median(&behind[..4]), None);
        assert_eq!(median(&behind), Some(600));
        let ahead: Vec<(i64, i64)> = (0..5).map(|n| (60 * n, 600 + 60 * n)).collect();
        assert_eq!(median(&ahead), Some(-600));
    }

    #[test]
    fn what_was_held_back_is_no_skew() {
        let flushed: Vec<(i64, i64)> = (0..60).map(|n| (3_600, 60 * n)).collect();
        assert_eq!(median(&flushed), None, "in one array");
        let quick: Vec<(i64, i64)> = (0..60).map(|n| (3_600 + n / 20, 5 * n)).collect();
        assert_eq!(median(&quick), None, "one by one, and of a device that speaks every five seconds");
        let slow: Vec<(i64, i64)> = (0..60).map(|n| (3_600 + n, 5 * n)).collect();
        assert_eq!(median(&slow), None, "the same through a slow line, one a second");
        let pairs: Vec<(i64, i64)> = (0..60).map(|n| (3_600, 60 * (n / 2))).collect();
        assert_eq!(median(&pairs), None, "a heartbeat and a fix of the same instant");
        let single: Vec<(i64, i64)> = (0..9).map(|n| (60 * n + (n % 2) * 1_000, 60 * n)).collect();
        assert_eq!(median(&single), None, "now and then one that was held");
    }

    #[test]
    fn a_backlog_whose_pairs_come_as_fast_as_they_were_made_is_no_skew() {
        let mut skew = Skew::default();
        let millis = |ms: i64| at(0) + Span::from_millis(ms);
        for n in 0..120 {
            // A heartbeat and two milliseconds later a fix, every minute; sent hours later, two milliseconds apart.
            let ts = millis(n / 2 * 60_000 + n % 2 * 2);
            skew.on_message(Reading { received_at: millis(10_000_000 + 2 * n), ts });
        }
        assert!(skew.behind.is_empty(), "{:?}", skew.behind);
    }

    #[test]
    fn after_a_flush_the_live_ones_count_again() {
        let mut messages: Vec<(i64, i64)> = (0..30).map(|n| (3_600, 60 * n)).collect();
        messages.extend((0..5).map(|n| (3_660 + 60 * n, 3_659 + 60 * n)));
        assert_eq!(median(&messages[..34]), None);
        assert_eq!(median(&messages), Some(1));
    }

    #[test]
    fn behind_a_lost_connection_two_have_to_agree() {
        let mut skew = Skew::default();
        skew.on_message(Reading { received_at: at(0), ts: at(0) });
        skew.on_lost();
        skew.on_message(Reading { received_at: at(60), ts: at(60) });
        assert!(skew.behind.is_empty());
    }

    proptest! {
        /// Whatever a device holds back and sends at once on each of its connections, only what it makes while it is
        /// connected counts.
        #[test]
        fn no_backlog_moves_the_median(
            rounds in prop::collection::vec((1_i64..200, 6_i64..12, 20_i64..120), 1..6),
        ) {
            let (mut messages, mut now) = (vec![], 0_i64);
            for (held, live, pace) in rounds {
                let ts = now;
                now += held * pace;
                messages.extend((0..held).map(|n| (now, ts + n * pace)));
                messages.extend((1..=live).map(|n| (now + n * pace + 1, now + n * pace)));
                now += (live + 1) * pace;
            }
            let mut skew = Skew::default();
            for (received, ts) in messages {
                skew.on_message(Reading { received_at: at(received), ts: at(ts) });
                let behind = skew.median();
                prop_assert!(behind.is_none_or(|m| m.millis().abs() <= 10_000), "{behind:?} at {received} s");
            }
        }
    }
}
