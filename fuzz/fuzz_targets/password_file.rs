//! Any text as the embedded broker's password file: it is read, or the line that is wrong is named.
#![no_main]

use libfuzzer_sys::fuzz_target;
use std::path::Path;
use vigil_agent::sources::broker::Passwords;

fuzz_target!(|text: &str| {
    if let Ok(known) = Passwords::parse(Path::new("mqtt.passwd"), text) {
        assert!(known.len() <= text.lines().count());
    }
});
