//! Which alerts are told as one. Those of one guard that were detected within half an hour of each other are an incident, however
//! late each of them comes; and what another alert explains is folded under that one.

use super::keep::Key;
use super::sql::{Arg, Database, Engine, MANY, among, args, insert, roomy};
use super::{AlertHead, LedgerError, loss};
use crate::incoming::MAX_NAME_BYTES;
use serde::Deserialize;
use std::collections::{BTreeMap, BTreeSet};
use vigil_core::time::{Span, Timestamp};

/// So near to another one of its incident an alert belongs to it: a guard who sleeps misses the tour and the task of that time too.
const NEAR: Span = Span::from_mins(30);

/// A device may be missed by its gateway so long before the gateway itself was, and so long after it is back: until each has
/// been heard again.
pub(super) const AROUND: Span = Span::from_mins(5);

/// Of receivers that hear of one guard at once from two gateways, one goes first: each would not see the other's alert. Nothing of an
/// alert is written before, or two of them could wait for each other.
pub(super) fn hold<'a>(
    tx: &mut dyn Database,
    key: &Key<'_>,
    guards: impl Iterator<Item = &'a str>,
) -> Result<(), LedgerError> {
    if tx.engine() == Engine::Sqlite {
        return Ok(());
    }
    // In one order, so that two of them never wait for each other.
    let names: BTreeSet<String> = guards.map(|guard| format!("incident {}/{guard}", key.place)).collect();
    let rows: Vec<Vec<Arg<'_>>> = names.iter().map(|name| args![name].to_vec()).collect();
    insert(
        tx,
        "SELECT pg_advisory_xact_lock(hashtextextended(name, 0))::text FROM (",
        ") AS guards (name)",
        &rows,
    )?;
    Ok(())
}

/// What of a storm folds others.
#[derive(Deserialize)]
struct Storm {
    evidence: Members,
}

#[derive(Deserialize)]
struct Members {
    #[serde(default)]
    members: Vec<Member>,
}

#[derive(Deserialize)]
struct Member {
    alert: String,
}

/// The place of an alert among the others.
pub(super) struct Placed {
    pub incident: String,
    pub folded: Option<String>,
}

/// An alert that was not there before.
#[derive(Clone, Copy)]
pub(super) struct Newcomer<'a> {
    pub head: &'a AlertHead,
    /// By when it is listed as detected.
    pub detected_at: Timestamp,
}

/// Finds the places of alerts that are about to be kept, by their names. The guards are held; what is known of the same delivery is
/// kept, and its storms are gathered.
pub(super) fn place<'a>(
    tx: &mut dyn Database,
    key: &Key<'_>,
    new: &[Newcomer<'a>],
) -> Result<BTreeMap<&'a str, Placed>, LedgerError> {
    let incidents = join(tx, key, new)?;
    let storms = explained_by_storms(tx, key, new)?;
    let mut placed = BTreeMap::new();
    for new in new {
        let id = &new.head.id;
        let folded = match storms.get(id) {
            Some(storm) => Some(storm.clone()),
            None => explained_by_loss(tx, key, *new)?,
        };
        let incident = incidents.get(id.as_str()).unwrap_or(id).clone();
        placed.insert(id.as_str(), Placed { incident, folded });
    }
    Ok(placed)
}

/// The incidents of new alerts: that of its neighbours; if one joins several they become one; its own, if it has none.
fn join<'a>(
    tx: &mut dyn Database,
    key: &Key<'_>,
    new: &[Newcomer<'a>],
) -> Result<BTreeMap<&'a str, String>, LedgerError> {
    let there = neighbours(tx, key, new)?;
    let mut joined: Vec<(&Newcomer<'a>, &str, String)> = vec![];
    let mut renamed = Renamed::default();
    for newcomer in new {
        let Newcomer { head, detected_at } = newcomer;
        let Some(guard) = head.guard.as_deref() else { continue };
        let around = *detected_at - NEAR..=*detected_at + NEAR;
        let of_before = joined
            .iter()
            .filter(|(other, of, _)| *of == guard && around.contains(&other.detected_at))
            .map(|(_, _, incident)| incident);
        let mut near: BTreeSet<String> = there
            .get(&(guard, *detected_at))
            .into_iter()
            .flatten()
            .chain(of_before)
            .map(|incident| renamed.now(incident).to_owned())
            .collect();
        let incident = near.pop_first().unwrap_or_else(|| head.id.clone());
        for other in near {
            tx.execute(
                "UPDATE alerts SET incident = $3 WHERE place = $1 AND incident = $2",
                args![&key.place, &other, &incident],
            )?;
            renamed.0.insert(other, incident.clone());
        }
        joined.push((newcomer, guard, incident));
    }
    let now = |incident: &str| renamed.now(incident).to_owned();
    Ok(joined.iter().map(|(newcomer, _, incident)| (newcomer.head.id.as_str(), now(incident))).collect())
}

