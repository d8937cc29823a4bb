//! What is told to contacts outside. An alert is looked at when one of its steps comes: what is due becomes a notice in the same
//! transaction, once for each alert and contact. A notice is claimed for one try, by one of the receivers that share the ledger.

use super::keep::held;
use super::sql::{Arg, Database, Engine, News, Row, args, insert};
use super::told::{self, Behind, NoticeRow, NoticeState};
use super::{Ledger, LedgerError};
use crate::access::Scope;
use crate::access::token_sha256;
use crate::escalation::due::{TOO_LATE, Waiting, outlook};
use crate::escalation::message::{self, MAX_ALERTS, Named};
use crate::escalation::outcome::{Outcome, Then};
use crate::escalation::{Contact, due::Step};
use std::collections::{BTreeMap, BTreeSet};
use vigil_core::time::{Span, Timestamp};

/// How many alerts one look takes: a fraction of a second, so that deliveries of gateways come between.
const AT_ONCE: u32 = 500;

/// How many notices may wait to be sent: a hundred contacts with a hundred messages each that cannot be reached. Alerts that come due
/// beyond that are looked at again a minute later, and nothing is forgotten.
const MAX_WAITING: i64 = 10_000;
const AGAIN: Span = Span::from_mins(1);

/// How many notices are looked through for contacts that can be told now.
const CLAIMED_FROM: u32 = 200;

/// How many tries of a notice are kept, the latest: with waits that grow to an hour a day has some sixty.
const MAX_TRIES: u32 = 100;

/// How long notices are kept: as long as alerts are.
pub const KEPT: Span = Span::from_hours(400 * 24);

/// How many names a statement leaves out: the last is named again until there are so many, so that there are a few texts for a
/// database to prepare and not a thousand.
const LEFT_OUT: [usize; 4] = [1, 10, 100, 1_000];

/// What one look came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Looked {
    /// How many notices were made.
    pub made: usize,
    /// There may be more to look at.
    pub more: bool,
    /// So many wait that no more are made now.
    pub full: bool,
}

/// An alert that is due to be looked at.
#[derive(Clone)]
struct Found {
    gateway: String,
    place: String,
    is_over: bool,
    first_at: Option<Timestamp>,
    named: Named,
}

impl Found {
    fn waiting(&self) -> Option<Waiting<'_>> {
        let Named { tenant, site, severity, rule, .. } = &self.named;
        let first_at = self.first_at.filter(|_| !self.is_over)?;
        Some(Waiting { tenant, site, severity, rule, first_at })
    }
}

/// What keeps an alert from being told: somebody took it on, it is over, or another one tells of it.
const NOT_ANY_MORE: &str =
    "a.status <> 'DETECTED' OR a.cleared_ms IS NOT NULL OR a.closed_ms IS NOT NULL OR a.folded IS NOT NULL
     OR EXISTS (SELECT 1 FROM steps s WHERE s.place = a.place AND s.gateway = a.gateway AND s.alert = a.id)";

