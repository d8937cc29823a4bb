// The gateway's page: one status object a second, drawn over what is there.

import { alertCard, arrange, byId, byUrgency, clockText, count, element, isUrgent, link, reveal, secondsText, speak, timeNode, words }
  from "/vigil.js";

// A status comes at least every 6 s; without one for so long, the line is dead though nobody has said so.
const SILENT_MS = 15000;
// How long to wait before a stream that was refused is asked for again.
const AGAIN_MS = 3000;
// For how long an alert that has just come is lit; the animation takes 2.5 s.
const FRESH_MS = 2500;
// A report changes at most once an hour; what is shown of today may be this old.
const REPORT_EVERY_MS = 60000;
// More would only be scrolled past; `vigil alerts` and `vigil tours` list all.
const ALERTS_SHOWN = 100;
const RUNS_SHOWN = 24;
const FLOOD_SHOWN_MS = 600_000;

const PRESENCE = { on_duty: ["on duty", "good"], on_break: ["on break", "warn"], off_duty: ["off duty", "quiet"] };
const SIGNALS = ["phone", "movement", "tasks", "tours"];
const SIGNAL_STATES = { ACTIVE: "✓ active", INACTIVE: "✗ none", UNOBSERVED: "unknown" };
const RUN_TONES = { SCHEDULED: "quiet", IN_PROGRESS: "good", COMPLETED: "good", OVERDUE: "warn", MISSED: "bad", INCOMPLETE: "warn" };
const COMPLIANCE_TONES = { COMPLIANT: "good", SLA_BREACH: "warn", PARTIAL_COMPLETION: "warn", NOT_STARTED: "bad", GUARD_ABSENT: "bad" };
const RUNS_UNDER_WAY = ["OVERDUE", "IN_PROGRESS", "SCHEDULED"];

let zone = "UTC";
let now = null;
let heardAt = performance.now();
// When each alert was first seen here; those of the first status are no news.
const seen = new Map();
let first = true;

const clock = (instant) => clockText(instant, zone, now);
const time = (instant) => timeNode(instant, zone, now);

// --- alerts ---

function alertNode(alert) {
  const card = alertCard(alert, zone, now);
  if (performance.now() - seen.get(alert.id) < FRESH_MS) card.classList.add("fresh");
  return card;
}

function note(alerts, site) {
  for (const alert of alerts.filter(({ id }) => !seen.has(id))) {
    seen.set(alert.id, first ? -FRESH_MS : performance.now());
    if (!first && isUrgent(alert)) speak(alert, site);
  }
  first = false;
}

function showAlerts(status) {
  note(status.alerts, status.name);
  const alerts = [...status.alerts].sort(byUrgency);
  const { open, critical: urgent } = status.alert_counts;
  count("count-critical", urgent);
  count("count-open", open - urgent);
  fill("alerts", alerts.slice(0, ALERTS_SHOWN), ({ id }) => id, alertNode);
  document.title = `${urgent > 0 ? `(${urgent}) ` : ""}${status.name} · Vigil gateway ${status.gateway}`;
}

// --- guards ---

function lastSign(guard) {
  const line = element("p", "quiet");
  if (!guard.last_activity_at) line.append("No recent sign of life");
  else line.append("Last sign of life ", time(guard.last_activity_at), `, ${words(guard.last_activity)}`);
  return line;
}

/** The four signals; without a window a dash each, so that the first verdict moves nothing. */
function signalsOf(window) {
  const list = element("dl", "signals");
  for (const name of SIGNALS) {
    const signal = window?.signals[name];
    const box = element("div");
    box.dataset.signal = name;
    box.dataset.state = signal?.state ?? "NONE";
    if (signal) box.title = `${signal.count} counted, weight ${(signal.weight / 1000).toFixed(2)}`;
    const state = signal ? SIGNAL_STATES[signal.state] ?? words(signal.state) : "–";
    box.append(element("dt", "", name), element("dd", "", state));
    list.append(box);
  }
  return list;
}

function bar(value, max, classes, label) {
  const made = element("progress", classes);
  made.setAttribute("max", max);
  made.setAttribute("value", value);
  made.setAttribute("aria-label", label);
  return made;
}

