//! Any topic with any payload is decoded without a panic, alike each time, and nothing is both taken and refused.
//!
//! The first line of the input is the kind (or a whole topic, if it has a slash); the rest is the payload.
#![no_main]

use libfuzzer_sys::fuzz_target;
use std::sync::LazyLock;
use vigil_agent::sources::decode;
use vigil_core::site::Site;
use vigil_core::time::Timestamp;

static SITE: LazyLock<Site> = LazyLock::new(|| vigil_agent::simulate::Scenario::sized(1, 1, 1).site().expect("a site"));

fuzz_target!(|input: &[u8]| {
    let end = input.iter().position(|b| *b == b'\n').unwrap_or(0);
    let (kind, payload) = input.split_at(end);
    let kind = String::from_utf8_lossy(kind);
    let topic = if kind.contains('/') { kind.into_owned() } else { format!("vigil/v1/plant-7/hs-G-1/{kind}") };
    let received_at = Timestamp::from_millis(1_773_172_800_000);
    let decoded = decode::message(&SITE, received_at, &topic, payload);
    assert!(decoded.observations.len() <= decode::MAX_ITEMS);
    assert_eq!(decoded, decode::message(&SITE, received_at, &topic, payload));
});
