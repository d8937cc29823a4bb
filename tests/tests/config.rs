//! What people meet first: `vigil check`, `vigil config explain`, wrong use, and asking an agent that is not there.

// All of it is test code: a failed unwrap is a failed test.
#![cfg(test)]

use serde_json::Value;
use std::path::Path;
use vigil_core::figures::FIGURES;
use vigil_tests::house::{Agent, Noc, Plant, Source, Uplink, vigil, vigil_unread};
use vigil_tests::recording::vector_folder;

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
    let first = ended.out.lines().next();
    assert_eq!(
        (ended.code, first),
        (Some(0), Some("ok: Plant 7 with 2 guards, 2 devices, 1 tours")),
        "{}",
        ended.err
    );
    // Then what can be said of the machine, each with its mend if it has one.
    for (what, mend) in
        [("clock", "timedatectl set-ntp true"), ("the disk has", "make room"), ("mqtt.passwd", "chmod 0640")]
    {
        let lines = ended.out.lines().chain(ended.err.lines());
        let of_it: Vec<&str> = lines.filter(|line| line.contains(what)).collect();
        let [line] = of_it[..] else { panic!("{what}: {ended:?}") };
        assert!(line.starts_with("ok: ") || line.starts_with("note: ") && line.contains(mend), "{line}");
    }
    assert!(!format!("{ended:?}").contains("certificate"), "there is none: {ended:?}");
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
fn a_box_that_was_never_set_up_is_told_what_belongs_there() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("agent.toml");
    let run = || vigil(&["run".as_ref(), "--config".as_ref(), file.as_os_str()]);
    let fresh = run();
    assert_eq!(fresh.code, Some(2), "{fresh:?}");
    for word in ["is not set up yet", "agent.toml", "site.toml", "mqtt.passwd", "credentials/", "vigil check"]
    {
        assert!(fresh.err.contains(word), "{word}: {}", fresh.err);
    }
    // With one of them there, everything else that is missing is named at once.
    let text = "[agent]\ngateway = \"gw-1\"\n[mqtt]\nlisten = \"127.0.0.1:0\"\npassword_file = \"mqtt.passwd\"\n\
                [uplink]\nurl = \"https://noc.example.org/v1\"\ncredential = \"noc-token\"\n[http]\nlisten = \"127.0.0.1:0\"\n";
    std::fs::write(&file, text).unwrap();
    let half = run();
    assert_eq!(half.code, Some(2), "{half:?}");
    for word in ["site.toml", "agent.toml:5: mqtt.password_file", "agent.toml:8: uplink.credential"] {
        assert!(half.err.contains(word), "{word}: {}", half.err);
    }
}

#[test]
fn what_lies_beyond_the_box_is_tried_only_for_who_asks() {
    let uplink = Uplink {
        url: "http://127.0.0.1:1/v1".into(),
        ca: "absent".into(),
        token: "t0123456789abcdef".into(),
    };
    let folder = Agent::files("gw-1", &Plant::default().guards(1), Source::Embedded, Some(&uplink));
    let file = folder.path().join("agent.toml");
    let text = std::fs::read_to_string(&file).unwrap().replace("ca_file = \"absent\"\n", "");
    std::fs::write(&file, text).unwrap();
    let here = check(folder.path());
    assert!(here.code == Some(0) && !here.err.contains("operations centre"), "{here:?}");
    let online = vigil(&["check".as_ref(), "--online".as_ref(), "--config".as_ref(), file.as_os_str()]);
    assert_eq!(online.code, Some(1), "{online:?}");
    assert!(
        online.err.contains("note: the operations centre http://127.0.0.1:1/v1: nobody can be reached"),
        "{online:?}"
    );
}

