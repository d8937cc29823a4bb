//! Any bytes from a PN532, at any time: no panic, few words to write, and time goes on until it answers or is mute.
//!
//! The first byte of each piece is its length; a piece of none is time that passes.
#![no_main]

use libfuzzer_sys::fuzz_target;
use std::time::Duration;
use vigil_agent::sources::serial::pn532::Pn532;

fuzz_target!(|input: &[u8]| {
    let (mut chip, first) = Pn532::open(Duration::ZERO);
    assert!(!first.answer.is_empty());
    let (mut now, mut rest) = (Duration::ZERO, input);
    while let Some((length, behind)) = rest.split_first() {
        let (piece, behind) = behind.split_at(usize::from(*length).min(behind.len()));
        rest = behind;
        if piece.is_empty() {
            now = now.max(chip.next_deadline());
            match chip.on_deadline(now) {
                Ok(_) => assert!(chip.next_deadline() > now),
                Err(_) => return,
            }
        }
        let heard = chip.on_bytes(piece, now);
        assert!(heard.skipped <= input.len() as u64);
        assert!(chip.next_deadline() <= now + Duration::from_secs(1));
    }
});
