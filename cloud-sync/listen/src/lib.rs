//! What answers over HTTP, at a gateway and at the operations centre: a server with limits, who may change something there, what only
//! one process may have, and how pages look. A crate of its own, so that a gateway's build has none of the receiver's databases.

pub mod admission;
pub mod dress;
pub mod lock;
pub mod serve;

pub use admission::{Stranger, admit, admit_from_here};
pub use serve::{Certificate, Limits, Peer, ServeError, Server, Shown, TlsFiles};
