//! What people meet first: `vigil check`, wrong use, and asking an agent that is not there.

// All of it is test code: a failed unwrap is a failed test.
#![cfg(test)]

use std::path::Path;
use vigil_tests::house::{Agent, Plant, Source, vigil};

/// One mistake of each sort, each on a line of its own; the last one is in the site file.
const FIVE_MISTAKES: &str = r#"[agent]
gateway = "gw 1"
[mqtt]
mode = "embeded"
password_file = "mqtt.passwd"
[http]
listen = "127.0.0.1:0"
lisen = "127.0.0.1:0"
[store]
retention = "72 hours"
"#;

fn check(folder: &Path) -> vigil_tests::house::Ended {
    vigil(&["check".as_ref(), "--config".as_ref(), folder.join("agent.toml").as_os_str()])
}

#[test]
fn five_mistakes_are_five_reports_with_file_line_and_mend() {
    let plant = Plant::default().guards(1).and("[policy]\nsettle = \"2m\"");
    let folder = Agent::files("gw-1", &Plant::default().guards(1), Source::Embedded, None);
    std::fs::write(folder.path().join("agent.toml"), FIVE_MISTAKES).unwrap();
    std::fs::write(folder.path().join("site.toml"), plant.text()).unwrap();
    let ended = check(folder.path());
    assert_eq!(ended.code, Some(2), "{ended:?}");
    let settle_line = plant.text().lines().position(|l| l.starts_with("settle")).unwrap() + 1;
    let expected = [
        ("agent.toml:2: agent.gateway: ".to_owned(), "allowed: "),
        ("agent.toml:4: mqtt.mode: ".to_owned(), "embedded"),
        ("agent.toml:8: http.lisen: ".to_owned(), "did you mean \"listen\"?"),
        ("agent.toml:10: store.retention: ".to_owned(), "allowed: "),
        (format!("site.toml:{settle_line}: policy.settle: "), "allowed: "),
    ];
    let told: Vec<&str> = ended.err.lines().filter(|l| l.contains(".toml:")).collect();
    assert_eq!(told.len(), expected.len(), "{}", ended.err);
    for (line, (place, mend)) in told.iter().zip(expected) {
        assert!(line.contains(&place) && line.contains(mend), "{place}: {line}");
    }
    assert!(ended.out.is_empty(), "{}", ended.out);
}

#[test]
fn a_good_configuration_is_ok() {
    let plant = Plant::default().guards(2).checkpoints(1).tour("round", "G-1", &["cp-1"], "22:00");
    let folder = Agent::files("gw-1", &plant, Source::Embedded, None);
    let ended = check(folder.path());
    assert_eq!(
        (ended.code, ended.out.as_str()),
        (Some(0), "ok: Plant 7 with 2 guards, 2 devices, 1 tours\n"),
        "{}",
        ended.err
    );
}

#[test]
fn an_invalid_configuration_does_not_start() {
    let folder = Agent::files("gw-1", &Plant::default().guards(1), Source::Embedded, None);
    std::fs::write(folder.path().join("agent.toml"), FIVE_MISTAKES).unwrap();
    let ended = vigil(&["run".as_ref(), "--config".as_ref(), folder.path().join("agent.toml").as_os_str()]);
    assert_eq!(ended.code, Some(2), "{}", ended.err);
    assert!(ended.err.contains("agent.toml:2: agent.gateway: "), "{}", ended.err);
    assert!(!folder.path().join("data").exists(), "nothing was opened");
}

#[test]
fn wrong_use_is_told_from_failure() {
    for wrong in [&["guard"][..], &["replay"], &["run", "--speed", "3"], &[]] {
        let ended = vigil(wrong);
        assert_eq!(ended.code, Some(2), "{wrong:?}: {ended:?}");
        assert!(ended.err.contains("Usage: vigil"), "{wrong:?}: {}", ended.err);
    }
    let ended = vigil(&["check", "--config", "/nowhere/agent.toml"]);
    assert_eq!(ended.code, Some(2), "{ended:?}");
    assert!(ended.err.contains("/nowhere/agent.toml"), "{}", ended.err);
}

#[test]
fn asking_an_agent_that_is_not_there_fails_with_a_sentence_and_a_mend() {
    for question in [&["alerts"][..], &["status"], &["status", "--refused", "--json"]] {
        let ended = vigil(&[question, &["--url", "http://127.0.0.1:1"]].concat());
        assert_eq!(ended.code, Some(1), "{question:?}: {ended:?}");
        let lines: Vec<&str> = ended.err.lines().collect();
        assert_eq!(lines.len(), 2, "{question:?}: {}", ended.err);
        assert!(
            lines[0].starts_with("vigil: the agent at http://127.0.0.1:1 does not answer: "),
            "{}",
            ended.err
        );
        assert!(lines[1].contains("vigil run --config agent.toml"), "{}", ended.err);
        assert!(ended.out.is_empty(), "{}", ended.out);
    }
}
