//! Sessions: a cookie of 256 random bits, of which the ledger holds the digest; and tickets, good for one log-in.

use super::{Person, Role};
use crate::ledger::{Database, LedgerError, Row, args};
use serde::Serialize;
use vigil_core::id::TenantId;
use vigil_core::time::{Span, Timestamp};

/// A session ends then, whatever happens in it: the longest duty that there is.
pub const LIFE: Span = Span::from_hours(12);
/// And after so long without a request. An open page makes requests.
pub const IDLE: Span = Span::from_secs(60 * 60);
/// How many one person may have: every screen of a desk, and those that were never closed. The oldest gives way.
pub const MAX_SESSIONS: i64 = 32;
/// How often it is noted that a session lives: a page asks several times a minute, and each note is a write.
const NOTED: Span = Span::from_secs(60);
/// How long a ticket is good for.
const TICKET: Span = Span::from_secs(5 * 60);
/// How much of what a browser calls itself is kept.
const MAX_BROWSER: usize = 120;

/// A session that is good.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Session {
    /// Who it is.
    pub person: Person,
    /// Whether another password is to be chosen first.
    pub must_change: bool,
}

/// A session, as its owner sees it.
#[derive(Debug, Clone, Serialize)]
pub struct SessionRow {
    /// Its digest, by which it can be ended; it opens nothing.
    pub id: String,
    /// Since when.
    pub begun_at: Timestamp,
    /// When it was last used, to the minute.
    pub seen_at: Timestamp,
    /// From where it was begun.
    pub address: String,
    /// What the browser calls itself.
    pub browser: String,
}

/// Begins one for somebody who has shown who they are.
pub fn begin(
    tx: &mut dyn Database,
    now: Timestamp,
    name: &str,
    digest: &str,
    (address, browser): (&str, &str),
) -> Result<(), LedgerError> {
    forget(tx, now)?;
    tx.execute(
        "DELETE FROM sessions WHERE digest IN
             (SELECT digest FROM sessions WHERE name = $1 ORDER BY begun_ms DESC, digest LIMIT 1000 OFFSET $2)",
        args![name, MAX_SESSIONS - 1],
    )?;
    let browser: String = browser.chars().filter(|c| !c.is_control()).take(MAX_BROWSER).collect();
    tx.execute(
        "INSERT INTO sessions (digest, name, begun_ms, seen_ms, address, browser) VALUES ($1, $2, $3, $3, $4, $5)",
        args![digest, name, now, address, &browser],
    )?;
    Ok(())
}

/// The session of that digest, if it is good now; that it lives is noted.
pub fn find(
    database: &mut dyn Database,
    now: Timestamp,
    digest: &str,
) -> Result<Option<Session>, LedgerError> {
    let found = database.one(
        "SELECT people.name, tenant, role, must_change, seen_ms FROM sessions JOIN people ON people.name = sessions.name
         WHERE digest = $1 AND disabled = 0 AND begun_ms > $2 AND seen_ms > $3",
        args![digest, now - LIFE, now - IDLE],
    )?;
    let Some(mut row) = found else { return Ok(None) };
    let person = Person { name: row.text(0)?, tenant: tenant(&mut row, 1)?, role: role(&mut row, 2)? };
    let (must_change, seen) = (row.flag(3)?, row.instant(4)?);
    if now.since(seen) >= NOTED {
        database.execute("UPDATE sessions SET seen_ms = $2 WHERE digest = $1", args![digest, now])?;
    }
    Ok(Some(Session { person, must_change }))
}

pub(super) fn tenant(row: &mut Row, column: usize) -> Result<Option<TenantId>, LedgerError> {
    let text = row.maybe_text(column)?;
    text.map(|text| TenantId::new(&text).map_err(|_| LedgerError::Column(column))).transpose()
}

pub(super) fn role(row: &mut Row, column: usize) -> Result<Role, LedgerError> {
    row.text(column)?.parse().map_err(|_| LedgerError::Column(column))
}

/// Those of one person that are good now, the latest first.
pub fn list(database: &mut dyn Database, now: Timestamp, name: &str) -> Result<Vec<SessionRow>, LedgerError> {
    let rows = database.query(
        "SELECT digest, begun_ms, seen_ms, address, browser FROM sessions
         WHERE name = $1 AND begun_ms > $2 AND seen_ms > $3 ORDER BY begun_ms DESC, digest",
        args![name, now - LIFE, now - IDLE],
    )?;
    let session = |mut row: Row| {
        let (id, begun_at, seen_at) = (row.text(0)?, row.instant(1)?, row.instant(2)?);
        Ok(SessionRow { id, begun_at, seen_at, address: row.text(3)?, browser: row.text(4)? })
    };
    rows.into_iter().map(session).collect()
}

/// Ends one of that person's.
pub fn end(tx: &mut dyn Database, name: &str, digest: &str) -> Result<bool, LedgerError> {
    Ok(tx.execute("DELETE FROM sessions WHERE name = $1 AND digest = $2", args![name, digest])? > 0)
}

/// Ends all of that person's, and the tickets for more.
pub fn end_all(tx: &mut dyn Database, name: &str) -> Result<(), LedgerError> {
    tx.execute("DELETE FROM tickets WHERE name = $1", args![name])?;
    tx.execute("DELETE FROM sessions WHERE name = $1", args![name]).map(drop)
}

/// Removes what is past its time.
pub fn forget(tx: &mut dyn Database, now: Timestamp) -> Result<(), LedgerError> {
    tx.execute("DELETE FROM tickets WHERE ends_ms <= $1", args![now])?;
    let past = "DELETE FROM sessions WHERE begun_ms <= $1 OR seen_ms <= $2";
    tx.execute(past, args![now - LIFE, now - IDLE]).map(drop)
}

/// Notes a ticket for somebody.
pub fn issue(tx: &mut dyn Database, now: Timestamp, name: &str, digest: &str) -> Result<(), LedgerError> {
    let sql = "INSERT INTO tickets (digest, name, ends_ms) VALUES ($1, $2, $3)";
    tx.execute(sql, args![digest, name, now + TICKET]).map(drop)
}

/// Whose ticket it was: it is good once.
pub fn redeem(tx: &mut dyn Database, now: Timestamp, digest: &str) -> Result<Option<String>, LedgerError> {
    let used = tx.one(
        "DELETE FROM tickets WHERE digest = $1 AND ends_ms > $2
             AND name IN (SELECT name FROM people WHERE disabled = 0) RETURNING name",
        args![digest, now],
    )?;
    used.map(|mut row| row.text(0)).transpose()
}
