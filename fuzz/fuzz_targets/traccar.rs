//! A Traccar server: any payload on any of its topics. The first byte of the input chooses the topic.
#![no_main]

use libfuzzer_sys::fuzz_target;

const TOPICS: &[&str] = &["positions", "positions/123456789012345"];

fuzz_target!(|input: &[u8]| vigil_fuzz::holds_on_one_of(TOPICS, input));
