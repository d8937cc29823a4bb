//! What a delivery leaves in the ledger: each event once as it came, and of alerts, runs and days the latest revision.

use super::sql::{Arg, Database, Engine, News, args, insert};
use super::{Delivery, Entry, LedgerError, Receipt, commands, look, loss, raise};
use crate::sequence::Producers;
use serde::Deserialize;
use std::collections::{BTreeMap, HashSet};
use vigil_cloud_sync::wire::{BUNDLE, REFUSED, WELFARE};
use vigil_cloud_sync::{EventKind, Origin};
use vigil_core::id::{SiteId, TenantId};
use vigil_core::time::{Span, Timestamp};

/// How long health records are kept: one every 30 s, so a thousand gateways make 2.9 million a day. The
/// latest stays with its gateway; two days let a gateway resend after an outage and still be recognised.
pub(super) const HEALTH_KEPT: Span = Span::from_hours(48);

/// How many events of an old ledger are read at once while its tables are made anew.
const RETOLD_AT_ONCE: i64 = 1_000;

/// The name of the place where a gateway stands.
pub fn place(origin: &Origin) -> String {
    place_of(&origin.tenant, &origin.site)
}

/// The name of the place of a site.
pub fn place_of(tenant: &TenantId, site: &SiteId) -> String {
    format!("{tenant}/{site}")
}

/// A gateway's part of every key.
pub(super) struct Key<'a> {
    pub place: String,
    pub origin: &'a Origin,
}

impl<'a> Key<'a> {
    pub fn of(origin: &'a Origin) -> Self {
        Self { place: place(origin), origin }
    }

    pub fn gateway(&self) -> &'a str {
        self.origin.gateway.as_str()
    }
}

/// Lists the gateway, if it is not listed yet.
pub(super) fn list(tx: &mut dyn Database, key: &Key<'_>) -> Result<(), LedgerError> {
    tx.execute(
        "INSERT INTO gateways (place, gateway, tenant, site, sequences) VALUES ($1, $2, $3, $4, $5)
         ON CONFLICT (place, gateway) DO NOTHING",
        args![
            &key.place,
            key.gateway(),
            key.origin.tenant.as_str(),
            key.origin.site.as_str(),
            &serde_json::to_string(&Producers::default())?
        ],
    )?;
    Ok(())
}

/// Keeps a delivery within a transaction.
pub(super) fn record(tx: &mut dyn Database, delivery: &Delivery) -> Result<Receipt, LedgerError> {
    let key = Key::of(&delivery.origin);
    list(tx, &key)?;
    let (mut sequences, heard_at) = sequences(tx, &key)?;
    loss::is_back(tx, &key, heard_at, delivery.received_at)?;
    let mut unseen = insert_events(tx, &key, delivery)?;
    let (mut new, mut reused, mut altered) = (vec![], vec![], vec![]);
    for entry in &delivery.entries {
        let taken = is_taken(&sequences, entry);
        sequences.note(entry.producer.as_deref(), entry.sequence);
        if !unseen.remove(&entry.id) {
            if says_something_else(tx, &key, entry)? {
                altered.push(entry.id.clone());
            }
            continue;
        }
        if taken {
            sequences.note_reused();
            reused.push(entry.sequence);
        }
        new.push(entry);
    }
    let alerts = project(tx, &key, delivery.received_at, &new)?;
    note_health(tx, &key, &new)?;
    let mut changed = alerts.clone();
    for entry in &new {
        let refused = commands::note_outcome(tx, &key, entry)?;
        changed.extend(refused.filter(|alert| !alerts.contains(alert)));
    }
    note_sequences(tx, &key, delivery.received_at, &sequences)?;
    forget_old_health(tx, &key, delivery.received_at)?;
    let gateway = look::gateway(tx, &key)?;
    let (place, id) = (key.place.clone(), key.gateway().to_owned());
    tx.tell(&News { place, gateway: id, alerts: changed, heard: true, command: false })?;
    let accepted = new.len();
    let duplicates = delivery.entries.len() - accepted;
    Ok(Receipt { accepted, duplicates, refused: vec![], reused, altered, alerts, gateway })
}