/// Another receiver's rows are passed over, not waited for.
const fn not_held(engine: Engine, table: &'static str) -> &'static str {
    match (engine, table.as_bytes()) {
        (Engine::Sqlite, _) => "",
        (Engine::Postgres, b"a") => " FOR UPDATE OF a SKIP LOCKED",
        (Engine::Postgres, _) => " FOR UPDATE SKIP LOCKED",
    }
}

/// The statement that finds what is to be looked at.
fn to_look_at(engine: Engine) -> String {
    let alone = not_held(engine, "a");
    format!(
        "SELECT a.place, a.gateway, a.id, a.tenant, a.site, a.rule, a.severity, a.subject, a.summary, a.detected_ms, a.first_ms,
             a.incident, ({NOT_ANY_MORE})
         FROM alerts a WHERE a.look_ms <= $1 ORDER BY a.look_ms, a.place, a.gateway, a.id LIMIT $2{alone}"
    )
}

fn found(mut row: Row) -> Result<Found, LedgerError> {
    let (place, gateway, id) = (row.text(0)?, row.text(1)?, row.text(2)?);
    let (tenant, site) = (row.text(3)?, row.text(4)?);
    let first_at = row.maybe_instant(10)?;
    let detected_at = row.instant(9)?;
    let link = Named::path(&tenant, &site, &gateway, &id);
    let named = Named {
        tenant,
        site,
        gateway: gateway.clone(),
        id,
        rule: row.text(5)?,
        severity: row.text(6)?,
        subject: row.text(7)?,
        summary: row.text(8)?,
        detected_at,
        received_at: first_at.unwrap_or(detected_at),
        incident: row.maybe_text(11)?,
        link,
    };
    Ok(Found { gateway, place, is_over: row.flag(12)?, first_at, named })
}

/// Looks at the alerts whose time has come, and makes notices of what is due.
pub(super) fn look(
    tx: &mut dyn Database,
    (steps, contacts): (&[Step], &[Contact]),
    now: Timestamp,
) -> Result<Looked, LedgerError> {
    let rows = tx.query(&to_look_at(tx.engine()), args![now, AT_ONCE])?;
    let more = u32::try_from(rows.len()).is_ok_and(|many| many >= AT_ONCE);
    let (mut due, mut full) = (BTreeMap::<(String, String, String), Vec<Found>>::new(), None);
    for row in rows {
        let alert = found(row)?;
        let mut next = None;
        let mut untold = BTreeSet::new();
        if let Some(waiting) = alert.waiting() {
            let outlook = outlook(steps, contacts, &waiting, now);
            next = outlook.next;
            untold = outlook.due.into_iter().map(str::to_owned).collect();
        }
        if !untold.is_empty() {
            for told in told_of(tx, &alert)? {
                untold.remove(&told);
            }
        }
        if !untold.is_empty() {
            let is_full = match full {
                Some(is_full) => is_full,
                None => waiting(tx)? >= MAX_WAITING,
            };
            full = Some(is_full);
            if is_full {
                next = Some(next.map_or(now + AGAIN, |next| next.min(now + AGAIN)));
                untold.clear();
            }
        }
        tx.execute(
            "UPDATE alerts SET look_ms = $4 WHERE place = $1 AND gateway = $2 AND id = $3",
            args![&alert.place, &alert.gateway, &alert.named.id, next],
        )?;
        let incident = alert.named.incident.clone().unwrap_or_else(|| alert.named.id.clone());
        for contact in untold {
            due.entry((alert.place.clone(), incident.clone(), contact)).or_default().push(alert.clone());
        }
    }
    let mut made = 0;
    for ((place, _, contact), alerts) in due {
        for some in alerts.chunks(MAX_ALERTS) {
            make(tx, &place, &contact, some, now)?;
            made += 1;
        }
    }
    Ok(Looked { made, more, full: full == Some(true) })
}

fn told_of(tx: &mut dyn Database, alert: &Found) -> Result<Vec<String>, LedgerError> {
    let rows = tx.query(
        "SELECT contact FROM told WHERE place = $1 AND gateway = $2 AND alert = $3",
        args![&alert.place, &alert.gateway, &alert.named.id],
    )?;
    rows.into_iter().map(|mut row| row.text(0)).collect()
}

fn waiting(tx: &mut dyn Database) -> Result<i64, LedgerError> {
    let count = tx.one("SELECT count(*) FROM notices WHERE next_ms IS NOT NULL", &[])?;
    count.map_or(Ok(0), |mut row| row.int(0))
}

/// One notice to one contact. Its name follows from what it tells: a receiver that is killed here makes the same again.
fn make(
    tx: &mut dyn Database,
    place: &str,
    contact: &str,
    alerts: &[Found],
    now: Timestamp,
) -> Result<(), LedgerError> {
    let Some(first) = alerts.first() else { return Ok(()) };
    let digest = token_sha256(&format!("{place}\n{}\n{}\n{contact}", first.gateway, first.named.id));
    let id = format!("esc_{}", digest.get(..32).unwrap_or(&digest));
    let named = alerts.iter().map(|alert| alert.named.clone()).collect();
    tx.execute(
        "INSERT INTO notices (place, id, tenant, contact, made_ms, body, state, next_ms, tries)
         VALUES ($1, $2, $3, $4, $5, $6, 'waiting', $5, 0)",
        args![place, &id, &first.named.tenant, contact, now, &message::of(named, now).written()],
    )?;
    let rows: Vec<Vec<Arg<'_>>> = alerts
        .iter()
        .map(|alert| args![place, &alert.gateway, &alert.named.id, contact, &id].to_vec())
        .collect();
    insert(tx, "INSERT INTO told (place, gateway, alert, contact, notice)", "", &rows)?;
    tell(tx, place, &id)
}

/// Tells every page that shows an alert of that notice.
fn tell(tx: &mut dyn Database, place: &str, id: &str) -> Result<(), LedgerError> {
    let rows =
        tx.query("SELECT gateway, alert FROM told WHERE place = $1 AND notice = $2", args![place, id])?;
    let mut named: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for mut row in rows {
        named.entry(row.text(0)?).or_default().push(row.text(1)?);
    }
    for (gateway, alerts) in named {
        tx.tell(&News { place: place.to_owned(), gateway, alerts, ..News::default() })?;
    }
    Ok(())
}

/// A receiver starts, perhaps with other steps than before: whatever is open and not of the day before yesterday is looked at anew.
pub(super) fn look_anew(tx: &mut dyn Database, now: Timestamp) -> Result<(), LedgerError> {
    // The longest step is a day, and so long after that something is told.
    let since = now - TOO_LATE - TOO_LATE;
    tx.execute(&to_look_at_anew(tx.engine()), args![now, since])?;
    Ok(())
}

/// Whoever writes an alert at this moment has it looked at anyway, and is not waited for: two would wait for each other.
fn to_look_at_anew(engine: Engine) -> String {
    let alone = not_held(engine, "a");
    format!(
        "UPDATE alerts SET look_ms = $1 WHERE (place, gateway, id) IN (
             SELECT a.place, a.gateway, a.id FROM alerts a WHERE a.urgent IN (0, 1) AND a.cleared_ms IS NULL AND a.closed_ms IS NULL
                 AND a.status = 'DETECTED' AND a.first_ms >= $2{alone})"
    )
}

