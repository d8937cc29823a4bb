//! OwnTracks, the app for iOS and Android (owntracks.org/booklet/tech/json): positions, pings, steps and what it says of
//! how the phone lets it work.

use super::super::fields::{Fault, Fields, required};
use super::super::kinds::{MAX_ACCURACY_M, MAX_SPEED_MPS};
use super::super::{Letter, json};
use super::{About, Said, time};
use vigil_core::observation::{Fix, Heartbeat, Kind};
use vigil_core::site::Device;
use vigil_core::time::{Span, Timestamp};

/// What is understood of `_type`.
const TYPES: &str = "location, transition, steps, status, lwt";
/// Steps over a longer time do not say when they were walked: the app counts from midnight if it is asked to.
const STEPS_OVER: Span = Span::from_mins(30);
/// Kilometres an hour in a metre a second.
const KMH: f64 = 3.6;
/// The most steps that can be meant.
const MAX_STEPS: f64 = 1_000_000.0;

/// The modes of `m` and `monitoring` in which a phone says little while it lies still.
const QUIET: i64 = -1;
const MANUAL: i64 = 0;
const SIGNIFICANT: i64 = 1;

const MEND_QUIET: &str = "OwnTracks is in quiet mode and sends nothing by itself; set it to move mode \
                          (`\"monitoring\": 2`)";
const MEND_MANUAL: &str = "OwnTracks is in manual mode and sends nothing by itself; set it to move mode \
                           (`\"monitoring\": 2`)";
const MEND_SIGNIFICANT: &str = "OwnTracks is in significant mode and is silent while the phone lies still; set it to \
                                move mode (`\"monitoring\": 2`), on iOS with `\"locatorInterval\": 60`, on Android \
                                with `\"moveModeLocatorInterval\": 60`";
const MEND_ALWAYS: &str = "iOS does not let OwnTracks have the position in the background; Settings > Privacy > \
                           Location Services > OwnTracks: Always";
const MEND_REFRESH: &str = "iOS does not let OwnTracks run in the background; Settings > General > Background App \
                            Refresh: on, also for OwnTracks";
const MEND_POWER_SAVE: &str = "Android saves power and stops OwnTracks while the screen is off; switch the battery \
                               saver off";
const MEND_OPTIMISED: &str = "Android optimises the battery use of OwnTracks and stops it while the phone lies still; \
                              Settings > Apps > OwnTracks > Battery: Unrestricted";
const MEND_HIBERNATION: &str = "Android puts OwnTracks to sleep when nobody opens it; Settings > Apps > OwnTracks: \
                                switch off `Pause app activity if unused`";
const MEND_LOCATION: &str = "Android does not let OwnTracks have the precise position in the background; Settings > \
                             Apps > OwnTracks > Permissions > Location: Allow all the time, precise";

/// Reads one message of the app.
pub(super) fn read(letter: Letter<'_>, device: &Device) -> Result<Said, Fault> {
    let value = letter.json()?;
    let fields = Fields::of(&value, "payload")?;
    let mut said = Said::default();
    match required("_type", fields.text("_type")?, TYPES)? {
        "location" => location(fields, device, &mut said)?,
        "transition" => transition(fields, &mut said)?,
        "steps" => steps(fields, &mut said)?,
        "status" => status(letter, fields, device, &mut said),
        "lwt" => said.push(letter.received_at, None, Kind::Status { online: false }),
        "encrypted" => {
            let mend = "a message that is not encrypted; clear the secret encryption key in the app, TLS protects it \
                        on the way";
            return Err(Fault::out_of_range("_type", "\"encrypted\"", mend));
        }
        other => return Err(Fault::out_of_range("_type", json::shown(other), TYPES)),
    }
    Ok(said)
}

/// `t` = "p" is a ping: it repeats an old position under a new instant, so it is a sign of life and nothing more.
fn location(fields: Fields<'_, '_>, device: &Device, said: &mut Said) -> Result<(), Fault> {
    let fixed_at = required_instant(fields)?;
    let made_at = time::instant(fields, "created_at")?.unwrap_or(fixed_at);
    let heartbeat = heartbeat(fields)?;
    let trigger = fields.text("t").unwrap_or_default();
    let ping = trigger == Some("p");
    if ping || heartbeat != Heartbeat::default() || made_at != fixed_at {
        said.push(made_at, None, Kind::Heartbeat(heartbeat));
    }
    if !ping {
        said.push(fixed_at, None, Kind::Location(fix(fields)?));
    }
    advise(fields, trigger, device, said);
    Ok(())
}

fn required_instant(fields: Fields<'_, '_>) -> Result<Timestamp, Fault> {
    required("tst", time::instant(fields, "tst")?, "the seconds since 1970")
}