/// Which incidents became others. The smallest name stays, so no way leads back.
#[derive(Default)]
struct Renamed(BTreeMap<String, String>);

impl Renamed {
    fn now<'a>(&'a self, mut incident: &'a str) -> &'a str {
        while let Some(later) = self.0.get(incident) {
            incident = later;
        }
        incident
    }
}

/// Whose alert, and by when it is listed.
type When<'a> = (&'a str, Timestamp);

/// The incidents that are there around each of these.
fn neighbours<'a>(
    tx: &mut dyn Database,
    key: &Key<'_>,
    new: &[Newcomer<'a>],
) -> Result<BTreeMap<When<'a>, BTreeSet<String>>, LedgerError> {
    let whens: BTreeSet<When<'a>> =
        new.iter().filter_map(|new| Some((new.head.guard.as_deref()?, new.detected_at))).collect();
    let whens: Vec<When<'a>> = whens.into_iter().collect();
    let mut there = BTreeMap::<_, BTreeSet<String>>::new();
    for some in whens.chunks(MANY) {
        let arms = roomy(some.len());
        let mut args = args![&key.place].to_vec();
        for (guard, at) in some {
            args.extend(args![*guard, *at - NEAR, *at + NEAR]);
        }
        // An arm that nobody needs finds nothing.
        for _ in some.len()..arms {
            args.extend(args!["", 1_i64, 0_i64]);
        }
        for mut row in tx.query(&of_neighbours(arms), &args)? {
            let (arm, incident) = (row.int(0)?, row.text(1)?);
            let when = usize::try_from(arm).ok().and_then(|arm| some.get(arm));
            there.entry(*when.ok_or(LedgerError::Column(0))?).or_default().insert(incident);
        }
    }
    Ok(there)
}

/// Asks so many times in one statement for the incidents around an alert. Each arm gives an incident once, however many alerts it has,
/// and none may take the way along all incidents or all alerts of the site, or every alert would cost more than the one before: so it asks
/// for a text that no index has.
fn of_neighbours(arms: usize) -> String {
    let near: Vec<String> = (0..arms)
        .map(|arm| {
            let (guard, from, to) = (3 * arm + 2, 3 * arm + 3, 3 * arm + 4);
            format!(
                "SELECT DISTINCT CAST({arm} AS BIGINT), incident || '' FROM alerts WHERE place = $1 AND guard = ${guard}
                     AND urgent IN (0, 1) AND detected_ms BETWEEN ${from} AND ${to} AND incident IS NOT NULL"
            )
        })
        .collect();
    near.join(" UNION ALL ")
}

/// Folds the members of a storm that are there, and remembers those that will come. A storm grows with its revisions.
pub(super) fn gather(
    tx: &mut dyn Database,
    key: &Key<'_>,
    head: &AlertHead,
    data: &str,
) -> Result<(), LedgerError> {
    // One of a newer gateway that reads otherwise folds nothing.
    let Ok(storm) = serde_json::from_str::<Storm>(data) else { return Ok(()) };
    let rows: Vec<Vec<Arg<'_>>> = storm
        .evidence
        .members
        .iter()
        // A longer name is no alert's: the door takes none. And that a gateway is lost is explained by nothing that it says.
        .filter(|member| member.alert.len() <= MAX_NAME_BYTES && !member.alert.contains('\0'))
        .filter(|member| !loss::is_name(&member.alert))
        .map(|member| args![&key.place, key.gateway(), &member.alert, &head.id].to_vec())
        .collect();
    let known = insert(
        tx,
        "INSERT INTO members (place, gateway, alert, storm)",
        "ON CONFLICT (place, gateway, alert) DO NOTHING RETURNING alert",
        &rows,
    )?;
    for mut row in known {
        tx.execute(
            "UPDATE alerts SET folded = $4 WHERE place = $1 AND gateway = $2 AND id = $3",
            args![&key.place, key.gateway(), &row.text(0)?, &head.id],
        )?;
    }
    Ok(())
}

