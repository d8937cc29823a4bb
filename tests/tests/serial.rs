//! Devices on serial cables: the built daemon, with pseudo-terminals for cables and the test for the devices.

// All of it is test code: a failed unwrap is a failed test.
#![cfg(test)]

use serde_json::{Value, json};
use std::path::Path;
use std::time::Duration;
use tempfile::TempDir;
use vigil_agent::store::{Input, Store};
use vigil_core::id::Tag;
use vigil_core::observation::{Kind, Observation};
use vigil_core::time::{Span, Timestamp};
use vigil_tests::house::{
    Agent, Cable, Chip, Handset, Mood, PATIENCE, Plant, Source, eventually, fetch, message, now, topic,
    until, vigil,
};

/// A card of an RDM6300 as it comes: the fob says 0008844356.
const FOB: &[u8] = b"\x02100086F44426\x03";
/// A policy that is told of a silence at once.
const AT_ONCE: &str = "[policy]\nsettle = \"1s\"";

/// A gate with a reader, a van with a receiver, and a guard with a handset and a card.
fn plant() -> Plant {
    Plant::default().guards(1).checkpoints(1).and(
        "[[guards]]\nid = \"G-9\"\nbadge = \"100086F444\"\n\
         [[devices]]\nid = \"gate\"\nkind = \"reader\"\ncheckpoint = \"cp-1\"\n\
         [[devices]]\nid = \"van\"\nkind = \"gps\"\nguard = \"G-9\"",
    )
}

/// The files of a gateway with one serial line, and its cable.
fn files(plant: &Plant, device: &str, protocol: &str) -> (TempDir, Cable) {
    let folder = Agent::files("gw-1", plant, Source::Embedded, None);
    let cable = Cable::named(folder.path().join("usb-Reader-if00"));
    let file = folder.path().join("agent.toml");
    let config = std::fs::read_to_string(&file).unwrap();
    let line = format!(
        "[[serial]]\ndevice = \"{device}\"\nport = \"{}\"\nprotocol = \"{protocol}\"\n",
        cable.name().display()
    );
    std::fs::write(file, config + &line).unwrap();
    (folder, cable)
}

/// An agent with a cable that is plugged in and up.
fn plugged(device: &str, protocol: &str) -> (Agent, Cable) {
    let (folder, mut cable) = files(&plant(), device, protocol);
    cable.plug();
    let agent = Agent::of(folder, None);
    line(&agent, "it is open", |line| line["opened"] == 1);
    (agent, cable)
}

/// Waits until the line is as it should be.
fn line(agent: &Agent, what: &str, wanted: impl Fn(&Value) -> bool) -> Value {
    eventually(what, PATIENCE, || {
        let line = agent.status()["serial"][0].clone();
        if wanted(&line) { Ok(line) } else { Err(line.to_string()) }
    })
}

fn has_read(agent: &Agent, n: u64) -> Value {
    line(agent, &format!("{n} readings"), |line| line["read"] == n && line["waiting"] == 0)
}

/// What came in of a device, as it is stored.
fn stored(mut agent: Agent, device: &str) -> Vec<Observation> {
    assert_eq!(agent.stop(PATIENCE).code(), Some(0));
    let inputs = Store::open(&agent.store()).unwrap().inputs_from(0).unwrap();
    let observation = |input: Input| match input {
        Input::Observation(observation, _) => Some(observation),
        Input::Down { .. } | Input::Unset { .. } | Input::Clock { .. } | Input::Command(..) => None,
    };
    inputs.into_iter().filter_map(observation).filter(|o| o.device.as_str() == device).collect()
}

/// A card in its normal form, however it is spelled.
fn tag(card: &str) -> String {
    Tag::new(card).unwrap().to_string()
}

fn scans(observations: &[Observation]) -> Vec<String> {
    let scanned = |observation: &Observation| match &observation.kind {
        Kind::Scan(scan) => Some(scan.tag.to_string()),
        Kind::Heartbeat(_)
        | Kind::Location(_)
        | Kind::Task(_)
        | Kind::Attendance(_)
        | Kind::Activity(_)
        | Kind::Sos(_)
        | Kind::Status { .. } => None,
    };
    observations.iter().filter_map(scanned).collect()
}

