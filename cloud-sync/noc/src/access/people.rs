//! The people who may log in.

use super::audit::{Actor, Deed, audit};
use super::{Role, Scope, sessions};
use crate::ledger::{Arg, Database, LedgerError, Row, args};
use serde::Serialize;
use serde_json::json;
use vigil_core::id::{OperatorId, TenantId};
use vigil_core::time::Timestamp;

/// The most: the largest guarding companies have some hundred in their control rooms. A script that runs wild is told so.
pub const MAX_PEOPLE: i64 = 10_000;

/// Somebody who may log in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct PersonRow {
    /// The name.
    pub name: String,
    /// Whose; `None` for the centre's own staff.
    pub tenant: Option<String>,
    /// What they may do.
    pub role: Role,
    /// Since when.
    pub created_at: Timestamp,
    /// Whether they may not for now.
    pub disabled: bool,
    /// Whether another password is to be chosen first.
    pub must_change: bool,
}

/// Somebody who is to be let in.
#[derive(Debug, Clone)]
pub struct NewPerson {
    /// The name.
    pub name: OperatorId,
    /// Whose.
    pub tenant: Option<TenantId>,
    /// What they may do.
    pub role: Role,
    /// The hash of the password.
    pub hash: String,
    /// Whether another one is to be chosen first.
    pub must_change: bool,
}

/// What became of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Added {
    /// Done.
    New,
    /// The name is taken.
    Taken,
    /// There are too many.
    Full,
}

/// What is changed of somebody.
#[derive(Debug, Clone)]
pub enum Change {
    /// What they may do.
    Role(Role),
    /// Whether they may log in at all.
    Disabled(bool),
    /// The hash of another password, and whether that is to be changed.
    Password {
        /// The hash.
        hash: String,
        /// Whether another one is to be chosen first.
        must_change: bool,
    },
}

const PERSON: &str = "SELECT name, tenant, role, created_ms, disabled, must_change FROM people";

fn person_row(mut row: Row) -> Result<PersonRow, LedgerError> {
    Ok(PersonRow {
        name: row.text(0)?,
        tenant: row.maybe_text(1)?,
        role: row.text(2)?.parse().map_err(|_| LedgerError::Column(2))?,
        created_at: row.instant(3)?,
        disabled: row.flag(4)?,
        must_change: row.flag(5)?,
    })
}

/// Whether there is anybody at all.
pub fn any(database: &mut dyn Database) -> Result<bool, LedgerError> {
    Ok(database.one("SELECT name FROM people LIMIT 1", &[])?.is_some())
}

/// Everybody whom `scope` may see, by name.
pub fn list(database: &mut dyn Database, scope: &Scope) -> Result<Vec<PersonRow>, LedgerError> {
    let mut args = vec![];
    let condition = scope.and_tenant("tenant", &mut args);
    let sql = format!("{PERSON} WHERE 1 = 1{condition} ORDER BY name");
    database.query(&sql, &args)?.into_iter().map(person_row).collect()
}

/// The one with that name, if `scope` may see them.
pub fn find(
    database: &mut dyn Database,
    scope: &Scope,
    name: &str,
) -> Result<Option<PersonRow>, LedgerError> {
    let mut args: Vec<Arg<'_>> = vec![Arg::Text(name)];
    let condition = scope.and_tenant("tenant", &mut args);
    database.one(&format!("{PERSON} WHERE name = $1{condition}"), &args)?.map(person_row).transpose()
}

/// The hash of the password of somebody who may log in.
pub fn hash_of(database: &mut dyn Database, name: &str) -> Result<Option<String>, LedgerError> {
    let found = database.one("SELECT hash FROM people WHERE name = $1 AND disabled = 0", args![name])?;
    found.map(|mut row| row.text(0)).transpose()
}

/// Lets somebody in.
pub fn add(
    tx: &mut dyn Database,
    actor: &Actor,
    now: Timestamp,
    new: &NewPerson,
) -> Result<Added, LedgerError> {
    let many = tx.one("SELECT count(*) FROM people", &[])?.map_or(Ok(0), |mut row| row.int(0))?;
    if many >= MAX_PEOPLE {
        return Ok(Added::Full);
    }
    let tenant = new.tenant.as_ref().map(TenantId::as_str);
    let added = tx.execute(
        "INSERT INTO people (name, tenant, role, hash, created_ms, disabled, must_change)
         VALUES ($1, $2, $3, $4, $5, 0, $6) ON CONFLICT (name) DO NOTHING",
        args![new.name.as_str(), tenant, new.role.name(), &new.hash, now, new.must_change],
    )?;
    if added == 0 {
        return Ok(Added::Taken);
    }
    let detail = json!({"role": new.role});
    audit(tx, actor, now, &Deed { tenant, action: "person.add", object: new.name.as_str(), detail })?;
    Ok(Added::New)
}

/// Changes somebody whom `scope` may see, and ends their sessions: what they were let in for may be no more. Says whether there
/// is such a person.
pub fn change(
    tx: &mut dyn Database,
    actor: &Actor,
    now: Timestamp,
    scope: &Scope,
    (name, change): (&str, &Change),
) -> Result<bool, LedgerError> {
    let Some(known) = find(tx, scope, name)? else { return Ok(false) };
    let (action, detail) = match change {
        Change::Role(role) => {
            tx.execute("UPDATE people SET role = $2 WHERE name = $1", args![name, role.name()])?;
            ("person.role", json!({"from": known.role, "to": role}))
        }
        Change::Disabled(disabled) => {
            tx.execute("UPDATE people SET disabled = $2 WHERE name = $1", args![name, *disabled])?;
            (if *disabled { "person.disable" } else { "person.enable" }, json!({}))
        }
        Change::Password { hash, must_change } => {
            tx.execute(
                "UPDATE people SET hash = $2, must_change = $3 WHERE name = $1",
                args![name, hash, *must_change],
            )?;
            ("person.password", json!({"must_change": must_change}))
        }
    };
    sessions::end_all(tx, name)?;
    audit(tx, actor, now, &Deed { tenant: known.tenant.as_deref(), action, object: name, detail })?;
    Ok(true)
}
