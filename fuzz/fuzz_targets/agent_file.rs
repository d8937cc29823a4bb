//! Any bytes as `agent.toml`: a configuration, or every problem with its place.
#![no_main]

use libfuzzer_sys::fuzz_target;
use std::path::Path;

fuzz_target!(|bytes: &[u8]| {
    if let Err(problems) = vigil_config::parse_agent(Path::new("agent.toml"), bytes) {
        assert!(!problems.as_slice().is_empty());
    }
});
