//! Who may do what: which gateway a token speaks for, and which person may see and change what.

mod gateways;
mod person;
mod scope;

pub use gateways::{AccessError, GatewayAccess, Register, token_sha256};
pub use person::{Denied, Person, Role, UnknownRole};
pub use scope::Scope;
