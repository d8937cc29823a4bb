//! Sentences as receivers send them, and as lines deliver them.

use super::*;
use proptest::prelude::*;

fn sentence(body: &str) -> String {
    let sum = body.bytes().fold(0, |sum, byte| sum ^ byte);
    format!("${body}*{sum:02X}\r\n")
}

fn secs(secs: u64) -> Duration {
    Duration::from_secs(secs)
}

fn fixes(heard: Heard) -> Vec<Sighting> {
    let fix = |said| match said {
        Said::Fix(sighting) => Some(sighting),
        Said::Tag(_) => None,
    };
    heard.said.into_iter().filter_map(fix).collect()
}

/// The instant after, so that the one before is over.
const NEXT: &str = "GPGGA,235959.000,,,,,0,,,,M,,M,,";

/// The one fix that these sentences come to, if they do.
fn one(bodies: &[&str]) -> Option<Sighting> {
    let text: String = bodies.iter().chain([&NEXT]).map(|body| sentence(body)).collect();
    let mut found = fixes(Nmea::open(secs(0)).on_bytes(text.as_bytes(), secs(1)));
    assert!(found.len() <= 1, "{found:?}");
    found.pop()
}

/// The sentence that the documentation of the crate `nmea` shows.
const GGA: &str = "GPGGA,092750.000,5321.6802,N,00630.3372,W,1,8,1.03,61.7,M,55.2,M,,";
/// The other two sentences at the same place and time.
const RMC: &str = "GPRMC,092750.000,A,5321.6802,N,00630.3372,W,1.94,31.66,280511,,,A";
const GST: &str = "GPGST,092750.000,15.5,15.3,7.2,21.8,3.0,4.0,0.8";

#[test]
fn three_sentences_of_one_instant_are_one_fix() {
    assert_eq!(sentence(GGA), "$GPGGA,092750.000,5321.6802,N,00630.3372,W,1,8,1.03,61.7,M,55.2,M,,*76\r\n");
    let Sighting { fix, time, came } = one(&[GGA, RMC, GST]).unwrap();
    assert!((fix.lat - 53.361_336_67).abs() < 1e-8 && (fix.lon + 6.505_62).abs() < 1e-8, "{fix:?}");
    assert_eq!(fix.accuracy_m, Some(5.0), "of 3 m north and 4 m east");
    assert!((fix.speed_mps.unwrap() - 0.998).abs() < 1e-3 && fix.heading_deg == Some(31.66), "{fix:?}");
    assert_eq!((fix.provider, fix.mock, fix.outdated), (Some(Provider::Gps), false, false));
    let date = chrono::NaiveDate::from_ymd_opt(2011, 5, 28);
    assert_eq!((time, came), (FixTime { date, ms_of_day: 34_070_000 }, secs(1)));
    for order in [[RMC, GST, GGA], [GST, GGA, RMC], [GST, RMC, GGA]] {
        assert_eq!(one(&order), one(&[GGA, RMC, GST]), "{order:?}");
    }
    let coarse = RMC.replace("5321.6802", "5321.68");
    for order in [[GGA, &coarse], [&coarse, GGA]] {
        assert_eq!(one(&order).unwrap().fix.lat, fix.lat, "the sentence with more digits counts");
    }
}

#[test]
fn any_talker_is_heard_and_any_other_sentence_is_not() {
    for talker in ["GN", "GL", "GA", "BD", "QZ"] {
        assert!(one(&[&GGA.replace("GP", talker)]).is_some(), "{talker}");
    }
    let others =
        ["GPGSV,3,1,11,03,03,111,00,04,15,270,00", "PUBX,00,081350.00", "GPTXT,01,01,02,ANTSTATUS=OK", "AB"];
    let text: String = others.iter().map(|body| sentence(body)).collect();
    let heard = Nmea::open(secs(0)).on_bytes(text.as_bytes(), secs(1));
    assert_eq!(heard, Heard { proved: true, ..Heard::default() });
}

