//! Payloads of foreign devices, each with where it is from, and what they come to.

use super::super::{Decoded, Reason, message};
use super::*;
use proptest::prelude::*;
use vigil_core::id::{ClientId, GuardId, SiteId, Tag, TenantId};
use vigil_core::mapping::{FieldSource, KindName, MappedField, Mapping, Pointer, Sender, Unit};
use vigil_core::observation::{Attendance, AttendanceAction, Fix, Scan};
use vigil_core::policy::{Policy, PolicyParts};
use vigil_core::site::{DeviceKind, FixMode, Guard, Site, SiteParts};
use vigil_core::time::Span;

const ASHA: &str = "owntracks/asha/phone";
const GATE: &str = "tele/gate/SENSOR";
const UP: &str = "application/17c82e96-be03-4f38-aef3-f83d48582d97/device/0101010101010101/event/up";
const STATUS: &str = "application/17c82e96-be03-4f38-aef3-f83d48582d97/device/0101010101010101/event/status";

fn now() -> Timestamp {
    Timestamp::parse("2026-03-10T20:00:01Z").unwrap()
}

fn device(id: &str, kind: DeviceKind, owntracks: Option<&str>, topic: Option<&str>) -> Device {
    Device {
        id: DeviceId::new(id).unwrap(),
        kind,
        guard: (kind == DeviceKind::Handset).then(|| GuardId::new("G-7").unwrap()),
        checkpoint: None,
        owntracks: owntracks.map(str::to_owned),
        topic: topic.map(str::to_owned),
        fixes: FixMode::Periodic,
    }
}

fn site(mappings: Vec<Mapping>) -> Site {
    let lora = UP.strip_suffix("/event/up");
    Site::new(SiteParts {
        id: SiteId::new("plant-7").unwrap(),
        name: "Plant 7".into(),
        tenant: TenantId::new("acme").unwrap(),
        client: ClientId::new("north").unwrap(),
        timezone: "Asia/Kolkata".parse().unwrap(),
        geofence: None,
        guards: vec![Guard { id: GuardId::new("G-7").unwrap(), name: "Asha".into(), badge: None }],
        devices: vec![
            device("phone", DeviceKind::Handset, Some("asha/phone"), None),
            device("gate", DeviceKind::Button, None, Some(GATE)),
            device("tracker", DeviceKind::Handset, None, Some("positions/123456789012345")),
            device("lora", DeviceKind::Button, None, lora),
            device("plain", DeviceKind::Button, None, None),
        ],
        checkpoints: vec![],
        tours: vec![],
        shifts: vec![],
        tasks: vec![],
        policy: Policy::new(PolicyParts::default()).unwrap(),
    })
    .unwrap()
    .with_mappings(mappings)
    .unwrap()
}

fn decode(topic: &str, payload: &str) -> Decoded {
    message(&site(vec![]), now(), topic, payload.as_bytes())
}

/// What a message is taken for: device, seconds since 1970, kind.
fn taken(topic: &str, payload: &str) -> Vec<(String, i64, Kind)> {
    all_of(decode(topic, payload))
}

fn all_of(decoded: Decoded) -> Vec<(String, i64, Kind)> {
    assert_eq!(decoded.refused, []);
    let said = decoded.observations.into_iter();
    said.map(|o| (o.device.to_string(), o.at.millis() / 1_000, o.kind)).collect()
}

fn kinds(topic: &str, payload: &str) -> Vec<Kind> {
    taken(topic, payload).into_iter().map(|(.., kind)| kind).collect()
}

fn refused(topic: &str, payload: &str) -> (Reason, String) {
    let decoded = decode(topic, payload);
    assert_eq!(decoded.observations, []);
    let [refusal] = decoded.refused.as_slice() else { panic!("one refusal: {:?}", decoded.refused) };
    (refusal.reason, refusal.detail.clone())
}

fn advice(topic: &str, payload: &str) -> Vec<(About, Option<&'static str>)> {
    let asides = decode(topic, payload).asides.into_iter();
    asides
        .filter_map(|aside| match aside {
            Aside::Advice(advice) => Some((advice.about, advice.mend)),
            Aside::Repeats(_) | Aside::RunningSteps(_) => None,
        })
        .collect()
}

fn scan(tag: &str) -> Kind {
    Kind::Scan(Scan { tag: Tag::new(tag).unwrap(), guard: None, sun: None })
}

fn battery(battery_permille: u16) -> Kind {
    Kind::Heartbeat(Heartbeat { battery_permille: Some(battery_permille), ..Heartbeat::default() })
}

/// The poster of the OwnTracks booklet (owntracks.org/booklet/images/OwnTracksPosterA1.pdf) with its fields, and the
/// page owntracks.org/booklet/tech/json for `bs`, `conn`, `created_at` and `m`.
#[test]
fn owntracks_tells_a_position_and_the_charge() {
    let payload = r#"{"_type":"location","acc":75,"alt":13,"batt":77,"bs":1,"cog":270,"conn":"w","created_at":1773172800,
        "lat":12.9716,"lon":77.5946,"m":2,"t":"t","tid":"JP","tst":1773172740,"vac":10,"vel":54,"inregions":["Home"]}"#;
    let heartbeat = Heartbeat { battery_permille: Some(770), charging: Some(false), ..Heartbeat::default() };
    let accurate = Fix {
        accuracy_m: Some(75.0),
        speed_mps: Some(15.0),
        heading_deg: Some(270.0),
        ..Fix::at(12.9716, 77.5946)
    };
    let expected = [
        ("phone".to_owned(), 1_773_172_800, Kind::Heartbeat(heartbeat)),
        ("phone".to_owned(), 1_773_172_740, Kind::Location(accurate)),
    ];
    assert_eq!(taken(ASHA, payload), expected);
}

