//! Commands of the operations centre: decided once and in order, acknowledged with what follows, whatever comes between.

use super::*;
use crate::pump::{Asked, Unread};
use vigil_cloud_sync::Decided;
use vigil_core::id::TaskId;

fn asked(seq: u64, id: &str, order: Order) -> Asked {
    Asked { seq, id: CommandId::new(id).unwrap(), order: Ok(order) }
}

fn unread(seq: u64, id: &str) -> Asked {
    let (kind, reason) = ("bundle.refresh".to_owned(), "unknown variant `bundle.refresh`".to_owned());
    Asked { seq, id: CommandId::new(id).unwrap(), order: Err(Unread { kind, reason }) }
}

/// A pump with the sleeper's night behind it, and its open alert.
fn night_with_an_alert(folder: &Path) -> (Recording, Pump, Alert) {
    let recording = recording("sleeper");
    let mut pump = revive(folder, &recording.site, recording.observations[0].received_at);
    let (inbound, _stored) = delivery(&recording.observations);
    pump.take_in(vec![inbound]).unwrap();
    let alert = pump.store.alerts().unwrap().into_iter().find(|a| !a.status.is_final()).unwrap();
    (recording, pump, alert)
}

fn refusals(pump: &mut Pump) -> Vec<String> {
    let events = pump.store.next_events(10_000).unwrap().into_iter();
    events.filter_map(|e| e.id.strip_prefix(REFUSED).map(str::to_owned)).collect()
}

#[test]
fn what_is_decided_is_acknowledged_in_the_same_batch_and_holds_up_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let (recording, mut pump, alert) = night_with_an_alert(dir.path());
    let commits = pump.commits;
    let all = vec![
        asked(5, "c-1", says(alert.id, Status::Verifying)),
        unread(6, "c-2"),
        asked(8, "c-3", says(alert.id, Status::Confirmed)),
        asked(9, "c-4", says(alert.id, Status::Verifying)),
    ];
    assert_eq!(pump.obey_all(all.clone()).unwrap(), Decided { fresh: 4, refused: 2 });
    assert_eq!((pump.commits, pump.store.commands().after), (commits + 1, 9), "one batch");
    let stored = pump.store.alert(alert.id).unwrap().unwrap();
    assert_eq!((stored.status, stored.revision), (Status::Confirmed, alert.revision + 2));
    assert_eq!(refusals(&mut pump), ["c-2", "c-4"]);
    assert_eq!(pump.store.refusals().unwrap()[1].detail, "unknown variant `bundle.refresh`");

    let now = pump.engine.now();
    drop(pump);
    let mut pump = revive(dir.path(), &recording.site, now);
    assert_eq!(pump.store.commands().after, 9, "a kill forgets both or neither");
    assert_eq!(pump.obey_all(all).unwrap(), Decided::default());
    assert_eq!(pump.store.alert(alert.id).unwrap().unwrap(), stored);
    assert_eq!(refusals(&mut pump), ["c-2", "c-4"]);
}

#[test]
fn an_operations_centre_that_counts_anew_is_heard() {
    let dir = tempfile::tempdir().unwrap();
    let (_, mut pump, alert) = night_with_an_alert(dir.path());
    pump.obey_all(vec![asked(500, "c-1", says(alert.id, Status::Verifying))]).unwrap();
    assert_eq!(pump.obey_all(vec![]).unwrap(), Decided::default());
    assert_eq!(pump.store.commands().after, 500, "an empty answer says nothing");
    let again = asked(1, "c-1", says(alert.id, Status::Verifying));
    let new = asked(2, "c-2", says(alert.id, Status::Confirmed));
    assert_eq!(pump.obey_all(vec![again, new]).unwrap(), Decided { fresh: 1, refused: 0 });
    assert_eq!(pump.store.commands().after, 2);
    assert_eq!(pump.store.alert(alert.id).unwrap().unwrap().status, Status::Confirmed);
}

#[test]
fn a_receiver_that_runs_wild_does_not_fill_the_way_back() {
    let dir = tempfile::tempdir().unwrap();
    let (_, mut pump, _) = night_with_an_alert(dir.path());
    let wild = (1..=500).map(|seq| unread(seq, &format!("c-{seq}"))).collect();
    assert_eq!(pump.obey_all(wild).unwrap(), Decided { fresh: 500, refused: 500 });
    assert_eq!((refusals(&mut pump).len(), pump.store.commands().after), (60, 500));
    let cancel = Order::CancelTask(TaskId::new("T-9").unwrap());
    assert_eq!(pump.obey_all(vec![asked(501, "c-501", cancel)]).unwrap(), Decided { fresh: 1, refused: 1 });
    assert_eq!(
        refusals(&mut pump).last().map(String::as_str),
        Some("c-501"),
        "those of the engine count apart"
    );
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(12))]

    /// The operations centre gives its commands in answers of any width, from any point that it has not acknowledged, and
    /// the agent is killed in between: each command has its effect once.
    #[test]
    fn each_command_counts_once_however_often_it_comes(
        answers in prop::collection::vec((0_u64..6, 1_u64..6, any::<bool>()), 1..10),
    ) {
        let dir = tempfile::tempdir().unwrap();
        let (recording, mut pump, _) = night_with_an_alert(dir.path());
        let command = |seq: u64| match seq % 3 {
            0 => unread(seq, &format!("c-{seq}")),
            _ => asked(seq, &format!("c-{seq}"), Order::CancelTask(TaskId::new(&format!("T-{seq}")).unwrap())),
        };
        let mut given = 0_u64;
        for (back, width, kill) in answers {
            let first = (given + 1).saturating_sub(back).max(1);
            let decided = pump.obey_all((first..first + width).map(command).collect()).unwrap();
            let last = first + width - 1;
            prop_assert_eq!(decided.fresh, last.saturating_sub(given));
            prop_assert_eq!(pump.store.commands().after, last);
            given = given.max(last);
            if kill {
                let now = pump.engine.now();
                drop(pump);
                pump = revive(dir.path(), &recording.site, now);
            }
        }
        let all: Vec<String> = (1..=given).map(|seq| format!("c-{seq}")).collect();
        let mut refused = refusals(&mut pump);
        refused.sort_by_key(|id| id[2..].parse::<u64>().unwrap());
        prop_assert_eq!(refused, all);
    }
}
