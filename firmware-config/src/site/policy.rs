//! `[policy]`: one layer of figures, laid key by key on what lies below.

use crate::table::Table;
use crate::value::{flag, fraction, instant, local_time, number, one_of, rule, severity, span, whole};
use vigil_core::policy::{
    AttendancePolicy, DeepNight, Devices, DutyMode, Expectation, Fraud, Inactivity, Maintenance, Monitor,
    MovementRule, PolicyParts, Tasks, Tours, Weights,
};
use vigil_core::time::{LocalHours, Span, Timestamp};

/// The most maintenance intervals: one a day for a year fits.
const MAX_MAINTENANCE: usize = 500;

/// Lays the figures of one layer on `parts`.
pub(super) fn apply(parts: &mut PolicyParts, mut policy: Table<'_>) {
    policy.set("settle", &mut parts.settle.0, span);
    inactivity(&mut parts.inactivity, policy.table("inactivity"));
    tasks(&mut parts.tasks, policy.table("tasks"));
    tours(&mut parts.tours, policy.table("tours"));
    attendance(&mut parts.attendance, policy.table("attendance"));
    devices(&mut parts.devices, policy.table("devices"));
    fraud(&mut parts.fraud, policy.table("fraud"));
    parts.maintenance.extend(policy.tables("maintenance", maintenance));
    if parts.maintenance.len() > MAX_MAINTENANCE {
        policy.refuse("maintenance", format!("at most {MAX_MAINTENANCE} intervals"));
    }
    policy.finish();
}

fn inactivity(i: &mut Inactivity, mut table: Table<'_>) {
    table.set("monitor", &mut i.monitor, one_of(&[("night", Monitor::Night), ("always", Monitor::Always)]));
    hours(&mut i.hours, table.table("hours"));
    hours(&mut i.deep_night_hours, table.table("deep_night_hours"));
    let deep_nights = one_of(&[("factor", DeepNight::Factor), ("weights", DeepNight::Weights)]);
    table.set("deep_night", &mut i.deep_night, deep_nights);
    table.set("cycle", &mut i.cycle, span);
    table.set("window", &mut i.window, span);
    table.set("threshold", &mut i.threshold, fraction);
    table.set("consecutive", &mut i.consecutive, whole(1..=100));
    let expectations = one_of(&[("when_due", Expectation::WhenDue), ("always", Expectation::Always)]);
    table.set("expectation", &mut i.expectation, expectations);
    weights(&mut i.weights, table.table("weights"));
    weights(&mut i.deep_night_weights, table.table("deep_night_weights"));
    table.set("min_evidence", &mut i.min_evidence, fraction);
    let movements = one_of(&[("robust", MovementRule::Robust), ("summed", MovementRule::Summed)]);
    table.set("movement", &mut i.movement, movements);
    table.set("min_movement", &mut i.min_movement_m, number);
    table.set("proof_of_life", &mut i.proof_of_life, span);
    table.set("welfare_check", &mut i.welfare_check, welfare_check);
    table.finish();
}

fn welfare_check(value: &toml::de::DeValue<'_>) -> crate::value::Read<Option<Span>> {
    if value.as_str() == Some("off") {
        return Ok(None);
    }
    span(value).map(Some).map_err(|_| "\"off\", or a duration from 10s to 30m".into())
}

fn hours(hours: &mut LocalHours, mut table: Table<'_>) {
    table.set("from", &mut hours.from, local_time);
    table.set("to", &mut hours.to, local_time);
    table.finish();
}

fn weights(weights: &mut Weights, mut table: Table<'_>) {
    table.set("phone", &mut weights.phone, fraction);
    table.set("movement", &mut weights.movement, fraction);
    table.set("tasks", &mut weights.tasks, fraction);
    table.set("tours", &mut weights.tours, fraction);
    table.finish();
}

fn tasks(t: &mut Tasks, mut table: Table<'_>) {
    let mut sla = table.table("sla");
    sla.set("critical", &mut t.sla_critical, span);
    sla.set("high", &mut t.sla_high, span);
    sla.set("medium", &mut t.sla_medium, span);
    sla.set("low", &mut t.sla_low, span);
    sla.finish();
    table.set("auto_escalate", &mut t.auto_escalate, flag);
    table.set("escalation_delay", &mut t.escalation_delay, span);
    table.set("critical_overdue_severity", &mut t.critical_overdue_severity, severity);
    table.finish();
}

fn tours(t: &mut Tours, mut table: Table<'_>) {
    table.set("grace", &mut t.grace, span);
    table.set("early", &mut t.early, span);
    table.set("require_all_checkpoints", &mut t.require_all_checkpoints, flag);
    table.set("min_checkpoint_percentage", &mut t.min_checkpoint_percentage, whole(1..=100));
    table.set("tour_missed_severity", &mut t.tour_missed_severity, severity);
    table.set("mandatory_enforcement", &mut t.mandatory_enforcement, flag);
    table.finish();
}

