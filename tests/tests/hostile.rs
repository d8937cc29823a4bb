//! Nights that go wrong: hostile users, unlucky operators, messages in any order.

use vigil_core::alert::Rule;
use vigil_core::engine::Outcome;
use vigil_core::id::Tag;
use vigil_core::observation::{Heartbeat, Kind, Observation, Scan};
use vigil_core::time::Timestamp;
use vigil_tests::night::{Night, at, id, secs};

fn lives() -> Kind {
    Kind::Heartbeat(Heartbeat { battery_permille: Some(500), ..Heartbeat::default() })
}

mod identity {
    use super::*;

    fn observe(night: &mut Night, at: Timestamp, event: &str, kind: Kind) -> Outcome {
        let seen = Observation::new(id("hs-7"), at, at + secs(1), Some(event), kind);
        night.take_in(seen)
    }

    #[test]
    fn a_call_for_help_is_no_duplicate_of_another_kind_of_event() {
        let mut night = Night::on_plant_7(|_| {});
        observe(&mut night, at("21:00"), "1", lives());
        assert_eq!(observe(&mut night, at("21:05"), "1", Kind::Sos(None)), Outcome::Applied);
        assert_eq!(night.alerts_of(Rule::Sos).len(), 1);
    }

    #[test]
    fn a_call_for_help_of_a_handset_that_counts_from_one_again_is_heard() {
        let mut night = Night::on_plant_7(|_| {});
        observe(&mut night, at("21:00"), "1", Kind::Sos(None));
        let again = Kind::Sos(Some("still here".into()));
        assert_eq!(observe(&mut night, at("21:05"), "1", again.clone()), Outcome::Applied);
        assert_eq!(observe(&mut night, at("21:05"), "1", again), Outcome::Duplicate);
    }

    #[test]
    fn a_call_for_help_from_a_handset_without_a_clock_is_heard() {
        let mut night = Night::on_plant_7(|_| {});
        let epoch = Timestamp::from_millis(86_400_000);
        night.observe_late(epoch, at("21:00"), "hs-7", Kind::Sos(None));
        assert_eq!(night.the_alert(Rule::Sos).detected_at, at("21:00"));
        let fallen = Heartbeat { man_down: true, ..Heartbeat::default() };
        night.observe_late(epoch, at("21:01"), "hs-8", Kind::Heartbeat(fallen));
        assert_eq!(night.the_alert(Rule::ManDown).detected_at, at("21:01"));
    }

    #[test]
    fn a_guard_of_no_site_file_leaves_nothing_behind() {
        let mut night = Night::on_plant_7(|_| {});
        let before = night.engine.snapshot().unwrap().len();
        for n in 0..1_000 {
            let tag = Tag::new("04AA0000").unwrap();
            let scan = Kind::Scan(Scan { tag, guard: Some(id(&format!("X-{n}"))), sun: None });
            assert_eq!(night.observe(at("21:00") + secs(n), "hs-7", scan), Outcome::UnknownTag);
        }
        let kept = night.engine.snapshot().unwrap().len() - before;
        assert!(kept < 30_000, "{kept} bytes for a thousand strangers");
    }
}
