//! `/metrics`, in the text format of Prometheus and OpenMetrics.

use super::Status;
use crate::clock::Trust;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::{ConstCounter, Counter};
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::{ConstGauge, Gauge};
use prometheus_client::registry::Registry;
use std::fmt;
use vigil_core::view::Presence;

type Labels = Vec<(&'static str, String)>;
type Labelled = Family<Labels, Gauge>;
type Counted = Family<Labels, Counter>;

/// The metrics of one scrape. Nothing is kept between scrapes: the store and the engine hold the truth.
pub fn text(status: &Status) -> Result<String, fmt::Error> {
    let mut registry = Registry::with_prefix("vigil");
    inputs(&mut registry, status);
    floods(&mut registry, status);
    serial(&mut registry, status);
    outbox(&mut registry, status);
    broker(&mut registry, status);
    site(&mut registry, status);
    clock(&mut registry, status);
    let mut text = String::new();
    encode(&mut text, &registry)?;
    Ok(text)
}

fn count(n: usize) -> i64 {
    i64::try_from(n).unwrap_or(i64::MAX)
}

fn total(n: u64) -> i64 {
    i64::try_from(n).unwrap_or(i64::MAX)
}

fn inputs(registry: &mut Registry, status: &Status) {
    let observations = Counted::default();
    for (outcome, n) in &status.outcomes {
        observations.get_or_create(&vec![("outcome", outcome.name().to_owned())]).inc_by(*n);
    }
    let refused = Counted::default();
    for (reason, n) in &status.refused {
        refused.get_or_create(&vec![("reason", reason.name().to_owned())]).inc_by(*n);
    }
    registry.register("observations", "Observations stored, by what became of them", observations);
    registry.register("refused_inputs", "Inputs refused, by reason", refused);
    registry.register("commits", "Durable commits since the start", ConstCounter::new(status.commits));
    registry.register("store_bytes", "Size of the store on disk", ConstGauge::new(total(status.store_bytes)));
    registry.register(
        "records_set_aside",
        "Unreadable records set aside",
        ConstGauge::new(total(status.set_aside)),
    );
    let storing = ConstGauge::new(i64::from(status.outage.is_none() && status.stuck_secs.is_none()));
    registry.register("store_up", "1 while what comes in can be stored", storing);
    let dropped = ConstCounter::new(status.dropped_inputs);
    registry.register("dropped_inputs", "Inputs that went before their time for want of room", dropped);
    let connected = ConstGauge::new(i64::from(status.source.connected));
    registry.register("source_up", "1 while messages can come in", connected);
}

/// A label for each device that was thinned: no more of them than the site has.
fn floods(registry: &mut Registry, status: &Status) {
    let thinned = Counted::default();
    for flood in &status.floods {
        for (kind, n) in [("heartbeat", flood.heartbeats), ("location", flood.positions)] {
            let labels = vec![("device", flood.device.to_string()), ("kind", kind.to_owned())];
            thinned.get_or_create(&labels).inc_by(n);
        }
    }
    registry.register("thinned", "Messages of devices that talk without end that were thinned", thinned);
}

fn serial(registry: &mut Registry, status: &Status) {
    if status.serial.is_empty() {
        return;
    }
    let (up, waiting) = (Labelled::default(), Labelled::default());
    let [opened, read, skipped, lost] = std::array::from_fn(|_| Counted::default());
    for line in &status.serial {
        let labels = vec![("device", line.device.to_string())];
        up.get_or_create(&labels).set(i64::from(line.up));
        waiting.get_or_create(&labels).set(count(line.waiting));
        opened.get_or_create(&labels).inc_by(line.opened);
        read.get_or_create(&labels).inc_by(line.read);
        skipped.get_or_create(&labels).inc_by(line.skipped_bytes);
        lost.get_or_create(&labels).inc_by(line.lost);
    }
    registry.register("serial_up", "1 while the port is open and its device there", up);
    registry.register("serial_waiting", "Readings of a serial line that wait for the store", waiting);
    for (name, help, family) in [
        ("serial_opened", "How often the port was opened", opened),
        ("serial_read", "Scans and fixes that were read off a serial line", read),
        ("serial_skipped_bytes", "Bytes of a serial line that belonged to nothing", skipped),
        ("serial_lost", "Readings of a serial line that were lost because too many waited", lost),
    ] {
        registry.register(name, help, family);
    }
}

fn outbox(registry: &mut Registry, status: &Status) {
    let waiting = Labelled::default();
    let o = &status.outbox;
    let lanes = [
        ("critical", o.critical),
        ("alerts", o.alerts),
        ("tours", o.tours),
        ("reports", o.reports),
        ("health", o.health),
    ];
    for (lane, depth) in lanes {
        waiting.get_or_create(&vec![("lane", lane.to_owned())]).set(count(depth));
    }
    registry.register("outbox_waiting", "Events that wait for the NOC", waiting);
    registry.register("outbox_dead", "Events that the NOC rejected", ConstGauge::new(total(o.dead)));
    if let Some(uplink) = &status.uplink {
        let up = ConstGauge::new(i64::from(uplink.reachable == Some(true)));
        registry.register("uplink_up", "1 if the last attempt reached the NOC", up);
        registry.register(
            "uplink_delivered",
            "Events that the NOC took",
            ConstCounter::new(uplink.delivered),
        );
        registry.register(
            "uplink_kept_here",
            "Events for which the receiver has no place",
            ConstCounter::new(uplink.kept_here),
        );
    }
    if let Some(link) = &status.link {
        let lost = ConstGauge::new(i64::from(link.lost));
        registry.register("uplink_lost", "1 if nothing was answered by the NOC for too long", lost);
    }
    if let Some(commands) = &status.commands {
        let up = ConstGauge::new(i64::from(commands.reachable == Some(true)));
        registry.register("commands_up", "1 if the last question for commands was answered", up);
        let totals = [
            ("commands_decided", "Commands of the NOC that were decided", commands.decided),
            ("commands_refused", "Commands of the NOC that were refused", commands.refused),
        ];
        for (name, help, n) in totals {
            registry.register(name, help, ConstCounter::new(n));
        }
    }
}

fn broker(registry: &mut Registry, status: &Status) {
    let Some(counts) = status.broker else { return };
    registry.register(
        "broker_connected",
        "Clients that are connected",
        ConstGauge::new(total(counts.connected)),
    );
    let totals = [
        ("broker_accepted", "Sockets accepted", counts.accepted),
        ("broker_turned_away", "Sockets closed at once for want of room", counts.turned_away),
        ("broker_refused_connects", "Connections refused", counts.refused_connects),
        ("broker_published", "Messages that clients published", counts.published),
        ("broker_acknowledged", "Messages acknowledged to their publisher", counts.acknowledged),
        ("broker_refused_publishes", "Messages refused before they were looked at", counts.refused_publishes),
        ("broker_delivered", "Messages written to subscribers", counts.delivered),
        ("broker_dropped", "Messages that a subscriber lost", counts.dropped),
        ("broker_wills", "Last wills published", counts.wills),
        ("broker_sessions_ended_for_room", "Sessions that ended for want of room", counts.ended_for_room),
    ];
    for (name, help, n) in totals {
        registry.register(name, help, ConstCounter::new(n));
    }
}

fn clock(registry: &mut Registry, status: &Status) {
    let c = &status.clock;
    let states = Labelled::default();
    for state in Trust::ALL.map(Trust::name).into_iter().chain(["simulated"]) {
        let now = i64::from(state == c.state);
        states.get_or_create(&vec![("state", state.to_owned())]).set(now);
    }
    registry.register(
        "clock_state",
        "1 for what the time is worth: unset means that it is not known",
        states,
    );
    let seconds = |ms: i64| ConstGauge::new(ms / 1_000);
    registry.register(
        "clock_wall_ahead_seconds",
        "How far the wall clock of the box is ahead of the agent's time",
        seconds(c.wall_ahead_ms),
    );
    if let Some(ms) = c.uncertainty_ms {
        registry.register("clock_uncertainty_seconds", "How far the time may be off", seconds(ms));
    }
    if let Some(ms) = c.noc_differs_ms {
        let help = "How far the NOC's clock is ahead of one that NTP keeps";
        registry.register("clock_noc_ahead_seconds", help, seconds(ms));
    }
    let times = ConstCounter::new(c.corrections);
    registry.register("clock_corrections", "How often time was told again since the start", times);
}

fn site(registry: &mut Registry, status: &Status) {
    let guards = Labelled::default();
    let presences =
        [("on_duty", Presence::OnDuty), ("on_break", Presence::OnBreak), ("off_duty", Presence::OffDuty)];
    for (name, presence) in presences {
        let here = status.view.guards.iter().filter(|g| g.presence == presence).count();
        guards.get_or_create(&vec![("presence", name.to_owned())]).set(count(here));
    }
    registry.register("guards", "Guards, by where they are", guards);
    let silent = status.view.devices.iter().filter(|d| d.silent || d.offline).count();
    registry.register("devices_silent", "Devices that are silent or offline", ConstGauge::new(count(silent)));
    let open = Labelled::default();
    for ((rule, severity), alerts) in &status.view.alert_counts.open_by {
        let labels = vec![("rule", rule.name().to_owned()), ("severity", severity.name().to_owned())];
        open.get_or_create(&labels).set(count(*alerts));
    }
    registry.register("alerts_open", "Alerts that are neither cleared nor closed", open);
    registry.register(
        "blind_seconds",
        "Seconds of the last 72 h without the agent",
        ConstGauge::new(status.view.blind_secs),
    );
}