fn attendance(a: &mut AttendancePolicy, mut table: Table<'_>) {
    table.set("mode", &mut a.mode, one_of(&[("check_in", DutyMode::CheckIn), ("roster", DutyMode::Roster)]));
    table.set("check_in_grace", &mut a.check_in_grace, span);
    table.set("max_break", &mut a.max_break, span);
    table.set("max_duty", &mut a.max_duty, span);
    table.set("overtime_grace", &mut a.overtime_grace, span);
    table.finish();
}

fn devices(d: &mut Devices, mut table: Table<'_>) {
    table.set("silent_after", &mut d.silent_after, span);
    table.set("battery_low", &mut d.battery_low, fraction);
    table.set("battery_ok", &mut d.battery_ok, fraction);
    table.set("max_clock_skew", &mut d.max_clock_skew, span);
    table.finish();
}

fn fraud(f: &mut Fraud, mut table: Table<'_>) {
    table.set("max_speed_kmh", &mut f.max_speed_kmh, number);
    table.set("max_scan_speed", &mut f.max_scan_speed, number);
    table.set("network_mismatch", &mut f.network_mismatch, number);
    table.set("scan_mismatch", &mut f.scan_mismatch, number);
    table.set("min_biometric", &mut f.min_biometric, fraction);
    table.finish();
}

fn maintenance(table: &mut Table<'_>) -> Option<Maintenance> {
    let starts_at = table.required("from", instant, Timestamp::default());
    let ends_at = table.required("to", instant, starts_at.just_after());
    let rules = table.list("rules", rule).unwrap_or_default();
    Some(Maintenance { starts_at, ends_at, rules })
}

#[cfg(test)]
mod tests {
    use crate::site::tests::{problems, site};
    use vigil_core::alert::{Rule, Severity};
    use vigil_core::policy::{Inactivity, Policy, PolicyParts};
    use vigil_core::time::{LocalTime, Span};

    #[test]
    fn without_a_policy_the_defaults_hold() {
        assert_eq!(site("").policy, Policy::new(PolicyParts::default()).unwrap());
    }

    #[test]
    fn a_key_changes_nothing_but_itself() {
        let site = site(
            "[policy.inactivity]\nhours = { from = \"19:00\" }\nwelfare_check = \"2m\"\n\
             weights = { phone = 0.3, movement = 0.2 }\n\
             [policy.tasks]\nsla = { low = \"3h\" }\ncritical_overdue_severity = \"HIGH\"\n",
        );
        let mut expected = PolicyParts::default();
        expected.inactivity.hours.from = LocalTime::hour(19);
        expected.inactivity.welfare_check = Some(Span::from_mins(2));
        let Inactivity { weights, .. } = &mut expected.inactivity;
        std::mem::swap(&mut weights.phone, &mut weights.movement);
        expected.tasks.sla_low = Span::from_hours(3);
        expected.tasks.critical_overdue_severity = Severity::High;
        assert_eq!(site.policy, Policy::new(expected).unwrap());
    }

    #[test]
    fn maintenance_has_an_order_and_never_mutes_a_cry_for_help() {
        let interval = |to: &str, rules: &str| {
            format!("[[policy.maintenance]]\nfrom = 2026-03-10T20:00:00Z\nto = {to}\nrules = [{rules}]\n")
        };
        let site = site(&interval("2026-03-10T21:00:00Z", "\"tour_missed\""));
        assert_eq!(site.policy.maintenance[0].rules, [Rule::TourMissed]);
        let found = problems(&interval("2026-03-10T19:00:00Z", "\"sos\", \"tours\""));
        assert_eq!(
            found,
            [
                "site.toml:9: policy.maintenance[0].to: found 2026-03-10T19:00:00Z, allowed: an instant after from",
                "site.toml:10: policy.maintenance[0].rules[1]: found \"tours\", allowed: the name of a rule, like \
             \"inactivity\" or \"tour_missed\"",
            ]
        );
        let found = problems(&interval("2026-03-10T21:00:00Z", "\"sos\""));
        assert_eq!(found.len(), 1, "{found:?}");
    }

    #[test]
    fn figures_out_of_range_are_named_at_their_lines() {
        let found = problems(
            "[policy.inactivity]\nthreshold = 1.5\nweights = { phone = 0.9 }\nconsecutive = 0\n\
             [policy.fraud]\nmax_speed_kmh = 0\n[policy.devices]\nbattery_ok = 0.1\n",
        );
        assert_eq!(
            found,
            [
                "site.toml:8: policy.inactivity.threshold: found 1.5, allowed: a number from 0.0 to 1.0",
                "site.toml:9: policy.inactivity.weights: found a sum of 1.700, allowed: four weights whose sum is 1.0",
                "site.toml:10: policy.inactivity.consecutive: found 0, allowed: a whole number from 1 to 100",
                "site.toml:12: policy.fraud.max_speed_kmh: found 0, allowed: 1 to 2000",
                "site.toml:14: policy.devices.battery_ok: found 0.1, allowed: at least battery_low",
            ]
        );
    }
}