#[test]
fn a_receiver_says_whether_it_takes_the_token() {
    let noc = Noc::start(&["gw-1"]);
    let mut uplink = noc.uplink("gw-1");
    for (token, code, word) in [
        (uplink.token.clone(), 0, "knows this gateway"),
        ("t0123456789abcdef".into(), 1, "does not take the token"),
    ] {
        uplink.token = token;
        let folder = Agent::files("gw-1", &Plant::default().guards(1), Source::Embedded, Some(&uplink));
        let file = folder.path().join("agent.toml");
        let told = vigil(&["check".as_ref(), "--online".as_ref(), "--config".as_ref(), file.as_os_str()]);
        assert!(told.code == Some(code) && format!("{}{}", told.out, told.err).contains(word), "{told:?}");
        assert!(told.out.contains("is good for"), "its certificate: {told:?}");
    }
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

/// Three layers, of which each sets something that the others do not.
const LAYERED: &str = "[layers.tenant.inactivity]\nwelfare_check = \"2m\"\nwindow = \"4h\"\nhours.from = \"18:00\"\n\
                       [layers.client.inactivity]\nwindow = \"3h\"\n[layers.client.tasks]\nsla.low = \"3h\"\n\
                       [policy.inactivity]\nhours.from = \"19:00\"";

fn explain(folder: &Path, arguments: &[&str]) -> vigil_tests::house::Ended {
    let config = folder.join("agent.toml");
    let config = ["--config", config.to_str().unwrap()];
    vigil(&[&["config", "explain"], arguments, &config].concat())
}

fn explained(folder: &Path, key: &str) -> Vec<Value> {
    let ended = explain(folder, &[key, "--json"]);
    assert_eq!(ended.code, Some(0), "{key}: {}", ended.err);
    ended.out.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn the_layer_that_set_a_figure_is_named_with_its_line() {
    let plant = Plant::default().guards(1).and(LAYERED);
    let folder = Agent::files("gw-1", &plant, Source::Embedded, None);
    let line = |text: &str| plant.text().lines().position(|l| l == text).unwrap() as u64 + 1;
    for (key, value, set_by, at) in [
        ("policy.inactivity.window", "3h", "client", Some(line("window = \"3h\""))),
        ("policy.inactivity.welfare_check", "2m", "tenant", Some(line("welfare_check = \"2m\""))),
        ("policy.inactivity.hours.from", "19:00", "site", Some(line("hours.from = \"19:00\""))),
        ("policy.inactivity.hours.to", "06:00", "default", None),
        ("policy.tasks.sla.low", "3h", "client", Some(line("sla.low = \"3h\""))),
        ("agent.gateway", "gw-1", "file", Some(2)),
        ("store.retention", "72h", "default", None),
    ] {
        let [told] = explained(folder.path(), key).try_into().unwrap();
        assert_eq!((&told["value"], &told["set_by"]), (&value.into(), &set_by.into()), "{told}");
        assert_eq!(told["line"].as_u64(), at, "{told}");
        assert_eq!(told["file"].is_string(), at.is_some(), "{told}");
    }
    let [window] = explained(folder.path(), "policy.inactivity.window").try_into().unwrap();
    let words: Vec<&Value> = window["layers"].as_array().unwrap().iter().map(|w| &w["value"]).collect();
    assert_eq!(words, ["4h", "3h"].map(Value::from).iter().chain([&Value::Null]).collect::<Vec<_>>());
    let ended = explain(folder.path(), &["policy.inactivity"]);
    let row = ended.out.lines().find(|l| l.contains("policy.inactivity.window ")).unwrap();
    let cells: Vec<&str> = row.split_whitespace().collect();
    assert!(
        cells[1] == "\"3h\"" && cells[2] == "client" && cells.ends_with(&["\"4h\"", "\"3h\"", "-"]),
        "{row}"
    );
}

/// By the core's own table, which the reader goes by as well: none can be left out.
#[test]
fn every_key_of_the_policy_is_explained() {
    let folder = Agent::files("gw-1", &Plant::default().guards(1), Source::Embedded, None);
    let all = explained(folder.path(), "");
    for figure in FIGURES {
        let key = format!("policy.{}", figure.key);
        let [told] = explained(folder.path(), &key).try_into().unwrap();
        assert!(all.contains(&told), "{key}");
        assert_eq!(told["set_by"], "default", "{key}");
        assert_eq!(told["value"], told["default"], "{key}");
        for said in ["allowed", "means"] {
            assert!(told[said].as_str().is_some_and(|text| text.len() > 5), "{key}: {told}");
        }
        let ended = explain(folder.path(), &[&key]);
        assert!(ended.code == Some(0) && ended.out.starts_with(&format!("{key} = ")), "{ended:?}");
    }
    assert!(all.iter().any(|told| told["key"] == "policy.maintenance"));
    assert!(all.iter().any(|told| told["key"] == "mqtt.password_file" && told["set_by"] == "file"));
}

#[test]
fn a_key_that_there_is_not_is_answered_with_the_nearest() {
    let folder = Agent::files("gw-1", &Plant::default().guards(1), Source::Embedded, None);
    for (key, nearest) in [
        ("policy.inactivity.windw", "policy.inactivity.window"),
        ("inactivity.window", "policy.inactivity.window"),
        ("layers.tenant.tours.grace", "policy.tours.grace"),
        ("tours", "policy.tours"),
        ("http.lisen", "http.listen"),
        ("polic", "policy"),
    ] {
        let ended = explain(folder.path(), &[key]);
        assert_eq!(ended.code, Some(2), "{key}: {ended:?}");
        assert!(ended.err.contains(&format!("did you mean \"{nearest}\"?")), "{key}: {}", ended.err);
    }
    std::fs::write(folder.path().join("agent.toml"), FIVE_MISTAKES).unwrap();
    let ended = explain(folder.path(), &["policy"]);
    assert!(ended.code == Some(2) && ended.err.contains("agent.toml:2: agent.gateway"), "{}", ended.err);
    let site = folder.path().join("site.toml");
    let ended = vigil(&["config", "explain", "policy.settle", "--site", site.to_str().unwrap()]);
    assert!(ended.code == Some(0) && ended.out.starts_with("policy.settle = \"5s\""), "{ended:?}");
}

#[test]
fn what_the_layers_together_make_wrong_is_told_by_check() {
    let plant = Plant::default().guards(1);
    let wrong = "[layers.tenant.inactivity]\ncycle = \"16m\"\n[policy.inactivity]\nwindow = \"2h\"";
    let folder = Agent::files("gw-1", &plant, Source::Embedded, None);
    let plant = plant.and(wrong);
    std::fs::write(folder.path().join("site.toml"), plant.text()).unwrap();
    let ended = check(folder.path());
    let last = plant.text().lines().count();
    assert_eq!(ended.code, Some(2), "{ended:?}");
    let expected = format!(
        "site.toml:{last}: policy.inactivity.window: found \"2h\", allowed: a whole multiple of cycle (16m); \
         layers.tenant.inactivity.cycle is set at "
    );
    assert!(ended.err.contains(&expected), "{}", ended.err);
    assert!(ended.err.contains(&format!("site.toml:{}\n", last - 2)), "{}", ended.err);
}

#[test]
fn a_receiver_is_checked_alone_or_with_the_agent() {
    let folder = Agent::files("gw-1", &Plant::default().guards(1), Source::Embedded, None);
    let file = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let text = "[noc]\ntls = false\nlisten = \"127.0.0.1:0\"\noperator_listen = \"127.0.0.1:0\"\n[[gateways]]\n\
                id = \"gw-1\"\ntenant = \"acme\"\nsite = \"plant-7\"\ncredential = \"gw-1-token\"\n";
    std::fs::write(file("noc.toml"), text).unwrap();
    let ended = vigil(&["check", "--noc", &file("noc.toml")]);
    assert_eq!(ended.code, Some(2), "{ended:?}");
    assert!(ended.err.contains("noc.toml:9: gateways[0].credential"), "{}", ended.err);
    std::fs::write(file("agent.toml"), FIVE_MISTAKES).unwrap();
    let ended = vigil(&["check", "--noc", &file("noc.toml"), "--config", &file("agent.toml")]);
    assert!(ended.err.contains("agent.toml:2:") && ended.err.contains("noc.toml:9:"), "{}", ended.err);
    let open = text.replace("gw-1-token", "open");
    std::fs::write(file("noc.toml"), open).unwrap();
    std::fs::create_dir_all(file("credentials")).unwrap();
    std::fs::write(file("credentials/open"), "token-of-the-gateway").unwrap();
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o600);
    std::fs::set_permissions(file("credentials/open"), mode).unwrap();
    let ended = vigil(&["check", "--noc", &file("noc.toml")]);
    assert_eq!(
        (ended.code, ended.out.as_str()),
        (Some(0), "ok: a receiver of 1 gateways\n"),
        "{}",
        ended.err
    );
}

#[test]
fn a_receiver_with_a_damaged_ledger_says_what_to_do_and_so_does_check() {
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let text = "[noc]\ntls = false\nlisten = \"127.0.0.1:0\"\noperator_listen = \"127.0.0.1:0\"\ndata_dir = \"data\"\n\
                [[gateways]]\nid = \"gw-1\"\ntenant = \"acme\"\nsite = \"plant-7\"\ncredential = \"open\"\n";
    std::fs::write(file("noc.toml"), text).unwrap();
    std::fs::create_dir_all(file("credentials")).unwrap();
    std::fs::write(file("credentials/open"), "token-of-the-gateway").unwrap();
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o600);
    std::fs::set_permissions(file("credentials/open"), mode).unwrap();
    let sound = vigil(&["check", "--noc", &file("noc.toml")]);
    assert_eq!(sound.code, Some(0), "there is no ledger yet: {}", sound.err);
    std::fs::create_dir_all(file("data")).unwrap();
    std::fs::write(file("data/noc.db"), "no ledger at all, ".repeat(400)).unwrap();
    for command in [&["check", "--noc"][..], &["noc", "--config"]] {
        let ended = vigil(&[command, &[&file("noc.toml")]].concat());
        assert_eq!(ended.code, Some(1), "{command:?}: {ended:?}");
        for part in ["data/noc.db is damaged: file is not a database", "do not delete them", "send again"] {
            assert!(ended.err.contains(part), "{command:?}, {part}: {}", ended.err);
        }
    }
}

