//! Who did what, when and from where. Written in the transaction of the change itself: one is not there without the other.

use super::Scope;
use crate::ledger::{Arg, Database, LedgerError, Row, args};
use serde::Serialize;
use serde_json::Value;
use serde_json::value::RawValue;
use vigil_core::time::{Span, Timestamp};

/// How long it is kept: as long as alerts are. The database itself refuses to remove anything earlier.
pub const KEPT: Span = Span::from_hours(400 * 24);

/// The longest text of a row: a name, an address, an id with everything around it.
const MAX_TEXT: usize = 300;

/// Who does something, and from where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Actor {
    /// The name of a person; `token:` and its name for a program; `console` for whoever has the machine itself.
    pub name: String,
    /// The address that it comes from; empty on the machine itself.
    pub address: String,
}

impl Actor {
    /// Whoever runs a command on the machine of the ledger.
    pub fn console() -> Self {
        Self { name: "console".to_owned(), address: String::new() }
    }
}

/// One thing that was done. There is no secret in it.
#[derive(Debug, Clone, PartialEq)]
pub struct Deed<'a> {
    /// Whose thing it was; `None` for what concerns the centre alone.
    pub tenant: Option<&'a str>,
    /// What, like `person.role`.
    pub action: &'a str,
    /// To what: a name, an id, a place.
    pub object: &'a str,
    /// What else there is to know, as an object.
    pub detail: Value,
}

/// Writes it down, in the transaction of what is done.
pub fn audit(
    tx: &mut dyn Database,
    actor: &Actor,
    now: Timestamp,
    deed: &Deed<'_>,
) -> Result<(), LedgerError> {
    let cut = |text: &str| text.chars().take(MAX_TEXT).collect::<String>();
    tx.execute(
        "INSERT INTO audit (at_ms, who, tenant, address, action, object, detail) VALUES ($1, $2, $3, $4, $5, $6, $7)",
        args![
            now,
            &cut(&actor.name),
            deed.tenant,
            &cut(&actor.address),
            deed.action,
            &cut(deed.object),
            &deed.detail.to_string()
        ],
    )?;
    Ok(())
}

/// A row of the log.
#[derive(Debug, Clone, Serialize)]
pub struct AuditRow {
    /// Rises with each.
    pub seq: i64,
    /// When.
    pub at: Timestamp,
    /// Who.
    pub who: String,
    /// Whose thing it was.
    pub tenant: Option<String>,
    /// From where.
    pub address: String,
    /// What.
    pub action: String,
    /// To what.
    pub object: String,
    /// What else there is to know.
    pub detail: Box<RawValue>,
}

/// What of the log is asked for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Sought {
    /// By whom.
    pub who: Option<String>,
    /// Which action, or with a dot at its end all that begin so.
    pub action: Option<String>,
    /// To what.
    pub object: Option<String>,
    /// Not before.
    pub from: Option<Timestamp>,
    /// Not at or after.
    pub to: Option<Timestamp>,
    /// Only rows with a lower number: the next page.
    pub before: Option<i64>,
}

/// The newest rows of what is sought, as far as `scope` may see them.
pub fn list(
    database: &mut dyn Database,
    scope: &Scope,
    sought: &Sought,
    limit: u32,
) -> Result<Vec<AuditRow>, LedgerError> {
    let mut args: Vec<Arg<'_>> = vec![];
    let mut conditions = scope.and_tenant("tenant", &mut args);
    let action = sought.action.as_deref().filter(|action| !action.is_empty());
    let (families, exact) = (action.filter(|a| a.ends_with('.')), action.filter(|a| !a.ends_with('.')));
    let family = format!("substr(action, 1, {}) = ", action.unwrap_or_default().chars().count());
    let wanted: [(&str, Option<Arg<'_>>); 7] = [
        ("who = ", sought.who.as_deref().map(Arg::Text)),
        ("object = ", sought.object.as_deref().map(Arg::Text)),
        ("action = ", exact.map(Arg::Text)),
        (&family, families.map(Arg::Text)),
        ("at_ms >= ", sought.from.map(Arg::from)),
        ("at_ms < ", sought.to.map(Arg::from)),
        ("seq < ", sought.before.map(Arg::from)),
    ];
    for (condition, arg) in wanted {
        let Some(arg) = arg else { continue };
        args.push(arg);
        conditions += &format!(" AND {condition}${}", args.len());
    }
    args.push(limit.into());
    let sql = format!(
        "SELECT seq, at_ms, who, tenant, address, action, object, detail FROM audit WHERE 1 = 1{conditions}
         ORDER BY seq DESC LIMIT ${}",
        args.len()
    );
    database.query(&sql, &args)?.into_iter().map(audit_row).collect()
}

fn audit_row(mut row: Row) -> Result<AuditRow, LedgerError> {
    Ok(AuditRow {
        seq: row.int(0)?,
        at: row.instant(1)?,
        who: row.text(2)?,
        tenant: row.maybe_text(3)?,
        address: row.text(4)?,
        action: row.text(5)?,
        object: row.text(6)?,
        detail: row.json(7)?,
    })
}

/// Removes what is past its time.
pub fn forget(tx: &mut dyn Database, now: Timestamp) -> Result<(), LedgerError> {
    // The database goes by its own clock; a row that it still holds is left for tomorrow.
    let past = now - KEPT - Span::from_hours(1);
    tx.execute("DELETE FROM audit WHERE at_ms < $1", args![past]).map(drop)
}