/// The names of those events that had not come before.
fn insert_events(
    tx: &mut dyn Database,
    key: &Key<'_>,
    delivery: &Delivery,
) -> Result<HashSet<String>, LedgerError> {
    const HEAD: &str =
        "INSERT INTO events (place, gateway, id, kind, sequence, subject, time_ms, received_ms, data)";
    const UNSEEN: &str = "ON CONFLICT (place, gateway, id) DO NOTHING RETURNING id";
    let numbers: Vec<String> = delivery.entries.iter().map(|entry| entry.sequence.to_string()).collect();
    let mut given = HashSet::new();
    let entries: Vec<_> =
        delivery.entries.iter().zip(&numbers).filter(|(entry, _)| given.insert(&entry.id)).collect();
    let at = delivery.received_at;
    match tx.engine() {
        Engine::Sqlite => {
            let rows: Vec<_> =
                entries.iter().map(|(entry, number)| event_row(key, at, entry, number)).collect();
            names(insert(tx, HEAD, UNSEEN, &rows)?)
        }
        Engine::Postgres => {
            let ids: Vec<_> = entries.iter().map(|(entry, _)| id_row(key, entry)).collect();
            let unseen =
                names(insert(tx, "INSERT INTO event_ids (place, gateway, id, time_ms)", UNSEEN, &ids)?)?;
            let new = entries.iter().filter(|(entry, _)| unseen.contains(&entry.id));
            let rows: Vec<_> = new.map(|(entry, number)| event_row(key, at, entry, number)).collect();
            insert(tx, HEAD, "", &rows)?;
            Ok(unseen)
        }
    }
}

fn id_row<'a>(key: &'a Key<'_>, entry: &'a Entry) -> Vec<Arg<'a>> {
    args![&key.place, key.gateway(), &entry.id, entry.time].to_vec()
}

fn event_row<'a>(key: &'a Key<'_>, at: Timestamp, entry: &'a Entry, number: &'a str) -> Vec<Arg<'a>> {
    vec![
        Arg::Text(&key.place),
        Arg::Text(key.gateway()),
        Arg::Text(&entry.id),
        Arg::Text(entry.kind.name()),
        // As text: a number of the wire may be any u64, and that of a database is signed.
        Arg::Text(number),
        Arg::Text(&entry.subject),
        entry.time.into(),
        at.into(),
        Arg::Text(entry.data.get()),
    ]
}

fn names(rows: Vec<super::sql::Row>) -> Result<HashSet<String>, LedgerError> {
    rows.into_iter().map(|mut row| row.text(0)).collect()
}

/// Whether an event of that name came before with other words.
fn says_something_else(tx: &mut dyn Database, key: &Key<'_>, entry: &Entry) -> Result<bool, LedgerError> {
    let known = tx.one(
        "SELECT data FROM events WHERE place = $1 AND gateway = $2 AND id = $3",
        args![&key.place, key.gateway(), &entry.id],
    )?;
    // Old health is forgotten, and its name with it a moment later.
    known.map_or(Ok(false), |mut row| Ok(row.text(0)? != entry.data.get()))
}

/// What is shown of alerts, runs and days: the latest revision of each. Gives the alerts that show something new.
fn project(
    tx: &mut dyn Database,
    key: &Key<'_>,
    at: Timestamp,
    entries: &[&Entry],
) -> Result<Vec<String>, LedgerError> {
    let shown = raise::alerts(tx, key, at, entries)?;
    note_runs(tx, key, entries)?;
    note_days(tx, key, entries)?;
    Ok(shown)
}

