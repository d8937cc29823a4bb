//! libFuzzer on `decoders::decode_message`, where it says what must hold.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| vigil_fuzz::decoders::decode_message(input));