function scoreOf(window) {
  const over = window.score >= window.threshold && !window.proof_of_life;
  const line = element("div", "score");
  const text = `${(window.score / 1000).toFixed(2)}, limit ${(window.threshold / 1000).toFixed(2)}`;
  line.append(bar(window.score, 1000, over ? "over" : "", "inactivity"), element("span", over ? "bad" : "quiet", `inactivity ${text}`));
  return line;
}

/** Why there is no verdict. */
function noVerdict(guard, devices) {
  const lost = devices.find((d) => d.guard === guard.id && (d.silent || d.offline));
  if (!lost) return element("p", "verdict quiet", "No verdict yet: too little time on duty, or too little evidence.");
  const line = element("p", "verdict warn");
  if (!lost.last_received_at) line.append(`No verdict: ${lost.id} has not been heard yet.`);
  else line.append(`No verdict: ${lost.id} was last heard at `, time(lost.last_received_at), ".");
  return line;
}

function guardNode(guard, devices) {
  const card = element("li", "card person");
  const [presence, tone] = guard.alert ? ["inactive", "bad"] : PRESENCE[guard.presence];
  Object.assign(card.dataset, { guard: guard.id, presence: guard.presence, trouble: Boolean(guard.alert) });
  const head = element("div", "head");
  head.append(element("h3", "name", guard.name), element("span", `chip ${tone}`, presence));
  card.append(head, lastSign(guard));
  const window = guard.window;
  if (!window) {
    if (guard.presence !== "off_duty") card.append(noVerdict(guard, devices), signalsOf(null));
    return card;
  }
  const span = element("p", "quiet");
  span.append("Window ", time(window.from), "–", time(window.to), window.proof_of_life ? ", proof of life" : "");
  card.append(span, scoreOf(window), signalsOf(window));
  return card;
}

function showGuards(status) {
  const on = status.guards.filter((guard) => guard.presence !== "off_duty").length;
  count("count-on-duty", on);
  const guards = [...status.guards].sort((a, b) => Boolean(b.alert) - Boolean(a.alert));
  fill("guards", guards, ({ id }) => id, (guard) => guardNode(guard, status.devices));
}

// --- tours and devices ---

function cell(label, value, classes) {
  const made = element("td", classes);
  if (label) made.dataset.label = label;
  made.append(value instanceof Node ? value : String(value));
  return made;
}

function runNode(run) {
  const row = element("tr");
  Object.assign(row.dataset, { status: run.status, compliance: run.compliance ?? "" });
  const [state, tone] = run.compliance ? [run.compliance, COMPLIANCE_TONES[run.compliance]] : [run.status, RUN_TONES[run.status]];
  const scanned = element("span", "scanned");
  scanned.append(bar(run.coverage, 100, "", "checkpoints scanned"), element("span", "percent", `${run.coverage} %`));
  row.append(cell("", run.name), cell("due", time(run.scheduled_at)), cell("scanned", scanned),
    cell("by", run.guard || "anyone"), cell("", words(state), `state ${tone}`));
  return row;
}

function showRuns(status) {
  const underWay = (run) => RUNS_UNDER_WAY.includes(run.status);
  const runs = [...status.runs].sort((a, b) => underWay(b) - underWay(a)).slice(0, RUNS_SHOWN);
  fill("runs", runs, (run) => `${run.tour}@${run.scheduled_at}`, runNode);
}

function deviceState(device) {
  if (device.silent) return ["silent", "bad"];
  if (device.offline) return ["offline", "warn"];
  if (device.clock_behind_secs !== null) {
    const way = device.clock_behind_secs > 0 ? "behind" : "ahead";
    return [`clock ${Math.ceil(Math.abs(device.clock_behind_secs) / 60)} min ${way}`, "warn"];
  }
  return device.last_received_at ? ["heard", "good"] : ["not heard yet", "quiet"];
}

/** What of a device was thinned within the last minutes. */
function floodWords(flood, now) {
  if (!flood || Date.parse(now) - Date.parse(flood.last_at) > FLOOD_SHOWN_MS) return null;
  return `talks without end: ${flood.heartbeats} heartbeats merged, ${flood.positions} positions thinned`;
}

