//! libFuzzer on `decoders::password_file`, where it says what must hold.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| vigil_fuzz::decoders::password_file(input));
