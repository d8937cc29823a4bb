//! More gateways at one receiver than it had room for once: 512 could wait for commands, and the connections of all were 1,024.

use std::time::{Duration, Instant};
use vigil_cloud_sync::Heard;
use vigil_tests::crowd::{Crowd, uplink};
use vigil_tests::house::{Noc, until};

/// More than half of the connections that there once were, and more files than a program may open that is started in a shell.
const GATEWAYS: usize = 1_100;

/// A command is at once where somebody waits for it; whoever asks every five seconds would hear of three of them later than this.
const AT_ONCE: Duration = Duration::from_secs(2);

#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_gateways_wait_at_once_and_each_hears_of_its_command() {
    let mut noc = Noc::of_many(GATEWAYS, None);
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
