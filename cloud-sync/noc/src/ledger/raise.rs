//! Alerts as they come: of each the latest revision, and its place among the others.

use super::incidents::{self, Newcomer, Placed};
use super::keep::{Key, highest};
use super::sql::{Arg, Database, among, args, insert};
use super::{AlertHead, Entry, LedgerError};
use std::collections::BTreeMap;
use vigil_core::time::{Span, Timestamp};

/// So far ahead of its arrival an alert is believed to have been detected; gateways refuse devices beyond two minutes.
const AHEAD: Span = Span::from_mins(10);

/// By when an alert that came at `at` is listed, and put with others.
fn believed(head: &AlertHead, at: Timestamp) -> Timestamp {
    head.detected_at.min(at + AHEAD)
}

/// Keeps the latest revision of each alert, and finds its place among the others. Gives those that show something new.
pub(super) fn alerts(
    tx: &mut dyn Database,
    key: &Key<'_>,
    at: Timestamp,
    entries: &[&Entry],
) -> Result<Vec<String>, LedgerError> {
    let mut latest = highest(entries, |entry| {
        let head: &AlertHead = entry.alert.as_ref()?;
        Some((head.id.clone(), head.revision, head))
    });
    let known = known(tx, key, &latest)?;
    latest.retain(|id, (revision, _, _)| {
        known.get(id).is_none_or(|known| known.revision < i64::from(*revision))
    });
    incidents::hold(tx, key, latest.values().filter_map(|(_, head, _)| head.guard.as_deref()))?;
    // What is known goes first: who comes anew is put where it is listed now.
    let is_new = |id: &str| known.get(id).is_none_or(|known| !known.is_placed);
    let (new, revised): (Vec<_>, Vec<_>) =
        latest.values().map(|(_, head, entry)| (*head, *entry)).partition(|(head, _)| is_new(&head.id));
    write_alerts(tx, key, at, &revised, &BTreeMap::new())?;
    for (_, head, entry) in latest.values().filter(|(_, head, _)| head.rule == "storm") {
        incidents::gather(tx, key, head, entry.data.get())?;
    }
    let newcomers: Vec<_> =
        new.iter().map(|(head, _)| Newcomer { head, detected_at: believed(head, at) }).collect();
    let places = incidents::place(tx, key, &newcomers)?;
    write_alerts(tx, key, at, &new, &places)?;
    Ok(latest.into_keys().collect())
}

fn write_alerts(
    tx: &mut dyn Database,
    key: &Key<'_>,
    at: Timestamp,
    alerts: &[(&AlertHead, &Entry)],
    places: &BTreeMap<&str, Placed>,
) -> Result<(), LedgerError> {
    let rows: Vec<Vec<Arg<'_>>> = alerts
        .iter()
        .map(|(head, entry)| {
            let place = places.get(head.id.as_str());
            vec![
                Arg::Text(&key.place),
                Arg::Text(key.gateway()),
                Arg::Text(&head.id),
                Arg::Text(key.origin.tenant.as_str()),
                Arg::Text(key.origin.site.as_str()),
                head.revision.into(),
                Arg::Text(&head.rule),
                Arg::Text(&head.severity),
                Arg::Text(&head.status),
                Arg::Text(&head.subject),
                head.guard.as_ref().into(),
                Arg::Text(&head.summary),
                head.is_urgent().into(),
                // Lists have the latest on top: a clock that is years ahead must not bury what happens now.
                believed(head, at).into(),
                head.updated_at.unwrap_or(head.detected_at).into(),
                head.cleared_at.into(),
                head.closed_at().into(),
                at.into(),
                Arg::Text(entry.data.get()),
                at.into(),
                head.waits_for_somebody().then_some(at).into(),
                place.map(|place| &place.incident).into(),
                place.and_then(|place| place.folded.as_ref()).into(),
            ]
        })
        .collect();
    insert(
        tx,
        "INSERT INTO alerts (place, gateway, id, tenant, site, revision, rule, severity, status, subject, guard, summary,
             urgent, detected_ms, updated_ms, cleared_ms, closed_ms, received_ms, data, first_ms, look_ms,
             incident, folded)",
        "ON CONFLICT (place, gateway, id) DO UPDATE SET revision = excluded.revision, rule = excluded.rule,
             severity = excluded.severity, status = excluded.status, subject = excluded.subject, guard = excluded.guard,
             summary = excluded.summary, urgent = excluded.urgent, detected_ms = excluded.detected_ms,
             updated_ms = excluded.updated_ms, cleared_ms = excluded.cleared_ms, closed_ms = excluded.closed_ms,
             received_ms = excluded.received_ms, data = excluded.data, look_ms = excluded.look_ms,
             incident = COALESCE(alerts.incident, excluded.incident), folded = COALESCE(alerts.folded, excluded.folded)
         WHERE excluded.revision > alerts.revision",
        &rows,
    )?;
    Ok(())
}

/// What is known of an alert.
struct Known {
    revision: i64,
    /// Whether it has an incident: those of early tables have none before their next revision.
    is_placed: bool,
}

/// What is known of these alerts.
fn known<T>(
    tx: &mut dyn Database,
    key: &Key<'_>,
    of: &BTreeMap<String, T>,
) -> Result<BTreeMap<String, Known>, LedgerError> {
    let names: Vec<&str> = of.keys().map(String::as_str).collect();
    let head =
        "SELECT id, revision, incident IS NOT NULL FROM alerts WHERE place = $1 AND gateway = $2 AND id IN";
    let rows = among(tx, head, "", args![&key.place, key.gateway()], &names)?;
    let known = rows
        .into_iter()
        .map(|mut row| Ok((row.text(0)?, Known { revision: row.int(1)?, is_placed: row.flag(2)? })));
    known.collect()
}
