//! Switches the running agent to another site: one that was read again from its file, or one that came in a bundle.

use crate::bundles::Standing;
use crate::pump::{PumpHandle, Stopping};
use crate::sources::broker;
use std::sync::Arc;
use tokio::sync::{Mutex, watch};
use vigil_core::id::SiteId;
use vigil_core::site::Site;

/// Why another site file was not taken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NotSwitched {
    /// It is of another site.
    #[error("it is of site {found}, and this agent guards {here}; another site needs an agent of its own")]
    OtherSite {
        /// The site that is guarded.
        here: SiteId,
        /// The site of the file.
        found: SiteId,
    },
    /// It does not count.
    #[error("version {0} of the site's bundle is in use, in place of the site file")]
    BundleInUse(u64),
    /// The agent is stopping.
    #[error(transparent)]
    Stopping(#[from] Stopping),
}

/// The way to another site.
#[derive(Debug, Clone)]
pub struct Switch {
    pump: PumpHandle,
    site: watch::Sender<Arc<Site>>,
    broker: Option<broker::BrokerHandle>,
    bundle: Option<watch::Receiver<Standing>>,
    /// Held by who switches: of a file that is read again and a bundle that comes, the bundle is the last.
    turn: Arc<Mutex<()>>,
}

impl Switch {
    /// For an agent that has all of these.
    pub fn new(
        pump: PumpHandle,
        site: watch::Sender<Arc<Site>>,
        broker: Option<broker::BrokerHandle>,
        bundle: Option<watch::Receiver<Standing>>,
    ) -> Self {
        Self { pump, site, broker, bundle, turn: Arc::default() }
    }

    /// From now on, `site` counts: for the engine first, then for what comes in. Only the same site, changed:
    /// another one has its own topics, alerts and store.
    pub async fn to(&self, site: Arc<Site>) -> Result<(), NotSwitched> {
        let _turn = self.turn.lock().await;
        self.switch(site).await
    }

    /// The same with a site file that was read again, unless a bundle takes its place.
    pub async fn to_file(&self, site: Arc<Site>) -> Result<(), NotSwitched> {
        let _turn = self.turn.lock().await;
        match self.bundle_in_use() {
            Some(version) => Err(NotSwitched::BundleInUse(version)),
            None => self.switch(site).await,
        }
    }

    /// The version of the bundle that takes the place of the site file, if one does.
    pub fn bundle_in_use(&self) -> Option<u64> {
        let standing = self.bundle.as_ref()?.borrow();
        standing.in_use.as_ref().map(|in_use| in_use.version)
    }

    async fn switch(&self, site: Arc<Site>) -> Result<(), NotSwitched> {
        let here = self.site.borrow().id.clone();
        if here != site.id {
            return Err(NotSwitched::OtherSite { here, found: site.id.clone() });
        }
        self.pump.site(Arc::clone(&site)).await?;
        self.site.send_replace(site);
        Ok(())
    }

    /// Reads the password file of the broker inside again; those who are connected stay.
    pub fn reload_passwords(&self) -> Result<(), broker::PasswordError> {
        self.broker.as_ref().map_or(Ok(()), broker::BrokerHandle::reload_passwords)
    }
}