#[test]
fn a_reader_that_has_had_enough_is_no_failure() {
    let plant = Plant::default().guards(1);
    let agent = Agent::start("gw-1", &plant, Source::Embedded, None);
    let file = |name: &str| agent.folder().join(name).to_str().unwrap().to_owned();
    let (url, config, site) = (format!("http://{}", agent.page()), file("agent.toml"), file("site.toml"));
    let night = vector_folder("sleeper");
    let vector = |name: &str| night.join(name).to_str().unwrap().to_owned();
    let (rules, events) = (vector("site.toml"), vector("events.ndjson"));
    let commands: [&[&str]; 12] = [
        &["status", "--url", &url],
        &["status", "--url", &url, "--json"],
        &["status", "--url", &url, "--refused"],
        &["alerts", "--url", &url],
        &["config", "explain", "--config", &config],
        &["config", "explain", "--json", "--site", &site],
        &["replay", "--site", &rules, &events],
        &["replay", "--site", &rules, &events, "--revisions"],
        &["simulate", "--night", "quiet", "--out", "-"],
        &["completions", "bash"],
        &["man"],
        &["demo", "--once"],
    ];
    for command in commands {
        let ended = vigil_unread(command);
        assert_eq!((ended.code, ended.err.as_str()), (Some(0), ""), "{command:?}");
    }
}