#[test]
fn without_gst_the_dilution_tells_the_accuracy() {
    let accuracy = |bodies: &[&str]| one(bodies).unwrap().fix.accuracy_m;
    assert_eq!(accuracy(&[GGA]), Some(1.03 * 7.5));
    assert_eq!(accuracy(&[&GGA.replace(",1,8,", ",2,8,")]), Some(1.03 * 1.875), "with corrections");
    assert_eq!(accuracy(&[RMC]), None, "15 m are assumed by the rules");
    assert_eq!(accuracy(&[&GGA.replace("1.03", "")]), None);
    assert_eq!(accuracy(&[&GGA.replace("1.03", "nan"), RMC]), None);
    assert_eq!(
        accuracy(&[GGA, "GPGST,092750.000,,,,,0.0,0.0,0.0"]),
        Some(1.03 * 7.5),
        "a GST that knows nothing"
    );
}

#[test]
fn what_the_receiver_does_not_know_is_no_fix() {
    for void in [
        RMC.replace(",A,5321", ",V,5321"),
        RMC.replace(",,,A", ",,,N"),
        GGA.replace(",1,8,", ",0,0,"),
        GGA.replace("5321.6802,N,00630.3372,W", ",,,"),
        GGA.replace("092750.000", ""),
        GGA.replace("5321", "9121"),
    ] {
        assert_eq!(one(&[&void]), None, "{void}");
    }
    assert_eq!(one(&[GGA, &RMC.replace(",A,5321", ",V,5321")]), None, "one of two that says so is enough");
}

#[test]
fn what_was_reckoned_or_made_up_is_marked() {
    let marks = |bodies: &[&str]| one(bodies).map(|s| (s.fix.mock, s.fix.outdated)).unwrap();
    assert_eq!(marks(&[&GGA.replace(",1,8,", ",6,8,")]), (false, true));
    assert_eq!(marks(&[&RMC.replace(",,,A", ",,,E")]), (false, true));
    assert_eq!(marks(&[&GGA.replace(",1,8,", ",7,8,")]), (true, false));
    assert_eq!(marks(&[&GGA.replace(",1,8,", ",8,8,")]), (true, false));
    assert_eq!(marks(&[GGA, &RMC.replace(",,,A", ",,,S")]), (true, false));
}

#[test]
fn numbers_that_cannot_be_are_left_out() {
    let fix = |speed: &str, course: &str| {
        one(&[&RMC.replace("1.94,31.66", &format!("{speed},{course}"))]).unwrap().fix
    };
    assert_eq!((fix("-1", "361").speed_mps, fix("-1", "361").heading_deg), (None, None));
    assert_eq!((fix("inf", "nan").speed_mps, fix("inf", "nan").heading_deg), (None, None));
    assert_eq!((fix("", "").speed_mps, fix("", "").heading_deg), (None, None));
}

#[test]
fn one_fix_in_ten_seconds_is_told() {
    let mut receiver = Nmea::open(secs(0));
    let mut told = vec![];
    for second in 0..35 {
        let time = format!("0927{second:02}.000");
        let text = sentence(&GGA.replace("092750.000", &time));
        told.extend(
            fixes(receiver.on_bytes(text.as_bytes(), secs(second))).into_iter().map(|s| s.came.as_secs()),
        );
    }
    assert_eq!(told, [0, 10, 20, 30]);
}

#[test]
fn noise_half_sentences_and_wrong_checksums_are_skipped() {
    let good = sentence(GGA) + &sentence(NEXT);
    let length = GGA.len() as u64 + 4;
    for (noise, skipped) in [
        (sentence(GGA).replace("*76", "*77"), length),
        (sentence(GGA).replace("*76", ""), length - 3),
        (sentence(GGA).replace("*76", "*7"), length - 1),
        (sentence(GGA).replace("*76", "*+6"), length),
        ("$GPGGA,092750".to_owned(), 13),
        ("ppppp\r\n".to_owned(), 5),
        (format!("${}", "A".repeat(5_000)), 5_001),
        (sentence("GPGGA,nonsense"), 18),
        ("$\u{e9}*00\r\n".to_owned(), 6),
    ] {
        let text = noise.clone() + &good;
        let heard = Nmea::open(secs(0)).on_bytes(text.as_bytes(), secs(1));
        assert_eq!((heard.skipped, fixes(heard).len()), (skipped, 1), "{noise:?}");
    }
}

