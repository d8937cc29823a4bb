//! Notices on each of the two databases.

use super::*;
use crate::access::audit::Actor;
use crate::escalation::Way;
use crate::ledger::houses::{House, plan};
use crate::ledger::{AlertHead, Delivery, Entry, NewStep};
use serde_json::{Value, json};
use vigil_cloud_sync::{EventKind, Origin};
use vigil_core::alert::{Method, Status};
use vigil_core::id::{CommandId, GatewayId, SiteId, TenantId};

const NOW: Timestamp = Timestamp::from_millis(1_773_160_000_000);

fn at(mins: i64) -> Timestamp {
    NOW + Span::from_mins(mins)
}

fn origin(gateway: &str) -> Origin {
    Origin {
        tenant: TenantId::new("acme").unwrap(),
        site: SiteId::new("plant-7").unwrap(),
        gateway: GatewayId::new(gateway).unwrap(),
    }
}

fn raise(ledger: &mut Ledger, now: Timestamp, alert: &Value) {
    let data = serde_json::value::to_raw_value(alert).unwrap();
    let head: AlertHead = serde_json::from_str(data.get()).unwrap();
    let entry = Entry {
        producer: None,
        sequence: 1,
        id: format!("{}.{}", head.id, head.revision),
        kind: EventKind::Alert,
        subject: String::new(),
        time: now,
        data,
        alert: Some(head),
    };
    ledger.record(&Delivery { origin: origin("gw-1"), received_at: now, entries: vec![entry] }).unwrap();
}

fn alert(id: &str, guard: Option<&str>) -> Value {
    json!({"id": id, "revision": 1, "rule": "sos", "severity": "CRITICAL", "status": "DETECTED", "guard": guard,
           "subject": "guard:G-7", "summary": format!("{id} calls for help"), "detected_at": NOW, "evidence": {"lat": 12.97},
           "history": []})
}

fn revised(id: &str, more: Value) -> Value {
    let mut alert = alert(id, None);
    alert["revision"] = json!(2);
    alert.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    alert
}

fn ladder() -> (Vec<Step>, Vec<Contact>) {
    let step = |after, to: &[&str]| Step {
        tenant: None,
        site: None,
        severities: vec!["CRITICAL".to_owned()],
        rules: vec![],
        after: Span::from_mins(after),
        to: to.iter().map(|name| (*name).to_owned()).collect(),
    };
    let contact = |name: &str| Contact {
        name: name.to_owned(),
        tenant: None,
        way: Way::Mail { address: "a@b.example".to_owned() },
    };
    (vec![step(5, &["duty"]), step(15, &["boss", "duty"])], vec![contact("duty"), contact("boss")])
}

fn look(ledger: &mut Ledger, now: Timestamp) -> usize {
    let (steps, contacts) = ladder();
    ledger.look_for_due(&steps, &contacts, now).unwrap().made
}

fn claim(ledger: &mut Ledger, now: Timestamp) -> Vec<Claimed> {
    ledger.claim_notices((now, now + Span::from_secs(30)), &[], |_| true).unwrap()
}

/// Contact, state and alerts of each notice, the oldest first.
fn told(ledger: &mut Ledger) -> Vec<(String, &'static str, Vec<String>)> {
    let (mut rows, _) = ledger.notices(&Scope::whole(), None, None, 100).unwrap();
    rows.sort_by(|a, b| (a.made_at, &a.contact, &a.id).cmp(&(b.made_at, &b.contact, &b.id)));
    rows.into_iter()
        .map(|row| (row.contact, row.state.name(), row.alerts.into_iter().map(|alert| alert.id).collect()))
        .collect()
}

fn told_to(contact: &str, state: &'static str, alerts: &[&str]) -> (String, &'static str, Vec<String>) {
    (contact.to_owned(), state, alerts.iter().map(|id| (*id).to_owned()).collect())
}

const TAKEN: Outcome = Outcome::Taken { status: Some(204) };

fn failed(said: &str) -> Outcome {
    Outcome::Later { status: Some(503), said: said.to_owned(), after: None }
}

