//! `/api/alerts`: alerts are found, looked at whole, and taken further by people.

pub mod found;
pub mod step;
pub mod whole;

use crate::clock::Now;
use crate::console::Shared;
use crate::ledger::{Clerk, LedgerError, MAX_WAITING, NoCursor, Stale};
use axum::Json;
use axum::extract::{DefaultBodyLimit, FromRef};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::MethodRouter;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use vigil_cloud_sync::Origin;
use vigil_core::id::{GatewayId, SiteId, TenantId};

/// The largest step: a note of a thousand characters, whatever they are, with everything around it.
const MAX_STEP_BYTES: usize = 16 * 1024;

/// How many alerts are given unless asked, and at most: a page shows 200, and 1,000 alerts are about 1 MB.
const ROWS: u32 = 200;
const MAX_ROWS: u32 = 1_000;

/// What this side needs.
#[derive(Clone)]
pub struct Desk {
    /// Where everything is.
    pub clerk: Clerk,
    /// What time it is.
    pub now: Now,
}

impl FromRef<Shared> for Desk {
    fn from_ref(console: &Shared) -> Self {
        Self { clerk: console.room.clerk.clone(), now: console.room.now }
    }
}

/// A route that takes a step, and nothing larger.
pub fn small(route: MethodRouter<Shared>) -> MethodRouter<Shared> {
    route.layer(DefaultBodyLimit::max(MAX_STEP_BYTES))
}

/// An alert's full name, as it stands in a path.
#[derive(Debug, Clone, Deserialize)]
pub struct Name {
    tenant: String,
    site: String,
    gateway: String,
    id: String,
}

impl Name {
    fn place(&self) -> String {
        format!("{}/{}", self.tenant, self.site)
    }

    /// From where it came; nothing, if that is no name of a gateway.
    fn origin(&self) -> Option<Origin> {
        Some(Origin {
            tenant: TenantId::new(&self.tenant).ok()?,
            site: SiteId::new(&self.site).ok()?,
            gateway: GatewayId::new(&self.gateway).ok()?,
        })
    }
}

/// Why a request is refused.
#[derive(Debug, thiserror::Error)]
pub enum Refused {
    #[error(
        "limit is a whole number from 1 to {MAX_ROWS}, from and to are instants like 2026-03-10T22:00:00Z, open is true or false"
    )]
    Query,
    #[error(transparent)]
    Cursor(#[from] NoCursor),
    #[error("there is no such alert; see /api/alerts")]
    Unknown,
    #[error("{0}; {{\"status\", \"seen\"}} is expected, and maybe \"method\", \"response\", \"note\"")]
    Body(serde_json::Error),
    #[error("{0}: at most {1} characters are allowed, and no control characters")]
    Text(&'static str, usize),
    #[error("an alert that is {0} cannot become {1}")]
    Illegal(String, &'static str),
    #[error("{}", told(.0))]
    Stale(Stale),
    #[error("{MAX_WAITING} commands wait for this gateway already; it has not fetched them")]
    Full,
    #[error("no random number can be had for the command's id; try again")]
    Random,
    #[error("the ledger cannot be used at the moment")]
    Ledger(#[from] LedgerError),
}

/// A refusal, which may be of somebody who came too late.
#[derive(Serialize, JsonSchema)]
struct Late {
    /// What is wrong and what would be right.
    error: String,
    /// What happened after `seen`.
    #[serde(skip_serializing_if = "Option::is_none")]
    since: Option<Stale>,
}

/// Who did what when, for somebody who looks at what was there before.
fn told(stale: &Stale) -> String {
    let Stale { by, status, at } = stale;
    let at = at.to_string();
    let clock = at.get(11..19).unwrap_or(&at);
    if by == "agent" {
        return format!(
            "its gateway revised it at {clock} UTC, after you opened it (it is {status}); look again"
        );
    }
    format!("{by} set it to {status} at {clock} UTC, after you opened it; look again")
}

impl IntoResponse for Refused {
    fn into_response(self) -> Response {
        let status = match &self {
            Self::Query | Self::Cursor(_) | Self::Body(_) | Self::Text(..) => StatusCode::BAD_REQUEST,
            Self::Unknown => StatusCode::NOT_FOUND,
            Self::Illegal(..) | Self::Stale(_) | Self::Full => StatusCode::CONFLICT,
            Self::Random => StatusCode::SERVICE_UNAVAILABLE,
            Self::Ledger(error) => {
                tracing::error!(%error, "alerts cannot be read or taken further");
                StatusCode::SERVICE_UNAVAILABLE
            }
        };
        let error = self.to_string();
        let since = if let Self::Stale(stale) = self { Some(stale) } else { None };
        (status, Json(Late { error, since })).into_response()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use vigil_core::time::Timestamp;

    #[test]
    fn who_comes_too_late_is_told_who_was_first() {
        let at = Timestamp::parse("2026-03-10T02:14:07.5Z").unwrap();
        let stale = |by: &str| told(&Stale { by: by.into(), status: "CONFIRMED".into(), at });
        assert_eq!(
            stale("Ravi"),
            "Ravi set it to CONFIRMED at 02:14:07 UTC, after you opened it; look again"
        );
        assert!(stale("agent").starts_with("its gateway revised it at 02:14:07 UTC"));
    }
}
