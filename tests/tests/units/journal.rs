//! The log as the journal gets it, and as everybody else does.

use serde_json::Value;
use vigil_tests::house::{Agent, Plant, Source};

fn agent(script: &str) -> Agent {
    Agent::through(script, Agent::files("gw-1", &Plant::default().guards(1), Source::Embedded, None))
}

fn complain(agent: &mut Agent) -> Vec<String> {
    std::fs::write(agent.folder().join("site.toml"), "nothing = 1").unwrap();
    agent.process().signal("HUP");
    agent.process().said("the site file is invalid; the old one stays in force");
    agent.process().log()
}

#[test]
fn the_journal_gets_priorities_and_no_second_instant() {
    let mut agent = agent("JOURNAL_STREAM=$(stat -L -c %d:%i /dev/fd/2); export JOURNAL_STREAM; exec \"$@\"");
    let log = complain(&mut agent);
    for line in &log {
        let (priority, json) = line.split_once('{').unwrap();
        let event: Value = serde_json::from_str(&format!("{{{json}")).unwrap();
        let expected = [("ERROR", "<3>"), ("WARN", "<4>"), ("INFO", "<6>")];
        assert!(expected.contains(&(event["level"].as_str().unwrap(), priority)), "{line}");
        assert!(event["timestamp"].is_null(), "{line}");
    }
    assert!(log.iter().any(|line| line.starts_with("<3>")) && log.iter().any(|line| line.starts_with("<6>")));
}

#[test]
fn why_it_does_not_start_is_an_error_to_the_journal() {
    let script = "JOURNAL_STREAM=$(stat -L -c %d:%i /dev/fd/2); export JOURNAL_STREAM; exec \"$@\"";
    let mut agent = Agent::through(script, Agent::files("gw-1", &Plant::default(), Source::Embedded, None));
    assert_eq!(agent.stop(std::time::Duration::from_secs(5)).code(), Some(0));
    std::fs::remove_file(agent.folder().join("site.toml")).unwrap();
    agent.launch_again();
    assert_eq!(agent.process().end(vigil_tests::house::PATIENCE).code(), Some(2));
    let log = agent.process().log();
    assert!(log.len() >= 2 && log.iter().all(|line| line.starts_with("<3>")), "{log:?}");
}

#[test]
fn a_pipe_that_is_no_journal_gets_lines_with_their_instant() {
    let mut agent = agent("JOURNAL_STREAM=1:1; export JOURNAL_STREAM; exec \"$@\"");
    for line in complain(&mut agent) {
        let event: Value = serde_json::from_str(&line).unwrap();
        assert!(event["timestamp"].is_string(), "{line}");
    }
}
