//! Any bytes on the line of a receiver: no panic, and every fix is on Earth and at an instant near its arrival, or at none.
//!
//! Each `\n` is a second. A `*` with nothing behind it gets the right checksum, so that the fuzzer comes past it.
#![no_main]

use libfuzzer_sys::fuzz_target;
use std::time::Duration;
use vigil_agent::sources::serial::nmea::Nmea;
use vigil_agent::sources::serial::speech::Said;
use vigil_core::time::{Span, Timestamp};

fn with_checksum(line: &[u8]) -> Vec<u8> {
    match line {
        [b'$', body @ .., b'*'] => {
            let sum = body.iter().fold(0, |sum, byte| sum ^ byte);
            [line, format!("{sum:02X}").as_bytes()].concat()
        }
        other => other.to_vec(),
    }
}

fuzz_target!(|input: &[u8]| {
    let came = Timestamp::from_millis(1_773_172_800_000);
    let mut receiver = Nmea::open(Duration::ZERO);
    for (second, line) in (1_u64..).zip(input.split(|byte| *byte == b'\n')) {
        let heard = receiver.on_bytes(&[&with_checksum(line)[..], b"\n"].concat(), Duration::from_secs(second));
        for said in heard.said {
            let Said::Fix(sighting) = said else { panic!("a receiver reads no tags") };
            let fix = sighting.fix;
            assert!((-90.0..=90.0).contains(&fix.lat) && (-180.0..=180.0).contains(&fix.lon));
            assert!(fix.accuracy_m.is_none_or(|radius| radius.is_finite() && radius > 0.0));
            assert!(fix.speed_mps.is_none_or(|speed| (0.0..=500.0).contains(&speed)));
            assert!(fix.heading_deg.is_none_or(|heading| (0.0..=360.0).contains(&heading)));
            let near = |at: Timestamp| at.since(came) <= Span::from_secs(30) && came.since(at) <= Span::from_secs(30);
            assert!(sighting.time.near(came).is_none_or(near));
        }
    }
});
