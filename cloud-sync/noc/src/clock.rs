//! The only reader of time in the receiver.

use std::time::{SystemTime, UNIX_EPOCH};
use vigil_core::time::Timestamp;

/// Gives the present instant.
pub type Now = fn() -> Timestamp;

/// The wall clock of the machine.
pub fn wall() -> Timestamp {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Timestamp::from_millis(i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
}
