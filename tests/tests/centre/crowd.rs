//! More gateways at one receiver than it had room for once: 512 could wait for commands, and the connections of all were 1,024.

use std::time::{Duration, Instant};
use vigil_cloud_sync::wire::Producer;
use vigil_cloud_sync::{Event, EventKind, Heard, Verdict, Way};
use vigil_tests::crowd::{AS_IN_A_SHELL, Crowd, uplink};
use vigil_tests::house::{Noc, now, until};

/// More than half of the connections that there once were, and more files than a program may open that is started in a shell.
const GATEWAYS: usize = 1_100;

/// A command is at once where somebody waits for it; whoever asks every five seconds would hear of three of them later than this.
const AT_ONCE: Duration = Duration::from_secs(2);

#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_gateways_wait_at_once_and_each_hears_of_its_command() {
    let mut noc = Noc::of_many(GATEWAYS, None, AS_IN_A_SHELL);
    let crowd = Crowd::comes(&noc, GATEWAYS);
    crowd.all_in(Duration::from_secs(60)).await.unwrap();
    let connections = |noc: &mut Noc| std::fs::read_dir(format!("/proc/{}/fd", noc.pid())).unwrap().count();
    tokio::task::block_in_place(|| until("each has a line of its own", || connections(&mut noc) > GATEWAYS));
    // A poll that is not held is answered at once, and the next begins five seconds after it.
    tokio::time::sleep(Duration::from_secs(6)).await;
    for n in [0, GATEWAYS / 2, GATEWAYS - 1] {
        let ordered = Instant::now();
        let guard = serde_json::json!({ "guard": "G-1" });
        let id = tokio::task::block_in_place(|| noc.order(&format!("gw-{n}"), "welfare.check", &guard));
        let heard = crowd.hears(&id, Duration::from_secs(30)).await.unwrap();
        assert!(heard.duration_since(ordered) < AT_ONCE, "gw-{n}: {:?}", heard.duration_since(ordered));
    }
    assert_eq!(uplink(&noc, 7).knock().await, Heard::Welcome, "and there is room for what they send");
}

/// So few files that three hundred gateways find no room.
const FEW_FILES: &str = "-n 300";

#[tokio::test(flavor = "multi_thread")]
async fn with_too_few_files_what_gateways_send_and_people_ask_still_gets_in() {
    let noc = Noc::of_many(300, None, FEW_FILES);
    let _crowd = Crowd::comes(&noc, 300);
    // Whoever is in holds on to it, and the others ask again and again.
    tokio::time::sleep(Duration::from_secs(3)).await;
    tokio::task::block_in_place(|| {
        let heard = noc.asked("/api/gateways")["gateways"].as_array().map_or(0, Vec::len);
        assert_eq!(heard, 300, "an operator sees all of them");
    });
    for n in [0, 299] {
        let sent = noc.way(&format!("s-{n}"), &format!("gw-{n}")).deliver(&[health()]).await;
        assert!(matches!(sent, Verdict::Stored(_)), "gw-{n}: {sent:?}");
    }
    let said = noc.log().join("\n");
    assert!(said.contains("takes fewer connections") && !said.contains("cannot accept"), "{said}");
}

fn health() -> Event {
    Event {
        producer: Producer(7),
        sequence: 1,
        id: "health.1".to_owned(),
        kind: EventKind::Health,
        subject: "gateway".to_owned(),
        time: now(),
        critical: false,
        data: "{}".to_owned(),
    }
}
