//! The ledger on each of its two databases.

use super::houses::House;
use super::keep::HEALTH_KEPT;
use super::*;
use vigil_core::id::{GatewayId, SiteId, TenantId};
use vigil_core::time::Span;

fn origin(gateway: &str) -> Origin {
    Origin {
        tenant: TenantId::new("acme").unwrap(),
        site: SiteId::new("plant-7").unwrap(),
        gateway: GatewayId::new(gateway).unwrap(),
    }
}

fn entry(sequence: u64, id: &str, kind: EventKind, data: &str) -> Entry {
    let data = RawValue::from_string(data.to_owned()).unwrap();
    let alert = (kind == EventKind::Alert).then(|| serde_json::from_str(data.get()).unwrap());
    let time = Timestamp::from_millis(1_773_160_000_000 + i64::try_from(sequence).unwrap());
    Entry {
        producer: None,
        sequence,
        id: id.to_owned(),
        kind,
        subject: "guard:G-7".to_owned(),
        time,
        data,
        alert,
    }
}

pub(super) fn alert(sequence: u64, id: &str, revision: u32, severity: &str, more: &str) -> Entry {
    let data = format!(
        r#"{{"id":"{id}","revision":{revision},"severity":"{severity}","status":"DETECTED",
           "detected_at":"2026-03-10T22:0{sequence}:00Z"{more}}}"#
    );
    entry(sequence, &format!("{id}.{revision}"), EventKind::Alert, &data)
}

pub(super) fn delivery(entries: Vec<Entry>) -> Delivery {
    Delivery { origin: origin("gw-1"), received_at: Timestamp::from_millis(1_773_180_600_000), entries }
}

fn shown(ledger: &mut Ledger) -> Vec<(String, u32)> {
    let heads = ledger.alerts(&Scope::whole(), 100).unwrap().into_iter();
    heads
        .map(|row| serde_json::from_str::<AlertHead>(row.alert.get()).unwrap())
        .map(|h| (h.id, h.revision))
        .collect()
}

#[test]
fn the_same_event_counts_once() {
    for house in House::both() {
        let mut ledger = house.open();
        let batch = delivery(vec![alert(1, "a", 1, "HIGH", ""), alert(2, "b", 1, "LOW", "")]);
        let first = ledger.record(&batch).unwrap();
        assert_eq!((first.accepted, first.duplicates, first.alerts.len()), (2, 0, 2));
        let again = ledger.record(&batch).unwrap();
        assert_eq!((again.accepted, again.duplicates, again.alerts.len()), (0, 2, 0));
        let other = Delivery { origin: origin("gw-2"), ..batch };
        assert_eq!(ledger.record(&other).unwrap().accepted, 2, "another gateway's ids are its own");
    }
}

#[test]
fn the_same_name_with_other_words_is_told_and_the_first_ones_stand() {
    for house in House::both() {
        let mut ledger = house.open();
        ledger.record(&delivery(vec![alert(1, "a", 1, "CRITICAL", "")])).unwrap();
        let other = ledger.record(&delivery(vec![alert(1, "a", 1, "LOW", "")])).unwrap();
        assert_eq!((other.accepted, other.duplicates, other.altered), (0, 1, vec!["a.1".to_owned()]));
        let same = ledger.record(&delivery(vec![alert(1, "a", 1, "CRITICAL", "")])).unwrap();
        assert_eq!((same.duplicates, same.altered), (1, vec![]));
    }
}

#[test]
fn an_older_revision_never_replaces_a_newer_one() {
    for house in House::both() {
        let mut ledger = house.open();
        ledger.record(&delivery(vec![alert(3, "a", 3, "HIGH", "")])).unwrap();
        let late = ledger.record(&delivery(vec![alert(2, "a", 2, "HIGH", "")])).unwrap();
        assert_eq!((late.accepted, late.alerts.len()), (1, 0));
        assert_eq!(shown(&mut ledger), [("a".to_owned(), 3)]);
    }
}

