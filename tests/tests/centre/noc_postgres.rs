//! Three receivers on one PostgreSQL, and one of them killed: nothing is lost, nothing doubled, and the others' pages go on.

use serde_json::Value;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use vigil_cloud_sync::wire::Producer;
use vigil_cloud_sync::{Event, EventKind, Uplink, Verdict, Way};
use vigil_core::time::Timestamp;
use vigil_noc::ledger::Ledger;
use vigil_tests::house::{Agent, Noc, PATIENCE, Plant, Source, address, eventually, new_database, until};

/// So many gateways send at once, each so many batches of so many alerts.
const GATEWAYS: usize = 6;
const BATCHES: usize = 25;
const BATCH: usize = 20;

fn name(gateway: usize) -> String {
    format!("gw-{gateway}")
}

fn event(gateway: usize, number: usize) -> Event {
    let id = format!("{gateway}-{number}");
    let data = format!(
        r#"{{"id":"{id}","revision":1,"rule":"inactivity","severity":"HIGH","status":"DETECTED","subject":"guard:G-{gateway}","guard":"G-{gateway}","detected_at":"2026-03-10T22:05:00.000Z","updated_at":"2026-03-10T22:05:00.000Z","summary":"x","history":[]}}"#
    );
    Event {
        producer: Producer(7),
        sequence: u64::try_from(number).unwrap() + 1,
        id: format!("{id}.1"),
        kind: EventKind::Alert,
        subject: format!("guard:G-{gateway}"),
        time: Timestamp::from_millis(1_773_160_000_000),
        critical: false,
        data,
    }
}

/// Sends everything, to whichever receiver answers: each batch until somebody has stored it.
async fn send(gateway: usize, ways: Vec<Uplink>, half: Arc<AtomicBool>) -> (usize, usize) {
    let (mut accepted, mut duplicates, mut way) = (0, 0, gateway);
    for batch in 0..BATCHES {
        if batch == BATCHES / 2 {
            half.store(true, Ordering::Release);
        }
        let events: Vec<Event> = (batch * BATCH..(batch + 1) * BATCH).map(|n| event(gateway, n)).collect();
        loop {
            match ways[way % ways.len()].deliver(&events).await {
                Verdict::Stored(answer) => {
                    assert_eq!(answer.rejected, [], "none of them is wrong");
                    accepted += answer.accepted;
                    duplicates += answer.duplicates;
                    break;
                }
                Verdict::Retry { .. } => {
                    way += 1;
                    tokio::time::sleep(Duration::from_millis(20)).await;
                }
                other
                @ (Verdict::Unauthorized { .. } | Verdict::TooLarge | Verdict::RejectedWhole { .. }) => {
                    panic!("a batch was not taken: {other:?}")
                }
            }
        }
        // The next one goes to the next receiver: each has the gateway's row in its turn.
        way += 1;
    }
    (accepted, duplicates)
}

#[test]
fn three_receivers_share_a_database_and_one_of_them_may_die() {
    let names: Vec<String> = (0..GATEWAYS).map(name).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).chain(["gw-9"]).collect();
    let database = new_database();
    let first = Noc::sharing(&database, "first", &names);
    let mut second = Noc::sharing(&database, "second", &names);
    let third = Noc::sharing(&database, "third", &names);
    // A page of the third, which hears of what the others store.
    let shown = third.follow();

    let half = Arc::new(AtomicBool::new(false));
    let ways: Vec<Vec<Uplink>> = (0..GATEWAYS)
        .map(|gateway| [&first, &second, &third].map(|noc| noc.way("plant-7", &name(gateway))).into())
        .collect();
    let sending = {
        let half = Arc::clone(&half);
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Runtime::new().unwrap();
            runtime.block_on(async {
                let senders = ways.into_iter().enumerate();
                let senders =
                    senders.map(|(gateway, ways)| tokio::spawn(send(gateway, ways, Arc::clone(&half))));
                let mut sums = vec![];
                for sender in senders.collect::<Vec<_>>() {
                    sums.push(sender.await.unwrap());
                }
                sums
            })
        })
    };
    until("half of it is sent", || half.load(Ordering::Acquire));
    second.kill();
    let sums = sending.join().unwrap();

    let all = BATCHES * BATCH;
    for (gateway, (accepted, duplicates)) in sums.iter().enumerate() {
        // What the killed one had stored and could not say any more came again, and counted as known.
        assert_eq!(accepted + duplicates, all, "gateway {gateway}");
        let row = first.gateway(&name(gateway));
        assert_eq!((&row["missing"], &row["reused"]), (&Value::from(0), &Value::from(0)), "{row}");
        assert_eq!(row["highest_sequence"], all, "{row}");
    }
    let mut ledger = Ledger::on_server(&address(&database)).unwrap();
    for table in ["alerts", "events", "event_ids"] {
        let sql = format!("SELECT count(*) FROM {table}");
        let count = ledger.database().one(&sql, &[]).unwrap().unwrap().int(0).unwrap();
        assert_eq!(usize::try_from(count).unwrap(), GATEWAYS * all, "{table}: each once");
    }
    // A third of it was stored by this one; of the rest it was told.
    eventually("the page of the third shows what others stored", PATIENCE, || {
        let heard = shown.load(Ordering::Relaxed);
        if heard > GATEWAYS * all / 2 { Ok(()) } else { Err(format!("{heard} alerts")) }
    });

    // A command that is given at the first reaches a gateway that waits at the third.
    let agent =
        Agent::start("gw-9", &Plant::default().guards(1), Source::Embedded, Some(&third.uplink("gw-9")));
    until("the gateway is heard", || first.gateway("gw-9")["lost"] == false);
    let id = first.order("gw-9", "task.cancel", &serde_json::json!({"task": "T-1"}));
    until("it is decided", || first.command("gw-9", &id)["state"] != "waiting");
    drop(agent);
}

#[test]
fn receivers_with_a_list_of_their_own_share_a_database_and_tell_each_other_s_gateways_what_to_do() {
    let database = new_database();
    let here = Noc::sharing(&database, "here", &["gw-1"]);
    let there = Noc::sharing(&database, "there", &["gw-2"]);
    let plant = Plant::default().guards(1);
    let _agent = Agent::start("gw-2", &plant, Source::Embedded, Some(&there.uplink("gw-2")));
    until("the gateway is heard", || here.gateway("gw-2")["lost"] == false);
    let id = here.order("gw-2", "welfare.check", &serde_json::json!({ "guard": "G-1" }));
    eventually("the gateway of the other list has decided it", PATIENCE, || {
        let row = here.command("gw-2", &id);
        if row["state"] == "waiting" { Err(row.to_string()) } else { Ok(()) }
    });
    let stranger = serde_json::json!({ "type": "welfare.check", "data": { "guard": "G-1" } });
    let (status, why) = here.told("/api/gateways/gw-3/commands", &stranger);
    assert!(status == 404 && why.contains("gw-3"), "{status} {why}");
}
