//! One object of each kind of contract 4.

use super::fields::{Fault, Fields, required};
use vigil_core::id::{GuardId, Tag};
use vigil_core::mapping::KindName;
use vigil_core::observation::{
    Attendance, AttendanceAction, Fix, Heartbeat, Kind, Priority, Provider, Scan, Sun, TaskState, TaskUpdate,
};

/// The longest free text of an `activity` (contract 4).
const ACTIVITY_CHARS: usize = 64;
/// The longest title of a task: two lines on a handset.
const TITLE_CHARS: usize = 200;
/// How much of the note of an `sos` is kept: what somebody in need has time to type.
const NOTE_CHARS: usize = 500;
/// The longest half of a rolling code, in hex digits: the 24 bytes of the longest PICC data.
const SUN_CHARS: usize = 48;
/// The least accurate fix that can be meant, in metres: the distance to the other side of the Earth.
pub(super) const MAX_ACCURACY_M: f64 = 20_040_000.0;
/// The fastest that can be meant, in m/s: an airliner with the wind behind it.
pub(super) const MAX_SPEED_MPS: f64 = 500.0;

/// What an object of that kind says; `owner` is whose device sent it.
pub(super) fn kind(name: KindName, fields: Fields<'_, '_>, owner: Option<&GuardId>) -> Result<Kind, Fault> {
    Ok(match name {
        KindName::Heartbeat => Kind::Heartbeat(heartbeat(fields)?),
        KindName::Location => Kind::Location(location(fields)?),
        KindName::Scan => Kind::Scan(scan(fields)?),
        KindName::Task => Kind::Task(task(fields)?),
        KindName::Attendance => Kind::Attendance(attendance(fields, owner)?),
        KindName::Activity => Kind::Activity(activity(fields)?),
        KindName::Sos => Kind::Sos(sos(fields)),
        KindName::Status => {
            return Err(Fault::wrong_type("payload", "JSON", "online or offline as plain text"));
        }
    })
}

fn heartbeat(fields: Fields<'_, '_>) -> Result<Heartbeat, Fault> {
    Ok(Heartbeat {
        battery_permille: fields.permille("battery")?,
        charging: fields.flag("charging")?,
        interactions: fields.count("interactions")?,
        steps: fields.count("steps")?,
        man_down: fields.flag("man_down")?.unwrap_or(false),
    })
}

fn location(fields: Fields<'_, '_>) -> Result<Fix, Fault> {
    let providers = [("gps", Provider::Gps), ("network", Provider::Network), ("fused", Provider::Fused)];
    Ok(Fix {
        lat: required("lat", fields.number("lat", -90.0..=90.0)?, "degrees north")?,
        lon: required("lon", fields.number("lon", -180.0..=180.0)?, "degrees east")?,
        accuracy_m: fields.short_number("accuracy", 0.0..=MAX_ACCURACY_M)?,
        speed_mps: fields.short_number("speed", 0.0..=MAX_SPEED_MPS)?,
        heading_deg: fields.short_number("heading", 0.0..=360.0)?,
        provider: fields.choice("provider", &providers)?,
        mock: fields.flag("mock")?.unwrap_or(false),
        outdated: false,
    })
}

fn scan(fields: Fields<'_, '_>) -> Result<Scan, Fault> {
    let text = required("tag", fields.text("tag")?, "the hex digits of a tag")?;
    let hex = "2 to 40 hex digits, with : - . or spaces between";
    let tag =
        Tag::new(text).map_err(|error| Fault::out_of_range("tag", format!("{:?}", error.found), hex))?;
    let sun = fields.object("sun")?.map(sun).transpose()?;
    Ok(Scan { tag, guard: fields.parsed("guard")?, sun })
}

fn sun(fields: Fields<'_, '_>) -> Result<Sun, Fault> {
    Ok(Sun { picc: hex(fields, "picc")?, cmac: hex(fields, "cmac")? })
}

fn hex(fields: Fields<'_, '_>, name: &str) -> Result<String, Fault> {
    let text = required(name, fields.bounded(name, SUN_CHARS)?, "the hex digits of a rolling code")?;
    if text.bytes().all(|b| b.is_ascii_hexdigit()) {
        return Ok(text.to_ascii_uppercase());
    }
    Err(Fault::out_of_range(name, format!("{text:?}"), "hex digits"))
}

fn task(fields: Fields<'_, '_>) -> Result<TaskUpdate, Fault> {
    let states = [
        ("created", TaskState::Created),
        ("started", TaskState::Started),
        ("completed", TaskState::Completed),
        ("cancelled", TaskState::Cancelled),
    ];
    let priorities = [
        ("CRITICAL", Priority::Critical),
        ("HIGH", Priority::High),
        ("MEDIUM", Priority::Medium),
        ("LOW", Priority::Low),
    ];
    Ok(TaskUpdate {
        task: required("task", fields.parsed("task")?, "the id of a task")?,
        state: required(
            "state",
            fields.choice("state", &states)?,
            "created, started, completed or cancelled",
        )?,
        priority: fields.choice("priority", &priorities)?,
        title: fields.bounded("title", TITLE_CHARS)?.map(str::to_owned),
        created_at: fields.instant("created_at")?,
        due_at: fields.instant("due_at")?,
        guard: fields.parsed("guard")?,
    })
}

fn attendance(fields: Fields<'_, '_>, owner: Option<&GuardId>) -> Result<Attendance, Fault> {
    let actions = [
        ("check_in", AttendanceAction::CheckIn),
        ("check_out", AttendanceAction::CheckOut),
        ("break_start", AttendanceAction::BreakStart),
        ("break_end", AttendanceAction::BreakEnd),
    ];
    let words = "check_in, check_out, break_start or break_end";
    let guard = fields.parsed("guard")?.or_else(|| owner.cloned());
    Ok(Attendance {
        action: required("action", fields.choice("action", &actions)?, words)?,
        guard: required("guard", guard, "the id of a guard, because the device is nobody's own")?,
        biometric_permille: fields.permille("biometric")?,
    })
}

fn activity(fields: Fields<'_, '_>) -> Result<String, Fault> {
    let event = fields.bounded("event", ACTIVITY_CHARS)?;
    required("event", event, "a text of up to 64 characters").map(str::to_owned)
}

/// A call for help is never refused for its note: a note that is too long is cut, one that is no text is dropped.
fn sos(fields: Fields<'_, '_>) -> Option<String> {
    let note = fields.text("note").unwrap_or_default()?;
    Some(note.chars().take(NOTE_CHARS).collect()).filter(|note: &String| !note.is_empty())
}