fn fix(fields: Fields<'_, '_>) -> Result<Fix, Fault> {
    #[expect(clippy::cast_possible_truncation, reason = "24 bits of mantissa are 1 m in 16,000 km")]
    let short = |number: Option<f64>| number.map(|number| number as f32);
    Ok(Fix {
        lat: required("lat", fields.loose("lat", -90.0..=90.0)?, "degrees north")?,
        lon: required("lon", fields.loose("lon", -180.0..=180.0)?, "degrees east")?,
        accuracy_m: short(fields.loose("acc", 0.0..=MAX_ACCURACY_M)?),
        speed_mps: short(fields.loose("vel", 0.0..=MAX_SPEED_MPS * KMH)?.map(|kmh| kmh / KMH)),
        heading_deg: short(fields.loose("cog", 0.0..=360.0)?),
        provider: None,
        mock: false,
        outdated: false,
    })
}

/// Charge in percent, and `bs`: 1 unplugged, 2 charging, 3 full.
fn heartbeat(fields: Fields<'_, '_>) -> Result<Heartbeat, Fault> {
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "0 to 1000 by the range")]
    let battery_permille = fields.loose("batt", 0.0..=100.0)?.map(|percent| (percent * 10.0).round() as u16);
    let charging = match fields.loose("bs", 0.0..=9.0)? {
        Some(1.0) => Some(false),
        Some(2.0 | 3.0) => Some(true),
        Some(_) | None => None,
    };
    Ok(Heartbeat { battery_permille, charging, ..Heartbeat::default() })
}

/// A region was entered or left: a position, if it says where.
fn transition(fields: Fields<'_, '_>, said: &mut Said) -> Result<(), Fault> {
    let at = required_instant(fields)?;
    match (fields.value("lat"), fields.value("lon")) {
        (None, None) => said.alive(at, None),
        _ => said.push(at, None, Kind::Location(fix(fields)?)),
    }
    Ok(())
}

/// Steps are -1 if the phone cannot count them.
fn steps(fields: Fields<'_, '_>, said: &mut Said) -> Result<(), Fault> {
    let asked_at = required_instant(fields)?;
    let (from, to) = (time::instant(fields, "from")?, time::instant(fields, "to")?);
    let to = to.unwrap_or(asked_at);
    let brief = from.is_some_and(|from| to.since(from) <= STEPS_OVER);
    let counted = fields.loose("steps", 0.0..=MAX_STEPS)?.filter(|_| brief);
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "in range by the check")]
    let steps = counted.map_or(0, |steps| steps as u32);
    said.push(to, None, Kind::Heartbeat(Heartbeat { steps, ..Heartbeat::default() }));
    Ok(())
}

/// What `m` says of the mode; a position that a timer of move mode sent (`t` = "t") says it as well.
fn advise(fields: Fields<'_, '_>, trigger: Option<&str>, device: &Device, said: &mut Said) {
    #[expect(clippy::cast_possible_truncation, reason = "-9 to 9 by the range")]
    let mode = fields.loose("m", -9.0..=9.0).unwrap_or_default().map(|mode| mode as i64);
    let mend = match mode {
        Some(QUIET) => Some(MEND_QUIET),
        Some(MANUAL) => Some(MEND_MANUAL),
        Some(SIGNIFICANT) => Some(MEND_SIGNIFICANT),
        Some(_) => None,
        None if trigger == Some("t") => None,
        None => return,
    };
    said.advise(device, About::Mode, mend);
}

/// What the operating system lets the app do: `iOS` and `android` of `_type: status`.
fn status(letter: Letter<'_>, fields: Fields<'_, '_>, device: &Device, said: &mut Said) {
    said.alive(letter.received_at, None);
    if let Ok(Some(ios)) = fields.object("iOS") {
        let word = |name| ios.text(name).unwrap_or_default();
        let always = word("locationManagerAuthorizationStatus")
            .is_none_or(|status| status == "kCLAuthorizationStatusAuthorizedAlways");
        let refreshed = word("backgroundRefreshStatus")
            .is_none_or(|status| status == "UIBackgroundRefreshStatusAvailable");
        let faults = [(!always, MEND_ALWAYS), (!refreshed, MEND_REFRESH)];
        said.advise(device, About::Permission, first(&faults));
    }
    if let Ok(Some(android)) = fields.object("android") {
        let number = |name| android.value(name).and_then(json::Json::number);
        let set = |name| number(name).is_some_and(|n| n >= 1.0);
        let faults = [
            (number("loc").is_some_and(|n| n < 0.0), MEND_LOCATION),
            (set("bo"), MEND_OPTIMISED),
            (set("ps"), MEND_POWER_SAVE),
            (set("hib"), MEND_HIBERNATION),
        ];
        said.advise(device, About::Permission, first(&faults));
    }
}

fn first(faults: &[(bool, &'static str)]) -> Option<&'static str> {
    faults.iter().find(|(wrong, _)| *wrong).map(|(_, mend)| *mend)
}
