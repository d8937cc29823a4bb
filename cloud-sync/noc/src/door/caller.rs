//! Who came in: the person, and with what.

use super::cookie;
use crate::access::audit::Actor;
use crate::access::{Denied, Person, secret, sessions, tokens};
use crate::console::Console;
use crate::ledger::LedgerError;
use axum::extract::FromRequestParts;
use axum::http::HeaderMap;
use axum::http::header::AUTHORIZATION;
use axum::http::request::Parts;
use std::net::IpAddr;

/// With what somebody came in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Key {
    /// A cookie: the digest of its session, and the word that its pages say.
    Session {
        /// What the ledger has of it.
        digest: String,
        /// See [`secret::word_of`].
        word: String,
    },
    /// The digest of a token.
    Token(String),
}

/// Who came in. A handler that takes a [`Person`] only need not know more.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Caller {
    /// Who.
    pub person: Person,
    /// With what.
    pub key: Key,
    /// From where.
    pub address: IpAddr,
    /// Whether another password is to be chosen before anything else.
    pub must_change: bool,
}

impl Caller {
    /// The same for the log of who did what.
    pub fn actor(&self) -> Actor {
        Actor { name: self.person.name.clone(), address: self.address.to_string() }
    }

    /// The word that forms of this session say; empty for a program, which has none.
    pub fn word(&self) -> &str {
        match &self.key {
            Key::Session { word, .. } => word,
            Key::Token(_) => "",
        }
    }

    /// The digest of the session; `None` for a program.
    pub fn session(&self) -> Option<&str> {
        match &self.key {
            Key::Session { digest, .. } => Some(digest),
            Key::Token(_) => None,
        }
    }

    /// Whether they would be let in still, with the same rights.
    pub async fn is_still_in(&self, console: &Console) -> Result<bool, LedgerError> {
        let found = find(console, self.key.clone()).await?;
        Ok(found.is_some_and(|(person, _)| person == self.person))
    }
}

impl<S: Send + Sync> FromRequestParts<S> for Caller {
    type Rejection = Denied;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Denied> {
        parts.extensions.get::<Self>().cloned().ok_or_else(|| Denied::at(parts.uri.path()))
    }
}

/// Who that is. A token that is sent counts alone, also if it is wrong: a program must not act as whoever has a browser open.
pub async fn identify(
    console: &Console,
    headers: &HeaderMap,
    address: IpAddr,
    over_tls: bool,
) -> Result<Option<Caller>, LedgerError> {
    let bearer = headers.get(AUTHORIZATION).map(|value| {
        let (scheme, token) = value.to_str().ok()?.split_once(' ')?;
        scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
    });
    let key = match bearer {
        Some(token) => token.map(|token| Key::Token(secret::digest(token))),
        None => cookie::of(headers, over_tls)
            .map(|cookie| Key::Session { digest: secret::digest(cookie), word: secret::word_of(cookie) }),
    };
    let Some(key) = key else { return Ok(None) };
    let found = find(console, key.clone()).await?;
    Ok(found.map(|(person, must_change)| Caller { person, key, address, must_change }))
}

async fn find(console: &Console, key: Key) -> Result<Option<(Person, bool)>, LedgerError> {
    let now = (console.room.now)();
    console
        .room
        .clerk
        .ask(move |ledger| match key {
            Key::Session { digest, .. } => {
                let session = sessions::find(ledger.database(), now, &digest)?;
                Ok(session.map(|session| (session.person, session.must_change)))
            }
            Key::Token(digest) => Ok(tokens::find(ledger.database(), now, &digest)?.map(|p| (p, false))),
        })
        .await
}
