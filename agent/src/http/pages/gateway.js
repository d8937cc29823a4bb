"use strict";

const byId = (id) => document.getElementById(id);
let zone = "UTC";

/** An element with classes and text; text is never parsed as HTML. */
function element(tag, classes, text) {
  const made = document.createElement(tag);
  if (classes) made.className = classes;
  if (text !== undefined && text !== null) made.textContent = text;
  return made;
}

function clock(instant) {
  if (!instant) return "–";
  const options = { hour: "2-digit", minute: "2-digit", timeZone: zone, hourCycle: "h23" };
  return new Intl.DateTimeFormat("en-GB", options).format(new Date(instant));
}

function say(id, text, feeling) {
  const place = byId(id);
  place.textContent = text;
  place.className = feeling || "";
}

const SIGNALS = ["phone", "movement", "tasks", "tours"];
const STATES = { ACTIVE: "active", INACTIVE: "inactive", UNOBSERVED: "unknown" };
const PRESENCE = { on_duty: "on duty", on_break: "on break", off_duty: "off duty" };
const URGENCY = { CRITICAL: 0, HIGH: 1, MEDIUM: 2, LOW: 3 };
const RUNS = { SCHEDULED: "", IN_PROGRESS: "good", COMPLETED: "good", OVERDUE: "warn", MISSED: "bad", INCOMPLETE: "warn" };

const isOver = (alert) => Boolean(alert.cleared_at) || !["DETECTED", "VERIFYING"].includes(alert.status);

function alertRow(alert) {
  const row = element("li", `alert ${alert.severity}${isOver(alert) ? " over" : ""}`);
  row.dataset.rule = alert.rule;
  const when = element("span", "when", clock(alert.detected_at));
  when.title = alert.detected_at;
  const notes = [alert.rule.replaceAll("_", " "), alert.status.toLowerCase().replaceAll("_", " ")];
  if (alert.escalated) notes.push("escalated");
  if (alert.cleared_at) notes.push(`cleared ${clock(alert.cleared_at)}`);
  row.append(element("span", "severity", alert.severity), element("span", "text", alert.summary), when,
    element("span", "meta", notes.join(" · ")));
  return row;
}

function guardCard(guard) {
  const card = element("article", `card ${guard.presence}`);
  const title = element("h3");
  title.append(element("span", "", guard.name), element("span", `badge ${guard.presence}`, PRESENCE[guard.presence]));
  card.append(title);
  const last = guard.last_activity_at ? `last sign of life ${clock(guard.last_activity_at)} (${guard.last_activity})` : "no sign of life yet";
  card.append(element("p", "quiet", last));
  const seen = guard.window;
  if (!seen) {
    if (guard.presence !== "off_duty") card.append(element("p", "quiet", "no verdict yet: too little duty or evidence"));
    return card;
  }
  const bar = element("div", "score");
  const fill = element("i", seen.score >= seen.threshold && !seen.proof_of_life ? "over" : "");
  fill.style.setProperty("width", `${seen.score / 10}%`);
  bar.append(fill);
  bar.title = `score ${seen.score} of 1000; inactive from ${seen.threshold}`;
  card.append(bar);
  const life = seen.proof_of_life ? " · proof of life" : "";
  card.append(element("p", "quiet", `${clock(seen.from)}–${clock(seen.to)} · score ${(seen.score / 1000).toFixed(2)}${life}`));
  const signals = element("div", "signals");
  for (const name of SIGNALS) {
    const signal = seen.signals[name];
    const box = element("div", `signal ${signal.state}`);
    box.title = `${name}: ${signal.count} counted, weight ${signal.weight}`;
    box.append(element("b", "", STATES[signal.state]), element("span", "quiet", name));
    signals.append(box);
  }
  card.append(signals);
  return card;
}

function runRow(run) {
  const row = element("tr");
  const status = element("td", RUNS[run.status], run.status.toLowerCase().replaceAll("_", " "));
  row.append(element("td", "", run.name), element("td", "", clock(run.scheduled_at)), element("td", "", clock(run.start_by)),
    status, element("td", "", `${run.coverage} %`), element("td", "", run.guard || "any"));
  return row;
}

function deviceRow(device) {
  const row = element("tr");
  const battery = device.battery_permille === null ? "–" : `${Math.round(device.battery_permille / 10)} %`;
  const [state, feeling] = device.silent ? ["silent", "bad"] : device.offline ? ["offline", "warn"]
    : device.last_received_at ? ["heard", "good"] : ["not heard yet", "quiet"];
  row.append(element("td", "", device.id), element("td", "", device.kind), element("td", "", device.guard || "–"),
    element("td", "", clock(device.last_received_at)), element("td", "", battery), element("td", feeling, state));
  return row;
}

function fill(id, items, make, emptyId) {
  byId(id).replaceChildren(...items.map(make));
  if (emptyId) byId(emptyId).hidden = items.length > 0;
}

function uplinkWords(uplink) {
  if (!uplink) return ["not configured", "quiet"];
  if (uplink.unauthorized) return ["credential refused", "bad"];
  if (uplink.reachable === true) return ["reached", "good"];
  if (uplink.reachable === false) return ["not reached", "bad"];
  return ["not tried yet", "quiet"];
}

function show(status) {
  zone = status.timezone;
  document.title = `${status.name} · Vigil gateway ${status.gateway}`;
  byId("site").textContent = status.name;
  byId("subtitle").textContent = `gateway ${status.gateway} · ${clock(status.now)} ${status.timezone}`;
  const alerts = [...status.alerts].sort((a, b) =>
    isOver(a) - isOver(b) || (isOver(a) ? 0 : URGENCY[a.severity] - URGENCY[b.severity]) || b.detected_at.localeCompare(a.detected_at));
  const open = alerts.filter((a) => !isOver(a)).length;
  say("on-duty", String(status.guards.filter((g) => g.presence !== "off_duty").length));
  say("open-alerts", String(open), open ? "bad" : "good");
  say("source", status.source.connected ? "coming in" : "cut off", status.source.connected ? "good" : "bad");
  say("uplink", ...uplinkWords(status.uplink));
  const o = status.outbox;
  const waiting = o.critical + o.alerts + o.tours + o.reports + o.health;
  say("outbox", `${waiting}${o.dead ? ` (+${o.dead} rejected)` : ""}`, o.dead ? "warn" : "");
  fill("alerts", alerts.slice(0, 100), alertRow, "no-alerts");
  fill("guards", status.guards, guardCard, "no-guards");
  fill("runs", status.runs.slice(0, 50), runRow, "no-runs");
  fill("devices", status.devices, deviceRow);
  const refused = Object.values(status.refused).reduce((sum, n) => sum + n, 0);
  const stored = Object.values(status.outcomes).reduce((sum, n) => sum + n, 0);
  byId("numbers").textContent = `${stored} observations stored · ${refused} inputs refused · store ${(status.store_bytes / 1048576).toFixed(1)} MiB · Vigil ${status.version}`;
}

const stream = new EventSource("/api/stream");
stream.addEventListener("status", (event) => {
  byId("offline").hidden = true;
  show(JSON.parse(event.data));
});
stream.addEventListener("error", () => {
  byId("offline").hidden = false;
});
