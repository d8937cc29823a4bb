//! Clocks that are wrong: those of devices, and that of the gateway.

// All of it is test code: a failed unwrap is a failed test.
#![cfg(test)]

use vigil_core::alert::{Rule, Severity, Status};
use vigil_core::engine::Outcome;
use vigil_core::evidence::Evidence;
use vigil_core::observation::{Heartbeat, Kind};
use vigil_core::policy::Maintenance;
use vigil_core::time::{Span, Timestamp};
use vigil_tests::night::{Night, at, mins, secs, tour, with_policy};

/// A device of the plant whose clock is behind by so much (ahead, if that is negative).
mod device {
    use super::*;

    /// The handset says `kind` at the true instant `now`; its clock is behind.
    fn says(night: &mut Night, now: Timestamp, behind: Span, kind: Kind) -> Outcome {
        night.observe_late(now - behind, now, "hs-7", kind)
    }

    /// A heartbeat a minute in `[from, to)`.
    fn beats(night: &mut Night, from: Timestamp, to: Timestamp, behind: Span) {
        let mut now = from;
        while now < to {
            says(night, now, behind, Kind::Heartbeat(Heartbeat::default()));
            now = now + mins(1);
        }
    }

    #[test]
    fn the_fifth_live_message_tells_and_the_alert_resolves_when_the_median_is_back() {
        let mut night = Night::on_plant_7(|_| {});
        beats(&mut night, at("20:00"), at("20:04"), mins(-10));
        assert!(night.alerts().is_empty());
        beats(&mut night, at("20:04"), at("20:10"), mins(-10));
        let alert = night.the_alert(Rule::ClockSkew);
        assert_eq!((alert.severity, alert.detected_at), (Severity::Low, at("20:04")));
        assert!(alert.summary.contains("10 min ahead"), "{}", alert.summary);
        let Evidence::Skew(evidence) = &alert.evidence else { panic!("wrong evidence") };
        assert_eq!((evidence.behind_ms, evidence.max_ms), (-600_000, 120_000));
        // The clock is set right: the first message afterwards is of another pace and does not count.
        beats(&mut night, at("20:10"), at("20:20"), secs(1));
        let alert = night.the_alert(Rule::ClockSkew);
        assert_eq!((alert.cleared_at, alert.status), (Some(at("20:12")), Status::Resolved));
    }

    #[test]
    fn two_minutes_are_right_and_a_millisecond_more_is_wrong() {
        for way in [1, -1] {
            let edge = Span::from_millis(way * 120_000);
            let beyond = Span::from_millis(way * 120_001);
            for (behind, alerts) in [(edge, 0), (beyond, 1)] {
                let mut night = Night::on_plant_7(|_| {});
                beats(&mut night, at("20:00"), at("21:00"), behind);
                assert_eq!(night.alerts_of(Rule::ClockSkew).len(), alerts, "{behind}");
            }
        }
    }

    #[test]
    fn a_clock_that_is_behind_by_decades_misses_no_tour() {
        let mut night = Night::on_plant_7(|parts| parts.tours = vec![tour("round", &["22:00"], mins(40))]);
        let behind = Span::from_hours(24 * 365 * 56);
        beats(&mut night, at("21:00"), at("22:10"), behind);
        assert_eq!(night.outcomes()[3..6], [Outcome::TooOld, Outcome::Applied, Outcome::Applied]);
        for n in 0..6 {
            let place = Night::tag_of(&format!("cp-{n}"));
            assert_eq!(says(&mut night, at("22:10") + mins(n), behind, place), Outcome::Applied);
        }
        night.until(at("23:59"));
        assert!(night.alerts_of(Rule::TourMissed).is_empty());
        assert_eq!(night.runs()[0].started_at, Some(at("22:10")));
    }

    #[test]
    fn a_backlog_of_a_clock_that_is_ahead_lies_where_it_happened() {
        let mut night = Night::on_plant_7(|parts| parts.tours = vec![tour("round", &["22:00"], mins(40))]);
        let ahead = mins(-45);
        beats(&mut night, at("21:00"), at("21:30"), ahead);
        // Six scans without a connection, sent when it is back: the last may start at 22:30.
        for n in 0..6 {
            let made = at("22:25") + mins(n);
            night.observe_late(made - ahead, at("23:00"), "hs-7", Night::tag_of(&format!("cp-{n}")));
        }
        night.until(at("23:30"));
        assert_eq!(night.the_alert(Rule::TourMissed).status, Status::FalsePositive);
        assert_eq!(night.runs().last().unwrap().started_at, Some(at("22:25")));
    }

    #[test]
    fn what_was_held_back_is_late_and_no_skew() {
        let mut night = Night::on_plant_7(|_| {});
        beats(&mut night, at("20:00"), at("20:10"), secs(1));
        for n in 0..40 {
            let kind = Kind::Heartbeat(Heartbeat { steps: n, ..Heartbeat::default() });
            night.observe_late(at("20:10") + mins(i64::from(n)), at("21:00"), "hs-7", kind);
        }
        beats(&mut night, at("21:01"), at("22:00"), secs(1));
        assert!(night.alerts_of(Rule::ClockSkew).is_empty());
    }

    #[test]
    fn a_restart_does_not_tell_it_twice_and_maintenance_mutes_it() {
        let mut night = Night::on_plant_7(|_| {});
        beats(&mut night, at("20:00"), at("20:10"), mins(5));
        night.power_cut(at("20:10"), at("20:20"));
        beats(&mut night, at("20:21"), at("20:40"), mins(5));
        assert_eq!(night.the_alert(Rule::ClockSkew).revision, 1);
        let mut night = Night::on_plant_7(|parts| {
            with_policy(parts, |p| {
                let (starts_at, ends_at) = (at("20:00"), at("20:30"));
                p.maintenance = vec![Maintenance { starts_at, ends_at, rules: vec![Rule::ClockSkew] }];
            });
        });
        beats(&mut night, at("20:00"), at("21:00"), mins(5));
        assert!(night.alerts().is_empty(), "one episode, and it began in the maintenance");
        assert_eq!(
            night.engine.view(at("21:00")).devices[0].clock_behind_secs,
            Some(300),
            "but it is corrected"
        );
    }
}
