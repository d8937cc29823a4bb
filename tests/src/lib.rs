//! Proof across crates: the virtual site, and what the tests share.

pub mod bench;
pub mod house;
pub mod night;
pub mod recording;
