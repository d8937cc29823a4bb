//! The uplink: one batch in, one verdict out.
//!
//! ```text
//!  Outbox::next_batch ─► courier ─► wire (CloudEvents, gzip) ─► uplink (HTTPS) ─► NOC
//!          ▲                │                                        │
//!          └── settle ◄─────┴───────────── verdict (pure) ◄──────────┘
//!                           └─► cadence: when to try again
//!
//!  Inbox::decide ◄─ commands ◄─ uplink (HTTPS, long poll) ◄─ NOC
//!
//!  the site's files ◄─ bundle (signed document) ◄─ uplink (HTTPS, ETag) ◄─ NOC
//! ```
//!
//! With an Alertmanager as the receiver, `alertmanager` takes the places of `wire` and `uplink`, and nothing comes back.
//!
//! It knows nothing of how the outbox is stored, and reads no wall clock: `now` is given.

pub mod alertmanager;
pub mod bundle;
pub mod cadence;
pub mod commands;
pub mod courier;
mod door;
mod line;
pub mod link;
mod timepiece;
mod trust;
pub mod uplink;
pub mod verdict;
pub mod wire;

pub use alertmanager::{Alertmanager, Book};
pub use cadence::{Cadence, Pace};
pub use commands::{Decided, Given, Inbox, Listener, ListenerState, listen};
pub use courier::{Closed, Courier, Outbox, UplinkState, run};
pub use line::whole_story;
pub use link::{Link, LinkView};
pub use timepiece::Timepiece;
pub use trust::TrustError;
pub use uplink::{Heard, Token, Uplink, UplinkConfig, UplinkError, Way};
pub use verdict::Verdict;
pub use wire::{Event, EventKind, Origin};
