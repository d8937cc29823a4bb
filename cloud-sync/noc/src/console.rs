//! What the operators' side shares: one thing that every handler of it may take.

use crate::access::password::Hasher;
use crate::archive::Archive;
use crate::clock::Now;
use crate::door::Proxies;
use crate::feed::Feed;
use crate::ledger::Clerk;
use crate::reports::Desk;
use crate::seats::Seats;
use crate::sites::Press;
use axum::extract::FromRef;
use std::sync::Arc;
use tokio::sync::watch;
use vigil_cloud_sync::Origin;

/// What the operators' side needs.
pub struct Room {
    /// Where everything is.
    pub clerk: Clerk,
    /// What changes.
    pub feed: Feed,
    /// The gateways that come in here; the ledger may know others.
    pub listed: Arc<[Origin]>,
    /// What time it is.
    pub now: Now,
    /// Turns true when the receiver stops, so that open streams end.
    pub stopping: watch::Receiver<bool>,
    /// Whether it is served over TLS.
    pub tls: bool,
    /// Who is believed about where a request comes from.
    pub proxies: Proxies,
    /// What makes bundles of site files; without it none can be given.
    pub press: Option<Press>,
}

/// The room and what is counted in it.
pub struct Console {
    /// What it is made of.
    pub room: Room,
    /// Passwords are hashed there.
    pub hasher: Hasher,
    /// A seat for each open stream.
    pub streams: Seats,
    /// Where reports are made.
    pub reports: Desk<Archive>,
}

/// The state of every route.
pub type Shared = Arc<Console>;

impl Console {
    /// Opens it.
    pub fn open(room: Room) -> Shared {
        let streams = Seats::default();
        let reports = Desk::open(Archive(room.clerk.clone()), room.now);
        Arc::new(Self { room, hasher: Hasher::default(), streams, reports })
    }
}

impl FromRef<Shared> for Desk<Archive> {
    fn from_ref(console: &Shared) -> Self {
        console.reports.clone()
    }
}

impl FromRef<Shared> for Clerk {
    fn from_ref(console: &Shared) -> Self {
        console.room.clerk.clone()
    }
}
