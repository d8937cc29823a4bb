//! What the ledger shows: gateways, alerts and records.

use super::keep::Key;
use super::sql::{Arg, Database, Row, among, args};
use super::{AlertHead, AlertRow, GatewayRow, LedgerError, RecordRow, steps};
use crate::access::Scope;
use crate::sequence::Producers;
use serde_json::value::RawValue;
use vigil_cloud_sync::{EventKind, Origin};
use vigil_core::id::{GatewayId, SiteId, TenantId};

const GATEWAY: &str = "SELECT tenant, site, gateway, heard_ms, sequences, health FROM gateways";

/// What is shown of an alert.
pub(super) const ALERT_COLUMNS: &str =
    "tenant, site, gateway, received_ms, data, incident, folded, id, detected_ms";

fn gateway_row(mut row: Row) -> Result<GatewayRow, LedgerError> {
    let sequences: Producers = serde_json::from_str(&row.text(4)?)?;
    Ok(GatewayRow {
        tenant: row.text(0)?,
        site: row.text(1)?,
        gateway: row.text(2)?,
        last_heard_at: row.maybe_instant(3)?,
        highest_sequence: sequences.highest(),
        missing: sequences.missing(),
        holes: sequences.holes(),
        reused: sequences.reused(),
        health: row.maybe_json(5)?,
    })
}

/// Alerts with the steps of each.
pub(super) fn alert_rows(database: &mut dyn Database, rows: Vec<Row>) -> Result<Vec<AlertRow>, LedgerError> {
    let mut alerts = vec![];
    let mut names = vec![];
    for mut row in rows {
        let (tenant, site, gateway) = (row.text(0)?, row.text(1)?, row.text(2)?);
        names.push((format!("{tenant}/{site}"), gateway.clone(), row.text(7)?));
        alerts.push(AlertRow {
            tenant,
            site,
            gateway,
            received_at: row.instant(3)?,
            listed_at: row.instant(8)?,
            alert: row.json(4)?,
            incident: row.maybe_text(5)?,
            folded: row.maybe_text(6)?,
            status: String::new(),
            seen: String::new(),
            steps: vec![],
        });
    }
    let mut taken = steps::of(database, &names)?;
    for (row, name) in alerts.iter_mut().zip(&names) {
        let head: AlertHead = serde_json::from_str(row.alert.get())?;
        row.steps = taken.remove(name).unwrap_or_default();
        row.status = steps::judge(&head, &mut row.steps);
        row.seen = steps::seen_now(&head, &row.steps);
    }
    Ok(alerts)
}

/// One gateway.
pub(super) fn gateway(database: &mut dyn Database, key: &Key<'_>) -> Result<GatewayRow, LedgerError> {
    let sql = format!("{GATEWAY} WHERE place = $1 AND gateway = $2");
    find_gateway(database, &sql, &key.place, key.gateway())?.ok_or(LedgerError::Column(0))
}

fn find_gateway(
    database: &mut dyn Database,
    sql: &str,
    place: &str,
    gateway: &str,
) -> Result<Option<GatewayRow>, LedgerError> {
    database.one(sql, args![place, gateway])?.map(gateway_row).transpose()
}

/// The gateway with that name at that place, if `scope` may see it.
pub(super) fn gateway_at(
    database: &mut dyn Database,
    scope: &Scope,
    place: &str,
    gateway: &str,
) -> Result<Option<GatewayRow>, LedgerError> {
    let sql = format!("{GATEWAY} WHERE place = $1 AND gateway = $2");
    let found = find_gateway(database, &sql, place, gateway)?;
    Ok(found.filter(|row| scope.holds(&row.tenant)))
}

/// Every gateway that `scope` may see, by name.
pub(super) fn gateways(database: &mut dyn Database, scope: &Scope) -> Result<Vec<GatewayRow>, LedgerError> {
    let mut args = vec![];
    let condition = scope.and_tenant("tenant", &mut args);
    let rows = database.query(&format!("{GATEWAY} WHERE 1 = 1{condition} ORDER BY place, gateway"), &args)?;
    rows.into_iter().map(gateway_row).collect()
}

/// Where everything comes from that is stored, and its name.
pub(super) fn origins(database: &mut dyn Database) -> Result<Vec<(Origin, String)>, LedgerError> {
    let known = gateways(database, &Scope::whole())?.iter().filter_map(origin_of).collect::<Vec<_>>();
    Ok(known.into_iter().map(|origin| (origin.clone(), origin.source())).collect())
}

/// The gateways with that name that `scope` may see; one tenant may give the same name as another.
pub(super) fn called(
    database: &mut dyn Database,
    scope: &Scope,
    gateway: &str,
) -> Result<Vec<Origin>, LedgerError> {
    let mut args: Vec<Arg<'_>> = vec![gateway.into()];
    let condition = scope.and_tenant("tenant", &mut args);
    let sql = format!("SELECT tenant, site FROM gateways WHERE gateway = $1{condition} ORDER BY place");
    let rows = database.query(&sql, &args)?.into_iter();
    let found = rows.map(|mut row| Ok(origin(&row.text(0)?, &row.text(1)?, gateway)));
    Ok(found.collect::<Result<Vec<_>, LedgerError>>()?.into_iter().flatten().collect())
}

