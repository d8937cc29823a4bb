//! A Traccar server that forwards positions over MQTT (traccar.org/forward; `forward.type` = `mqtt`): trackers with a
//! button for help, of hundreds of makes.

use super::super::fields::{Fault, Fields, required};
use super::super::json::Json;
use super::super::kinds::{MAX_ACCURACY_M, MAX_SPEED_MPS};
use super::super::{Letter, Reason, json};
use super::{About, Aside, Said, time};
use vigil_core::id::Tag;
use vigil_core::observation::{Fix, Heartbeat, Kind, Scan};
use vigil_core::site::Device;
use vigil_core::time::Timestamp;

/// Metres a second in a knot: Traccar's unit of speed.
const KNOT: f64 = 0.514_444;
/// What a charge is taken for if the tracker only says that it is low, in thousandths: below the 15 % at which the rules
/// warn.
const LOW_PERMILLE: u16 = 100;
/// The most steps that can be meant.
const MAX_STEPS: f64 = 1_000_000.0;
/// The longest name of a device in Traccar that a message repeats.
const MAX_NAME: usize = 128;

const MEND_TAMPERING: &str = "the tracker says that it was opened or taken off; look at it";

/// What the message says apart from its position.
struct Alarms {
    sos: bool,
    fall: bool,
    low: bool,
    tampering: bool,
}

impl Alarms {
    /// Several are in one text, with commas between them.
    fn of(attributes: Option<Fields<'_, '_>>) -> Self {
        let text = attributes.and_then(|a| a.text("alarm").unwrap_or_default()).unwrap_or_default();
        let says = |names: &[&str]| text.split(',').any(|alarm| names.contains(&alarm.trim()));
        Self {
            sos: says(&["sos"]),
            fall: says(&["fallDown"]),
            low: says(&["lowBattery"]),
            tampering: says(&["tampering", "removing"]),
        }
    }
}

/// The device that a message is of: the one with that topic, else the one whose topic ends in its `uniqueId`.
pub(super) fn device<'s>(
    letter: Letter<'s>,
    given: Option<&'s Device>,
    value: &Json<'_>,
) -> Result<&'s Device, Fault> {
    if let Some(device) = given {
        return Ok(device);
    }
    let fields = Fields::of(value, "payload")?;
    let device = required("device", fields.object("device")?, "the device that Traccar forwards")?;
    let expected = "the identifier of the device in Traccar";
    let id = required("device.uniqueId", device.bounded("uniqueId", MAX_NAME)?, expected)?;
    let topic = format!("{}/{id}", letter.topic);
    let known = letter.site.devices.iter().find(|device| device.topic.as_deref() == Some(topic.as_str()));
    known.ok_or_else(|| {
        let found = json::shown(id);
        let detail = format!(
            "device.uniqueId: found {found}, allowed: a device of the site file with its topic; add topic = \"{topic}\" to it"
        );
        Fault { reason: Reason::UnknownDevice, detail }
    })
}

/// Reads one forwarded position.
pub(super) fn read(letter: Letter<'_>, device: &Device, value: &Json<'_>) -> Result<Said, Fault> {
    let fields = Fields::of(value, "payload")?;
    let expected = "a position as Traccar forwards it; messages of another form need [[mappings]]";
    let position = required("position", fields.object("position")?, expected)?;
    let attributes = position.object("attributes")?;
    let alarms = Alarms::of(attributes);
    let fixed_at = time::instant(position, "fixTime")?;
    let made_at = time::instant(position, "deviceTime")?.or(fixed_at).unwrap_or(letter.received_at);
    let id = id(position)?;
    let mut said = Said::default();
    if alarms.sos {
        said.push(made_at, id.clone(), Kind::Sos(None));
    }
    heartbeat(&mut said, attributes, &alarms, (made_at, &id))?;
    if is_fix(position)? {
        said.push(fixed_at.unwrap_or(made_at), id.clone(), Kind::Location(fix(position)?));
    }
    if let Some(tag) = attributes.map(card).transpose()?.flatten() {
        said.push(made_at, id, Kind::Scan(Scan { tag, guard: None, sun: None }));
    }
    if attributes.is_some() {
        said.advise(device, About::Tampering, alarms.tampering.then_some(MEND_TAMPERING));
    }
    Ok(said)
}

/// The number of the position in Traccar's database: 0 if it keeps none.
fn id(position: Fields<'_, '_>) -> Result<Option<String>, Fault> {
    let number = position.loose("id", 0.0..=1e15)?.filter(|number| *number > 0.0);
    Ok(number.map(|number| format!("traccar {number}")))
}

fn heartbeat(
    said: &mut Said,
    attributes: Option<Fields<'_, '_>>,
    alarms: &Alarms,
    (at, id): (Timestamp, &Option<String>),
) -> Result<(), Fault> {
    let number = |name, max| attributes.map_or(Ok(None), |a| a.loose(name, 0.0..=max));
    let level = number("batteryLevel", 100.0)?;
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "in range by the check")]
    let (level, steps) =
        (level.map(|percent| (percent * 10.0).round() as u16), number("steps", MAX_STEPS)?.map(|n| n as u32));
    if steps.is_some() {
        said.asides.push(Aside::RunningSteps(said.events.len()));
    }
    let heartbeat = Heartbeat {
        battery_permille: level.or(alarms.low.then_some(LOW_PERMILLE)),
        charging: attributes.and_then(|a| a.value("charge")).and_then(Json::flag),
        interactions: 0,
        steps: steps.unwrap_or(0),
        man_down: alarms.fall,
    };
    said.push(at, id.clone(), Kind::Heartbeat(heartbeat));
    Ok(())
}

/// `outdated` is the last position once more, and one that is not `valid` is none.
fn is_fix(position: Fields<'_, '_>) -> Result<bool, Fault> {
    Ok(!position.flag("outdated")?.unwrap_or(false) && position.flag("valid")?.unwrap_or(true))
}

fn fix(position: Fields<'_, '_>) -> Result<Fix, Fault> {
    #[expect(clippy::cast_possible_truncation, reason = "24 bits of mantissa are 1 m in 16,000 km")]
    let short = |number: Option<f64>| number.map(|number| number as f32);
    let speed = position.loose("speed", 0.0..=MAX_SPEED_MPS / KNOT)?;
    Ok(Fix {
        lat: required("latitude", position.loose("latitude", -90.0..=90.0)?, "degrees north")?,
        lon: required("longitude", position.loose("longitude", -180.0..=180.0)?, "degrees east")?,
        // 0 is its word for: not known.
        accuracy_m: short(position.loose("accuracy", 0.0..=MAX_ACCURACY_M)?.filter(|metres| *metres > 0.0)),
        speed_mps: short(speed.map(|knots| knots * KNOT)),
        heading_deg: short(position.loose("course", 0.0..=360.0)?),
        provider: None,
        mock: false,
        outdated: false,
    })
}

/// A card that was held to the tracker.
fn card(attributes: Fields<'_, '_>) -> Result<Option<Tag>, Fault> {
    let Some(value) = attributes.value("card").or_else(|| attributes.value("driverUniqueId")) else {
        return Ok(None);
    };
    let wrong = || Fault::wrong_type("card", value, "the hex digits of a card, or its number");
    match value {
        Json::Int(number) => u64::try_from(*number).map(Tag::of_number).map_err(|_| wrong()).map(Some),
        Json::Text(text) => Tag::new(text).map(Some).map_err(|_| wrong()),
        Json::Null | Json::Bool(_) | Json::Float(_) | Json::List(_) | Json::Object(_) => Err(wrong()),
    }
}