#[test]
fn a_card_that_lies_on_a_reader_is_one_scan() {
    let (agent, mut cable) = plugged("gate", "rdm6300");
    line(&agent, "an open port counts as a reader that is there", |line| line["up"] == true);
    let before = now();
    for _ in 0..20 {
        cable.send(FOB);
        std::thread::sleep(Duration::from_millis(20));
    }
    has_read(&agent, 1);
    // Noise, a wrong checksum, half a frame; then another card, byte by byte.
    cable.send(b"\xFF\xFE\x02100086F44427\x03\x021000");
    for byte in b"\x02010203040501\x03" {
        cable.send(&[*byte]);
    }
    let shown = has_read(&agent, 2);
    assert_eq!(
        (&shown["skipped_bytes"], &shown["lost"], &shown["up"]),
        (&json!(2 + 14 + 5), &json!(0), &json!(true))
    );
    assert!(agent.device("gate")["last_received_at"].is_string());
    let metrics = fetch(agent.page(), "/metrics").unwrap().1;
    for sample in [
        "serial_up{device=\"gate\"} 1",
        "serial_read_total{device=\"gate\"} 2",
        "serial_skipped_bytes_total{device=\"gate\"} 21",
    ] {
        assert!(metrics.contains(&format!("vigil_{sample}\n")), "{sample}:\n{metrics}");
    }
    let shown = vigil(&["status", "--url", &format!("http://{}", agent.page())]);
    assert!(shown.out.contains("rdm6300") && shown.out.contains("up; 21"), "{}", shown.out);
    let observations = stored(agent, "gate");
    assert_eq!(scans(&observations), [tag("100086F444"), tag("0102030405")]);
    let read = observations.iter().filter(|o| matches!(o.kind, Kind::Scan(_)));
    assert!(read.into_iter().all(|o| o.at >= before && o.at <= o.received_at), "{observations:?}");
}

#[test]
fn a_cable_is_pulled_out_and_plugged_in_again() {
    let (folder, mut cable) = files(&plant().and(AT_ONCE), "gate", "lines");
    cable.plug();
    let agent = Agent::of(folder, None);
    line(&agent, "it is up", |line| line["up"] == true);
    cable.send(b"04:A1:B2:C3\r\n04");
    has_read(&agent, 1);
    cable.unplug();
    let down = line(&agent, "it is down", |line| line["up"] == false);
    let said = down["last_error"].as_str().unwrap();
    assert!(said.contains("unplugged") || said.contains("is not there"), "{said}");
    let silent = |agent: &Agent, cleared: bool| {
        agent.alerts().iter().any(|a| {
            a["rule"] == "device_silent"
                && a["subject"] == "device:gate"
                && a["cleared_at"].is_string() == cleared
        })
    };
    until("somebody is told", || silent(&agent, false));
    cable.plug();
    line(&agent, "it is up again", |line| line["up"] == true && line["opened"] == 2);
    until("that is over", || silent(&agent, true));
    // Half a line that came before is not the beginning of this one.
    cable.send(b"0008844356\r\n");
    has_read(&agent, 2);
    assert_eq!(scans(&stored(agent, "gate")), ["04A1B2C3", "86F444"]);
}

#[test]
fn a_port_that_is_not_there_is_said_and_holds_up_nothing() {
    let (folder, mut cable) = files(&plant(), "gate", "rdm6300");
    let config = folder.path().join("agent.toml");
    let checked = vigil(&["check".as_ref(), "--config".as_ref(), config.as_os_str()]);
    assert_eq!(checked.code, Some(0), "{checked:?}");
    assert!(
        checked.err.contains("note: serial line gate: ") && checked.err.contains("/dev/serial/by-id"),
        "{}",
        checked.err
    );
    let mut agent = Agent::of(folder, None);
    let said = agent.process().said("the serial line is down; trying again");
    assert!(said["error"].as_str().unwrap().contains("is not there"), "{said}");
    let mut handset = Handset::connect(agent.mqtt(), "hs-1").unwrap();
    handset.publish(&topic("hs-1", "heartbeat"), message(now(), json!({})).to_string().as_bytes()).unwrap();
    let down = line(&agent, "it is down", |line| line["last_error"].is_string());
    assert_eq!((&down["up"], &down["opened"]), (&json!(false), &json!(0)));
    cable.plug();
    line(&agent, "it is up", |line| line["up"] == true);
    cable.send(FOB);
    has_read(&agent, 1);
    assert_eq!(scans(&stored(agent, "gate")), [tag("100086F444")]);
}

#[test]
fn what_is_no_port_is_said() {
    let (folder, cable) = files(&plant(), "gate", "rdm6300");
    std::fs::write(cable.name(), "").unwrap();
    let agent = Agent::of(folder, None);
    let down = line(&agent, "it is down", |line| line["last_error"].is_string());
    assert!(down["last_error"].as_str().unwrap().contains(" is no serial port;"), "{down}");
}

fn sentence(body: &str) -> String {
    let sum = body.bytes().fold(0, |sum, byte| sum ^ byte);
    format!("${body}*{sum:02X}\r\n")
}

/// `hhmmss.sss` and `ddmmyy` of an instant.
fn clock(at: Timestamp) -> (String, String) {
    let text = at.to_string();
    let part = |from: usize, to: usize| text.get(from..to).unwrap();
    let time = format!("{}{}{}.{}", part(11, 13), part(14, 16), part(17, 19), part(20, 23));
    (time, format!("{}{}{}", part(8, 10), part(5, 7), part(2, 4)))
}

