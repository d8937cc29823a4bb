//! A phone with OwnTracks: any payload on any of its topics. The first byte of the input chooses the topic.
#![no_main]

use libfuzzer_sys::fuzz_target;

const TOPICS: &[&str] = &["owntracks/asha/phone", "owntracks/asha/phone/event", "owntracks/asha/phone/step", "owntracks/asha/phone/status"];

fuzz_target!(|input: &[u8]| vigil_fuzz::holds_on_one_of(TOPICS, input));