/// One that is to be tried now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claimed {
    /// The place of its site.
    pub place: String,
    /// Its name, the same over all tries.
    pub id: String,
    /// Whose alerts it tells.
    pub tenant: String,
    /// Who is told.
    pub contact: String,
    /// When it was made.
    pub made_at: Timestamp,
    /// What they are told.
    pub body: String,
    /// The how manieth try it is, from 1.
    pub number: u32,
}

/// Claims what is due, for as many contacts as `room` lets in and one of each; nobody of `busy`. What nobody needs to be told any more
/// is stopped. A claim that is not settled by `until` is anybody's.
pub(super) fn claim(
    tx: &mut dyn Database,
    (now, until): (Timestamp, Timestamp),
    busy: &[String],
    mut room: impl FnMut(&str) -> bool,
) -> Result<Vec<Claimed>, LedgerError> {
    let mut args = args![now, CLAIMED_FROM].to_vec();
    let others = but_for(busy, &mut args);
    let alone = not_held(tx.engine(), "notices");
    let rows = tx.query(
        &format!(
            "SELECT place, id, contact, tenant, made_ms FROM notices WHERE next_ms <= $1{others}
             ORDER BY next_ms, place, id LIMIT $2{alone}"
        ),
        &args,
    )?;
    let (mut claimed, mut taken) = (vec![], BTreeSet::new());
    for mut row in rows {
        let (place, id, contact) = (row.text(0)?, row.text(1)?, row.text(2)?);
        if taken.contains(&contact) {
            continue;
        }
        if !is_wanted(tx, &place, &id)? {
            end(
                tx,
                (&place, &id),
                "stopped",
                now,
                Some("somebody took it on, it is over, or another alert tells of it"),
            )?;
            continue;
        }
        if !room(&contact) {
            continue;
        }
        let started = tx.one(
            "UPDATE notices SET next_ms = $3, tries = tries + 1 WHERE place = $1 AND id = $2 RETURNING tries, body",
            args![&place, &id, until],
        )?;
        let Some(mut started) = started else { continue };
        let number = u32::try_from(started.int(0)?).unwrap_or(u32::MAX);
        let (tenant, made_at, body) = (row.text(3)?, row.instant(4)?, started.text(1)?);
        taken.insert(contact.clone());
        claimed.push(Claimed { place, id, tenant, contact, made_at, body, number });
    }
    Ok(claimed)
}

