//! Tokens with which programs ask: shown once, kept as a digest, good until they are revoked.

use super::audit::{Actor, Deed, audit};
use super::sessions::{role, tenant};
use super::{Person, Role, Scope};
use crate::ledger::{Arg, Database, LedgerError, Row, args};
use serde::Serialize;
use serde_json::json;
use vigil_core::id::{OperatorId, TenantId};
use vigil_core::time::{Span, Timestamp};

/// The most, with those that were revoked: each program has one, and a script that makes thousands is told so.
pub const MAX_TOKENS: i64 = 1_000;

/// How often it is noted that one is used: enough to find those that nobody uses.
const NOTED: Span = Span::from_secs(60 * 60);

/// What stands before the name of a program wherever people's names stand.
pub const PROGRAM: &str = "token:";

/// A token for a program.
#[derive(Debug, Clone)]
pub struct NewToken {
    /// What it is called.
    pub name: OperatorId,
    /// Whose things it may see; `None` is all.
    pub tenant: Option<TenantId>,
    /// What it may do.
    pub role: Role,
    /// The digest of the token.
    pub digest: String,
}

/// A token, as an admin sees it.
#[derive(Debug, Clone, Serialize)]
pub struct TokenRow {
    /// What it is called.
    pub name: String,
    /// Whose.
    pub tenant: Option<String>,
    /// What it may do.
    pub role: Role,
    /// Since when.
    pub created_at: Timestamp,
    /// Who made it.
    pub created_by: String,
    /// When it was last used, to the hour.
    pub used_at: Option<Timestamp>,
    /// Since when it is good no more.
    pub revoked_at: Option<Timestamp>,
}

/// Notes one. False if the name is taken, or there are too many.
pub fn add(
    tx: &mut dyn Database,
    actor: &Actor,
    now: Timestamp,
    new: &NewToken,
) -> Result<bool, LedgerError> {
    let many = tx.one("SELECT count(*) FROM tokens", &[])?.map_or(Ok(0), |mut row| row.int(0))?;
    if many >= MAX_TOKENS {
        return Ok(false);
    }
    let tenant = new.tenant.as_ref().map(TenantId::as_str);
    let added = tx.execute(
        "INSERT INTO tokens (name, digest, tenant, role, created_ms, created_by) VALUES ($1, $2, $3, $4, $5, $6)
         ON CONFLICT (name) DO NOTHING",
        args![new.name.as_str(), &new.digest, tenant, new.role.name(), now, &actor.name],
    )?;
    if added == 0 {
        return Ok(false);
    }
    let detail = json!({"role": new.role});
    audit(tx, actor, now, &Deed { tenant, action: "token.add", object: new.name.as_str(), detail })?;
    Ok(true)
}

/// Whose token that digest is.
pub fn find(
    database: &mut dyn Database,
    now: Timestamp,
    digest: &str,
) -> Result<Option<Person>, LedgerError> {
    let found = database.one(
        "SELECT name, tenant, role, used_ms FROM tokens WHERE digest = $1 AND revoked_ms IS NULL",
        args![digest],
    )?;
    let Some(mut row) = found else { return Ok(None) };
    let name = format!("{PROGRAM}{}", row.text(0)?);
    let (tenant, role, used) = (tenant(&mut row, 1)?, role(&mut row, 2)?, row.maybe_instant(3)?);
    if used.is_none_or(|used| now.since(used) >= NOTED) {
        database.execute("UPDATE tokens SET used_ms = $2 WHERE digest = $1", args![digest, now])?;
    }
    Ok(Some(Person { name, tenant, role }))
}

/// Those that `scope` may see, by name.
pub fn list(database: &mut dyn Database, scope: &Scope) -> Result<Vec<TokenRow>, LedgerError> {
    let mut args = vec![];
    let condition = scope.and_tenant("tenant", &mut args);
    let sql = format!(
        "SELECT name, tenant, role, created_ms, created_by, used_ms, revoked_ms FROM tokens WHERE 1 = 1{condition}
         ORDER BY name"
    );
    let token = |mut row: Row| {
        Ok(TokenRow {
            name: row.text(0)?,
            tenant: row.maybe_text(1)?,
            role: role(&mut row, 2)?,
            created_at: row.instant(3)?,
            created_by: row.text(4)?,
            used_at: row.maybe_instant(5)?,
            revoked_at: row.maybe_instant(6)?,
        })
    };
    database.query(&sql, &args)?.into_iter().map(token).collect()
}

/// Makes one good no more, if `scope` may see it. Says whether it was good.
pub fn revoke(
    tx: &mut dyn Database,
    actor: &Actor,
    now: Timestamp,
    scope: &Scope,
    name: &str,
) -> Result<bool, LedgerError> {
    let mut args: Vec<Arg<'_>> = vec![Arg::Text(name), now.into()];
    let condition = scope.and_tenant("tenant", &mut args);
    let sql = format!(
        "UPDATE tokens SET revoked_ms = $2 WHERE name = $1 AND revoked_ms IS NULL{condition} RETURNING tenant"
    );
    let Some(mut row) = tx.one(&sql, &args)? else { return Ok(false) };
    let tenant = row.maybe_text(0)?;
    let deed = Deed { tenant: tenant.as_deref(), action: "token.revoke", object: name, detail: json!({}) };
    audit(tx, actor, now, &deed)?;
    Ok(true)
}
