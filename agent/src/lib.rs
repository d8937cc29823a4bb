//! The daemon: sources, pump, store, pages and commands around the pure core.

pub mod clock;
pub mod http;
pub mod pump;
pub mod sources;
pub mod store;
