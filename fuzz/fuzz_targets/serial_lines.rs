//! Any bytes on the line of a reader that writes lines, cut anywhere, are the same tags.
//!
//! The first byte of the input says where the rest is cut in two.
#![no_main]

use libfuzzer_sys::fuzz_target;
use vigil_agent::sources::serial::lines::Lines;

fuzz_target!(|input: &[u8]| {
    let Some((cut, bytes)) = input.split_first() else { return };
    let whole = Lines::default().on_bytes(bytes);
    let (before, behind) = bytes.split_at(usize::from(*cut).min(bytes.len()));
    let mut reader = Lines::default();
    let (first, second) = (reader.on_bytes(before), reader.on_bytes(behind));
    assert_eq!(whole.said, [first.said, second.said].concat());
    assert_eq!(whole.skipped, first.skipped + second.skipped);
    assert!(whole.skipped <= bytes.len() as u64);
});