#[test]
fn a_contact_is_told_of_an_alert_once_when_its_step_comes() {
    for house in House::both() {
        let mut ledger = house.open();
        raise(&mut ledger, NOW, &alert("a", None));
        assert_eq!(ledger.next_notice(&[]).unwrap(), Some(NOW), "it is looked at when it comes");
        assert_eq!(look(&mut ledger, NOW), 0);
        assert_eq!(ledger.next_notice(&[]).unwrap(), Some(at(5)), "and then when it is due");
        assert_eq!(look(&mut ledger, at(5) - Span::from_millis(1)), 0);
        // The delay counts from the first revision.
        raise(&mut ledger, at(4), &revised("a", json!({"summary": "louder"})));
        assert_eq!(look(&mut ledger, at(4)), 0);
        assert_eq!((look(&mut ledger, at(5)), look(&mut ledger, at(6))), (1, 0));
        let claimed = claim(&mut ledger, at(5));
        assert_eq!((claimed.len(), claimed[0].number), (1, 1));
        assert!(
            claimed[0].body.contains("louder") && !claimed[0].body.contains("12.97"),
            "{}",
            claimed[0].body
        );
        ledger.settle_notice(&claimed[0], &TAKEN, Then::Told, at(5)).unwrap();
        assert_eq!(ledger.next_notice(&[]).unwrap(), Some(at(15)));
        drop(ledger);
        // After a restart, with everything looked at anew.
        let mut ledger = house.open();
        ledger.look_anew(at(7)).unwrap();
        assert_eq!(look(&mut ledger, at(7)), 0);
        assert_eq!(look(&mut ledger, at(15)), 1, "the first step's contact knows");
        let expected = [told_to("duty", "told", &["a"]), told_to("boss", "waiting", &["a"])];
        assert_eq!(told(&mut ledger), expected);
        let of_alert = ledger.told("acme/plant-7", "gw-1", "a").unwrap();
        let log = of_alert[0].log.as_ref().unwrap();
        assert_eq!((log.len(), &*log[0].result, log[0].status), (1, "taken", Some(204)));
    }
}

#[test]
fn what_somebody_took_on_what_is_over_and_what_another_alert_explains_is_not_told() {
    for house in House::both() {
        let mut ledger = house.open();
        for id in ["at-gateway", "cleared", "closed", "here", "member", "open"] {
            raise(&mut ledger, NOW, &alert(id, None));
        }
        let step = |status: &str| json!({"status": status, "history": [{"at": at(1), "by": "Meena", "status": status}]});
        raise(&mut ledger, at(1), &revised("at-gateway", step("VERIFYING")));
        raise(&mut ledger, at(1), &revised("closed", step("FALSE_POSITIVE")));
        raise(&mut ledger, at(1), &revised("cleared", json!({"cleared_at": at(1)})));
        take(&mut ledger, "here", at(1));
        let storm = json!({"id": "storm", "revision": 1, "rule": "storm", "severity": "HIGH", "status": "DETECTED",
            "detected_at": at(1), "evidence": {"members": [{"alert": "member"}]}});
        raise(&mut ledger, at(1), &storm);
        look(&mut ledger, at(20));
        let expected = [told_to("boss", "waiting", &["open"]), told_to("duty", "waiting", &["open"])];
        assert_eq!(told(&mut ledger), expected);
        assert_eq!(look(&mut ledger, at(60)), 0);
    }
}

fn take(ledger: &mut Ledger, alert: &str, now: Timestamp) {
    let step = NewStep {
        alert: alert.to_owned(),
        status: Status::Verifying,
        method: Method::Call,
        response: None,
        note: None,
        seen: "1.0".to_owned(),
        person: "Ravi".to_owned(),
        command: CommandId::new(&format!("c-{alert}")).unwrap(),
    };
    let taken = ledger.take_step(&Actor::console(), &origin("gw-1"), &step, now).unwrap();
    assert!(matches!(taken, crate::ledger::Taken::New), "{taken:?}");
}

#[test]
fn what_was_not_sent_yet_is_stopped_when_somebody_takes_it_on() {
    for house in House::both() {
        let mut ledger = house.open();
        raise(&mut ledger, NOW, &alert("a", None));
        look(&mut ledger, at(5));
        let claimed = claim(&mut ledger, at(5)).remove(0);
        ledger.settle_notice(&claimed, &failed("busy"), Then::Again(at(6)), at(5)).unwrap();
        take(&mut ledger, "a", at(6));
        assert_eq!(claim(&mut ledger, at(6)), []);
        assert_eq!(told(&mut ledger), [told_to("duty", "stopped", &["a"])]);
        assert_eq!(ledger.next_notice(&[]).unwrap(), Some(at(15)), "the alert is looked at once more");
        assert_eq!(look(&mut ledger, at(15)), 0);
        assert_eq!(ledger.next_notice(&[]).unwrap(), None);
    }
}

