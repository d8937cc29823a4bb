//! Any bytes as a site file, TOML or JSON: a site, or every problem with its place.
#![no_main]

use libfuzzer_sys::fuzz_target;
use std::path::Path;

fuzz_target!(|bytes: &[u8]| {
    match vigil_config::parse_site(Path::new("site.toml"), bytes) {
        Ok(site) => drop(site.doubts()),
        Err(problems) => assert!(!problems.as_slice().is_empty()),
    }
});