/// One row of each, that of the highest revision: one statement must not change a row twice.
pub(super) fn highest<'a, T>(
    entries: &[&'a Entry],
    read: impl Fn(&'a Entry) -> Option<(String, u32, T)>,
) -> BTreeMap<String, (u32, T, &'a Entry)> {
    let mut latest: BTreeMap<String, (u32, T, &Entry)> = BTreeMap::new();
    for entry in entries {
        let Some((id, revision, head)) = read(entry) else { continue };
        if latest.get(&id).is_none_or(|(known, _, _)| *known < revision) {
            latest.insert(id, (revision, head, entry));
        }
    }
    latest
}

/// What of a closed run is searched for.
#[derive(Deserialize)]
struct RunHead {
    tour: String,
    scheduled_at: Timestamp,
    revision: u32,
    guard: Option<String>,
}

fn note_runs(tx: &mut dyn Database, key: &Key<'_>, entries: &[&Entry]) -> Result<(), LedgerError> {
    let latest = highest(entries, |entry| {
        let head: RunHead = read(entry, EventKind::Tour)?;
        let id = format!("{}@{}", head.tour, head.scheduled_at.millis());
        Some((id, head.revision, head))
    });
    let rows: Vec<Vec<Arg<'_>>> = latest
        .iter()
        .map(|(id, (revision, head, entry))| {
            vec![
                Arg::Text(&key.place),
                Arg::Text(key.gateway()),
                Arg::Text(id),
                Arg::Text(key.origin.tenant.as_str()),
                Arg::Text(key.origin.site.as_str()),
                (*revision).into(),
                Arg::Text(&head.tour),
                head.guard.as_ref().into(),
                head.scheduled_at.into(),
                Arg::Text(entry.data.get()),
            ]
        })
        .collect();
    insert(
        tx,
        "INSERT INTO runs (place, gateway, id, tenant, site, revision, tour, guard, scheduled_ms, data)",
        "ON CONFLICT (place, gateway, id) DO UPDATE SET revision = excluded.revision, guard = excluded.guard,
             data = excluded.data WHERE excluded.revision > runs.revision",
        &rows,
    )?;
    Ok(())
}

/// What of a day's report is searched for.
#[derive(Deserialize)]
struct DayHead {
    date: String,
    revision: u32,
}

fn note_days(tx: &mut dyn Database, key: &Key<'_>, entries: &[&Entry]) -> Result<(), LedgerError> {
    let latest = highest(entries, |entry| {
        let head: DayHead = read(entry, EventKind::Report)?;
        Some((head.date, head.revision, ()))
    });
    let rows: Vec<Vec<Arg<'_>>> = latest
        .iter()
        .map(|(date, (revision, (), entry))| {
            vec![
                Arg::Text(&key.place),
                Arg::Text(key.gateway()),
                Arg::Text(date),
                Arg::Text(key.origin.tenant.as_str()),
                Arg::Text(key.origin.site.as_str()),
                (*revision).into(),
                Arg::Text(entry.data.get()),
            ]
        })
        .collect();
    insert(
        tx,
        "INSERT INTO days (place, gateway, date, tenant, site, revision, data)",
        "ON CONFLICT (place, gateway, date) DO UPDATE SET revision = excluded.revision, data = excluded.data
         WHERE excluded.revision > days.revision",
        &rows,
    )?;
    Ok(())
}

/// The head of a record of that kind. One of a newer gateway that reads otherwise is kept as it came, and not shown.
fn read<'a, T: Deserialize<'a>>(entry: &'a Entry, kind: EventKind) -> Option<T> {
    if entry.kind != kind {
        return None;
    }
    let head = serde_json::from_str(entry.data.get());
    head.inspect_err(
        |error| tracing::warn!(%error, id = %entry.id, "a record cannot be shown among the others"),
    )
    .ok()
}

/// Keeps the latest health record with its gateway; what became of a command or a bundle says nothing of its health.
fn note_health(tx: &mut dyn Database, key: &Key<'_>, entries: &[&Entry]) -> Result<(), LedgerError> {
    let of_something_else =
        |entry: &Entry| [REFUSED, WELFARE, BUNDLE].iter().any(|prefix| entry.id.starts_with(prefix));
    let health = entries.iter().filter(|entry| entry.kind == EventKind::Health && !of_something_else(entry));
    let Some(latest) = health.max_by_key(|entry| entry.time) else { return Ok(()) };
    tx.execute(
        "UPDATE gateways SET health = $3, health_ms = $4 WHERE place = $1 AND gateway = $2 AND health_ms <= $4",
        args![&key.place, key.gateway(), latest.data.get(), latest.time],
    )?;
    Ok(())
}

/// Whether its producer had given its number before. A health record takes the place of one that still waits, under its
/// number, so that its number says nothing.
fn is_taken(sequences: &Producers, entry: &Entry) -> bool {
    let producer = entry.producer.as_deref().filter(|_| entry.kind != EventKind::Health);
    producer.is_some_and(|producer| sequences.has(producer, entry.sequence))
}

/// Which numbers have come, and when it was last heard. Of several receivers that hear one gateway at once, one goes first: it
/// holds the gateway's row.
fn sequences(tx: &mut dyn Database, key: &Key<'_>) -> Result<(Producers, Option<Timestamp>), LedgerError> {
    let alone = held(tx.engine());
    let stored = tx.one(
        &format!("SELECT sequences, heard_ms FROM gateways WHERE place = $1 AND gateway = $2{alone}"),
        args![&key.place, key.gateway()],
    )?;
    let Some(mut row) = stored else { return Ok((Producers::default(), None)) };
    Ok((serde_json::from_str(&row.text(0)?)?, row.maybe_instant(1)?))
}

/// What holds a row until the transaction ends. SQLite has one writer at a time anyway.
pub(super) const fn held(engine: Engine) -> &'static str {
    match engine {
        Engine::Sqlite => "",
        Engine::Postgres => " FOR UPDATE",
    }
}

