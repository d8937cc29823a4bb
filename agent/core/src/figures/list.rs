//! Every figure, in the order of the site file.

use super::{Figure, OneOf, Slot};
use crate::time::Span;

const SECOND: Span = Span::from_secs(1);
const MINUTE: Span = Span::from_mins(1);
const HOUR: Span = Span::from_hours(1);
const DAY: Span = Span::from_hours(24);

const fn figure(key: &'static str, slot: Slot, means: &'static str) -> Figure {
    Figure { key, means, tie: None, slot }
}

const fn tied(key: &'static str, slot: Slot, tie: &'static str, means: &'static str) -> Figure {
    Figure { key, means, tie: Some(tie), slot }
}

const WEIGHTS: &str = "the four weights add up to 1.0";
const DEEP_WEIGHTS: &str = "the four weights add up to more than 0";

/// Every figure, in the order of the site file.
pub static FIGURES: &[Figure] = &[
    figure(
        "settle",
        Slot::Span(|p| &mut p.settle.0, Span::ZERO, MINUTE),
        "How long after its instant a deadline is judged, so that messages in flight can arrive.",
    ),
    figure(
        "inactivity.monitor",
        Slot::Name(&OneOf(|p| &mut p.inactivity.monitor)),
        "Whether guards are watched for stillness in the monitored hours or round the clock.",
    ),
    figure(
        "inactivity.hours.from",
        Slot::Clock(|p| &mut p.inactivity.hours.from),
        "When the monitored hours begin on the site's wall clock.",
    ),
    figure(
        "inactivity.hours.to",
        Slot::Clock(|p| &mut p.inactivity.hours.to),
        "When the monitored hours end on the site's wall clock.",
    ),
    figure(
        "inactivity.deep_night_hours.from",
        Slot::Clock(|p| &mut p.inactivity.deep_night_hours.from),
        "When the deep night begins on the site's wall clock.",
    ),
    figure(
        "inactivity.deep_night_hours.to",
        Slot::Clock(|p| &mut p.inactivity.deep_night_hours.to),
        "When the deep night ends on the site's wall clock.",
    ),
    figure(
        "inactivity.deep_night",
        Slot::Name(&OneOf(|p| &mut p.inactivity.deep_night)),
        "Whether the deep night raises the score by its factor of 1.2 alone, or takes deep_night_weights before it.",
    ),
    tied(
        "inactivity.cycle",
        Slot::Span(|p| &mut p.inactivity.cycle, MINUTE, HOUR),
        "a length that divides 24h",
        "How often each guard on duty is evaluated, and the length of one bucket of the window.",
    ),
    tied(
        "inactivity.window",
        Slot::Span(|p| &mut p.inactivity.window, Span::from_mins(10), Span::from_hours(12)),
        "a whole multiple of cycle",
        "How much duty time an evaluation looks back on.",
    ),
    figure(
        "inactivity.threshold",
        Slot::Share(|p| &mut p.inactivity.threshold, 1),
        "The score from which on a guard counts as inactive.",
    ),
    figure(
        "inactivity.consecutive",
        Slot::Count(|p| &mut p.inactivity.consecutive, 1, 100),
        "How many inactive evaluations in a row raise the alert.",
    ),
    figure(
        "inactivity.expectation",
        Slot::Name(&OneOf(|p| &mut p.inactivity.expectation)),
        "Whether a signal without evidence counts for nothing or, as in the classic sum, for inactivity.",
    ),
    tied(
        "inactivity.weights.phone",
        Slot::Share(|p| &mut p.inactivity.weights.phone, 0),
        WEIGHTS,
        "What an untouched phone counts for in the score.",
    ),
    tied(
        "inactivity.weights.movement",
        Slot::Share(|p| &mut p.inactivity.weights.movement, 0),
        WEIGHTS,
        "What a handset that has not moved counts for in the score.",
    ),
    tied(
        "inactivity.weights.tasks",
        Slot::Share(|p| &mut p.inactivity.weights.tasks, 0),
        WEIGHTS,
        "What an overdue task and none completed counts for in the score.",
    ),
    tied(
        "inactivity.weights.tours",
        Slot::Share(|p| &mut p.inactivity.weights.tours, 0),
        WEIGHTS,
        "What a due tour and no checkpoint scanned counts for in the score.",
    ),
    tied(
        "inactivity.deep_night_weights.phone",
        Slot::Share(|p| &mut p.inactivity.deep_night_weights.phone, 0),
        DEEP_WEIGHTS,
        "What an untouched phone counts for in deep night with deep_night = \"weights\".",
    ),
    tied(
        "inactivity.deep_night_weights.movement",
        Slot::Share(|p| &mut p.inactivity.deep_night_weights.movement, 0),
        DEEP_WEIGHTS,
        "What a handset that has not moved counts for in deep night with deep_night = \"weights\".",
    ),
    tied(
        "inactivity.deep_night_weights.tasks",
        Slot::Share(|p| &mut p.inactivity.deep_night_weights.tasks, 0),
        DEEP_WEIGHTS,
        "What an overdue task counts for in deep night with deep_night = \"weights\".",
    ),
    tied(
        "inactivity.deep_night_weights.tours",
        Slot::Share(|p| &mut p.inactivity.deep_night_weights.tours, 0),
        DEEP_WEIGHTS,
        "What a due tour that nobody walks counts for in deep night with deep_night = \"weights\".",
    ),
    figure(
        "inactivity.min_evidence",
        Slot::Share(|p| &mut p.inactivity.min_evidence, 0),
        "Which share of the signals must count, so that there is a verdict at all.",
    ),
    figure(
        "inactivity.movement",
        Slot::Name(&OneOf(|p| &mut p.inactivity.movement)),
        "Whether movement is a robust displacement or the classic sum of distances.",
    ),
    figure(
        "inactivity.min_movement",
        Slot::Number(|p| &mut p.inactivity.min_movement_m, 0.0, 10_000.0),
        "The summed distance in metres below which the handset has not moved, with movement = \"summed\".",
    ),
    figure(
        "inactivity.proof_of_life",
        Slot::Span(|p| &mut p.inactivity.proof_of_life, Span::ZERO, Span::from_hours(12)),
        "How recent a scan, a completed task, an attendance action or an answer must be to prove that the guard is awake.",
    ),
    figure(
        "inactivity.welfare_check",
        Slot::SpanOrOff(|p| &mut p.inactivity.welfare_check, Span::from_secs(10), Span::from_mins(30)),
        "How long the guard has to answer a prompt before an inactivity alert is raised, or that there is no prompt.",
    ),
    figure(
        "tasks.sla.critical",
        Slot::Span(|p| &mut p.tasks.sla_critical, SECOND, DAY),
        "How long a CRITICAL task without a deadline of its own may take.",
    ),
    figure(
        "tasks.sla.high",
        Slot::Span(|p| &mut p.tasks.sla_high, SECOND, DAY),
        "How long a HIGH task without a deadline of its own may take.",
    ),
    figure(
        "tasks.sla.medium",
        Slot::Span(|p| &mut p.tasks.sla_medium, SECOND, DAY),
        "How long a MEDIUM task without a deadline of its own may take.",
    ),
    figure(
        "tasks.sla.low",
        Slot::Span(|p| &mut p.tasks.sla_low, SECOND, DAY),
        "How long a LOW task without a deadline of its own may take.",
    ),
    figure(
        "tasks.auto_escalate",
        Slot::Flag(|p| &mut p.tasks.auto_escalate),
        "Whether an unanswered alert of a CRITICAL task or a mandatory tour is marked as escalated.",
    ),
    figure(
        "tasks.escalation_delay",
        Slot::Span(|p| &mut p.tasks.escalation_delay, SECOND, DAY),
        "How long such an alert may stay unanswered.",
    ),
    figure(
        "tasks.critical_overdue_severity",
        Slot::Name(&OneOf(|p| &mut p.tasks.critical_overdue_severity)),
        "How bad a CRITICAL task is that is open at one and a half times its time.",
    ),
    figure("tours.grace", Slot::Span(|p| &mut p.tours.grace, Span::ZERO, DAY), "How late a run may start."),
    figure(
        "tours.early",
        Slot::Span(|p| &mut p.tours.early, Span::ZERO, DAY),
        "How early a scan may be and still belong to a run.",
    ),
    figure(
        "tours.require_all_checkpoints",
        Slot::Flag(|p| &mut p.tours.require_all_checkpoints),
        "Whether a run is enough only with every checkpoint.",
    ),
    figure(
        "tours.min_checkpoint_percentage",
        Slot::Percent(|p| &mut p.tours.min_checkpoint_percentage),
        "How many checkpoints in percent are enough, with require_all_checkpoints = false.",
    ),
    figure(
        "tours.tour_missed_severity",
        Slot::Name(&OneOf(|p| &mut p.tours.tour_missed_severity)),
        "How bad a missed run is.",
    ),
    figure(
        "tours.mandatory_enforcement",
        Slot::Flag(|p| &mut p.tours.mandatory_enforcement),
        "Whether mandatory tours raise alerts at all; the log keeps every run in any case.",
    ),
    figure(
        "attendance.mode",
        Slot::Name(&OneOf(|p| &mut p.attendance.mode)),
        "Whether duty is from check-in to check-out, or the rostered shift itself.",
    ),
    figure(
        "attendance.check_in_grace",
        Slot::Span(|p| &mut p.attendance.check_in_grace, Span::ZERO, DAY),
        "How late after the start of a shift a check-in may be.",
    ),
    figure(
        "attendance.max_break",
        Slot::Span(|p| &mut p.attendance.max_break, MINUTE, DAY),
        "How long a break may be; from there on the guard counts as back at work.",
    ),
    figure(
        "attendance.max_duty",
        Slot::Span(|p| &mut p.attendance.max_duty, HOUR, Span::from_hours(48)),
        "How long after its check-in a duty without check-out ends.",
    ),
    figure(
        "attendance.overtime_grace",
        Slot::Span(|p| &mut p.attendance.overtime_grace, Span::ZERO, DAY),
        "How long after the end of a shift duty becomes overtime.",
    ),
    figure(
        "devices.silent_after",
        Slot::Span(|p| &mut p.devices.silent_after, MINUTE, DAY),
        "How long an instrument may say nothing before it counts as silent.",
    ),
    figure(
        "devices.battery_low",
        Slot::Share(|p| &mut p.devices.battery_low, 0),
        "The charge below which a battery is low.",
    ),
    tied(
        "devices.battery_ok",
        Slot::Share(|p| &mut p.devices.battery_ok, 0),
        "at least battery_low",
        "The charge from which on a battery is no longer low.",
    ),
    figure(
        "devices.max_clock_skew",
        Slot::Span(|p| &mut p.devices.max_clock_skew, SECOND, DAY),
        "How far a device's clock may be off, either way.",
    ),
    figure(
        "fraud.max_speed_kmh",
        Slot::Number(|p| &mut p.fraud.max_speed_kmh, 1.0, 2_000.0),
        "The speed in km/h above which two fixes of one device cannot both be true.",
    ),
    figure(
        "fraud.max_scan_speed",
        Slot::Number(|p| &mut p.fraud.max_scan_speed, 0.1, 100.0),
        "The speed in m/s above which two checkpoints cannot both have been visited.",
    ),
    figure(
        "fraud.network_mismatch",
        Slot::Number(|p| &mut p.fraud.network_mismatch, 10.0, 100_000.0),
        "How many metres a network fix may be from a GPS fix, beyond the error of both.",
    ),
    figure(
        "fraud.scan_mismatch",
        Slot::Number(|p| &mut p.fraud.scan_mismatch, 10.0, 100_000.0),
        "How many metres a fix may be from a checkpoint that is scanned, beyond its error.",
    ),
    figure(
        "fraud.min_biometric",
        Slot::Share(|p| &mut p.fraud.min_biometric, 0),
        "The confidence below which a biometric check-in counts as low.",
    ),
];