#[test]
fn open_critical_alerts_are_on_top_newest_first() {
    for house in House::both() {
        let mut ledger = house.open();
        let over = r#","cleared_at":"2026-03-10T23:00:00Z""#;
        let batch = vec![
            alert(1, "old-critical", 1, "CRITICAL", ""),
            alert(2, "critical", 1, "CRITICAL", ""),
            alert(3, "cleared", 1, "CRITICAL", over),
            alert(4, "low", 1, "LOW", ""),
        ];
        ledger.record(&delivery(batch)).unwrap();
        let order: Vec<_> = shown(&mut ledger).into_iter().map(|(id, _)| id).collect();
        assert_eq!(order, ["critical", "old-critical", "low", "cleared"]);
    }
}

#[test]
fn a_restart_keeps_everything() {
    for house in House::both() {
        let mut ledger = house.open();
        let health = entry(5, "h5", EventKind::Health, r#"{"queued":3}"#);
        let tour = entry(4, "t4", EventKind::Tour, r#"{"tour":"north"}"#);
        ledger.record(&delivery(vec![alert(1, "a", 1, "HIGH", ""), health, tour])).unwrap();
        drop(ledger);
        let mut ledger = house.open();
        assert_eq!(shown(&mut ledger), [("a".to_owned(), 1)]);
        let gateway = &ledger.gateways(&Scope::whole()).unwrap()[0];
        assert_eq!((gateway.missing, gateway.highest_sequence), (2, Some(5)));
        assert_eq!(gateway.health.as_ref().unwrap().get(), r#"{"queued":3}"#);
        assert_eq!(
            ledger.records(&Scope::whole(), EventKind::Tour, 10).unwrap()[0].data.get(),
            r#"{"tour":"north"}"#
        );
    }
}

#[test]
fn old_health_is_forgotten_but_the_latest_stays_with_its_gateway() {
    for house in House::both() {
        let mut ledger = house.open();
        ledger.record(&delivery(vec![entry(1, "h1", EventKind::Health, r#"{"n":1}"#)])).unwrap();
        let mut later = delivery(vec![]);
        later.received_at = later.received_at + HEALTH_KEPT + Span::from_secs(1);
        ledger.record(&later).unwrap();
        assert!(ledger.records(&Scope::whole(), EventKind::Health, 10).unwrap().is_empty());
        assert!(ledger.gateways(&Scope::whole()).unwrap()[0].health.is_some());
    }
}

#[test]
fn a_refused_command_is_on_record_and_is_no_health() {
    for house in House::both() {
        let mut ledger = house.open();
        let health = entry(1, "health.1", EventKind::Health, r#"{"n":1}"#);
        let refused = entry(2, "refused.c-7", EventKind::Health, r#"{"command":"c-7"}"#);
        let bundle =
            entry(3, "bundle.taken.7.2026-11-28T01:00:00.000Z", EventKind::Health, r#"{"bundle":"taken"}"#);
        ledger.record(&delivery(vec![health, refused, bundle])).unwrap();
        assert_eq!(ledger.gateways(&Scope::whole()).unwrap()[0].health.as_ref().unwrap().get(), r#"{"n":1}"#);
        assert_eq!(ledger.records(&Scope::whole(), EventKind::Health, 10).unwrap().len(), 3);
    }
}

#[test]
fn a_number_that_comes_with_another_event_is_said() {
    for house in House::both() {
        let mut ledger = house.open();
        let of = |entry: Entry| Entry { producer: Some("5f0c".to_owned()), ..entry };
        let before: Vec<Entry> = (1..=3).map(|n| of(alert(n, &format!("a{n}"), 1, "HIGH", ""))).collect();
        assert_eq!(ledger.record(&delivery(before.clone())).unwrap().reused, [0; 0]);
        assert_eq!(ledger.record(&delivery(before)).unwrap().reused, [0; 0], "they come again");
        // Its store was put back to an earlier time, and so was everything beside it.
        let after = vec![of(alert(2, "b", 1, "HIGH", "")), of(entry(3, "health.9", EventKind::Health, "{}"))];
        let receipt = ledger.record(&delivery(after)).unwrap();
        assert_eq!((receipt.accepted, &receipt.reused[..], receipt.gateway.reused), (2, &[2][..], 1));
        let of_another = Entry { producer: Some("90b3".to_owned()), ..alert(3, "c", 1, "HIGH", "") };
        assert_eq!(ledger.record(&delivery(vec![of_another])).unwrap().reused, [0; 0]);
        assert_eq!(ledger.gateways(&Scope::whole()).unwrap()[0].reused, 1);
    }
}

#[test]
fn a_damaged_ledger_is_named_with_what_sqlite_says() {
    let house = House::file();
    let (path, mut ledger) = (house.path(), house.open());
    let batch = |n: u64| (n..n + 100).map(|n| alert(n % 10, &format!("a{n}"), 1, "HIGH", "")).collect();
    (0..5).for_each(|n| drop(ledger.record(&delivery(batch(n * 100))).unwrap()));
    drop(ledger);
    house.place.check().unwrap();
    let mut torn = std::fs::read(&path).unwrap();
    let middle = torn.len() / 2;
    torn[4_096..middle].fill(0x5A);
    std::fs::write(&path, torn).unwrap();
    let unsound = house.place.check().unwrap_err();
    let said = format!("the ledger {} is damaged: ", path.display());
    assert!(unsound.to_string().starts_with(&said), "{unsound}");
    std::fs::write(&path, b"this was a ledger, once upon a time, and is none".repeat(100)).unwrap();
    for why in [house.place.open(None).err().unwrap(), house.place.check().unwrap_err()] {
        assert!(matches!(why, LedgerError::Damaged { .. }), "{why}");
        assert!(why.to_string().contains("file is not a database"), "{why}");
    }
    std::fs::remove_file(&path).unwrap();
    house.place.check().unwrap();
    assert!(!path.exists(), "none is made");
}

#[test]
fn a_ledger_without_one_of_its_tables_is_named_by_a_check_and_at_a_start() {
    for (drop_it, missing) in [
        ("DROP TABLE events", "the table events is missing"),
        ("DROP INDEX alerts_by_urgency", "the index alerts_by_urgency is missing"),
    ] {
        let house = House::file();
        house.open().database().batch(drop_it).unwrap();
        let path = house.path();
        for why in [house.place.open(None).err().unwrap(), house.place.check().unwrap_err()] {
            let said = format!("the ledger {} is damaged: {missing}", path.display());
            assert_eq!(why.to_string(), said);
        }
    }
}

#[test]
fn a_ledger_of_a_later_version_is_left_alone() {
    for (house, later) in
        House::both().into_iter().zip(["PRAGMA user_version = 99", "UPDATE vigil_schema SET version = 99"])
    {
        house.open().database().batch(later).unwrap();
        let error = house.place.open(None).err().unwrap();
        assert!(matches!(error, LedgerError::Newer { found: 99, .. }), "{error}");
        assert!(matches!(house.place.check(), Err(LedgerError::Newer { .. })));
    }
}

#[test]
fn files_of_earlier_versions_become_the_same_tables_with_everything_in_them() {
    let old = [include_str!("old/1.sql"), include_str!("old/2.sql"), include_str!("old/3.sql")];
    for schema in 1..=3 {
        let house = House::file();
        let connection = rusqlite::Connection::open(house.path()).unwrap();
        old.iter().take(schema).for_each(|step| connection.execute_batch(step).unwrap());
        connection.execute_batch(include_str!("old/rows.sql")).unwrap();
        if schema > 1 {
            connection.execute_batch(include_str!("old/commands.sql")).unwrap();
        }
        drop(connection);
        house.place.check().unwrap();
        let mut ledger = house.open();
        house.place.check().unwrap();
        assert_eq!(shown(&mut ledger), [("a".to_owned(), 2)], "schema {schema}");
        let gateway = ledger.gateways(&Scope::whole()).unwrap().remove(0);
        assert_eq!(
            (gateway.tenant.as_str(), gateway.site.as_str(), gateway.highest_sequence),
            ("acme", "plant-7", Some(3))
        );
        assert_eq!(ledger.records(&Scope::whole(), EventKind::Alert, 10).unwrap().len(), 2);
        let runs = ledger.database().query("SELECT id, guard FROM runs", &[]).unwrap();
        assert_eq!(runs.len(), 1);
        let again = ledger.record(&delivery(vec![alert(1, "a", 1, "HIGH", "")])).unwrap();
        assert_eq!(again.duplicates, 1, "what it has is known");
        let commands = ledger.commands(&Scope::whole(), &origin("gw-1"), 10).unwrap();
        assert_eq!(commands.len(), usize::from(schema > 1));
    }
}

#[test]
fn several_that_open_a_server_at_once_make_its_tables_once() {
    let house = House::server();
    let open = |_| {
        let place = house.place.clone();
        std::thread::spawn(move || place.open(None).unwrap().gateways(&Scope::whole()).unwrap().len())
    };
    let opened: Vec<_> = (0..8).map(open).collect();
    opened.into_iter().for_each(|thread| assert_eq!(thread.join().unwrap(), 0));
}

#[test]
fn events_lie_in_the_table_of_their_month_and_in_that_of_the_rest() {
    let house = House::server();
    let mut ledger = house.open();
    ledger.keep_up(Timestamp::from_millis(1_773_160_000_000)).unwrap();
    ledger.keep_up(Timestamp::from_millis(1_773_160_000_000)).unwrap();
    let mut late = alert(2, "b", 1, "HIGH", "");
    late.time = Timestamp::from_millis(0);
    ledger.record(&delivery(vec![alert(1, "a", 1, "HIGH", ""), late])).unwrap();
    let mut count = |table: &str| {
        let sql = format!("SELECT count(*) FROM {table}");
        ledger.database().one(&sql, &[]).unwrap().unwrap().int(0).unwrap()
    };
    let tables = ["events", "events_2026_03", "events_2026_04", "events_2026_05", "events_rest"];
    assert_eq!(tables.map(&mut count), [2, 1, 0, 0, 1]);
}

#[test]
fn what_many_tell_at_once_is_counted_once_and_no_number_is_lost() {
    let house = House::server();
    house.open();
    let deliver = |_| {
        let place = house.place.clone();
        std::thread::spawn(move || {
            let mut ledger = place.open(None).unwrap();
            let each = (1..=40).map(|n| {
                ledger
                    .record(&delivery(vec![alert(n % 10, &format!("a{n}"), 1, "LOW", "")]))
                    .unwrap()
                    .accepted
            });
            each.sum::<usize>()
        })
    };
    let threads: Vec<_> = (0..4).map(deliver).collect();
    let accepted: usize = threads.into_iter().map(|thread| thread.join().unwrap()).sum();
    assert_eq!(accepted, 40);
    assert_eq!(house.open().alerts(&Scope::whole(), 100).unwrap().len(), 40);
}

#[test]
fn a_line_that_breaks_in_a_transaction_leaves_nothing_and_the_next_one_stands_again() {
    let house = House::server();
    let mut ledger = house.open();
    let broken = ledger.within(|tx| {
        tx.execute("INSERT INTO days (place, gateway, date, tenant, site, revision, data) VALUES ('p', 'g', 'd', 't', 's', 1, '{}')", &[])?;
        // The server ends the session, as at a restart.
        drop(tx.query("SELECT pg_terminate_backend(pg_backend_pid())", &[]));
        tx.execute("INSERT INTO days (place, gateway, date, tenant, site, revision, data) VALUES ('p', 'g', 'e', 't', 's', 1, '{}')", &[])
    });
    assert!(broken.is_err());
    let days = ledger.database().query("SELECT date FROM days", &[]).unwrap();
    assert_eq!(days, []);
    assert_eq!(ledger.record(&delivery(vec![alert(1, "a", 1, "LOW", "")])).unwrap().accepted, 1);
}

#[test]
fn the_first_delivery_after_a_server_came_back_is_stored() {
    let house = House::server();
    let (mut ledger, mut other) = (house.open(), house.open());
    ledger.record(&delivery(vec![alert(1, "a", 1, "LOW", "")])).unwrap();
    let all = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity
               WHERE datname = current_database() AND pid <> pg_backend_pid()";
    let mut ended = other.database().one(all, &[]).unwrap().unwrap();
    assert_eq!(ended.int(0).unwrap(), 1);
    std::thread::sleep(std::time::Duration::from_millis(1_100));
    assert_eq!(ledger.record(&delivery(vec![alert(2, "b", 1, "LOW", "")])).unwrap().accepted, 1);
}

#[test]
fn what_changes_is_told_to_every_receiver() {
    for house in House::both() {
        let (teller, mut mine) = house.place.news().unwrap();
        let shared = matches!(house.place, Place::Server(_));
        let mut theirs = house.place.news().unwrap().1;
        let wait = tokio::runtime::Builder::new_current_thread().build().unwrap();
        if shared {
            assert_eq!(wait.block_on(mine.next()), Some(Heard::Missed), "the line stands");
            assert_eq!(wait.block_on(theirs.next()), Some(Heard::Missed));
        }
        let mut ledger = house.place.open(Some(&teller)).unwrap();
        ledger.record(&delivery(vec![alert(1, "a", 1, "LOW", "")])).unwrap();
        let (place, gateway) = ("acme/plant-7".to_owned(), "gw-1".to_owned());
        let told = News { place, gateway, alerts: vec!["a".into()], heard: true, command: false };
        assert_eq!(wait.block_on(mine.next()), Some(Heard::News(told.clone())));
        if shared {
            assert_eq!(wait.block_on(theirs.next()), Some(Heard::News(told)));
        }
    }
}

#[test]
fn the_alerts_of_a_delivery_are_read_at_once_each_one_time_and_no_other() {
    for house in House::both() {
        let mut ledger = house.open();
        for (n, count) in [(0, 0), (1, 1), (2, 10), (3, 11), (4, 101)] {
            let id = |i: u64| format!("a-{n}-{i:03}");
            let entries = (0..count).map(|i| entry_of(n * 1_000 + i + 1, &id(i))).collect();
            ledger.record(&delivery(entries)).unwrap();
            let other =
                Delivery { origin: origin("gw-2"), ..delivery(vec![entry_of(n * 1_000 + 1, &id(0))]) };
            ledger.record(&other).unwrap();
            let mut asked: Vec<String> = (0..count).map(id).collect();
            let expected = asked.clone();
            asked.push("nobody".into());
            let found = ledger.alerts_named("acme/plant-7", "gw-1", &asked).unwrap();
            let named = |row: &AlertRow| {
                (row.gateway.clone(), serde_json::from_str::<AlertHead>(row.alert.get()).unwrap().id)
            };
            let found: Vec<_> = found.iter().map(named).collect();
            assert_eq!(found, expected.into_iter().map(|id| ("gw-1".to_owned(), id)).collect::<Vec<_>>());
        }
    }
}

fn entry_of(sequence: u64, id: &str) -> Entry {
    let data = format!(
        r#"{{"id":"{id}","revision":1,"severity":"HIGH","status":"DETECTED","detected_at":"2026-03-10T22:00:00Z"}}"#
    );
    entry(sequence, &format!("{id}.1"), EventKind::Alert, &data)
}

#[test]
fn a_clock_that_is_years_ahead_buries_nothing() {
    for house in House::both() {
        let mut ledger = house.open();
        let text = r#"{"id":"wrong","revision":1,"severity":"HIGH","status":"DETECTED","detected_at":"9998-12-31T00:00:00Z"}"#;
        let mut wrong = alert(1, "wrong", 1, "HIGH", "");
        wrong.data = serde_json::from_str(text).unwrap();
        wrong.alert = serde_json::from_str(text).ok();
        ledger.record(&delivery(vec![wrong])).unwrap();
        let sql = "SELECT detected_ms, received_ms FROM alerts";
        let mut row = ledger.database().one(sql, &[]).unwrap().unwrap();
        assert_eq!(row.int(0).unwrap() - row.int(1).unwrap(), 10 * 60 * 1_000);
        let shown = ledger.alerts(&Scope::whole(), 1).unwrap().remove(0);
        assert!(shown.alert.get().contains("9998-12-31"), "what was said is shown as it was said");
        assert_eq!(shown.listed_at.since(shown.received_at), Span::from_mins(10));
    }
}

#[test]
fn a_gateway_is_heard_however_high_the_number_of_its_loss_is() {
    for house in House::both() {
        let mut ledger = house.open();
        ledger.record(&delivery(vec![alert(1, "a", 1, "LOW", "")])).unwrap();
        let heard = delivery(vec![]).received_at;
        ledger.look_for_lost(heard + Span::from_hours(1)).unwrap();
        ledger
            .database()
            .execute(
                "UPDATE alerts SET revision = 4294967295, data = replace(data, '\"revision\":1', '\"revision\":4294967295')
                 WHERE rule = 'gateway_lost'",
                &[],
            )
            .unwrap();
        let receipt = ledger.record(&delivery(vec![alert(2, "b", 1, "LOW", "")])).unwrap();
        assert_eq!(receipt.accepted, 1);
    }
}

#[test]
fn what_cannot_be_told_of_a_loss_keeps_nothing_of_its_gateway_out() {
    for house in House::both() {
        let mut ledger = house.open();
        ledger.record(&delivery(vec![])).unwrap();
        ledger.look_for_lost(delivery(vec![]).received_at + Span::from_hours(1)).unwrap();
        let spoil = "UPDATE alerts SET data = '{' WHERE rule = 'gateway_lost'";
        assert_eq!(ledger.database().execute(spoil, &[]).unwrap(), 1);
        let receipt = ledger.record(&delivery(vec![alert(2, "b", 1, "LOW", "")])).unwrap();
        assert_eq!((receipt.accepted, receipt.alerts), (1, vec!["b".to_owned()]));
        let back = "SELECT count(*) FROM losses WHERE back_ms IS NOT NULL";
        assert_eq!(ledger.database().one(back, &[]).unwrap().unwrap().int(0).unwrap(), 1);
    }
}

#[test]
fn what_the_database_does_not_take_is_refused_by_itself() {
    // More than a row of an index holds, and nothing that can be packed: PostgreSQL says no by itself.
    let mut seed = 1_u64;
    let long: String = std::iter::repeat_with(|| {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        format!("{seed:016x}")
    })
    .take(600)
    .collect();
    let bad = |n: u64| alert(n, &format!("bad-{n}"), 1, "HIGH", &format!(r#","guard":"{long}""#));
    for house in House::both() {
        let mut ledger = house.open();
        if ledger.database().engine() == Engine::Sqlite {
            let rule = "CREATE TRIGGER short BEFORE INSERT ON alerts WHEN length(NEW.guard) > 2704 BEGIN SELECT RAISE(ABORT, 'long'); END";
            ledger.database().batch(rule).unwrap();
        }
        let good = |n: u64| alert(n, &format!("good-{n}"), 1, "HIGH", "");
        let batch = delivery(vec![good(1), bad(2), good(3), good(4), good(5), bad(6), good(7)]);
        let receipt = ledger.record(&batch).unwrap();
        let refused: Vec<_> = receipt.refused.iter().map(|refused| &*refused.id).collect();
        assert_eq!((receipt.accepted, receipt.duplicates, refused), (5, 0, vec!["bad-2.1", "bad-6.1"]));
        assert_eq!(receipt.alerts.len(), 5);
        assert_eq!(shown(&mut ledger).len(), 5);
        let again = ledger.record(&batch).unwrap();
        assert_eq!((again.accepted, again.duplicates, again.refused.len()), (0, 5, 2));
        let alone = ledger.record(&delivery(vec![bad(2)])).unwrap();
        assert_eq!((alone.accepted, alone.duplicates, alone.refused.len()), (0, 0, 1));
    }
}
