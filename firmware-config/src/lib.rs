//! What this box is: text in, valid configuration out.
//!
//! ```text
//!  file ──► Sheet (lines, places, problems) ──► Table (keys, one parser each) ──► AgentConfig, Site, NocConfig
//! ```
//!
//! Nothing stops at the first mistake: a reader notes every problem with its file, line, key, what was
//! found and what is allowed, goes on with a stand-in value, and hands out a configuration only if there
//! was none. So a configuration that exists is valid, and a person mends a file in one go.

mod agent;
mod bundle;
mod check;
mod credential;
#[cfg(test)]
mod examples;
mod explain;
mod json;
mod noc;
mod problem;
mod sheet;
mod site;
mod table;
mod url;
mod value;

pub use agent::mqtt::{Embedded, External, Mode, TlsListener};
pub use agent::serial::{Protocol, SerialLine};
pub use agent::uplink::{BundleKey, EventFormat, Uplink};
pub use agent::{AgentConfig, Store, load_agent, parse_agent};
pub use bundle::{Part, Sheet as BundleSheet, bundle_tree, tree_of};
pub use check::{Checked, check, check_noc, check_together};
pub use credential::{Credential, CredentialError, Environment, Secret, credential, secret_file};
pub use explain::{Explained, Word, at_or_below, explain_agent, explain_bundle, explain_site, nearest_key};
pub use noc::{
    Contact, ContactWay, Database, Escalation, EscalationStep, Gateway, NocConfig, Smtp, SmtpSecurity,
    load_noc, parse_noc,
};
pub use problem::{Fault, Problem, Problems};
pub use sheet::MAX_FILE_BYTES;
pub use site::layers::{Layer, Layers, Overlay, Said, load_layers, parse_layers};
pub use site::{load_site, parse_site};
pub use url::Url;
pub use value::{ClientCertificate, ServerCertificate};