/// Whether one of its alerts waits for somebody still.
fn is_wanted(tx: &mut dyn Database, place: &str, id: &str) -> Result<bool, LedgerError> {
    let sql = format!(
        "SELECT t.alert FROM told t JOIN alerts a ON a.place = t.place AND a.gateway = t.gateway AND a.id = t.alert
         WHERE t.place = $1 AND t.notice = $2 AND NOT ({NOT_ANY_MORE}) LIMIT 1"
    );
    Ok(tx.one(&sql, args![place, id])?.is_some())
}

fn end(
    tx: &mut dyn Database,
    (place, id): (&str, &str),
    state: &str,
    now: Timestamp,
    why: Option<&str>,
) -> Result<(), LedgerError> {
    tx.execute(
        "UPDATE notices SET state = $3, next_ms = NULL, ended_ms = $4, why = $5 WHERE place = $1 AND id = $2",
        args![place, id, state, now, why],
    )?;
    tell(tx, place, id)
}

/// ` AND contact NOT IN (…)`, or nothing.
fn but_for<'a>(names: &'a [String], args: &mut Vec<Arg<'a>>) -> String {
    let Some(last) = names.last() else { return String::new() };
    let count = LEFT_OUT.into_iter().find(|count| *count >= names.len()).unwrap_or(names.len());
    let from = args.len() + 1;
    args.extend(names.iter().chain(std::iter::repeat(last)).take(count).map(Arg::from));
    let places: Vec<String> = (from..from + count).map(|number| format!("${number}")).collect();
    format!(" AND contact NOT IN ({})", places.join(", "))
}