#[test]
fn alerts_of_one_incident_that_come_due_together_are_one_message() {
    for house in House::both() {
        let mut ledger = house.open();
        for (id, guard) in [("a", Some("G-1")), ("b", Some("G-1")), ("c", Some("G-2")), ("d", None)] {
            raise(&mut ledger, NOW, &alert(id, guard));
        }
        assert_eq!(look(&mut ledger, at(5)), 3);
        let mut told: Vec<_> = told(&mut ledger).into_iter().map(|(_, _, alerts)| alerts).collect();
        told.sort();
        assert_eq!(told, [vec!["a".to_owned(), "b".to_owned()], vec!["c".to_owned()], vec!["d".to_owned()]]);
        // One that is taken on does not stop the other.
        take(&mut ledger, "a", at(5));
        let claimed = ledger.claim_notices((at(5), at(6)), &[], |_| true).unwrap();
        assert_eq!(claimed.len(), 1, "one at a time for each contact");
        assert_eq!(ledger.claim_notices((at(5), at(6)), &["duty".to_owned()], |_| true).unwrap(), []);
        assert_eq!(ledger.next_notice(&["duty".to_owned()]).unwrap(), Some(at(15)));
        assert_eq!(ledger.claim_notices((at(5), at(6)), &[], |_| false).unwrap(), [], "there is no room");
    }
}

#[test]
fn many_who_look_and_claim_at_once_send_each_notice_once() {
    const ALERTS: usize = 60;
    for house in House::both() {
        let mut ledger = house.open();
        for n in 0..ALERTS {
            raise(&mut ledger, NOW, &alert(&format!("a-{n}"), None));
        }
        let hands: Vec<_> = (0..4)
            .map(|_| {
                let mut ledger = house.open();
                std::thread::spawn(move || {
                    let mut sent = vec![];
                    for _ in 0..200 {
                        look(&mut ledger, at(15));
                        for claimed in claim(&mut ledger, at(15)) {
                            ledger.settle_notice(&claimed, &TAKEN, Then::Told, at(15)).unwrap();
                            sent.push(claimed.id);
                        }
                        if ledger.next_notice(&[]).unwrap().is_none() {
                            break;
                        }
                    }
                    sent
                })
            })
            .collect();
        let mut sent: Vec<String> = hands.into_iter().flat_map(|hand| hand.join().unwrap()).collect();
        let all = sent.len();
        sent.sort();
        sent.dedup();
        assert_eq!((all, sent.len()), (2 * ALERTS, 2 * ALERTS), "each alert to each of two contacts");
        assert!(told(&mut ledger).iter().all(|(_, state, _)| *state == "told"));
    }
}

#[test]
fn a_claim_that_is_not_settled_is_taken_over_and_what_comes_late_changes_nothing_but_by_a_success() {
    for house in House::both() {
        let (mut killed, mut other) = (house.open(), house.open());
        raise(&mut killed, NOW, &alert("a", None));
        look(&mut killed, at(5));
        let first = claim(&mut killed, at(5)).remove(0);
        assert_eq!(claim(&mut other, at(5) + Span::from_secs(29)), []);
        let second = claim(&mut other, at(5) + Span::from_secs(30)).remove(0);
        assert_eq!((&second.id, &second.body, second.number), (&first.id, &first.body, 2));
        killed.settle_notice(&first, &failed("late"), Then::GivenUp, at(6)).unwrap();
        assert_eq!(told(&mut other), [told_to("duty", "waiting", &["a"])]);
        killed.settle_notice(&first, &TAKEN, Then::Told, at(6)).unwrap();
        other.settle_notice(&second, &failed("x"), Then::Refused, at(6)).unwrap();
        assert_eq!(told(&mut other), [told_to("duty", "told", &["a"])]);
    }
}

#[test]
fn another_configuration_is_held_against_what_is_open_and_nothing_of_the_day_before() {
    for house in House::both() {
        let mut ledger = house.open();
        raise(&mut ledger, NOW, &alert("old", None));
        raise(&mut ledger, at(20 * 60), &alert("new", None));
        // A receiver that has no steps leaves everything as it is.
        ledger.look_for_due(&[], &[], at(20 * 60)).unwrap();
        assert_eq!(ledger.next_notice(&[]).unwrap(), None);
        ledger.look_anew(at(30 * 60)).unwrap();
        look(&mut ledger, at(30 * 60));
        let expected = [told_to("boss", "waiting", &["new"]), told_to("duty", "waiting", &["new"])];
        assert_eq!(told(&mut ledger), expected);
    }
}