/// The same page: before Android 0.5.11 and iOS 8 numbers were texts; `acc`, `vel` and others are left out when zero; the
/// shortest message is that of owntracks.org/booklet/features/traccar.
#[test]
fn owntracks_may_write_numbers_as_texts_and_leave_out_what_is_zero() {
    let old = r#"{"_type":"location","lat":"12.9716","lon":"77.5946","tst":"1773172740","acc":"7","batt":"","vel":-1}"#;
    assert_eq!(
        kinds(ASHA, old),
        [Kind::Location(Fix { accuracy_m: Some(7.0), ..Fix::at(12.9716, 77.5946) })]
    );
    let short = r#"{"lon":2.29513,"lat":48.85833,"_type":"location","tst":1497476456, "tid":"JJ"}"#;
    assert_eq!(kinds(ASHA, short), [Kind::Location(Fix::at(48.85833, 2.29513))]);
    let kept = r#"{"_type":"location","lat":1,"lon":2,"tst":1773172740,"created_at":1773172800}"#;
    let (life, place) = (Kind::Heartbeat(Heartbeat::default()), Kind::Location(Fix::at(1.0, 2.0)));
    let phone = || "phone".to_owned();
    let expected = [(phone(), 1_773_172_800, life), (phone(), 1_773_172_740, place)];
    assert_eq!(taken(ASHA, kept), expected, "it lived when it told of an old position");
}

