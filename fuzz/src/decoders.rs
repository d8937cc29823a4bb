//! What must hold for any bytes that come from outside, one function a decoder. libFuzzer calls them from `fuzz_targets`, and
//! `tests/tests/decoders.rs` takes this very file in: what a long run has found out is then held in every run of the tests.

use std::path::Path;
use std::sync::LazyLock;
use std::time::Duration;
use vigil_agent::simulate::Scenario;
use vigil_agent::sources::broker::Passwords;
use vigil_agent::sources::decode;
use vigil_agent::sources::serial::lines::Lines;
use vigil_agent::sources::serial::nmea::Nmea;
use vigil_agent::sources::serial::pn532::Pn532;
use vigil_agent::sources::serial::rdm6300::Rdm6300;
use vigil_agent::sources::serial::speech::Said;
use vigil_cloud_sync::bundle::{PublicKey, Trusted, open, unproved};
use vigil_core::site::Site;
use vigil_core::time::{Span, Timestamp};

/// A decoder with its name, that of its folders in `seeds` and `kept`.
pub type Named = (&'static str, fn(&[u8]));

/// All of them.
pub const ALL: [Named; 14] = [
    ("agent_file", agent_file),
    ("bundle", bundle),
    ("chirpstack", chirpstack),
    ("decode_message", decode_message),
    ("mapping", mapping),
    ("owntracks", owntracks),
    ("password_file", password_file),
    ("serial_lines", serial_lines),
    ("serial_nmea", serial_nmea),
    ("serial_pn532", serial_pn532),
    ("serial_rdm6300", serial_rdm6300),
    ("site_file", site_file),
    ("tasmota", tasmota),
    ("traccar", traccar),
];

/// When everything here is received.
const RECEIVED_AT: Timestamp = Timestamp::from_millis(1_773_172_800_000);

/// A site that has one of each kind of foreign device.
const FOREIGN: &str = r#"
[site]
id = "plant-7"
name = "Plant 7"
tenant = "acme"
client = "north"
timezone = "Asia/Kolkata"
[[checkpoints]]
id = "gate"
[[guards]]
id = "G-7"
[[devices]]
id = "phone"
kind = "handset"
guard = "G-7"
owntracks = "asha/phone"
[[devices]]
id = "reader"
kind = "reader"
checkpoint = "gate"
topic = "tele/gate/SENSOR"
[[devices]]
id = "tracker"
kind = "gps"
topic = "positions/123456789012345"
[[devices]]
id = "lora"
kind = "button"
topic = "application/a/device/01"
[[mappings]]
topic = "map/location"
device = "phone"
kind = "location"
items = "/l"
only_at = "/k"
only = ["fix", "1"]
fields = { ts = "/t", id = "/n", lat = "/p/0", lon = "/p/1", speed = "/v", accuracy = "/a", mock = "/m" }
units = { ts = "ms", speed = "kn", accuracy = "ft" }
[[mappings]]
topic = "map/+"
device_at = "/d"
user = "u"
kind = "scan"
fields = { tag = "/tag", ts = "/t", guard = "/g" }
units = { ts = "s" }
[[mappings]]
topic = "map/task"
device = "phone"
kind = "task"
fields = { task = "/task", state = "/state", created_at = "/t", title = "/title" }
[[mappings]]
topic = "map/status"
device = "phone"
kind = "status"
fields = { online = "" }
"#;

static FOREIGN_SITE: LazyLock<Site> = LazyLock::new(|| {
    vigil_config::parse_site(Path::new("site.toml"), FOREIGN.as_bytes()).expect("a valid site")
});

static OWN_SITE: LazyLock<Site> = LazyLock::new(|| Scenario::sized(1, 1, 1).site().expect("a site"));

/// Any payload on one of these topics is decoded without a panic, alike each time, within its bounds. The first byte of the
/// input chooses the topic.
fn foreign(topics: &[&str], input: &[u8]) {
    let Some((choice, payload)) = input.split_first() else { return };
    let topic = topics[usize::from(*choice) % topics.len()];
    let decoded = decode::message(&FOREIGN_SITE, RECEIVED_AT, topic, payload);
    assert!(decoded.observations.len() + decoded.refused.len() <= 2 * decode::MAX_ITEMS);
    assert_eq!(decoded, decode::message(&FOREIGN_SITE, RECEIVED_AT, topic, payload));
}

/// A phone with OwnTracks.
pub fn owntracks(input: &[u8]) {
    const TOPICS: [&str; 4] = [
        "owntracks/asha/phone",
        "owntracks/asha/phone/event",
        "owntracks/asha/phone/step",
        "owntracks/asha/phone/status",
    ];
    foreign(&TOPICS, input);
}

/// A Tasmota reader.
pub fn tasmota(input: &[u8]) {
    foreign(&["tele/gate/SENSOR", "tele/gate/STATE", "tele/gate/LWT"], input);
}

/// A Traccar server.
pub fn traccar(input: &[u8]) {
    foreign(&["positions", "positions/123456789012345"], input);
}

/// A ChirpStack server.
pub fn chirpstack(input: &[u8]) {
    foreign(&["application/a/device/01/event/up", "application/a/device/01/event/status"], input);
}

/// What the site file maps.
pub fn mapping(input: &[u8]) {
    foreign(&["map/location", "map/scan", "map/task", "map/status"], input);
}

/// Any topic with any payload is decoded without a panic, alike each time, within its bounds.
///
/// The first line of the input is the kind (or a whole topic, if it has a slash); the rest is the payload.
pub fn decode_message(input: &[u8]) {
    let end = input.iter().position(|byte| *byte == b'\n').unwrap_or(0);
    let (kind, payload) = input.split_at(end);
    let kind = String::from_utf8_lossy(kind);
    let topic =
        if kind.contains('/') { kind.into_owned() } else { format!("vigil/v1/plant-7/hs-G-1/{kind}") };
    let decoded = decode::message(&OWN_SITE, RECEIVED_AT, &topic, payload);
    assert!(decoded.observations.len() <= decode::MAX_ITEMS);
    assert_eq!(decoded, decode::message(&OWN_SITE, RECEIVED_AT, &topic, payload));
}

/// Any bytes as `agent.toml`: a configuration, or every problem with its place.
pub fn agent_file(bytes: &[u8]) {
    if let Err(problems) = vigil_config::parse_agent(Path::new("agent.toml"), bytes) {
        assert!(!problems.as_slice().is_empty());
    }
}

/// The key that is trusted. The seed is signed by it, and nothing else is.
static TRUSTED: LazyLock<Trusted> = LazyLock::new(|| {
    Trusted::new(vec![PublicKey::read(include_bytes!("../seeds/bundle.pub")).expect("a key")])
});

/// Any bytes as a site bundle: refused with a reason, unless the key of the seed has signed them as they stand.
pub fn bundle(bytes: &[u8]) {
    match open(bytes, &TRUSTED) {
        Ok(bundle) => {
            assert_eq!(bytes, include_bytes!("../seeds/bundle/example"));
            assert!(unproved(bytes).is_ok_and(|(header, _)| header == bundle.header));
        }
        Err(why) => assert!(!why.to_string().is_empty()),
    }
}

/// Any bytes as a site file, TOML or JSON: a site, or every problem with its place.
pub fn site_file(bytes: &[u8]) {
    match vigil_config::parse_site(Path::new("site.toml"), bytes) {
        Ok(site) => drop(site.doubts()),
        Err(problems) => assert!(!problems.as_slice().is_empty()),
    }
}

/// Any text as the embedded broker's password file: it is read, or the line that is wrong is named. Of bytes that are no text
/// what is before them counts.
pub fn password_file(input: &[u8]) {
    let text = input.utf8_chunks().next().map_or("", |chunk| chunk.valid());
    if let Ok(known) = Passwords::parse(Path::new("mqtt.passwd"), text) {
        assert!(known.len() <= text.lines().count());
    }
}

/// Any bytes on the line of a reader that writes lines, cut anywhere, are the same tags.
///
/// The first byte of the input says where the rest is cut in two.
pub fn serial_lines(input: &[u8]) {
    let Some((cut, bytes)) = input.split_first() else { return };
    let whole = Lines::default().on_bytes(bytes);
    let (before, behind) = bytes.split_at(usize::from(*cut).min(bytes.len()));
    let mut reader = Lines::default();
    let (first, second) = (reader.on_bytes(before), reader.on_bytes(behind));
    assert_eq!(whole.said, [first.said, second.said].concat());
    assert_eq!(whole.skipped, first.skipped + second.skipped);
    assert!(whole.skipped <= bytes.len() as u64);
}

/// Any bytes on the line of an RDM6300, cut anywhere, are the same frames, and every byte is accounted for.
///
/// The first byte of the input says where the rest is cut in two.
pub fn serial_rdm6300(input: &[u8]) {
    let Some((cut, bytes)) = input.split_first() else { return };
    let whole = Rdm6300::default().on_bytes(bytes);
    let (before, behind) = bytes.split_at(usize::from(*cut).min(bytes.len()));
    let mut reader = Rdm6300::default();
    let (first, second) = (reader.on_bytes(before), reader.on_bytes(behind));
    assert_eq!(whole.said, [first.said, second.said].concat());
    assert_eq!(whole.skipped, first.skipped + second.skipped);
    assert!(whole.said.len() as u64 * 14 + whole.skipped <= bytes.len() as u64);
}

/// Any bytes from a PN532, at any time: no panic, few words to write, and time goes on until it answers or is mute.
///
/// The first byte of each piece is its length; a piece of none is time that passes.
pub fn serial_pn532(input: &[u8]) {
    let (mut chip, first) = Pn532::open(Duration::ZERO);
    assert!(!first.answer.is_empty());
    let (mut now, mut rest) = (Duration::ZERO, input);
    while let Some((length, behind)) = rest.split_first() {
        let (piece, behind) = behind.split_at(usize::from(*length).min(behind.len()));
        rest = behind;
        if piece.is_empty() {
            now = now.max(chip.next_deadline());
            match chip.on_deadline(now) {
                Ok(_) => assert!(chip.next_deadline() > now),
                Err(_) => return,
            }
        }
        let heard = chip.on_bytes(piece, now);
        assert!(heard.skipped <= input.len() as u64);
        assert!(chip.next_deadline() <= now + Duration::from_secs(1));
    }
}

/// Any bytes on the line of a receiver: no panic, and every fix is on Earth and at an instant near its arrival, or at none.
///
/// Each `\n` is a second. A `*` with nothing behind it gets the right checksum, so that the fuzzer comes past it.
pub fn serial_nmea(input: &[u8]) {
    let mut receiver = Nmea::open(Duration::ZERO);
    for (second, line) in (1_u64..).zip(input.split(|byte| *byte == b'\n')) {
        let heard =
            receiver.on_bytes(&[&with_checksum(line)[..], b"\n"].concat(), Duration::from_secs(second));
        for said in heard.said {
            assert!(holds_on_earth(&said), "{said:?}");
        }
    }
}

fn with_checksum(line: &[u8]) -> Vec<u8> {
    match line {
        [b'$', body @ .., b'*'] => {
            let sum = body.iter().fold(0, |sum, byte| sum ^ byte);
            [line, format!("{sum:02X}").as_bytes()].concat()
        }
        other => other.to_vec(),
    }
}

/// A receiver reads no tags, so that anything else than a fix is wrong as well.
fn holds_on_earth(said: &Said) -> bool {
    let Said::Fix(sighting) = said else { return false };
    let fix = &sighting.fix;
    let near = |at: Timestamp| {
        at.since(RECEIVED_AT) <= Span::from_secs(30) && RECEIVED_AT.since(at) <= Span::from_secs(30)
    };
    (-90.0..=90.0).contains(&fix.lat)
        && (-180.0..=180.0).contains(&fix.lon)
        && fix.accuracy_m.is_none_or(|radius| radius.is_finite() && radius > 0.0)
        && fix.speed_mps.is_none_or(|speed| (0.0..=500.0).contains(&speed))
        && fix.heading_deg.is_none_or(|heading| (0.0..=360.0).contains(&heading))
        && sighting.time.near(RECEIVED_AT).is_none_or(near)
}