#[test]
fn a_full_queue_puts_off_and_forgets_nothing() {
    let house = House::file();
    let mut ledger = house.open();
    let ids: Vec<String> = (0..MAX_WAITING).map(|n| n.to_string()).collect();
    let body = message::of(vec![], NOW).written();
    let rows: Vec<Vec<Arg<'_>>> = ids
        .iter()
        .map(|id| args!["acme/plant-7", id, "acme", "stuck", NOW, &body, "waiting", at(600), 0_i64].to_vec())
        .collect();
    let head = "INSERT INTO notices (place, id, tenant, contact, made_ms, body, state, next_ms, tries)";
    ledger.within(|tx| insert(tx, head, "", &rows)).unwrap();
    raise(&mut ledger, NOW, &alert("a", None));
    let (steps, contacts) = ladder();
    let looked = ledger.look_for_due(&steps, &contacts, at(5)).unwrap();
    assert_eq!(looked, Looked { made: 0, more: false, full: true });
    ledger.database().execute("DELETE FROM notices WHERE id = '7'", &[]).unwrap();
    assert_eq!(ledger.next_notice(&[]).unwrap(), Some(at(6)));
    assert_eq!(look(&mut ledger, at(6)), 1);
}

#[test]
fn so_many_tries_are_kept_and_everything_goes_after_its_time() {
    for house in House::both() {
        let mut ledger = house.open();
        raise(&mut ledger, NOW, &alert("a", None));
        look(&mut ledger, at(5));
        for number in 1..=i64::from(MAX_TRIES) + 20 {
            let claimed = claim(&mut ledger, at(5 + number)).remove(0);
            let again = Then::Again(at(6 + number));
            ledger.settle_notice(&claimed, &failed("busy"), again, at(5 + number)).unwrap();
        }
        let row = ledger.told("acme/plant-7", "gw-1", "a").unwrap().remove(0);
        let log = row.log.unwrap();
        assert_eq!((row.tries, log.len(), log[0].number), (120, 100, 21));
        assert_eq!((row.why.as_deref(), row.state), (Some("busy"), NoticeState::Waiting));
        let count = |ledger: &mut Ledger| {
            ["notices", "told", "notice_tries"].map(|table| {
                let sql = format!("SELECT count(*) FROM {table}");
                ledger.database().one(&sql, &[]).unwrap().unwrap().int(0).unwrap()
            })
        };
        ledger.keep_up(at(5) + KEPT).unwrap();
        assert_eq!(count(&mut ledger), [1, 1, 100]);
        ledger.keep_up(at(6) + KEPT).unwrap();
        assert_eq!(count(&mut ledger), [0, 0, 0]);
    }
}

#[test]
fn the_list_has_pages_states_and_ones_own_tenant() {
    for house in House::both() {
        let mut ledger = house.open();
        for n in 0..5 {
            raise(&mut ledger, NOW, &alert(&format!("a-{n}"), None));
            look(&mut ledger, at(5) + Span::from_secs(n));
        }
        let claimed = claim(&mut ledger, at(6)).remove(0);
        ledger.settle_notice(&claimed, &failed("gone"), Then::Refused, at(6)).unwrap();
        let whole = Scope::whole();
        let (first, next) = ledger.notices(&whole, None, None, 3).unwrap();
        let next: Behind = next.unwrap().to_string().parse().unwrap();
        let (rest, end) = ledger.notices(&whole, None, Some(&next), 3).unwrap();
        let ids: BTreeSet<_> = first.iter().chain(&rest).map(|row| row.alerts[0].id.clone()).collect();
        assert_eq!((first.len(), rest.len(), ids.len(), end), (3, 2, 5, None));
        let refused = ledger.notices(&whole, Some(NoticeState::Refused), None, 9).unwrap().0;
        assert_eq!((refused.len(), refused[0].why.as_deref()), (1, Some("gone")));
    }
}

