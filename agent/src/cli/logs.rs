//! Logs: for people on a terminal, JSON lines under systemd and in files. Never a position, a token or a biometric.

use std::io::IsTerminal;
use tracing_subscriber::EnvFilter;

/// Sets up logging to standard error; `VIGIL_LOG` chooses the level, like `debug` or `vigil_agent=trace`.
pub fn set_up(default_level: &str) {
    let filter = EnvFilter::try_from_env("VIGIL_LOG").unwrap_or_else(|_| EnvFilter::new(default_level));
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    // Logging that was set up before, as in a test, stays.
    let _kept = if std::io::stderr().is_terminal() {
        builder.with_target(false).compact().try_init()
    } else {
        builder.json().flatten_event(true).try_init()
    };
}
