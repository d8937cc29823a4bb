//! Who may do what: which gateway a token speaks for, and which person may see and change what.
//!
//! ```text
//!  request ─► door (who asks?) ─► routes (may they?) ─► handler with a Person ─► ledger with a Scope
//!               │
//!               └ sessions, tokens ── people, tries, audit: small tables of the ledger
//! ```

pub mod audit;
mod gateways;
pub mod password;
pub mod people;
mod person;
mod scope;
pub mod secret;
pub mod sessions;
pub mod tokens;
mod tries;

pub use gateways::{AccessError, GatewayAccess, Register, token_sha256};
pub use person::{Denied, Person, Role, UnknownRole};
pub use scope::Scope;
pub use tries::Subjects;
pub(crate) use tries::{forget as forget_tries, succeeded, take as take_try};
