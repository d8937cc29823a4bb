//! The daemon: sources, pump, store, pages and commands around the pure core.

pub mod announcer;
pub mod backtest;
pub mod bundles;
pub mod cli;
pub mod clock;
pub mod http;
pub mod inbox;
pub mod keeper;
pub mod orders;
pub mod pump;
pub mod run;
pub mod setup;
pub mod simulate;
pub mod sources;
pub mod store;
pub mod switch;
pub mod systemd;
pub mod uplink;
