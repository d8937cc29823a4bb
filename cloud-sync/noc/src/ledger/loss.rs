//! Gateways that are not heard any more. The centre raises an alert of its own for each, once, however many receivers look; it is
//! over when the gateway is heard, and it explains the devices that its gateway missed meanwhile.

use super::incidents::{AROUND, loss_id};
use super::keep::{Key, held};
use super::sql::{Database, News, apart, args};
use super::{AlertHead, Entry, GatewayRow, LedgerError, look, raise, steps};
use crate::access::Scope;
use crate::presence::patience;
use serde_json::{Value, json};
use vigil_cloud_sync::{EventKind, Origin};
use vigil_core::alert::Method;
use vigil_core::id::{GatewayId, SiteId, TenantId};
use vigil_core::time::{Span, Timestamp};

/// The rule by which the centre's own alerts are known.
pub(super) const RULE: &str = "gateway_lost";
/// How the centre signs.
const CENTRE: &str = "centre";

/// Whether an alert has the rule or the name of those that the centre raises itself: none that a gateway sends may.
pub fn is_of_the_centre(head: &AlertHead) -> bool {
    head.rule == RULE || is_name(&head.id)
}

/// Whether it is such a name.
pub(super) fn is_name(id: &str) -> bool {
    id.strip_prefix(RULE).is_some_and(|rest| rest.starts_with('.'))
}

/// Raises an alert for every gateway that is lost and has none.
pub(super) fn look_for(tx: &mut dyn Database, now: Timestamp) -> Result<(), LedgerError> {
    for row in look::gateways(tx, &Scope::whole())? {
        // One that was never heard is being set up: the list of gateways says so.
        let Some(heard_at) = row.last_heard_at else { continue };
        if now.since(heard_at).max(Span::ZERO) <= patience(&row) {
            continue;
        }
        if let Some(origin) = origin(&row) {
            raise(tx, &Key::of(&origin), &row, heard_at, now)?;
        }
    }
    Ok(())
}

fn origin(row: &GatewayRow) -> Option<Origin> {
    Some(Origin {
        tenant: TenantId::new(&row.tenant).ok()?,
        site: SiteId::new(&row.site).ok()?,
        gateway: GatewayId::new(&row.gateway).ok()?,
    })
}

fn raise(
    tx: &mut dyn Database,
    key: &Key<'_>,
    row: &GatewayRow,
    heard_at: Timestamp,
    now: Timestamp,
) -> Result<(), LedgerError> {
    // It may have been heard since the list was read.
    let alone = held(tx.engine());
    let still = tx.query(
        &format!("SELECT heard_ms FROM gateways WHERE place = $1 AND gateway = $2 AND heard_ms = $3{alone}"),
        args![&key.place, key.gateway(), heard_at],
    )?;
    if still.is_empty() {
        return Ok(());
    }
    let first = tx.execute(
        "INSERT INTO losses (place, gateway, heard_ms, lost_ms) VALUES ($1, $2, $3, $4)
         ON CONFLICT (place, gateway, heard_ms) DO NOTHING",
        args![&key.place, key.gateway(), heard_at, now],
    )?;
    if first == 0 {
        return Ok(());
    }
    let (id, lost_at) = (loss_id(heard_at), heard_at + patience(row));
    let gateway = key.gateway();
    put(
        tx,
        key,
        now,
        &json!({
            "id": id, "revision": 1, "site": key.origin.site, "rule": RULE, "severity": "HIGH", "status": "DETECTED",
            "subject": format!("gateway:{gateway}"), "guard": null, "detected_at": lost_at, "updated_at": now,
            "cleared_at": null, "escalated": false,
            "summary": format!("gateway {gateway} is not heard any more: nobody at the centre sees what happens on its site"),
            "evidence": {"gateway": gateway, "last_message_at": heard_at}, "verification": {"method": "NONE"},
            "history": [{"at": now, "by": CENTRE, "status": "DETECTED", "note": null}],
        }),
    )?;
    tx.execute(
        "UPDATE alerts SET folded = $3 WHERE place = $1 AND gateway = $2 AND rule = 'device_silent' AND urgent IN (0, 1)
             AND detected_ms >= $4",
        args![&key.place, gateway, &id, heard_at - AROUND],
    )?;
    Ok(())
}