#[test]
fn a_receiver_that_says_nothing_valid_is_mute() {
    let mut receiver = Nmea::open(secs(5));
    assert_eq!(receiver.next_deadline(), secs(35));
    assert!(receiver.on_deadline(secs(34)).is_ok());
    receiver.on_bytes(b"garbage at another speed\r\n", secs(34));
    for garbled in ["$GPTXT,01,01,02,u-blox*00\r\n", "$GPTXT,01,01,02,u-blox\r\n"] {
        let heard = receiver.on_bytes(garbled.as_bytes(), secs(34));
        assert_eq!((heard.proved, heard.skipped), (false, garbled.len() as u64 - 2), "{garbled:?}");
    }
    assert_eq!(receiver.on_deadline(secs(35)), Err(Mute::Receiver));
    receiver.on_bytes(sentence(NEXT).as_bytes(), secs(36));
    assert_eq!(receiver.next_deadline(), secs(66));
}

proptest! {
    #[test]
    fn any_cut_and_any_noise_before_change_nothing(
        noise in prop::collection::vec(any::<u8>().prop_filter("no start", |b| *b != b'$'), 0..300),
        cut in 0_usize..600,
    ) {
        let line = [&noise[..], b"\n", (sentence(GGA) + &sentence(RMC) + &sentence(NEXT)).as_bytes()].concat();
        let (before, behind) = line.split_at(cut.min(line.len()));
        let mut receiver = Nmea::open(secs(0));
        let mut found = fixes(receiver.on_bytes(before, secs(1)));
        found.extend(fixes(receiver.on_bytes(behind, secs(1))));
        prop_assert_eq!(found.pop(), one(&[GGA, RMC]));
    }

    #[test]
    fn whatever_a_place_is_said_to_be_a_fix_is_on_earth(
        lat in "([0-9]{2}|\\+9)([0-9]{1,4}(\\.[0-9]{1,3})?|nan|-?inf|-[0-9]{1,4}|1e[0-9]{1,3})",
        lon in "([0-9]{3}|\\+99)([0-9]{1,4}(\\.[0-9]{1,3})?|nan|-?inf|-[0-9]{1,4}|1e[0-9]{1,3})",
        hdop in "[0-9]{1,2}\\.[0-9]|nan|-?inf|-1|1e[0-9]{1,2}|",
    ) {
        let place = GGA.replace("5321.6802", &lat).replace("00630.3372", &lon).replace("1.03", &hdop);
        if let Some(Sighting { fix, .. }) = one(&[&place]) {
            prop_assert!((-90.0..=90.0).contains(&fix.lat) && (-180.0..=180.0).contains(&fix.lon), "{:?}", fix);
            prop_assert!(fix.accuracy_m.is_none_or(|radius| radius.is_finite() && radius > 0.0), "{:?}", fix);
        }
    }

    #[test]
    fn whatever_a_sentence_says_a_fix_is_on_earth(
        fields in prop::collection::vec(
            prop_oneof!["[0-9]{6}", "[0-9]{4,5}\\.[0-9]{1,4}", "[NSEWAVDM]", "-?[0-9]{1,9}", Just(String::new()),
                        Just("nan".to_owned()), Just("-inf".to_owned()), "[ -#%-)+-~]{0,12}"], 0..14),
        kind in prop_oneof![Just("GPGGA"), Just("GNRMC"), Just("GPGST")],
    ) {
        let text = sentence(&format!("{kind},{}", fields.join(","))) + &sentence(NEXT);
        let mut receiver = Nmea::open(secs(0));
        for Sighting { fix, .. } in fixes(receiver.on_bytes(text.as_bytes(), secs(1))) {
            prop_assert!((-90.0..=90.0).contains(&fix.lat) && (-180.0..=180.0).contains(&fix.lon));
            prop_assert!(fix.accuracy_m.is_none_or(|radius| radius.is_finite() && radius > 0.0));
        }
        prop_assert!(receiver.sentence.as_ref().is_none_or(|sentence| sentence.len() <= LONGEST));
    }
}
