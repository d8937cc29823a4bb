//! A ChirpStack server: any payload on any of its topics. The first byte of the input chooses the topic.
#![no_main]

use libfuzzer_sys::fuzz_target;

const TOPICS: &[&str] = &["application/a/device/01/event/up", "application/a/device/01/event/status"];

fuzz_target!(|input: &[u8]| vigil_fuzz::holds_on_one_of(TOPICS, input));
