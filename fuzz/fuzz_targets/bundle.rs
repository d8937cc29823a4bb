//! libFuzzer on `decoders::bundle`, where it says what must hold.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| vigil_fuzz::decoders::bundle(input));
