//! A house with real parts: the built daemon, a real broker, a receiver over TLS, and clients that devices could be.
//!
//! Everything listens on a free port of loopback and lives in a folder of its own; what is dropped is killed. A tool
//! that is not there fails the test with the name of its package: what is not run proves nothing.

mod agent;
mod alertmanager;
mod authority;
mod bad_line;
mod binary;
mod busy;
mod cable;
mod chip;
mod faulty;
mod handset;
mod local;
mod mosquitto;
mod noc;
mod plant;
mod process;
mod publisher;
mod server;
mod small_disk;

pub use agent::{Agent, SCREEN, Source, Uplink};
pub use alertmanager::{Alertmanager, Pages};
pub use authority::Authority;
pub use bad_line::{BadLine, Fate};
pub use binary::{Ended, vigil, vigil_reading, vigil_unread};
pub use busy::{Busy, Field, Promised, Said, Script};
pub use cable::Cable;
pub use chip::{Chip, Mood};
pub use faulty::{FaultyNoc, Turn};
pub use handset::Handset;
pub use local::{fetch, fetch_as, json, json_as, post, post_as};
pub use mosquitto::{Mosquitto, Shipped};
pub use noc::Noc;
pub use plant::{Plant, message, topic};
pub use process::{Process, Trigger, missing};
pub use publisher::{Held, Message, Publisher, ended, mosquitto_client, node_modules, python};
pub use server::{address, new_database};
pub use small_disk::{Filled, SmallDisk, with_small_disks};

use std::time::{Duration, Instant};
use vigil_core::time::Timestamp;

/// How long anything may take that takes moments on a quiet machine: two busy cores, a debug build.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// How often a condition is looked at.
const LOOK: Duration = Duration::from_millis(20);

/// The present instant, as the agents see it.
pub fn now() -> Timestamp {
    vigil_agent::clock::Clock::wall().now()
}

/// The password of a device or a gateway in every house.
pub fn password(user: &str) -> String {
    format!("pw-of-{user}")
}

/// Looks until there is what is looked for. What was there instead is said when `within` is over.
pub fn eventually<T>(what: &str, within: Duration, mut look: impl FnMut() -> Result<T, String>) -> T {
    let began = Instant::now();
    loop {
        match look() {
            Ok(found) => return found,
            Err(instead) => {
                assert!(began.elapsed() < within, "{what}: not within {within:?}; there is {instead}")
            }
        }
        std::thread::sleep(LOOK);
    }
}

/// Looks until `condition` holds.
pub fn until(what: &str, mut condition: impl FnMut() -> bool) {
    eventually(what, PATIENCE, || if condition() { Ok(()) } else { Err("no sign of it".to_owned()) });
}