/// The storms that explain these, by their names. That a gateway is lost is explained by nothing that it says.
fn explained_by_storms(
    tx: &mut dyn Database,
    key: &Key<'_>,
    new: &[Newcomer<'_>],
) -> Result<BTreeMap<String, String>, LedgerError> {
    let said = new.iter().map(|new| new.head).filter(|head| head.rule != loss::RULE);
    let names: Vec<&str> = said.map(|head| head.id.as_str()).collect();
    let members = "SELECT alert, storm FROM members WHERE place = $1 AND gateway = $2 AND alert IN";
    let rows = among(tx, members, "", args![&key.place, key.gateway()], &names)?;
    rows.into_iter().map(|mut row| Ok((row.text(0)?, row.text(1)?))).collect()
}

fn explained_by_loss(
    tx: &mut dyn Database,
    key: &Key<'_>,
    Newcomer { head, detected_at }: Newcomer<'_>,
) -> Result<Option<String>, LedgerError> {
    if head.rule != "device_silent" {
        return Ok(None);
    }
    let lost = tx.one(
        "SELECT heard_ms FROM losses WHERE place = $1 AND gateway = $2 AND heard_ms <= $3 AND (back_ms IS NULL OR back_ms >= $4)
         ORDER BY heard_ms DESC LIMIT 1",
        args![&key.place, key.gateway(), detected_at + AROUND, detected_at - AROUND],
    )?;
    lost.map(|mut row| Ok(loss_id(row.instant(0)?))).transpose()
}

/// The name of the alert that a gateway is lost which was last heard then.
pub(super) fn loss_id(heard_at: Timestamp) -> String {
    format!("gateway_lost.{}", heard_at.millis())
}

#[cfg(test)]
mod tests {
    use super::of_neighbours;
    use crate::access::Scope;
    use crate::ledger::houses::{House, plan};
    use crate::ledger::{AlertHead, Delivery, Entry, Ledger, args};
    use proptest::prelude::*;
    use serde_json::json;
    use serde_json::value::to_raw_value;
    use std::collections::{BTreeMap, BTreeSet};
    use vigil_cloud_sync::{EventKind, Origin};
    use vigil_core::id::{GatewayId, SiteId, TenantId};
    use vigil_core::time::{Span, Timestamp};

    const NOW: Timestamp = Timestamp::from_millis(1_773_160_000_000);

    fn origin(gateway: &str) -> Origin {
        Origin {
            tenant: TenantId::new("acme").unwrap(),
            site: SiteId::new("plant-7").unwrap(),
            gateway: GatewayId::new(gateway).unwrap(),
        }
    }

    fn at(mins: i64) -> Timestamp {
        NOW + Span::from_mins(mins)
    }

    fn alert(id: &str, rule: &str, guard: Option<&str>, mins: i64, members: &[&str]) -> Entry {
        let members: Vec<_> = members.iter().map(|alert| json!({"alert": alert})).collect();
        let data = to_raw_value(&json!({
            "id": id, "revision": 1 + members.len(), "rule": rule, "severity": "HIGH", "status": "DETECTED", "guard": guard,
            "detected_at": at(mins), "summary": id, "evidence": {"members": members}, "history": [],
        }))
        .unwrap();
        let head: AlertHead = serde_json::from_str(data.get()).unwrap();
        Entry {
            producer: None,
            sequence: 1,
            id: format!("{id}.{}", head.revision),
            kind: EventKind::Alert,
            subject: String::new(),
            time: NOW,
            data,
            alert: Some(head),
        }
    }

    fn deliver(ledger: &mut Ledger, gateway: &str, now: Timestamp, entries: Vec<Entry>) {
        ledger.record(&Delivery { origin: origin(gateway), received_at: now, entries }).unwrap();
    }

    /// Which alerts are one incident, and what is folded under what.
    fn told(ledger: &mut Ledger) -> (BTreeSet<Vec<String>>, BTreeMap<String, String>) {
        let (mut incidents, mut folded) = (BTreeMap::<String, Vec<String>>::new(), BTreeMap::new());
        for row in ledger.alerts(&Scope::whole(), 100).unwrap() {
            let head: AlertHead = serde_json::from_str(row.alert.get()).unwrap();
            incidents.entry(row.incident.unwrap()).or_default().push(head.id.clone());
            if let Some(under) = row.folded {
                folded.insert(head.id, under);
            }
        }
        let sorted = |mut ids: Vec<String>| {
            ids.sort();
            ids
        };
        (incidents.into_values().map(sorted).collect(), folded)
    }

    #[test]
    fn alerts_of_a_guard_that_are_near_each_other_are_one_incident_in_whatever_order_they_come() {
        let all = [
            ("a", "G-1", 0),
            ("b", "G-1", 30),
            ("c", "G-1", 60),
            ("d", "G-1", 91),
            ("e", "G-2", 30),
            ("f", "G-1", 200),
        ];
        let expected: BTreeSet<Vec<String>> = [vec!["a", "b", "c"], vec!["d"], vec!["e"], vec!["f"]]
            .into_iter()
            .map(|ids| ids.into_iter().map(str::to_owned).collect())
            .collect();
        for house in House::both() {
            for (round, order) in
                [[0, 1, 2, 3, 4, 5], [5, 4, 3, 2, 1, 0], [0, 2, 4, 3, 5, 1]].into_iter().enumerate()
            {
                let mut ledger = house.open();
                ledger.database().batch("DELETE FROM alerts").unwrap();
                for (number, n) in order.into_iter().enumerate() {
                    let (id, guard, mins) = all[n];
                    let name = format!("{id}{round}");
                    let entry = alert(&name, "sos", Some(guard), mins, &[]);
                    // Two gateways of one site may each see a part.
                    deliver(
                        &mut ledger,
                        if number % 2 == 0 { "gw-1" } else { "gw-2" },
                        at(24 * 60),
                        vec![entry],
                    );
                }
                let (incidents, _) = told(&mut ledger);
                let named: BTreeSet<Vec<String>> = incidents
                    .into_iter()
                    .map(|ids| ids.iter().map(|id| id[..1].to_owned()).collect())
                    .collect();
                assert_eq!(named, expected, "{order:?}");
            }
        }
    }

    #[test]
    fn alerts_of_a_clock_that_is_years_ahead_are_where_they_are_listed() {
        for house in House::both() {
            let mut ledger = house.open();
            let ahead = 60 * 24 * 365 * 50;
            deliver(&mut ledger, "gw-1", NOW, vec![alert("c", "sos", Some("G-1"), 0, &[])]);
            deliver(&mut ledger, "gw-1", NOW, vec![alert("a", "sos", Some("G-1"), ahead, &[])]);
            deliver(&mut ledger, "gw-1", NOW, vec![alert("b", "sos", Some("G-1"), ahead + 90, &[])]);
            let (incidents, _) = told(&mut ledger);
            assert_eq!(incidents, BTreeSet::from([["a", "b", "c"].map(str::to_owned).to_vec()]));
        }
    }

    #[test]
    fn a_storm_folds_its_members_before_and_after_they_come() {
        for house in House::both() {
            let mut ledger = house.open();
            deliver(&mut ledger, "gw-1", NOW, vec![alert("m1", "device_silent", None, 0, &[])]);
            deliver(&mut ledger, "gw-1", NOW, vec![alert("s", "storm", None, 1, &["m1", "m2"])]);
            deliver(&mut ledger, "gw-1", NOW, vec![alert("m2", "device_silent", None, 1, &[])]);
            deliver(&mut ledger, "gw-1", NOW, vec![alert("s", "storm", None, 1, &["m1", "m2", "m3"])]);
            deliver(
                &mut ledger,
                "gw-1",
                NOW,
                vec![alert("m3", "device_silent", None, 2, &[]), alert("x", "device_silent", None, 2, &[])],
            );
            let (_, folded) = told(&mut ledger);
            let expected = ["m1", "m2", "m3"].map(|id| (id.to_owned(), "s".to_owned()));
            assert_eq!(folded, BTreeMap::from(expected));
        }
    }

    #[test]
    fn no_storm_of_a_gateway_hides_that_it_is_lost_and_none_shows_the_alerts_of_another() {
        for house in House::both() {
            let mut ledger = house.open();
            let id = super::loss_id(at(1));
            deliver(&mut ledger, "gw-1", NOW, vec![alert("s", "storm", None, 0, &[&id, "m"])]);
            // As an earlier version had kept it.
            let member =
                "INSERT INTO members (place, gateway, alert, storm) VALUES ('acme/plant-7', 'gw-1', $1, 's')
                 ON CONFLICT (place, gateway, alert) DO NOTHING";
            assert_eq!(ledger.database().execute(member, args![&id]).unwrap(), 1, "it was not kept");
            deliver(&mut ledger, "gw-1", at(1), vec![alert("m", "sos", None, 0, &[])]);
            deliver(&mut ledger, "gw-2", at(1), vec![alert("s", "sos", None, 0, &[])]);
            ledger.look_for_lost(at(60)).unwrap();
            deliver(&mut ledger, "gw-1", at(61), vec![alert("s", "storm", None, 0, &[&id, "m", "n"])]);
            let (_, folded) = told(&mut ledger);
            assert_eq!(folded, BTreeMap::from([("m".to_owned(), "s".to_owned())]));
            let mut under = |gateway| ledger.folded_under("acme/plant-7", gateway, "s", 10).unwrap().len();
            assert_eq!((under("gw-1"), under("gw-2")), (1, 0));
        }
    }

    #[test]
    fn a_lost_gateway_is_told_once_explains_its_devices_and_is_over_when_it_is_heard() {
        for house in House::both() {
            let (mut one, mut other) = (house.open(), house.open());
            let silent = |id: &str, mins| alert(id, "device_silent", None, mins, &[]);
            deliver(&mut one, "gw-1", NOW, vec![silent("before", -6), silent("just-before", -5)]);
            one.look_for_lost(NOW + Span::from_secs(90)).unwrap();
            assert_eq!(one.alerts(&Scope::whole(), 10).unwrap().len(), 2, "it is not lost yet");
            let lost_at = NOW + Span::from_secs(91);
            one.look_for_lost(lost_at).unwrap();
            other.look_for_lost(lost_at).unwrap();
            other.look_for_lost(at(5)).unwrap();
            let id = super::loss_id(NOW);
            let raised = one.alert(&Scope::whole(), "acme/plant-7", "gw-1", &id).unwrap().unwrap();
            let head: AlertHead = serde_json::from_str(raised.alert.get()).unwrap();
            assert_eq!((head.revision, head.detected_at), (1, NOW + Span::from_secs(90)), "told once");
            assert_eq!(
                (&*head.rule, &*head.subject, &*head.severity),
                ("gateway_lost", "gateway:gw-1", "HIGH")
            );

            deliver(&mut one, "gw-1", at(10), vec![silent("meanwhile", 3), silent("just-after", 14)]);
            deliver(&mut one, "gw-1", at(30), vec![silent("after", 16)]);
            let over = one.alert(&Scope::whole(), "acme/plant-7", "gw-1", &id).unwrap().unwrap();
            let head: AlertHead = serde_json::from_str(over.alert.get()).unwrap();
            assert_eq!((&*head.status, head.cleared_at), ("RESOLVED", Some(at(10))));
            let (_, folded) = told(&mut one);
            let expected: BTreeMap<_, _> = ["just-before", "meanwhile", "just-after"]
                .map(|silent| (silent.to_owned(), id.clone()))
                .into();
            assert_eq!(folded, expected);
            one.look_for_lost(at(31)).unwrap();
            let lost = one
                .alerts(&Scope::whole(), 100)
                .unwrap()
                .into_iter()
                .filter(|row| row.alert.get().contains("gateway_lost\""));
            assert_eq!(lost.count(), 1);
            one.look_for_lost(at(60)).unwrap();
            let lost = one
                .alerts(&Scope::whole(), 100)
                .unwrap()
                .into_iter()
                .filter(|row| row.alert.get().contains("gateway_lost\""));
            assert_eq!(lost.count(), 2, "the next loss is another");
        }
    }

    #[test]
    fn a_guard_s_neighbours_are_looked_for_among_the_alerts_of_that_guard() {
        for house in House::both() {
            let mut ledger = house.open();
            for half in 0..10 {
                let alerts = (half * 500..(half + 1) * 500).map(|n| {
                    alert(&format!("a-{n}"), "sos", Some(&format!("G-{}", n % 50)), n / 50 * 31, &[])
                });
                deliver(&mut ledger, "gw-1", at(100_000), alerts.collect());
            }
            // Whether the database knows its tables yet or not.
            for _ in 0..2 {
                let (from, to) = (at(50), at(110));
                let two = args!["acme/plant-7", "G-7", from, to, "", 1_i64, 0_i64];
                let plan = plan(&mut ledger, &of_neighbours(2), two);
                let others = ["Seq Scan", "SCAN", "by_incident", "by_site", "by_place"];
                let roams = others.iter().any(|index| plan.contains(index));
                assert!(plan.contains("alerts_by_guard") && !roams, "{plan}");
                ledger.database().batch("ANALYZE alerts").unwrap();
            }
        }
    }

    #[test]
    fn who_comes_with_the_next_word_of_another_is_put_where_that_one_is_listed_now() {
        for house in House::both() {
            let mut ledger = house.open();
            let ahead = 24 * 60;
            deliver(&mut ledger, "gw-1", at(0), vec![alert("a", "sos", Some("G-1"), ahead, &[])]);
            let again = alert("a", "sos", Some("G-1"), ahead, &["x"]);
            deliver(&mut ledger, "gw-1", at(60), vec![again, alert("b", "sos", Some("G-1"), ahead, &[])]);
            assert_eq!(told(&mut ledger).0, BTreeSet::from([["a", "b"].map(str::to_owned).to_vec()]));
        }
    }

    #[test]
    fn an_incident_of_two_guards_is_renamed_for_both() {
        for house in House::both() {
            let mut ledger = house.open();
            let of = |id: &str, guard: &str, mins| alert(id, "sos", Some(guard), mins, &[]);
            deliver(&mut ledger, "gw-1", at(500), vec![of("b", "G-1", 60)]);
            deliver(&mut ledger, "gw-2", at(500), vec![of("b", "G-2", 200)]);
            deliver(&mut ledger, "gw-1", at(500), vec![of("a", "G-1", 0)]);
            deliver(&mut ledger, "gw-1", at(500), vec![of("x", "G-1", 30), of("y", "G-2", 200)]);
            let incidents: BTreeSet<_> = ledger
                .alerts(&Scope::whole(), 100)
                .unwrap()
                .into_iter()
                .map(|row| row.incident.unwrap())
                .collect();
            assert_eq!(incidents, BTreeSet::from(["a".to_owned()]));
        }
    }

    #[test]
    fn thousands_of_alerts_of_one_guard_within_minutes_are_one_incident_and_hold_nobody_up() {
        for house in House::both() {
            let mut ledger = house.open();
            for half in 0..12 {
                let many = if half == 11 { 11 } else { 500 };
                let alerts =
                    (0..many).map(|n| alert(&format!("a-{half:02}-{n:03}"), "sos", Some("G-1"), n % 10, &[]));
                deliver(&mut ledger, "gw-1", at(100), alerts.collect());
            }
            let sql = "SELECT count(*), count(DISTINCT incident) FROM alerts";
            let mut row = ledger.database().one(sql, &[]).unwrap().unwrap();
            assert_eq!((row.int(0).unwrap(), row.int(1).unwrap()), (5_511, 1));
        }
    }

    /// What is one by the words of the rule: a chain of alerts of one guard, each near the next.
    fn chains(alerts: &[(u8, i64)]) -> BTreeSet<Vec<String>> {
        let mut sorted: Vec<_> = (0..alerts.len()).collect();
        sorted.sort_by_key(|n| alerts[*n]);
        let of_one = |a: &usize, b: &usize| {
            let ((guard, mins), (other, later)) = (alerts[*a], alerts[*b]);
            guard == other && later - mins <= 30
        };
        let named = |chain: &[usize]| {
            let mut ids: Vec<_> = chain.iter().map(|n| format!("a-{n:03}")).collect();
            ids.sort();
            ids
        };
        sorted.chunk_by(of_one).map(named).collect()
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(60))]
        #[test]
        fn however_alerts_are_cut_into_deliveries_the_chains_of_a_guard_are_the_incidents(
            alerts in proptest::collection::vec((0_u8..3, 0_i64..400), 1..60),
            cuts in proptest::collection::vec(1_usize..20, 60),
        ) {
            let house = House::file();
            let mut ledger = house.open();
            let mut left: Vec<_> = alerts
                .iter()
                .enumerate()
                .map(|(n, (guard, mins))| alert(&format!("a-{n:03}"), "sos", Some(&format!("G-{guard}")), *mins, &[]))
                .collect();
            for cut in cuts {
                let now = left.drain(..cut.min(left.len())).collect();
                deliver(&mut ledger, "gw-1", at(1_000), now);
            }
            prop_assert_eq!(told(&mut ledger).0, chains(&alerts));
        }
    }
}