function deviceNode(device, mend) {
  const row = element("tr");
  const known = deviceState(device);
  const [state, tone] = mend && known[1] === "good" ? [mend, "warn"] : known;
  const battery = device.battery_permille === null ? "–" : `${Math.round(device.battery_permille / 10)} %`;
  row.append(cell("", device.id), cell("heard", time(device.last_received_at)), cell("battery", battery),
    cell(words(device.kind), device.guard || "–"), cell("", state, `state ${tone}`));
  return row;
}

function showDevices(status) {
  const lost = (device) => device.silent || device.offline;
  const devices = [...status.devices].sort((a, b) => lost(b) - lost(a));
  const floods = status.floods.map((flood) => [flood.device, floodWords(flood, status.now)]);
  const mends = new Map([...floods, ...status.advice.map(({ device, mend }) => [device, mend])]);
  fill("devices", devices, ({ id }) => id, (device) => deviceNode(device, mends.get(device.id)));
}

function lineState(line) {
  const more = [];
  if (line.waiting > 0) more.push(`${line.waiting} waiting`);
  if (line.lost > 0) more.push(`${line.lost} lost`);
  if (line.skipped_bytes > 0) more.push(`${line.skipped_bytes} bytes of noise`);
  const all = (word) => [word, ...more].join(" · ");
  if (line.up) return [all("up"), line.lost > 0 ? "warn" : "good"];
  return line.last_error ? [all("down"), "bad"] : ["not opened yet", "quiet"];
}

function lineNode(line) {
  const row = element("tr");
  row.dataset.up = line.up;
  const [state, tone] = lineState(line);
  row.append(cell("", `${line.device}, ${line.protocol}`), cell("read", line.read), cell("last", time(line.last_read_at)),
    cell("", line.up ? line.port : line.last_error ?? line.port), cell("", state, `state ${tone}`));
  return row;
}

function showSerial({ serial }) {
  byId("serial-section").hidden = serial.length === 0;
  arrange(byId("serial"), serial, ({ device }) => device, lineNode);
}

// --- the gateway itself ---

function vital(id, text, tone, detail) {
  const [value, more] = byId(id).querySelectorAll("dd");
  if (value.textContent !== text) value.textContent = text;
  value.className = tone;
  if (more.textContent !== detail) more.textContent = detail;
}

/** What is wrong with a way to the NOC, if anything is. */
function troubleWords(way) {
  const next = way.next_attempt_at ? `; next at ${clock(way.next_attempt_at)}` : "";
  const failed = `${way.attempts} failed${next}. ${way.last_error ?? ""}`;
  if (way.unauthorized) return ["credential refused", "bad", failed];
  return way.reachable === false ? ["not reached", "bad", failed] : null;
}

function commandsWords(commands, receiver) {
  if (receiver === "alertmanager") return ["none", "quiet", "An Alertmanager gives none; steps are taken on this page's machine."];
  if (!commands) return ["not configured", "quiet", "Steps are taken on this page's machine."];
  const trouble = troubleWords(commands);
  if (trouble) return trouble;
  if (commands.reachable === null) return ["not asked yet", "quiet", ""];
  return ["listening", "good",
    `Last heard at ${clock(commands.last_success_at)}; ${commands.decided} decided, ${commands.refused} of them refused.`];
}

function uplinkWords(uplink, link, receiver) {
  if (!uplink) return ["not configured", "quiet", "Alerts stay on this site."];
  const trouble = troubleWords(uplink);
  if (link?.lost) {
    const since = link.heard_at ? `Nothing heard since ${clock(link.heard_at)}. ` : "Never heard. ";
    return ["LOST", "bad", since + (trouble ? trouble[2] : "")];
  }
  if (trouble) return trouble;
  if (uplink.reachable === null) return ["not tried yet", "quiet", "Nothing had to be sent so far."];
  const last = `Last at ${clock(uplink.last_success_at)};`;
  if (receiver !== "alertmanager") return ["reached", "good", `${last} ${uplink.delivered} events delivered.`];
  const kept = `${uplink.kept_here} tours and reports went nowhere and are on this box only.`;
  return ["Alertmanager reached", "good", `${last} ${uplink.delivered} alerts delivered; ${kept}`];
}

function lengthWords(ms) {
  const seconds = Math.ceil(Math.abs(ms) / 1000);
  if (seconds < 120) return `${seconds} s`;
  if (seconds < 7200) return `${Math.floor(seconds / 60)} min`;
  return seconds < 172800 ? `${Math.floor(seconds / 3600)} h` : `${Math.floor(seconds / 86400)} days`;
}

