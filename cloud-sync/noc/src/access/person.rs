//! Who asks: a person who has logged in, or a program with a token, and what they may do.

use super::Scope;
use crate::refusal::Refusal;
use axum::extract::FromRequestParts;
use axum::http::header::{LOCATION, WWW_AUTHENTICATE};
use axum::http::request::Parts;
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;
use vigil_core::id::TenantId;

/// What somebody may do; each may do what those before may.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Looks.
    Viewer,
    /// Works on alerts, and tells gateways what to do.
    Operator,
    /// Decides what operators hand on.
    Supervisor,
    /// Manages people and tokens, and sees who did what.
    Admin,
}

/// A word that is no role.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no role: viewer, operator, supervisor or admin is expected")]
pub struct UnknownRole(String);

impl Role {
    /// Every role, from the least.
    pub const ALL: [Self; 4] = [Self::Viewer, Self::Operator, Self::Supervisor, Self::Admin];

    /// As it is written everywhere.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Viewer => "viewer",
            Self::Operator => "operator",
            Self::Supervisor => "supervisor",
            Self::Admin => "admin",
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Role {
    type Err = UnknownRole;
    fn from_str(text: &str) -> Result<Self, UnknownRole> {
        let named = Self::ALL.into_iter().find(|role| role.name() == text);
        named.ok_or_else(|| UnknownRole(text.chars().take(80).collect()))
    }
}

/// Who asks. A handler that takes one is reached by nobody else: the request is refused before.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Person {
    /// The name; that of a program begins with `token:`.
    pub name: String,
    /// Whose: `None` is the centre's own staff, who see every tenant.
    pub tenant: Option<TenantId>,
    /// What they may do.
    pub role: Role,
}

impl Person {
    /// Whether that tenant's things may be seen. What may not is answered as if it were not there.
    pub fn sees(&self, tenant: &str) -> bool {
        self.tenant.as_ref().is_none_or(|own| own.as_str() == tenant)
    }

    /// Whether the role is enough.
    pub fn may(&self, needed: Role) -> bool {
        self.role >= needed
    }

    /// The same as an error, for the head of a handler: `person.needs(Role::Operator)?`.
    pub fn needs(&self, needed: Role) -> Result<(), Denied> {
        if self.may(needed) { Ok(()) } else { Err(Denied::Role { needed, has: self.role }) }
    }

    /// Whose rows the ledger may show.
    pub fn scope(&self) -> Scope {
        Scope::of(self.tenant.clone())
    }
}

/// Why somebody is not let in, or not that far.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Denied {
    /// A program, or a page's script, that did not say who it is.
    #[error("log in at /login, or send the token of a program as Authorization: Bearer")]
    Nobody,
    /// A browser that asks for a page: it is shown the way to the log-in, and comes back.
    #[error("log in at /login")]
    Page {
        /// What it asked for.
        wanted: String,
    },
    /// A script of a page whose person has to choose another password first.
    #[error("choose another password first, at /password")]
    Password,
    /// The role is not enough.
    #[error("the role {needed} is needed for that, and yours is {has}; an admin can give it")]
    Role {
        /// The least that is.
        needed: Role,
        /// What they have.
        has: Role,
    },
}

impl Denied {
    /// For a request without a person: a page is sent to the log-in, and everything else told.
    pub fn at(path: &str) -> Self {
        let is_page = !path.starts_with("/api/");
        if is_page { Self::Page { wanted: path.to_owned() } } else { Self::Nobody }
    }
}

impl IntoResponse for Denied {
    fn into_response(self) -> Response {
        let status = match &self {
            Self::Nobody => StatusCode::UNAUTHORIZED,
            Self::Role { .. } | Self::Password => StatusCode::FORBIDDEN,
            Self::Page { wanted } => {
                let place = HeaderValue::from_str(&format!("/login?next={}", escaped(wanted)));
                let place = place.unwrap_or_else(|_| HeaderValue::from_static("/login"));
                return (StatusCode::SEE_OTHER, [(LOCATION, place)]).into_response();
            }
        };
        let mut response = (status, Refusal::of(&self)).into_response();
        if status == StatusCode::UNAUTHORIZED {
            response.headers_mut().insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        response
    }
}

/// A path as the value of a query.
fn escaped(path: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'/' | b'.' | b'_' | b'-');
    path.bytes().map(|b| if plain(b) { char::from(b).to_string() } else { format!("%{b:02X}") }).collect()
}

impl<S: Send + Sync> FromRequestParts<S> for Person {
    type Rejection = Denied;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Denied> {
        parts.extensions.get::<Self>().cloned().ok_or_else(|| Denied::at(parts.uri.path()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn person(tenant: Option<&str>, role: Role) -> Person {
        Person { name: "ada".into(), tenant: tenant.map(|t| TenantId::new(t).unwrap()), role }
    }

    #[test]
    fn a_role_may_what_those_below_may() {
        for (index, role) in Role::ALL.into_iter().enumerate() {
            let may = Role::ALL.map(|needed| person(None, role).may(needed));
            assert_eq!(may, [0, 1, 2, 3].map(|needed| needed <= index), "{role}");
            assert_eq!(role.name().parse(), Ok(role));
        }
        assert!("root".parse::<Role>().unwrap_err().to_string().contains("supervisor"));
        let denied = person(None, Role::Viewer).needs(Role::Operator).unwrap_err();
        assert!(denied.to_string().starts_with("the role operator is needed"), "{denied}");
        assert_eq!(denied.into_response().status(), StatusCode::FORBIDDEN);
    }

    #[test]
    fn a_tenants_person_sees_that_tenant_and_staff_sees_all() {
        assert!(person(None, Role::Viewer).sees("acme") && person(Some("acme"), Role::Viewer).sees("acme"));
        assert!(!person(Some("acme"), Role::Admin).sees("zeta"));
    }

    #[test]
    fn a_page_is_sent_to_the_log_in_and_a_program_is_told() {
        let page = Denied::at("/audit\u{e9} page").into_response();
        assert_eq!(page.status(), StatusCode::SEE_OTHER);
        assert_eq!(page.headers()[LOCATION], "/login?next=/audit%C3%A9%20page");
        let program = Denied::at("/api/alerts").into_response();
        assert_eq!(
            (program.status(), &program.headers()[WWW_AUTHENTICATE].to_str().unwrap()),
            (StatusCode::UNAUTHORIZED, &"Bearer")
        );
    }
}