fn note_sequences(
    tx: &mut dyn Database,
    key: &Key<'_>,
    received_at: Timestamp,
    sequences: &Producers,
) -> Result<(), LedgerError> {
    tx.execute(
        "UPDATE gateways SET sequences = $3, heard_ms = $4 WHERE place = $1 AND gateway = $2",
        args![&key.place, key.gateway(), &serde_json::to_string(sequences)?, received_at],
    )?;
    Ok(())
}

fn forget_old_health(tx: &mut dyn Database, key: &Key<'_>, now: Timestamp) -> Result<(), LedgerError> {
    let old = "DELETE FROM events WHERE place = $1 AND gateway = $2 AND kind = $3 AND received_ms < $4";
    let args = args![&key.place, key.gateway(), EventKind::Health.name(), now - HEALTH_KEPT];
    match tx.engine() {
        Engine::Sqlite => tx.execute(old, args)?,
        Engine::Postgres => tx.execute(
            &format!(
                "WITH gone AS ({old} RETURNING id)
                 DELETE FROM event_ids WHERE place = $1 AND gateway = $2 AND id IN (SELECT id FROM gone)"
            ),
            args,
        )?,
    };
    Ok(())
}

/// Makes what is shown anew from the events as they came: after a change of the tables.
pub(super) fn retell(tx: &mut dyn Database) -> Result<(), LedgerError> {
    for (origin, source) in look::origins(tx)? {
        let key = Key::of(&origin);
        let mut after = String::new();
        loop {
            let page = tx.query(
                "SELECT id, kind, subject, time_ms, received_ms, data FROM events
                 WHERE place = $1 AND gateway = $2 AND id > $3 ORDER BY id LIMIT $4",
                args![&key.place, key.gateway(), &after, RETOLD_AT_ONCE],
            )?;
            if page.is_empty() {
                break;
            }
            for mut row in page {
                let id = row.text(0)?;
                after.clone_from(&id);
                let (kind, subject, time, at, data) =
                    (row.text(1)?, row.text(2)?, row.instant(3)?, row.instant(4)?, row.json(5)?);
                let Some(kind) = EventKind::named(&kind) else { continue };
                let alert =
                    if kind == EventKind::Alert { serde_json::from_str(data.get()).ok() } else { None };
                let entry = Entry { producer: None, sequence: 0, id, kind, subject, time, data, alert };
                project(tx, &key, at, &[&entry])?;
            }
        }
        tracing::info!(gateway = %source, "what an earlier version had stored is taken over");
    }
    Ok(())
}