/// When there is something to do next: an alert to look at, or a notice to somebody who is not of `busy`.
pub(super) fn next(database: &mut dyn Database, busy: &[String]) -> Result<Option<Timestamp>, LedgerError> {
    let look = "SELECT look_ms FROM alerts WHERE look_ms IS NOT NULL ORDER BY look_ms LIMIT 1";
    let mut args = vec![];
    let others = but_for(busy, &mut args);
    let send =
        format!("SELECT next_ms FROM notices WHERE next_ms IS NOT NULL{others} ORDER BY next_ms LIMIT 1");
    let mut instant =
        |sql: &str, args: &[Arg<'_>]| database.one(sql, args)?.map(|mut row| row.instant(0)).transpose();
    let (look, send) = (instant(look, &[])?, instant(&send, &args)?);
    Ok(look.into_iter().chain(send).min())
}

/// Keeps what came of a try. A failure of somebody whose claim another has taken over changes nothing; a success does.
pub(super) fn settle(
    tx: &mut dyn Database,
    claimed: &Claimed,
    (outcome, then): (&Outcome, Then),
    now: Timestamp,
) -> Result<(), LedgerError> {
    let (place, id) = (&claimed.place, &claimed.id);
    tx.execute(
        "INSERT INTO notice_tries (place, notice, number, at_ms, result, status, said) VALUES ($1, $2, $3, $4, $5, $6, $7)
         ON CONFLICT (place, notice, number) DO NOTHING",
        args![
            place,
            id,
            claimed.number,
            now,
            outcome.name(),
            outcome.status().map(i64::from),
            outcome.said()
        ],
    )?;
    tx.execute(
        "DELETE FROM notice_tries WHERE place = $1 AND notice = $2 AND number <= $3",
        args![place, id, claimed.number.saturating_sub(MAX_TRIES)],
    )?;
    let alone = held(tx.engine());
    let ours = tx.one(
        &format!("SELECT tries FROM notices WHERE place = $1 AND id = $2 AND next_ms IS NOT NULL{alone}"),
        args![place, id],
    )?;
    let Some(mut ours) = ours else { return Ok(()) };
    let is_ours = ours.int(0)? == i64::from(claimed.number);
    match then {
        Then::Told => end(tx, (place, id), "told", now, None),
        Then::Refused if is_ours => end(tx, (place, id), "refused", now, outcome.said()),
        Then::GivenUp if is_ours => end(tx, (place, id), "given_up", now, outcome.said()),
        Then::Again(at) if is_ours => {
            tx.execute(
                "UPDATE notices SET next_ms = $3, why = $4 WHERE place = $1 AND id = $2",
                args![place, id, at, outcome.said()],
            )?;
            tell(tx, place, id)
        }
        Then::Refused | Then::GivenUp | Then::Again(_) => Ok(()),
    }
}

/// Removes what is past its time; and what nobody looks at, because no receiver has any step.
pub(super) fn forget(tx: &mut dyn Database, now: Timestamp) -> Result<(), LedgerError> {
    let past = now - KEPT;
    for (table, of) in [("told", "notice"), ("notice_tries", "notice")] {
        let gone = format!(
            "DELETE FROM {table} WHERE (place, {of}) IN (SELECT place, id FROM notices WHERE made_ms < $1)"
        );
        tx.execute(&gone, args![past])?;
    }
    tx.execute("DELETE FROM notices WHERE made_ms < $1", args![past])?;
    tx.execute("UPDATE alerts SET look_ms = NULL WHERE look_ms < $1", args![now - TOO_LATE - TOO_LATE])?;
    Ok(())
}

impl Ledger {
    /// A receiver starts: whatever is open is looked at with its steps.
    pub fn look_anew(&mut self, now: Timestamp) -> Result<(), LedgerError> {
        self.within(|tx| look_anew(tx, now))
    }

    /// Looks at the alerts whose time has come, and makes notices of what is due, durable on return.
    pub fn look_for_due(
        &mut self,
        steps: &[Step],
        contacts: &[Contact],
        now: Timestamp,
    ) -> Result<Looked, LedgerError> {
        self.within(|tx| look(tx, (steps, contacts), now))
    }

    /// Claims what is to be sent now, for as many contacts as `room` lets in and nobody of `busy`, until that instant.
    pub fn claim_notices(
        &mut self,
        (now, until): (Timestamp, Timestamp),
        busy: &[String],
        room: impl FnMut(&str) -> bool,
    ) -> Result<Vec<Claimed>, LedgerError> {
        self.within(|tx| claim(tx, (now, until), busy, room))
    }

    /// Keeps what came of a try, durable on return.
    pub fn settle_notice(
        &mut self,
        claimed: &Claimed,
        outcome: &Outcome,
        then: Then,
        now: Timestamp,
    ) -> Result<(), LedgerError> {
        self.within(|tx| settle(tx, claimed, (outcome, then), now))
    }

    /// When there is an alert to look at, or something to send to somebody who is not of `busy`.
    pub fn next_notice(&mut self, busy: &[String]) -> Result<Option<Timestamp>, LedgerError> {
        next(self.database(), busy)
    }

    /// The newest notices that `scope` may see, behind `behind`; and where the next page goes on.
    pub fn notices(
        &mut self,
        scope: &Scope,
        state: Option<NoticeState>,
        behind: Option<&Behind>,
        limit: u32,
    ) -> Result<(Vec<NoticeRow>, Option<Behind>), LedgerError> {
        told::list(self.database(), scope, state, behind, limit)
    }

    /// Who was told of an alert, which whoever asks may see.
    pub fn told(&mut self, place: &str, gateway: &str, alert: &str) -> Result<Vec<NoticeRow>, LedgerError> {
        told::of(self.database(), &(place.to_owned(), gateway.to_owned(), alert.to_owned()))
    }
}

#[cfg(test)]
mod tests;
