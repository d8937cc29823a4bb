//! The pages with which people come in and are managed: log-in, account, people, tokens, the log of who did what; and who was told of what.

pub mod account;
pub mod books;
pub mod escalations;
mod html;
pub mod login;
pub mod menu;
pub mod people;
pub mod tokens;

use crate::access::Role;
use crate::access::password::PasswordError;
use crate::access::secret::NoRandom;
use crate::ledger::LedgerError;
use crate::refusal::Refusal;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use vigil_core::id::{OperatorId, TenantId};

/// What keeps a page from being shown at all.
#[derive(Debug, thiserror::Error)]
pub enum Broken {
    /// The ledger failed.
    #[error("the ledger cannot be used at the moment")]
    Ledger(#[from] LedgerError),
    /// No secret can be made, or no password hashed.
    #[error(transparent)]
    Password(#[from] PasswordError),
    /// No random number.
    #[error(transparent)]
    Random(#[from] NoRandom),
    /// There is no such person or token that may be seen.
    #[error("there is no {0} of that name")]
    Unknown(&'static str),
}

impl IntoResponse for Broken {
    fn into_response(self) -> Response {
        let status = match &self {
            Self::Unknown(_) => StatusCode::NOT_FOUND,
            Self::Password(PasswordError::Length) => StatusCode::BAD_REQUEST,
            Self::Ledger(_) | Self::Password(_) | Self::Random(_) => {
                tracing::error!(error = %self, cause = ?self, "a page cannot be shown");
                StatusCode::SERVICE_UNAVAILABLE
            }
        };
        (status, Refusal::of(&self)).into_response()
    }
}

/// Somebody or something new that may come in, as typed.
#[derive(Deserialize)]
pub struct Typed {
    name: String,
    role: String,
    #[serde(default)]
    tenant: String,
}

impl Typed {
    /// The name, the role and whose it is; `Err` is what is wrong with it. `own` is the tenant of whoever typed it.
    fn read(&self, own: Option<&TenantId>) -> Result<(OperatorId, Role, Option<TenantId>), String> {
        let name = OperatorId::new(self.name.trim()).map_err(|why| format!("name: {why}"))?;
        let role = self.role.parse::<Role>().map_err(|why| format!("role: {why}"))?;
        Ok((name, role, tenant_typed(&self.tenant, own)?))
    }
}

/// A tenant as it was typed. `Err` is what is wrong with it; who belongs to a tenant gives no other.
fn tenant_typed(typed: &str, own: Option<&TenantId>) -> Result<Option<TenantId>, String> {
    let named = match typed.trim() {
        "" => None,
        name => Some(TenantId::new(name).map_err(|why| format!("tenant: {why}"))?),
    };
    match own {
        None => Ok(named),
        Some(own) if named.as_ref().is_none_or(|named| named == own) => Ok(Some(own.clone())),
        Some(own) => Err(format!("tenant: it can be {own} only, which is yours")),
    }
}
