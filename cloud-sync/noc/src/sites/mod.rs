//! Site files and policies: given by an admin, checked as a gateway checks them, kept in every version, sealed and fetched.
//!
//! ```text
//!  admin ─► routes ─► store (checks through Reader, seals, keeps, tells the gateways) ◄─ deliver ◄─ gateways
//! ```

pub mod deliver;
pub mod ground;
pub mod routes;
pub mod store;
#[cfg(test)]
pub(crate) mod tests;
pub mod told;

use schemars::JsonSchema;
use serde::Serialize;
use std::fmt;
use std::sync::Arc;
use vigil_cloud_sync::bundle::Signer;
use vigil_core::id::{SiteId, TenantId};

/// The largest site file: the bundle of it has to be below 2 MiB, and TOML is longer than the tree by its comments.
pub const MAX_FILE_BYTES: usize = 2 * 1024 * 1024;

/// One thing wrong with a file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Fault {
    /// In which of the files that are read together.
    pub file: String,
    /// The line, from 1; absent if it concerns the file as a whole.
    pub line: Option<usize>,
    /// The path of the key; empty if it concerns the file as a whole.
    pub key: String,
    /// What was found, and what is allowed.
    pub problem: String,
}

/// A site file that can be used, with the policies above it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tree {
    /// The whole tree as JSON.
    pub json: String,
    /// Whose site.
    pub tenant: TenantId,
    /// Which.
    pub site: SiteId,
    /// Whom the site is guarded for.
    pub client: String,
    /// What is allowed and looks like a mistake.
    pub doubts: Vec<Fault>,
}

/// What is read together.
#[derive(Debug, Clone, Copy)]
pub struct Texts<'t> {
    /// The site file.
    pub site: &'t str,
    /// The policy of its tenant.
    pub tenant: Option<&'t str>,
    /// The policy of its client.
    pub client: Option<&'t str>,
}

type Read = dyn Fn(Texts<'_>) -> Result<Tree, Vec<Fault>> + Send + Sync;

/// Reads site files exactly as a gateway does: whoever starts the receiver hands it in, so that there is one reader.
#[derive(Clone)]
pub struct Reader(Arc<Read>);

impl Reader {
    /// That one.
    pub fn new(read: impl Fn(Texts<'_>) -> Result<Tree, Vec<Fault>> + Send + Sync + 'static) -> Self {
        Self(Arc::new(read))
    }

    /// The tree, or everything that is wrong.
    pub fn read(&self, texts: Texts<'_>) -> Result<Tree, Vec<Fault>> {
        (self.0)(texts)
    }
}

impl fmt::Debug for Reader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Reader(..)")
    }
}

/// What makes bundles of site files.
#[derive(Debug, Clone)]
pub struct Press {
    /// Checks them.
    pub reader: Reader,
    /// Signs them.
    pub signer: Arc<Signer>,
}