/// The origin with that name at that place, if it is listed.
pub(super) fn origin_at(
    database: &mut dyn Database,
    place: &str,
    gateway: &str,
) -> Result<Option<Origin>, LedgerError> {
    Ok(gateway_at(database, &Scope::whole(), place, gateway)?.as_ref().and_then(origin_of))
}

fn origin_of(row: &GatewayRow) -> Option<Origin> {
    origin(&row.tenant, &row.site, &row.gateway)
}

fn origin(tenant: &str, site: &str, gateway: &str) -> Option<Origin> {
    let tenant = TenantId::new(tenant).ok()?;
    let (site, gateway) = (SiteId::new(site).ok()?, GatewayId::new(gateway).ok()?);
    Some(Origin { tenant, site, gateway })
}

/// Open CRITICAL alerts first, the newest on top; then all others, the newest on top.
pub(super) fn alerts(
    database: &mut dyn Database,
    scope: &Scope,
    limit: u32,
) -> Result<Vec<AlertRow>, LedgerError> {
    let mut args: Vec<Arg<'_>> = vec![limit.into()];
    let condition = scope.and_tenant("tenant", &mut args);
    let sql = format!(
        "SELECT {ALERT_COLUMNS} FROM alerts WHERE 1 = 1{condition} ORDER BY urgent DESC, detected_ms DESC, id LIMIT $1"
    );
    let rows = database.query(&sql, &args)?;
    alert_rows(database, rows)
}

/// One alert, if `scope` may see it.
pub(super) fn alert(
    database: &mut dyn Database,
    scope: &Scope,
    place: &str,
    gateway: &str,
    id: &str,
) -> Result<Option<AlertRow>, LedgerError> {
    let sql = format!("SELECT {ALERT_COLUMNS} FROM alerts WHERE place = $1 AND gateway = $2 AND id = $3");
    let rows = database.query(&sql, args![place, gateway, id])?;
    Ok(alert_rows(database, rows)?.pop().filter(|row| scope.holds(&row.tenant)))
}

/// These alerts of one gateway, in the order of their names; one that is not there is left out.
pub(super) fn named(
    database: &mut dyn Database,
    place: &str,
    gateway: &str,
    ids: &[String],
) -> Result<Vec<AlertRow>, LedgerError> {
    let head = format!("SELECT {ALERT_COLUMNS} FROM alerts WHERE place = $1 AND gateway = $2 AND id IN");
    let mut names: Vec<&str> = ids.iter().map(String::as_str).collect();
    names.sort_unstable();
    let rows = among(database, &head, "ORDER BY id", args![place, gateway], &names)?;
    alert_rows(database, rows)
}

/// What an alert explains, the newest first.
pub(super) fn folded_under(
    database: &mut dyn Database,
    place: &str,
    gateway: &str,
    id: &str,
    limit: u32,
) -> Result<Vec<AlertRow>, LedgerError> {
    let sql = format!(
        "SELECT {ALERT_COLUMNS} FROM alerts WHERE place = $1 AND folded = $2 AND gateway = $3
         ORDER BY detected_ms DESC, id LIMIT $4"
    );
    let rows = database.query(&sql, args![place, id, gateway, limit])?;
    alert_rows(database, rows)
}

/// The latest log entry of one run, by tour and instant in milliseconds.
pub(super) fn run(
    database: &mut dyn Database,
    place: &str,
    gateway: &str,
    run: &str,
) -> Result<Option<Box<RawValue>>, LedgerError> {
    let sql = "SELECT data FROM runs WHERE place = $1 AND gateway = $2 AND id = $3";
    database.one(sql, args![place, gateway, run])?.map(|mut row| row.json(0)).transpose()
}

/// The newest events of that kind that `scope` may see.
pub(super) fn records(
    database: &mut dyn Database,
    scope: &Scope,
    kind: EventKind,
    limit: u32,
) -> Result<Vec<RecordRow>, LedgerError> {
    let mut args = vec![Arg::Text(kind.name()), limit.into()];
    let condition = scope.and_place("place", &mut args);
    let rows = database.query(
        &format!(
            "SELECT place, gateway, id, subject, time_ms, data FROM events WHERE kind = $1{condition}
             ORDER BY time_ms DESC, place, gateway, id LIMIT $2"
        ),
        &args,
    )?;
    let record = |mut row: Row| {
        let (place, gateway) = (row.text(0)?, row.text(1)?);
        let (tenant, site) = place.split_once('/').unwrap_or((&place, ""));
        let source = format!("/tenants/{tenant}/sites/{site}/gateways/{gateway}");
        let (id, subject, time, data) = (row.text(2)?, row.text(3)?, row.instant(4)?, row.json(5)?);
        Ok(RecordRow { source, id, subject, time, data })
    };
    rows.into_iter().map(record).collect()
}
