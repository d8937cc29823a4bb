//! Any bytes as a site bundle: refused with a reason, unless the key of the seed has signed them as they stand.
#![no_main]

use libfuzzer_sys::fuzz_target;
use std::sync::LazyLock;
use vigil_cloud_sync::bundle::{PublicKey, Trusted, open, unproved};

/// The one that is trusted; the seed is signed by it.
static TRUSTED: LazyLock<Trusted> = LazyLock::new(|| {
    Trusted::new(vec![PublicKey::read(include_bytes!("../seeds/bundle.pub")).expect("a key")])
});
const SEED: &[u8] = include_bytes!("../seeds/bundle/example");

fuzz_target!(|bytes: &[u8]| {
    match open(bytes, &TRUSTED) {
        Ok(bundle) => assert!(bytes == SEED && unproved(bytes).is_ok_and(|(header, _)| header == bundle.header)),
        Err(why) => assert!(!why.to_string().is_empty()),
    }
});
