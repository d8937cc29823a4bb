//! Proof across crates: the virtual site, and what the tests share.

pub mod house;
pub mod bench;
pub mod night;
pub mod recording;