/// The same page: `bs` is 1 unplugged, 2 charging, 3 full, and 0 unknown.
#[test]
fn an_owntracks_phone_that_is_full_hangs_on_its_charger() {
    let charging = |bs: u8| {
        let ping =
            format!(r#"{{"_type":"location","lat":1,"lon":2,"tst":1773172800,"t":"p","batt":99,"bs":{bs}}}"#);
        let said = kinds(ASHA, &ping);
        let [Kind::Heartbeat(beat)] = said.as_slice() else { panic!("one heartbeat: {said:?}") };
        beat.charging
    };
    assert_eq!([0, 1, 2, 3].map(charging), [None, Some(false), Some(true), Some(true)]);
}

/// The same page, notes: a ping has the present instant and the last position.
#[test]
fn an_owntracks_ping_is_a_sign_of_life_and_no_position() {
    let ping = r#"{"_type":"location","lat":12.9716,"lon":77.5946,"tst":1773172800,"t":"p","batt":50}"#;
    assert_eq!(taken(ASHA, ping), [("phone".to_owned(), 1_773_172_800, battery(500))]);
}

/// The same page, `_type=transition`, `_type=steps` and `_type=lwt`.
#[test]
fn owntracks_tells_regions_steps_and_its_end() {
    let event = format!("{ASHA}/event");
    let entered = r#"{"_type":"transition","wtst":1425042603,"lat":12.34,"lon":44.5,"tst":1427634603,"acc":130,
                      "tid":"JP","event":"enter","desc":"my Indian restaurant","t":"b"}"#;
    let place = Fix { accuracy_m: Some(130.0), ..Fix::at(12.34, 44.5) };
    assert_eq!(taken(&event, entered), [("phone".to_owned(), 1_427_634_603, Kind::Location(place))]);
    let nowhere = r#"{"_type":"transition","wtst":1,"tst":1773172800,"event":"leave"}"#;
    assert_eq!(kinds(&event, nowhere), [Kind::Heartbeat(Heartbeat::default())]);

    let step = format!("{ASHA}/step");
    let steps = |from: i64, steps: i64| {
        let to = 1_773_172_800;
        let text = format!(r#"{{"_type":"steps","tst":{to},"steps":{steps},"from":{from},"to":{to}}}"#);
        let said = kinds(&step, &text);
        let [Kind::Heartbeat(beat)] = said.as_slice() else { panic!("one heartbeat: {said:?}") };
        beat.steps
    };
    assert_eq!(steps(1_773_172_800 - 600, 412), 412);
    assert_eq!(steps(1_773_172_800 - 36_000, 4_120), 0, "of a whole day: nobody knows when");
    assert_eq!(steps(1_773_172_800 - 600, -1), 0, "it cannot count");

    let gone = r#"{"_type":"lwt","tst":1380738247}"#;
    let expected = [("phone".to_owned(), now().millis() / 1_000, Kind::Status { online: false })];
    assert_eq!(taken(ASHA, gone), expected, "its instant is that of the connection, not of its end");
}

#[test]
fn what_owntracks_says_that_cannot_be_used_is_refused_with_the_reason() {
    let (reason, detail) = refused(ASHA, r#"{"_type":"encrypted","data":"7qKkOZ4="}"#);
    assert_eq!(reason, Reason::OutOfRange);
    assert!(detail.contains("clear the secret encryption key"), "{detail}");
    let table = [
        (r#"{"_type":"card","name":"Asha"}"#, Reason::OutOfRange, "_type: found \"card\""),
        (r#"{"lat":1,"lon":2,"tst":3}"#, Reason::WrongType, "_type: found nothing"),
        (r#"{"_type":"location","lat":1,"lon":2}"#, Reason::WrongType, "tst: found nothing"),
        (r#"{"_type":"location","lon":2,"tst":1773172800}"#, Reason::WrongType, "lat: found nothing"),
        (r#"{"_type":"location","lat":91,"lon":2,"tst":1773172800}"#, Reason::OutOfRange, "lat: found 91"),
        (r#"{"_type":"location","lat":1,"lon":2,"tst":1999999999}"#, Reason::Future, "ts: found"),
        ("[]", Reason::WrongType, "payload: found an array"),
        ("", Reason::NotJson, "EOF"),
    ];
    for (payload, expected, part) in table {
        let (reason, detail) = refused(ASHA, payload);
        assert_eq!(reason, expected, "{payload}");
        assert!(detail.contains(part), "{detail}");
    }
}

/// owntracks.org/booklet/features/location: only move mode publishes while the phone lies still; the numbers of the modes
/// are those of `monitoring` and `m` in owntracks.org/booklet/tech/json.
#[test]
fn a_phone_that_will_fall_silent_is_told_apart_with_the_setting_that_mends_it() {
    let mode = |more: &str| {
        advice(ASHA, &format!(r#"{{"_type":"location","lat":1,"lon":2,"tst":1773172800{more}}}"#))
    };
    for (m, word) in [(-1, "quiet mode"), (0, "manual mode"), (1, "significant mode")] {
        let said = mode(&format!(r#","m":{m}"#));
        let [(About::Mode, Some(mend))] = said.as_slice() else { panic!("{m}: {said:?}") };
        assert!(mend.contains(word) && mend.contains("\"monitoring\": 2"), "{mend}");
    }
    assert_eq!(mode(r#","m":2"#), [(About::Mode, None)]);
    assert_eq!(mode(r#","t":"t""#), [(About::Mode, None)], "the timer of move mode");
    assert_eq!(mode(""), [], "an old app does not say");
}

/// The fields of `_type: status` in the sources of the apps: `AddMessageStatus` of OwnTracks for Android, the dictionary `iOS`
/// of OwnTracks for iOS. The payloads are put together from them.
#[test]
fn what_the_operating_system_forbids_is_told() {
    let permission = |payload: &str| {
        let topic = format!("{ASHA}/status");
        assert_eq!(kinds(&topic, payload), [Kind::Heartbeat(Heartbeat::default())]);
        let said = advice(&topic, payload);
        let [(About::Permission, mend)] = said.as_slice() else { panic!("{said:?}") };
        *mend
    };
    let android = r#"{"_type":"status","android":{"wifi":1,"ps":0,"bo":1,"hib":0,"loc":0,"version":420500000,"flavour":"gms"}}"#;
    let fine = android.replace("\"bo\":1", "\"bo\":0");
    assert_eq!(permission(&fine), None);
    for (field, part) in [
        ("bo", "Unrestricted"),
        ("ps", "battery saver off"),
        ("hib", "Pause app activity"),
        ("loc", "all the time"),
    ] {
        let value = if field == "loc" { -1 } else { 1 };
        let wrong = fine.replace(&format!("\"{field}\":0"), &format!("\"{field}\":{value}"));
        assert!(permission(&wrong).unwrap().contains(part), "{wrong}");
    }
    let ios = |refresh: &str, location: &str| {
        permission(&format!(
            r#"{{"_type":"status","iOS":{{"backgroundRefreshStatus":"UIBackgroundRefreshStatus{refresh}",
                "locationManagerAuthorizationStatus":"kCLAuthorizationStatusAuthorized{location}"}}}}"#
        ))
    };
    assert!(ios("Available", "WhenInUse").unwrap().contains("Always"));
    assert!(ios("Denied", "Always").unwrap().contains("Background App Refresh"));
    assert_eq!(ios("Available", "Always"), None);
}

/// The comments and format strings of the drivers in Tasmota's source: xsns_82_wiegand.ino, xsns_40_pn532.ino,
/// xsns_51_rdm6300.ino, xsns_80_mfrc522.ino.
#[test]
fn tasmota_readers_tell_the_tag() {
    let read = |payload: &str| kinds(GATE, payload);
    let wiegand_26 = r#"{"Time":"2021-01-21T16:04:12","Wiegand":{"UID":7748328,"Size":26}}"#;
    assert_eq!(read(wiegand_26), [scan("763AE8")]);
    let wiegand_34 = r#"{"Time":"2021-01-21T15:48:49","Wiegand":{"UID":4302741608,"Size":34}}"#;
    assert_eq!(read(wiegand_34), [scan("0076A068")]);
    let in_hex = r#"{"Time":"2021-01-21T16:04:12","Wiegand":{"UID":"763AE8h","Size":26}}"#;
    assert_eq!(read(in_hex), [scan("763AE8")]);
    let in_quotes = r#"{"Time":"2021-01-21T16:04:12","Wiegand":{"UID":"7748328","Size":26}}"#;
    assert_eq!(read(in_quotes), [scan("763AE8")], "a number all the same");
    let all_digits = r#"{"Time":"2024-05-20T14:29:55","RC522":{"UID":"12345678"}}"#;
    assert_eq!(read(all_digits), [scan("12345678")], "hex, though it has no letter");
    let rdm = r#"{"Time":"2024-05-20T14:29:55","RDM6300":{"UID":"008EC793"}}"#;
    assert_eq!(read(rdm), [scan("14008EC793")], "without the version byte that the card has");
    let pn532 = r#"{"Time":"2024-05-20T14:29:55","PN532":{"UID":"04DE5F1EACC040","Data":"","Auth":"None"}}"#;
    assert_eq!(read(pn532), [scan("04:de:5f:1e:ac:c0:40")]);
    let rc522 = r#"{"Time":"2024-05-20T14:29:55","RC522":{"UID":"BA839D07","Data":"","Type":"MIFARE 1KB"}}"#;
    assert_eq!(read(rc522), [scan("BA839D07")]);
    assert_eq!(taken(GATE, rc522)[0].1, now().millis() / 1_000, "its time has no zone");
}

#[test]
fn a_tasmota_message_that_comes_again_is_the_same_event_and_may_be_a_repeat() {
    let read = |time: &str| decode(GATE, &format!(r#"{{"Time":"{time}","RDM6300":{{"UID":"008EC793"}}}}"#));
    let (first, again, later) =
        (read("2024-05-20T14:29:55"), read("2024-05-20T14:29:55"), read("2024-05-20T14:29:57"));
    assert_eq!(first.observations[0].identity, again.observations[0].identity);
    assert_ne!(first.observations[0].identity, later.observations[0].identity);
    assert_eq!(first.asides, [Aside::Repeats(0)]);
}

/// Put together after Tasmota's custom, `tele/%topic%/LWT` and `tele/%topic%/STATE`; not a recording.
#[test]
fn the_other_words_of_a_tasmota_device_say_whether_it_lives() {
    let life = [Kind::Heartbeat(Heartbeat::default())];
    assert_eq!(
        kinds(GATE, r#"{"Time":"2024-05-20T14:29:55","ANALOG":{"Temperature":21.5},"TempUnit":"C"}"#),
        life
    );
    assert_eq!(
        kinds(GATE, r#"{"Time":"2024-05-20T14:29:55","Wiegand":{"UID":1234,"Size":4}}"#),
        life,
        "keys"
    );
    let state = r#"{"Time":"2024-05-20T14:30:00","Uptime":"0T05:15:11","Vcc":3.2,"Wifi":{"AP":1,"RSSI":82}}"#;
    assert_eq!(kinds("tele/gate/STATE", state), life);
    assert_eq!(kinds("tele/gate/LWT", "Online"), [Kind::Status { online: true }]);
    assert_eq!(kinds("tele/gate/LWT", "Offline"), [Kind::Status { online: false }]);
    assert_eq!(refused("tele/gate/LWT", "gone").0, Reason::WrongType);
    assert_eq!(refused("tele/gate/RESULT", "{}").0, Reason::UnknownTopic);
    for bad in [
        r#"{"PN532":{"UID":"no tag"}}"#,
        r#"{"Wiegand":{"UID":-5}}"#,
        r#"{"Wiegand":{"UID":0}}"#,
        r#"{"PN532":7}"#,
    ] {
        assert_eq!(refused(GATE, bad).0, Reason::WrongType, "{bad}");
    }
}

/// Put together from the fields of `Position` in Traccar's source (org.traccar.model) and of `PositionData`
/// (org.traccar.forward); not a recording.
fn traccar(position: &str, attributes: &str) -> String {
    format!(
        r#"{{"position":{{"id":12345,"attributes":{{{attributes}}},"deviceId":10,"protocol":"osmand",
        "serverTime":"2024-05-20T14:30:00.000+00:00","deviceTime":"2024-05-20T14:29:55.000+00:00",
        "fixTime":"2024-05-20T14:29:50.000+00:00","valid":true,"latitude":-23.55052,"longitude":-46.633308,
        "altitude":760.0,"speed":13.5,"course":180.0,"address":null,"accuracy":0.0,"network":null{position}}},
        "device":{{"id":10,"name":"Guard 1","uniqueId":"123456789012345","status":"online","groupId":2,"disabled":false}}}}"#
    )
}

#[test]
fn traccar_tells_a_position_in_knots_and_the_charge() {
    let payload = traccar("", r#""batteryLevel":85,"distance":15.4,"motion":true"#);
    let moving =
        Fix { speed_mps: Some(6.944_994), heading_deg: Some(180.0), ..Fix::at(-23.55052, -46.633308) };
    let expected = [
        ("tracker".to_owned(), 1_716_215_395, battery(850)),
        ("tracker".to_owned(), 1_716_215_390, Kind::Location(moving)),
    ];
    assert_eq!(taken("positions", &payload), expected, "on the topic of all devices");
    assert_eq!(taken("positions/123456789012345", &payload), expected, "on that of this one");
    let identity = |topic| decode(topic, &payload).observations[1].identity;
    assert_eq!(identity("positions"), identity("positions/123456789012345"));
    let unnumbered = |secs: &str| {
        let payload = payload.replace("12345,", "0,").replace("14:29:55", &format!("14:29:{secs}"));
        decode("positions", &payload).observations[0].identity
    };
    assert_ne!(unnumbered("55"), unnumbered("56"), "a server without a database numbers none");
}

#[test]
fn what_traccar_calls_outdated_or_not_valid_is_no_position() {
    for no_fix in [r#","outdated":true"#, r#","valid":false"#] {
        let said = kinds("positions", &traccar(no_fix, r#""batteryLevel":"85""#));
        assert_eq!(said, [battery(850)], "{no_fix}");
    }
}

#[test]
fn alarms_of_a_tracker_are_told() {
    let said = |attributes: &str| kinds("positions", &traccar(r#","outdated":true"#, attributes));
    let life = Kind::Heartbeat(Heartbeat::default());
    assert_eq!(said(r#""alarm":"sos""#), [Kind::Sos(None), life.clone()]);
    let help = taken("positions", &traccar("", r#""alarm":"sos""#));
    assert_eq!((help[0].1, help[2].1), (1_716_215_395, 1_716_215_390), "now, though the position is older");
    assert_eq!(said(r#""alarm":"lowBattery,sos""#), [Kind::Sos(None), battery(100)]);
    assert_eq!(said(r#""alarm":"lowBattery","batteryLevel":4"#), [battery(40)]);
    let fallen = Kind::Heartbeat(Heartbeat { man_down: true, ..Heartbeat::default() });
    assert_eq!(said(r#""alarm":"fallDown""#), [fallen]);
    assert_eq!(said(r#""alarm":"overspeed""#), std::slice::from_ref(&life));
    assert_eq!(said(r#""card":"04:A1:B2:C3""#), [life.clone(), scan("04A1B2C3")]);
    assert_eq!(said(r#""driverUniqueId":"0x4A1B2C3""#), [life, scan("04A1B2C3")]);
    let tampered = advice("positions", &traccar("", r#""alarm":"tampering""#));
    assert!(matches!(tampered.as_slice(), [(About::Tampering, Some(_))]), "{tampered:?}");
    assert_eq!(advice("positions", &traccar("", "")), [(About::Tampering, None)]);
    let steps = decode("positions", &traccar("", r#""steps":4000"#));
    assert!(steps.asides.contains(&Aside::RunningSteps(0)), "{:?}", steps.asides);
}

#[test]
fn what_traccar_says_of_a_stranger_is_refused_with_the_line_that_mends_it() {
    let stranger = traccar("", "").replace("123456789012345", "777");
    let (reason, detail) = refused("positions", &stranger);
    assert_eq!(reason, Reason::UnknownDevice);
    assert!(detail.contains("add topic = \"positions/777\""), "{detail}");
    for (payload, part) in [
        ("{}", "device: found nothing"),
        (r#"{"device":{"uniqueId":"123456789012345"}}"#, "messages of another form need [[mappings]]"),
        (r#"{"device":{"id":3}}"#, "device.uniqueId: found nothing"),
    ] {
        let (reason, detail) = refused("positions", payload);
        assert_eq!(reason, Reason::WrongType, "{payload}");
        assert!(detail.contains(part), "{detail}");
    }
}

/// The example of `up` in chirpstack.io/docs/chirpstack/integrations/events.html, with an `object` of ours: each make's codec has names of its own.
fn uplink(object: &str) -> String {
    format!(
        r#"{{"deduplicationId":"3ac7e3c4-4401-4b8d-9386-a5c902f9202d","time":"2022-07-18T09:34:15.775023242+00:00",
        "deviceInfo":{{"tenantId":"52f14cd4-c6f1-4fbd-8f87-4025e1d49242","tenantName":"ChirpStack",
        "applicationId":"17c82e96-be03-4f38-aef3-f83d48582d97","applicationName":"Test application",
        "deviceName":"Test device","devEui":"0101010101010101","tags":{{"key":"value"}}}},
        "devAddr":"00189440","dr":1,"fPort":1,"data":"qg==",{object}"rxInfo":[{{"gatewayId":"0016c001f153a14c","rssi":-36}}]}}"#
    )
}

#[test]
fn a_lorawan_button_calls_for_help() {
    let at = 1_658_136_855;
    for object in [r#"{"button":1}"#, r#"{"press":"short"}"#, r#"{"Alarm":"TRUE"}"#, r#"{"sos":true}"#] {
        let said = taken(UP, &uplink(&format!("\"object\":{object},")));
        assert_eq!(said, [("lora".to_owned(), at, Kind::Sos(None))], "{object}");
    }
    for quiet in
        ["{}", r#"{"button":0}"#, r#"{"press":"none"}"#, r#"{"alarm":false}"#, r#"{"temperature":21.5}"#]
    {
        assert_eq!(kinds(UP, &uplink(&format!("\"object\":{quiet},"))), [], "{quiet}");
    }
    assert_eq!(kinds(UP, &uplink("")), [], "no codec");
    let moved = uplink(r#""object":{"latitude":52.37,"longitude":"4.91"},"#);
    assert_eq!(kinds(UP, &moved), [Kind::Location(Fix::at(52.37, 4.91))]);
    assert_eq!(kinds(UP, &uplink(r#""object":{"latitude":0,"longitude":0},"#)), [], "no position");
    let fallen = Kind::Heartbeat(Heartbeat { man_down: true, ..Heartbeat::default() });
    assert_eq!(kinds(UP, &uplink(r#""object":{"man_down":1},"#)), [fallen]);
}

/// What that device says if it is of another kind.
fn said_by(kind: DeviceKind, object: &str) -> Vec<Kind> {
    let mut parts = SiteParts::from(site(vec![]));
    for device in parts.devices.iter_mut().filter(|device| device.id.as_str() == "lora") {
        device.kind = kind;
    }
    let payload = uplink(&format!("\"object\":{object},"));
    let said = all_of(message(&Site::new(parts).unwrap(), now(), UP, payload.as_bytes()));
    said.into_iter().map(|(.., kind)| kind).collect()
}

#[test]
fn a_lorawan_device_that_is_no_button_calls_for_help_in_so_many_words_only() {
    for kind in [DeviceKind::Handset, DeviceKind::Gps] {
        for (object, helps) in
            [(r#"{"button":1}"#, false), (r#"{"alarm":true}"#, false), (r#"{"sos":1}"#, true)]
        {
            assert_eq!(said_by(kind, object).contains(&Kind::Sos(None)), helps, "{kind:?} {object}");
        }
    }
}

#[test]
fn a_lorawan_receiver_tells_its_charge_when_it_is_low_and_a_handset_always() {
    for (kind, told) in [(DeviceKind::Handset, [true, true]), (DeviceKind::Gps, [false, true])] {
        let tells = [(r#"{"battery":88.3}"#, 883), (r#"{"battery":20}"#, 200)]
            .map(|(object, charge)| said_by(kind, object) == [battery(charge)]);
        assert_eq!(tells, told, "{kind:?}");
    }
}

/// The example of `status` on the same page; its JSON leaves out what is zero.
#[test]
fn a_lorawan_button_tells_its_charge() {
    let status = |more: &str| {
        format!(
            r#"{{"deduplicationId":"bf2a9746-1c8b-49be-a92e-f0b89c8534e4","time":"2022-07-18T09:35:06.927172638+00:00",
            "deviceInfo":{{"deviceName":"Test device","devEui":"0101010101010101"}},"margin":10{more}}}"#
        )
    };
    assert_eq!(kinds(STATUS, &status(r#","batteryLevel":12.5"#)), [battery(125)]);
    assert_eq!(kinds(STATUS, &status("")), [battery(0)], "zero is left out");
    assert_eq!(kinds(STATUS, &status(r#","batteryLevel":88.3"#)), [battery(883)], "it was replaced");
    assert_eq!(kinds(STATUS, &status(r#","batteryLevelUnavailable":true"#)), []);
    let powered = Kind::Heartbeat(Heartbeat { charging: Some(true), ..Heartbeat::default() });
    assert_eq!(
        kinds(STATUS, &status(r#","externalPowerSource":true"#)),
        [powered],
        "it has no charge to tell"
    );
    let (reason, detail) = refused(UP, r#"{"devEUI":"AgICAgICAgI="}"#);
    assert_eq!((reason, detail.contains("ChirpStack v4")), (Reason::WrongType, true), "version 3");
    let (reason, detail) = refused(UP, r#"{"deviceInfo":{"deviceName":"Test device"}}"#);
    assert_eq!((reason, detail.contains("deviceInfo.devEui")), (Reason::WrongType, true), "{detail}");
}

fn field(name: &str, at: &str, unit: Option<Unit>) -> MappedField {
    MappedField { name: name.into(), source: FieldSource::At(Pointer::parse(at).unwrap()), unit }
}

fn mapping(topic: &str, kind: KindName, fields: Vec<MappedField>) -> Mapping {
    let sender = Sender::Device(DeviceId::new("plain").unwrap());
    Mapping { topic: topic.into(), sender, user: None, kind, items: None, only: None, fields }
}

fn mapped(mapping: Mapping, topic: &str, payload: &str) -> Decoded {
    message(&site(vec![mapping]), now(), topic, payload.as_bytes())
}

/// esphome.io/components/binary_sensor/rdm6300: an automation publishes the UID alone.
#[test]
fn a_plain_uid_is_a_scan() {
    let read = |unit, payload| {
        mapped(
            mapping("esphome/gate/tag", KindName::Scan, vec![field("tag", "", unit)]),
            "esphome/gate/tag",
            payload,
        )
    };
    for (unit, payload) in [
        (None, "74-10-37-94"),
        (None, " 74103794\n"),
        (None, "\"74:10:37:94\""),
        (None, "1947219860"),
        (Some(Unit::Decimal), "\"1947219860\""),
    ] {
        let decoded = read(unit, payload);
        assert_eq!(decoded.asides, [Aside::Repeats(0)], "{payload}");
        let expected =
            if payload == " 74103794\n" { Tag::of_number(74_103_794) } else { Tag::new("74103794").unwrap() };
        let Kind::Scan(scan) = &decoded.observations[0].kind else { panic!("a scan") };
        assert_eq!(scan.tag, expected, "{payload}");
    }
    let bad = read(None, "no tag");
    assert_eq!((bad.observations, bad.refused[0].reason), (vec![], Reason::WrongType));
    let fields = vec![field("tag", "/uid", None), field("ts", "/at", None)];
    let dated =
        mapped(mapping("r", KindName::Scan, fields), "r", r#"{"uid":"04A1","at":"2026-03-10T20:00:00Z"}"#);
    assert_eq!(
        (dated.observations.len(), dated.asides),
        (1, vec![]),
        "its instant tells it from the one before"
    );
    let word = mapping("w", KindName::Activity, vec![field("event", "", None)]);
    assert_eq!(mapped(word, "w", " pressed\r\n").observations[0].kind, Kind::Activity("pressed".into()));
}

#[test]
fn every_mapping_that_covers_a_topic_says_its_part() {
    let mappings = vec![
        mapping("tracker/#", KindName::Location, vec![field("lat", "/0", None), field("lon", "/1", None)]),
        mapping("tracker/+", KindName::Heartbeat, vec![field("battery", "/2", Some(Unit::Percent))]),
    ];
    let said = |payload: &str| {
        let decoded = message(&site(mappings.clone()), now(), "tracker/a", payload.as_bytes());
        all_of(decoded).into_iter().map(|(.., kind)| kind).collect::<Vec<_>>()
    };
    assert_eq!(said("[1,2,55]"), [Kind::Location(Fix::at(1.0, 2.0)), battery(550)]);
    let silent = Kind::Heartbeat(Heartbeat::default());
    assert_eq!(said("[1,2,null]"), [Kind::Location(Fix::at(1.0, 2.0)), silent], "null is as good as nothing");
}

#[test]
fn units_lists_and_texts_become_the_contract() {
    let fields = vec![
        field("ts", "/t", Some(Unit::EpochMillis)),
        field("id", "/n", None),
        field("lat", "/pos/0", None),
        field("lon", "/pos/1", None),
        field("speed", "/v", Some(Unit::KilometresPerHour)),
        field("accuracy", "/acc", Some(Unit::Feet)),
        field("mock", "/fake", None),
    ];
    let list = Mapping {
        items: Pointer::parse("/list"),
        only: Pointer::parse("/type").map(|at| (at, vec!["fix".into(), "7".into()])),
        ..mapping("gps/#", KindName::Location, fields)
    };
    let payload = r#"{"list":[{"type":"fix","t":1773172740000,"n":41,"pos":["12.9716",77.5946],"v":"36","acc":"10","fake":"no","x":[]},
                              {"type":"other"},{"type":7,"t":"1773172741000","pos":[1,2],"v":""},{"type":"fix","pos":[1]}]}"#;
    let decoded = mapped(list, "gps/a/b", payload);
    let said: Vec<_> = decoded.observations.iter().map(|o| (o.at.millis(), o.kind.clone())).collect();
    let first = Fix { speed_mps: Some(10.0), accuracy_m: Some(3.048), ..Fix::at(12.9716, 77.5946) };
    assert_eq!(
        said,
        [(1_773_172_740_000, Kind::Location(first)), (1_773_172_741_000, Kind::Location(Fix::at(1.0, 2.0)))]
    );
    let [refusal] = decoded.refused.as_slice() else { panic!("one refusal: {:?}", decoded.refused) };
    assert_eq!(
        (refusal.reason, refusal.detail.starts_with("item 3: lon: found nothing")),
        (Reason::WrongType, true)
    );
    assert_eq!(decoded.asides, []);
}

#[test]
fn a_mapping_finds_the_device_in_the_topic_or_in_the_message() {
    let by = |sender| Mapping { sender, ..mapping("z/+/action", KindName::Sos, vec![]) };
    let level = mapped(by(Sender::Level(2)), "z/phone/action", "{}");
    assert_eq!(level.observations[0].device.as_str(), "phone");
    let at = mapped(by(Sender::At(Pointer::parse("/who").unwrap())), "z/x/action", r#"{"who":"gate"}"#);
    assert_eq!(at.observations[0].device.as_str(), "gate");
    let stranger = mapped(by(Sender::Level(2)), "z/ghost/action", "{}");
    assert_eq!(stranger.refused[0].reason, Reason::UnknownDevice);
    let check_in = Mapping {
        fields: vec![MappedField {
            name: "action".into(),
            source: FieldSource::Word("check_in".into()),
            unit: None,
        }],
        ..by(Sender::Level(2))
    };
    let came = mapped(Mapping { kind: KindName::Attendance, ..check_in }, "z/phone/action", "pressed");
    let (action, guard) = (AttendanceAction::CheckIn, GuardId::new("G-7").unwrap());
    let expected = Kind::Attendance(Attendance { action, guard, biometric_permille: None });
    assert_eq!(came.observations[0].kind, expected);
    let status = mapping("z/+/state", KindName::Status, vec![field("online", "/state", None)]);
    assert_eq!(
        mapped(status, "z/a/state", r#"{"state":"offline"}"#).observations[0].kind,
        Kind::Status { online: false }
    );
}

#[test]
fn what_the_site_file_maps_it_means() {
    let own = mapping(GATE, KindName::Activity, vec![field("event", "/Time", None)]);
    let decoded = mapped(own, GATE, r#"{"Time":"2024-05-20T14:29:55","PN532":{"UID":"04A1"}}"#);
    assert_eq!(decoded.observations[0].kind, Kind::Activity("2024-05-20T14:29:55".into()));
}

#[test]
fn a_broker_outside_is_asked_for_every_topic_that_is_read() {
    let site = site(vec![mapping("esphome/#", KindName::Sos, vec![])]);
    let filters = filters(&site);
    for topic in [
        ASHA,
        "owntracks/asha/phone/status",
        GATE,
        "tele/gate/LWT",
        "positions",
        "positions/123456789012345",
        UP,
        STATUS,
        "esphome/a/b",
    ] {
        assert!(filters.iter().any(|filter| vigil_core::mapping::covers(filter, topic)), "{topic}");
        assert!(Source::of(&site, topic).is_some(), "{topic}");
    }
    for topic in
        ["owntracks/asha", "tele/hall/SENSOR", "position", "application/x/device/y/event/up", "esphomes"]
    {
        assert!(Source::of(&site, topic).is_none(), "{topic}");
    }
}

#[test]
fn a_foreign_message_has_the_bounds_of_any_other() {
    assert_eq!(refused(GATE, &format!("{{}}{}", " ".repeat(65_536))).0, Reason::TooLarge);
    let list = Mapping { items: Pointer::parse("/l"), ..mapping("l", KindName::Sos, vec![]) };
    let payload = format!(r#"{{"l":[{}]}}"#, vec!["1"; 501].join(","));
    assert_eq!(mapped(list, "l", &payload).refused[0].reason, Reason::TooLarge);
}

fn everything_mapped() -> Vec<Mapping> {
    let fields = |kind: KindName| {
        let units = |measure: vigil_core::mapping::Measure| measure.units().last().map(|(_, unit)| *unit);
        kind.fields().map(|(name, measure, _)| field(name, &format!("/{name}"), units(measure))).collect()
    };
    let all = KindName::ALL.into_iter();
    all.map(|(name, kind)| mapping(&format!("any/{name}"), kind, fields(kind))).collect()
}

fn any_topic() -> impl Strategy<Value = String> {
    let mut topics: Vec<String> = KindName::ALL.iter().map(|(name, _)| format!("any/{name}")).collect();
    let known = [ASHA, "owntracks/asha/phone/status", GATE, "tele/gate/LWT", "positions", UP, STATUS];
    topics.extend(known.map(str::to_owned));
    proptest::sample::select(topics)
}

/// JSON that nearly fits one of them.
fn near_json() -> impl Strategy<Value = String> {
    let names = "_type|lat|lon|tst|t|m|batt|acc|vel|Time|PN532|Wiegand|UID|Size|position|device|attributes|uniqueId|alarm|steps\
                 |fixTime|latitude|deviceInfo|devEui|object|sos|battery|time|ts|id|tag|online|event|action|task|state";
    let names: Vec<String> = names.split('|').map(str::to_owned).collect();
    let words = "location|steps|lwt|status|transition|123456789012345|2024-05-20T14:29:55Z|04A1B2C3|sos|é0000|created|true";
    let words: Vec<String> = words.split('|').map(|word| format!("\"{word}\"")).collect();
    let leaf = prop_oneof![
        Just("null".to_owned()),
        any::<i64>().prop_map(|n| n.to_string()),
        any::<f64>().prop_filter("JSON has no NaN", |x| x.is_finite()).prop_map(|x| x.to_string()),
        proptest::sample::select(words),
    ];
    let tree = leaf.prop_recursive(3, 24, 8, move |inner| {
        let field = (proptest::sample::select(names.clone()), inner.clone());
        prop_oneof![
            proptest::collection::vec(inner, 0..4).prop_map(|items| format!("[{}]", items.join(","))),
            proptest::collection::vec(field.prop_map(|(n, v)| format!("\"{n}\":{v}")), 0..8)
                .prop_map(|fields| format!("{{{}}}", fields.join(","))),
        ]
    });
    tree.boxed()
}

proptest! {
    #[test]
    fn arbitrary_bytes_never_panic(topic in any_topic(), payload in proptest::collection::vec(any::<u8>(), 0..300)) {
        let decoded = message(&site(everything_mapped()), now(), &topic, &payload);
        prop_assert!(decoded.observations.len() + decoded.refused.len() <= 4);
    }

    #[test]
    fn what_nearly_fits_is_taken_or_refused_and_alike_each_time(topic in any_topic(), payload in near_json()) {
        let site = site(everything_mapped());
        let decoded = message(&site, now(), &topic, payload.as_bytes());
        prop_assert!(decoded.observations.is_empty() || decoded.refused.is_empty());
        for observation in &decoded.observations {
            prop_assert!(observation.at.since(now()) < Span::from_hours(24) || observation.kind.is_call_for_help());
            if let Kind::Location(fix) = &observation.kind {
                prop_assert!(fix.lat.abs() <= 90.0 && fix.lon.abs() <= 180.0);
            }
        }
        prop_assert_eq!(&decoded, &message(&site, now(), &topic, payload.as_bytes()));
    }
}