const CLOCK_WORDS = {
  unset: ["not set", "bad"], unverified: ["unverified", "quiet"], ntp: ["kept by NTP", "good"],
  noc: ["told by the NOC", "good"], simulated: ["simulated", "quiet"],
};

function clockWords({ state, uncertainty_ms, wall_ahead_ms, noc_differs_ms }) {
  const way = (ms) => `${lengthWords(ms)} ${ms > 0 ? "ahead" : "behind"}`;
  const detail = [];
  if (state === "unset") detail.push("Tours, absences, night hours and reports wait.");
  if (uncertainty_ms !== null) detail.push(`Good to ${lengthWords(uncertainty_ms)}.`);
  if (Math.abs(wall_ahead_ms) > 10000) detail.push(`The box's wall clock is ${way(wall_ahead_ms)}.`);
  if (noc_differs_ms !== null) detail.push(`The NOC's clock is ${way(noc_differs_ms)}.`);
  return [...CLOCK_WORDS[state], detail.join(" ")];
}

/** Whether what comes in can be stored, and if not, what is to be done. */
function storeWords({ outage, stuck_secs: stuck, dropped_inputs: dropped }) {
  if (stuck) return ["stuck", "bad", `the disk has not answered for ${stuck} s`];
  if (outage) return ["out of order", "bad", `${outage.why}; ${outage.mend}; the agent tries again every ${outage.again_secs} s`];
  return ["in order", "good", dropped > 0 ? `${dropped} inputs went before their time for want of room` : "nothing dropped"];
}

function showGateway(status) {
  const { source, outbox } = status;
  vital("source", source.connected ? "coming in" : "cut off", source.connected ? "good" : "bad",
    source.last_error && !source.connected ? source.last_error : `${source.mode} broker, ${source.address}`);
  vital("timekeeping", ...clockWords(status.clock));
  vital("uplink", ...uplinkWords(status.uplink, status.link, status.receiver));
  vital("commands", ...commandsWords(status.commands, status.receiver));
  const lanes = ["critical", "alerts", "tours", "reports", "health"];
  const waiting = lanes.reduce((sum, lane) => sum + outbox[lane], 0);
  const filled = lanes.filter((lane) => outbox[lane] > 0).map((lane) => `${lane} ${outbox[lane]}`);
  const dead = outbox.dead > 0 ? `${outbox.dead} rejected by the NOC` : "none rejected";
  vital("outbox", String(waiting), outbox.critical > 0 ? "bad" : "", [...filled, dead].join(" · "));
  const sum = (counts) => Object.values(counts).reduce((all, n) => all + n, 0);
  vital("stored", String(sum(status.outcomes)), "",
    `${sum(status.refused)} inputs refused · store ${(status.store_bytes / 1048576).toFixed(1)} MiB`);
  vital("store", ...storeWords(status));
  byId("version").textContent = `Vigil ${status.version}`;
}

// --- yesterday's report ---

let reportedAt = -Infinity;

const percent = (share) => (typeof share === "number" ? `${(share * 100).toFixed(1).replace(/\.0$/, "")} %` : "–");
const hours = (ms) => (ms < 3600000 ? `${Math.round(ms / 60000)} min` : `${(ms / 3600000).toFixed(1)} h`);
const plural = (n, one, many = `${one}s`) => `${n} ${n === 1 ? one : many}`;

/** "10 March", of a date that no zone moves. */
const dayText = (date) => new Intl.DateTimeFormat("en-GB", { day: "numeric", month: "long", timeZone: "UTC" }).format(new Date(date));

function tone(share, good) {
  if (typeof share !== "number") return "";
  return share >= good ? "good" : "warn";
}

