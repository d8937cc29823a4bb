//! What the benches share: rounds and their figures, the agent as a process, and the devices that load it.

pub mod daemon;
pub mod devices;
pub mod figures;
pub mod proc;
pub mod raw;
pub mod work;

use std::path::PathBuf;

/// Whatever stops a bench.
pub type Failure = Box<dyn std::error::Error + Send + Sync>;

/// A number from the environment, like `VIGIL_BENCH_ROUNDS`; `default` if it is not set.
pub fn setting(name: &str, default: usize) -> Result<usize, Failure> {
    match std::env::var(name) {
        Ok(text) => text.parse().map_err(|_| format!("{name}: found {text:?}, allowed: a number").into()),
        Err(_) => Ok(default),
    }
}

/// Where stores and files lie: `VIGIL_BENCH_DIR`, by default with whatever else is for a while.
pub fn folder() -> PathBuf {
    std::env::var_os("VIGIL_BENCH_DIR").map_or_else(std::env::temp_dir, PathBuf::from)
}
