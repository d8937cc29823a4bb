//! A disk that answers no more: `strace` holds back one `fdatasync` of the running agent, as a dying disk would.

use super::health;
use serde_json::{Value, json};
use std::time::Duration;
use vigil_tests::house::{Agent, Handset, Plant, Source, fetch, message, missing, now, topic, until, vigil};

/// Longer than it takes until it is said, and until the process is gone.
const STUCK: Duration = Duration::from_secs(60);
const GONE: Duration = Duration::from_secs(240);
/// An answer that comes late, and one that comes when nobody waits for it any more: like a disk, `strace` lets go of the
/// process when it answers, and not before.
const LATE_SECS: u64 = 50;
const TOO_LATE_SECS: u64 = 145;

/// An agent whose store gets no answer to one `fdatasync` for so many seconds, some commits after its start.
fn agent(secs: u64) -> Agent {
    let held = format!("inject=fdatasync:delay_enter={secs}s:when=40");
    let script = format!("exec strace -D -f -qq -e trace=fdatasync -e {held} -o /dev/null -- \"$@\"");
    if let Err(why) = std::process::Command::new("strace").arg("-V").output() {
        missing("strace", "strace", &why);
    }
    Agent::through(&script, Agent::files("gw-1", &Plant::default().guards(1), Source::Embedded, None))
}

/// Says something again and again, until it is not acknowledged.
fn until_it_is_stuck(agent: &Agent) -> std::thread::JoinHandle<u64> {
    let mut handset = Handset::connect(agent.mqtt(), "hs-1").unwrap();
    std::thread::spawn(move || {
        let said = (0..).take_while(|n: &u64| {
            let event = message(now(), json!({"id": format!("s-{n}"), "event": "screen_on"}));
            handset.publish(&topic("hs-1", "activity"), event.to_string().as_bytes()).is_ok()
        });
        said.count() as u64
    })
}

#[test]
fn a_disk_that_answers_late_is_said_and_the_agent_goes_on() {
    let mut agent = agent(LATE_SECS);
    let process = agent.process().id();
    // The page shows what was last known, so it has to be looked at before.
    agent.status();
    let stored = until_it_is_stuck(&agent);
    let said = vigil_tests::house::eventually("it is said", STUCK, || {
        let (code, said) = fetch(agent.page(), "/healthz").unwrap();
        if code == 503 && said.contains("the disk is stuck") { Ok(said) } else { Err(said) }
    });
    assert!(said.contains("has not answered for 3"), "{said}");
    let status: Value = serde_json::from_str(&fetch(agent.page(), "/api/status").unwrap().1).unwrap();
    assert!(status["stuck_secs"].as_u64().is_some_and(|secs| secs >= 30), "{status}");
    let shown = vigil(&["status", "--url", &format!("http://{}", agent.page())]);
    assert!(shown.out.contains("STUCK: the disk has not answered for"), "{shown:?}");
    agent.process().said("the store does not answer: the disk may be stuck");
    health(&mut agent, 200);
    until("it stores again", || agent.status()["stuck_secs"] == Value::Null);
    assert_eq!(agent.process().id(), process);
    // The handset gave up, and comes again.
    let before = stored.join().unwrap();
    let mut handset = Handset::connect(agent.mqtt(), "hs-1").unwrap();
    let event = message(now(), json!({"id": format!("s-{before}"), "event": "screen_on"}));
    handset.publish(&topic("hs-1", "activity"), event.to_string().as_bytes()).unwrap();
    assert!(agent.outcomes("applied") >= before);
}

#[test]
fn a_disk_that_answers_no_more_ends_the_agent_with_its_reason() {
    let mut agent = agent(TOO_LATE_SECS);
    let stored = until_it_is_stuck(&agent);
    let ended = agent.process().end(GONE);
    assert_eq!(ended.code(), Some(1), "{ended}");
    let log = agent.process().log().join("\n");
    assert!(log.contains("the store did not answer for 120 s: the disk is stuck"), "{log}");
    assert!(stored.join().unwrap() > 0, "it stored before");
}
