//! Proof across crates: the virtual site, and what the tests share.

pub mod bench;
pub mod browser;
pub mod crowd;
pub mod house;
pub mod night;
pub mod openmetrics;
pub mod oracle;
pub mod recording;
pub mod soak;
pub mod study;