/// The gateway is heard again, which was last heard at `heard_at`.
pub(super) fn is_back(
    tx: &mut dyn Database,
    key: &Key<'_>,
    heard_at: Option<Timestamp>,
    now: Timestamp,
) -> Result<(), LedgerError> {
    let Some(heard_at) = heard_at else { return Ok(()) };
    let ended = tx.execute(
        "UPDATE losses SET back_ms = $4 WHERE place = $1 AND gateway = $2 AND heard_ms = $3 AND back_ms IS NULL",
        args![&key.place, key.gateway(), heard_at, now],
    )?;
    if ended == 0 {
        return Ok(());
    }
    let told = apart(tx, |tx| {
        revise(tx, key, &loss_id(heard_at), now, |alert| {
            alert["cleared_at"] = json!(now);
            let is_final = alert["status"].as_str().is_some_and(super::is_final);
            if !is_final {
                step(alert, now, CENTRE, "RESOLVED", None);
            }
        })
    })?;
    // What the gateway brings counts for more than what the centre has to say of its absence.
    if let Err(why) = told {
        tracing::error!(gateway = key.gateway(), %why, "it cannot be told that a lost gateway is back; its alert stays open");
    }
    Ok(())
}

/// Takes an alert of the centre itself further: there is no gateway to decide it.
pub(super) fn take(
    tx: &mut dyn Database,
    key: &Key<'_>,
    new: &steps::NewStep,
    now: Timestamp,
) -> Result<(), LedgerError> {
    revise(tx, key, &new.alert, now, |alert| {
        step(alert, now, &new.person, new.status.name(), new.note.as_deref());
        if new.method != Method::None || new.response.is_some() {
            alert["verification"] = json!({
                "method": new.method, "response": new.response, "by": new.person, "at": now, "notes": new.note,
            });
        }
    })
}

fn step(alert: &mut Value, at: Timestamp, by: &str, status: &str, note: Option<&str>) {
    alert["status"] = json!(status);
    if let Some(history) = alert["history"].as_array_mut() {
        history.push(json!({"at": at, "by": by, "status": status, "note": note}));
    }
}

fn revise(
    tx: &mut dyn Database,
    key: &Key<'_>,
    id: &str,
    now: Timestamp,
    change: impl FnOnce(&mut Value),
) -> Result<(), LedgerError> {
    let Some(row) = look::alert(tx, &Scope::whole(), &key.place, key.gateway(), id)? else { return Ok(()) };
    let mut alert: Value = serde_json::from_str(row.alert.get())?;
    change(&mut alert);
    // One that can be raised no higher stays as it is; whatever is wrong with it must not keep its gateway from being heard.
    alert["revision"] = json!(alert["revision"].as_u64().unwrap_or(1).saturating_add(1).min(u32::MAX.into()));
    alert["updated_at"] = json!(now);
    put(tx, key, now, &alert)
}

/// Shows it like one that a gateway sent, and tells every page.
fn put(tx: &mut dyn Database, key: &Key<'_>, now: Timestamp, alert: &Value) -> Result<(), LedgerError> {
    let data = serde_json::value::to_raw_value(alert)?;
    let head: AlertHead = serde_json::from_str(data.get())?;
    let (id, subject) = (head.id.clone(), head.subject.clone());
    let entry = Entry {
        producer: None,
        sequence: 0,
        id: format!("{id}.{}", head.revision),
        kind: EventKind::Alert,
        subject,
        time: now,
        data,
        alert: Some(head),
    };
    raise::alerts(tx, key, now, &[&entry])?;
    let (place, gateway) = (key.place.clone(), key.gateway().to_owned());
    tx.tell(&News { place, gateway, alerts: vec![id], ..News::default() })
}