function showFigures({ total, devices, blind_ms: blind }) {
  const { runs, tasks, inactivity, duty } = total;
  vital("report-runs", percent(runs.compliance_rate), tone(runs.compliance_rate, 0.95),
    `${plural(runs.closed, "run")}: ${runs.compliant} compliant, ${runs.missed} missed · coverage ${percent(runs.mean_coverage === null ? null : runs.mean_coverage / 100)}`);
  const slowest = tasks.response.p95 === null ? "" : ` · 95 of 100 took at most ${tasks.response.p95.toFixed(2)} of their time`;
  vital("report-tasks", percent(tasks.completion_rate), tone(tasks.completion_rate, 0.95), `${tasks.due} due, ${tasks.overdue} overdue${slowest}`);
  const wrong = inactivity.false_positive_rate === null ? "" : ` · ${percent(inactivity.false_positive_rate)} of those decided were not so`;
  vital("report-inactivity", String(inactivity.raised), "", `${inactivity.deep_night} in the deep night${wrong}`);
  const silent = Object.values(devices).filter((device) => device.outages > 0).length;
  vital("report-duty", percent(duty.observed_share), tone(duty.observed_share, 0.75),
    `of ${hours(duty.on_duty_ms)} on duty · ${plural(silent, "device")} fell silent${blind > 0 ? ` · the agent was down for ${hours(blind)}` : ""}`);
}

function standingNode(standing, names) {
  const row = element("tr");
  row.append(cell("", names.get(standing.guard) ?? standing.guard), cell("place", standing.place ?? "–"), cell("runs", standing.runs),
    cell("observed", percent(standing.observed_share)), cell("", percent(standing.compliance_rate), `state ${tone(standing.compliance_rate, 0.95)}`));
  return row;
}

async function ask(path) {
  const answer = await fetch(path);
  return answer.ok ? answer.json() : null;
}

/** The last day that is over, or else today as far as it has come. */
async function showReport(guards) {
  if (performance.now() - reportedAt < REPORT_EVERY_MS) return;
  reportedAt = performance.now();
  const days = await ask("/api/v1/reports");
  const report = days?.reports.find((day) => day.complete) ?? days?.reports[0];
  if (days) byId("report-empty").hidden = Boolean(report);
  if (!report) return;
  const { ranking } = (await ask(`/api/v1/ranking?from=${report.date}&to=${report.date}`)) ?? { ranking: [] };
  byId("report-title").textContent = report.complete ? `Report of ${dayText(report.date)}` : `${dayText(report.date)} so far`;
  byId("report").hidden = false;
  showFigures(report);
  const names = new Map(guards.map(({ id, name }) => [id, name]));
  fill("standings", ranking, ({ guard }) => guard, (standing) => standingNode(standing, names));
}

// --- where it comes from ---

function fill(id, items, key, make) {
  arrange(byId(id), items, key, make);
  byId(`${id}-empty`).hidden = items.length > 0;
  const table = byId(`${id}-table`);
  if (table) table.hidden = items.length === 0;
}

function show(status) {
  zone = status.timezone;
  now = status.now;
  byId("site").textContent = status.name;
  byId("subtitle").textContent = `gateway ${status.gateway}`;
  const shown = timeNode(status.now, zone);
  shown.textContent = secondsText(status.now, zone);
  byId("clock").replaceChildren(shown, " ", element("small", "", status.provisional ? `${zone}, a guess` : zone));
  const { outage, stuck_secs: stuck } = status;
  const banner = byId("outage");
  banner.hidden = !outage && !stuck;
  banner.textContent = banner.hidden ? "" : `Nothing is being stored: ${storeWords(status)[2]}.`;
  showAlerts(status);
  showGuards(status);
  showRuns(status);
  showDevices(status);
  showSerial(status);
  showGateway(status);
  // What cannot be had now is asked for again with a later status; that the line is dead is said elsewhere.
  showReport(status.guards).catch(() => {});
  reveal();
}

function cut() {
  const asOf = now ? `What you see is as of ${clockText(now, zone)} and may be old.` : "Nothing has been received yet.";
  link("cut", `Disconnected from the gateway. ${asOf} Reconnecting…`);
}

function follow() {
  const stream = new EventSource("/api/stream");
  stream.addEventListener("status", (event) => {
    heardAt = performance.now();
    link("live");
    show(JSON.parse(event.data));
  });
  stream.onerror = () => {
    cut();
    // The browser reconnects a cut stream by itself, but not one that was refused.
    if (stream.readyState === EventSource.CLOSED) setTimeout(follow, AGAIN_MS);
  };
}

follow();
setInterval(() => { if (performance.now() - heardAt > SILENT_MS) cut(); }, 1000);