#[test]
fn a_receiver_says_where_it_is_and_when_whatever_its_calendar_says() {
    let (agent, mut cable) = plugged("van", "nmea");
    cable.send(sentence("GPTXT,01,01,02,u-blox").as_bytes());
    line(&agent, "a valid sentence proves the receiver", |line| line["up"] == true);
    cable.send(b"$GPGGA,half a sentence");
    // No fix yet; then one of a receiver whose weeks rolled over, and the instant after.
    let taken = now() - Span::from_secs(2);
    let rolled = taken - Span::from_hours(1_024 * 7 * 24);
    let ((void, _), (time, _), (_, date)) = (clock(taken - Span::from_secs(1)), clock(taken), clock(rolled));
    let (next, _) = clock(taken + Span::from_secs(1));
    let talk = [
        sentence(&format!("GNRMC,{void},V,,,,,,,{date},,,N")),
        sentence(&format!("GNGGA,{time},1258.2960,N,07735.6760,E,1,08,1.2,900.0,M,-86.0,M,,")),
        sentence(&format!("GNRMC,{time},A,1258.2960,N,07735.6760,E,19.438,90.0,{date},,,A")),
        sentence(&format!("GNGST,{time},10.0,,,,3.0,4.0,9.0")),
        sentence(&format!("GNRMC,{next},V,,,,,,,{date},,,N")),
    ];
    for piece in talk.concat().as_bytes().chunks(7) {
        cable.send(piece);
    }
    let shown = has_read(&agent, 1);
    assert_eq!(shown["skipped_bytes"], 22);
    let observations = stored(agent, "van");
    let fixes: Vec<_> = observations
        .iter()
        .filter_map(|o| if let Kind::Location(fix) = &o.kind { Some((o.at, fix)) } else { None })
        .collect();
    let [(at, fix)] = fixes[..] else { panic!("{observations:?}") };
    assert_eq!(at, taken);
    assert!((fix.lat - 12.9716).abs() < 1e-6 && (fix.lon - 77.5946).abs() < 1e-5, "{fix:?}");
    assert_eq!((fix.accuracy_m, fix.heading_deg), (Some(5.0), Some(90.0)));
    assert!((fix.speed_mps.unwrap() - 10.0).abs() < 0.01, "{fix:?}");
    assert!(observations.iter().any(|o| matches!(o.kind, Kind::Heartbeat(_))), "and that it lives");
}

#[test]
fn a_pn532_is_asked_for_cards_and_borne_with() {
    let (folder, mut cable) = files(&plant(), "gate", "pn532");
    cable.plug();
    let chip = Chip::on(cable);
    let agent = Agent::of(folder, None);
    line(&agent, "the chip has answered", |line| line["up"] == true);
    until("it is asked again and again", || chip.looks() > 3);
    chip.lay(&[&[0x04, 0x33, 0x18, 0xEA, 0x70, 0x32, 0x80], &[0x0A, 0xA1, 0xB2, 0xC3]]);
    has_read(&agent, 2);
    chip.be(&[Mood::AckLost, Mood::Garbled, Mood::Refusing, Mood::AnswerLost, Mood::Deaf]);
    until("it was in every mood", || chip.moods_left() == 0);
    let looks = chip.looks();
    until("and is asked on", || chip.looks() > looks + 3);
    // On a busy machine the two may have counted again meanwhile.
    let read = line(&agent, "all is stored", |line| line["waiting"] == 0)["read"].as_u64().unwrap();
    chip.lay(&[&[1, 2, 3, 4, 5, 6, 7, 8, 9, 10]]);
    let up = has_read(&agent, read + 1);
    assert_eq!((&up["up"], &up["opened"]), (&json!(true), &json!(1)));
    let mut cable = chip.leave();
    let mute = line(&agent, "a chip that answers no more is said", |line| line["up"] == false);
    assert!(mute["last_error"].as_str().unwrap().contains("HSU"), "{mute}");
    cable.unplug();
    cable.plug();
    let chip = Chip::on(cable);
    line(&agent, "the next one is woken", |line| line["up"] == true);
    drop(chip);
    let tags = scans(&stored(agent, "gate"));
    assert_eq!(tags.first().map(String::as_str), Some("043318EA703280"));
    for uid in ["0AA1B2C3", "0102030405060708090A"] {
        assert!(tags.iter().any(|tag| tag == uid), "{uid}: {tags:?}");
    }
}

#[test]
fn what_was_read_outlives_a_kill() {
    let (mut agent, mut cable) = plugged("gate", "lines");
    cable.send(b"04A1B2C3\n04A1B2C4\n");
    has_read(&agent, 2);
    agent.kill();
    cable.plug();
    agent.start_again();
    line(&agent, "it is open again", |line| line["up"] == true);
    cable.send(b"04A1B2C5\n");
    has_read(&agent, 1);
    assert_eq!(scans(&stored(agent, "gate")), ["04A1B2C3", "04A1B2C4", "04A1B2C5"]);
}

/// A `[[serial]]` of a device that the site file does not know stays an error with its place.
#[test]
fn a_line_of_nobody_is_an_error() {
    let (folder, _) = files(&Plant::default().guards(1), "gate", "rdm6300");
    let config: &Path = &folder.path().join("agent.toml");
    let checked = vigil(&["check".as_ref(), "--config".as_ref(), config.as_os_str()]);
    assert!(checked.code == Some(2) && checked.err.contains("serial[0].device"), "{checked:?}");
}