#[test]
fn a_look_reads_what_is_due_and_never_the_ten_million_that_are_over() {
    for house in House::both() {
        let mut ledger = house.open();
        let texts: Vec<(String, String)> =
            (0..20_000).map(|n| (format!("acme/site-{}", n % 200), format!("a-{n}"))).collect();
        let rows: Vec<Vec<Arg<'_>>> = texts
            .iter()
            .zip(0_i64..)
            .map(|((place, id), n)| {
                let look = (n % 100 == 0).then_some(at(n));
                args![
                    place,
                    "gw-1",
                    id,
                    "acme",
                    "site",
                    1_i64,
                    "sos",
                    "LOW",
                    "DETECTED",
                    "s",
                    "x",
                    false,
                    at(n),
                    at(n),
                    at(n),
                    look.is_none().then_some(at(n)),
                    at(n),
                    "{}",
                    at(n),
                    look
                ]
                .to_vec()
            })
            .collect();
        let head = "INSERT INTO alerts (place, gateway, id, tenant, site, revision, rule, severity, status, subject, summary, urgent,
             detected_ms, updated_ms, received_ms, closed_ms, first_ms, data, cleared_ms, look_ms)";
        ledger.within(|tx| insert(tx, head, "", &rows)).unwrap();
        let head = "INSERT INTO notices (place, id, tenant, contact, made_ms, body, state, next_ms, tries)";
        let rows: Vec<Vec<Arg<'_>>> = texts
            .iter()
            .zip(0_i64..)
            .map(|((place, id), n)| {
                let due = (n % 100 == 0).then_some(at(n));
                args![
                    place,
                    id,
                    if n % 2 == 0 { "acme" } else { "zeta" },
                    "duty",
                    at(n),
                    "{}",
                    "told",
                    due,
                    0_i64
                ]
                .to_vec()
            })
            .collect();
        ledger.within(|tx| insert(tx, head, "", &rows)).unwrap();
        if ledger.database().engine() == Engine::Postgres {
            ledger.database().batch("ANALYZE alerts; ANALYZE notices").unwrap();
        }
        let engine = ledger.database().engine();
        let whole = Scope::whole();
        let (pages, page_args) = told::page_of(&whole, None, None, 50);
        let (of_state, of_state_args) = told::page_of(&whole, Some(NoticeState::GivenUp), None, 50);
        let claim = "SELECT place, id FROM notices WHERE next_ms <= $1 ORDER BY next_ms, place, id LIMIT 200";
        let table: [(&str, &[Arg<'_>], &str); 6] = [
            (&to_look_at(engine), args![at(100), AT_ONCE], "alerts_to_look_at"),
            (
                "SELECT look_ms FROM alerts WHERE look_ms IS NOT NULL ORDER BY look_ms LIMIT 1",
                &[],
                "alerts_to_look_at",
            ),
            (claim, args![at(100)], "notices_due"),
            (&to_look_at_anew(engine), args![NOW, NOW], "alerts_open"),
            (&pages, &page_args, "notices_by_age"),
            (&of_state, &of_state_args, "notices_by_state"),
        ];
        for (sql, args, index) in table {
            let plan = plan(&mut ledger, sql, args);
            let read_whole = ["Seq Scan on alerts", "Seq Scan on notices", "SCAN a\n", "SCAN notices\n"];
            let slow = read_whole.iter().chain(&["Sort", "TEMP B-TREE"]).any(|word| plan.contains(word));
            assert!(plan.contains(index) && !slow, "{sql}:\n{plan}");
        }
    }
}

#[test]
fn a_ledger_of_before_tells_of_what_is_open_and_nothing_that_is_over() {
    for house in House::both() {
        let mut ledger = house.open();
        raise(&mut ledger, NOW, &alert("open", None));
        raise(&mut ledger, NOW, &alert("over", None));
        raise(&mut ledger, NOW, &revised("over", json!({"cleared_at": at(1)})));
        let back = match ledger.database().engine() {
            Engine::Sqlite => "PRAGMA user_version = 7",
            Engine::Postgres => "UPDATE vigil_schema SET version = 7",
        };
        let before = format!(
            "DROP TABLE notices; DROP TABLE told; DROP TABLE notice_tries; DROP INDEX alerts_to_look_at;
             ALTER TABLE alerts DROP COLUMN first_ms; ALTER TABLE alerts DROP COLUMN look_ms; {back}"
        );
        ledger.database().batch(&before).unwrap();
        drop(ledger);
        let mut ledger = house.open();
        ledger.look_anew(at(5)).unwrap();
        look(&mut ledger, at(5));
        assert_eq!(told(&mut ledger), [told_to("duty", "waiting", &["open"])]);
    }
}

#[test]
fn a_gateway_that_is_lost_is_told_of_as_any_alert() {
    for house in House::both() {
        let mut ledger = house.open();
        raise(
            &mut ledger,
            NOW,
            &json!({"id": "x", "revision": 1, "severity": "LOW", "status": "DETECTED", "detected_at": NOW}),
        );
        ledger.look_for_lost(at(2)).unwrap();
        let (mut steps, contacts) = ladder();
        steps[0].severities = vec!["HIGH".to_owned()];
        steps[0].rules = vec!["gateway_lost".to_owned()];
        assert_eq!(ledger.look_for_due(&steps, &contacts, at(6)).unwrap().made, 0);
        assert_eq!(ledger.look_for_due(&steps, &contacts, at(7)).unwrap().made, 1);
        let claimed = claim(&mut ledger, at(7));
        assert!(claimed[0].body.contains("gateway_lost") && claimed[0].body.contains("not heard any more"));
    }
}
