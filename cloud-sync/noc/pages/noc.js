"use strict";

// How many alerts the page shows; older ones are in the API.
const SHOWN = 200;
// How long to wait before a stream that was refused is asked for again.
const AGAIN_MS = 3000;

const alerts = new Map();
const gateways = new Map();
let lostAfterSecs = 90;
let painting = false;
let reading = 0;

const byId = (id) => document.getElementById(id);

function make(tag, className, text) {
  const node = document.createElement(tag);
  if (className) node.className = className;
  if (text !== undefined && text !== null) node.textContent = String(text);
  return node;
}

function clockText(date) {
  const two = (n) => String(n).padStart(2, "0");
  return `${two(date.getHours())}:${two(date.getMinutes())}:${two(date.getSeconds())}`;
}

function localTime(instant) {
  const date = new Date(instant);
  if (Number.isNaN(date.getTime())) return String(instant);
  if (date.toDateString() === new Date().toDateString()) return clockText(date);
  return `${date.toLocaleDateString(undefined, { day: "numeric", month: "short" })} ${clockText(date)}`;
}

function timeNode(className, instant) {
  const node = make("time", className, localTime(instant));
  const date = new Date(instant);
  if (!Number.isNaN(date.getTime())) {
    node.dateTime = date.toISOString();
    node.title = `${date.toISOString()} (UTC)`;
  }
  return node;
}

function duration(secs) {
  if (secs < 60) return `${Math.floor(secs)} s`;
  if (secs < 3600) return `${Math.floor(secs / 60)} min`;
  if (secs < 172800) return `${Math.floor(secs / 3600)} h`;
  return `${Math.floor(secs / 86400)} days`;
}

// --- what is known ---

function isOpen(alert) {
  return !alert.cleared_at && alert.status !== "RESOLVED" && alert.status !== "FALSE_POSITIVE";
}

function isUrgent(alert) {
  return alert.severity === "CRITICAL" && isOpen(alert);
}

function placeOf(row) {
  return `${row.tenant}/${row.site}/${row.gateway}`;
}

function takeAlert(row, fresh) {
  const key = `${placeOf(row)}/${row.alert.id}`;
  const known = alerts.get(key);
  if (known && known.row.alert.revision >= row.alert.revision) return;
  alerts.set(key, { row, node: alertNode(row, fresh) });
  if (fresh && !known && isUrgent(row.alert)) speak(row);
}

function takeGateway(row) {
  const silentSecs = row.last_heard_at ? row.silent_secs ?? 0 : null;
  const open = gateways.get(placeOf(row))?.open;
  gateways.set(placeOf(row), { row, silentSecs, since: performance.now(), open });
}

function silence(gateway) {
  if (gateway.silentSecs === null) return null;
  return gateway.silentSecs + (performance.now() - gateway.since) / 1000;
}

function speak(row) {
  byId("spoken").textContent = `Critical: ${row.alert.summary || row.alert.rule}, ${row.site}`;
}

// --- what is shown ---

function fact(list, name, value, className) {
  if (value === undefined || value === null || value === "") return;
  const pair = make("div", className);
  pair.append(make("dt", "", name), value instanceof Node ? wrap(value) : make("dd", "", value));
  list.append(pair);
}

function wrap(node) {
  const dd = make("dd");
  dd.append(node);
  return dd;
}

function alertNode(row, fresh) {
  const alert = row.alert;
  const node = make("li", fresh ? "card alert fresh" : "card alert");
  node.dataset.severity = alert.severity;
  node.dataset.urgent = String(isUrgent(alert));
  node.dataset.open = String(isOpen(alert));
  node.dataset.id = alert.id;
  const head = make("div", "head");
  head.append(
    make("span", "severity", alert.severity),
    make("span", "rule", alert.rule),
    timeNode("when", alert.detected_at),
  );
  node.append(head, make("p", "summary", alert.summary), alertFacts(row));
  return node;
}

function alertFacts(row) {
  const alert = row.alert;
  const facts = make("dl", "facts");
  fact(facts, "Status", alert.status);
  if (alert.escalated) fact(facts, "Escalated", "yes", "loud");
  if (alert.cleared_at) fact(facts, "Cleared", timeNode("", alert.cleared_at), "good");
  fact(facts, "About", alert.subject);
  if (alert.guard && alert.subject !== `guard:${alert.guard}`) fact(facts, "Guard", alert.guard);
  fact(facts, "Site", row.site);
  fact(facts, "Gateway", row.gateway);
  fact(facts, "Revision", alert.revision);
  return facts;
}

function verdictOf(gateway) {
  const secs = silence(gateway);
  if (secs === null) return ["lost", "never heard"];
  if (secs > lostAfterSecs) return ["lost", `lost for ${duration(secs)}`];
  if (gateway.row.missing > 0) return ["gap", "gap"];
  return ["good", "heard"];
}

// A node is made anew only when it says something else: it keeps the focus and what is selected.
function gatewayNode(gateway) {
  const [health, text] = verdictOf(gateway);
  if (gateway.text !== text) {
    gateway.text = text;
    gateway.node = freshGatewayNode(gateway, health, text);
  }
  return gateway.node;
}

function freshGatewayNode(gateway, health, text) {
  const row = gateway.row;
  const node = make("li", "card gateway");
  node.dataset.health = health;
  const head = make("div", "head");
  head.append(make("span", "name", row.gateway), make("span", "verdict", text));
  const facts = make("dl", "facts");
  fact(facts, "Site", row.site);
  fact(facts, "Tenant", row.tenant);
  if (row.last_heard_at) fact(facts, "Last heard", timeNode("", row.last_heard_at));
  fact(facts, "Last event", row.highest_sequence);
  if (row.missing > 0) fact(facts, "Missing", `${row.missing} (${holes(row)})`, "loud");
  node.append(head, facts);
  if (row.health) node.append(healthNode(gateway));
  return node;
}

function holes(row) {
  const text = row.holes.slice(0, 3).map((h) => (h.first === h.last ? `${h.first}` : `${h.first}–${h.last}`));
  return text.join(", ") + (row.holes.length > 3 ? ", …" : "");
}

function healthNode(gateway) {
  const node = make("details");
  node.open = gateway.open === true;
  node.addEventListener("toggle", () => { gateway.open = node.open; });
  const facts = make("dl", "facts");
  for (const [name, value] of Object.entries(gateway.row.health).slice(0, 24)) {
    if (typeof value !== "object") fact(facts, name, value);
  }
  node.append(make("summary", "", "Health"), facts);
  return node;
}

function inOrder() {
  const rows = [...alerts.entries()];
  rows.sort(([, a], [, b]) =>
    isUrgent(b.row.alert) - isUrgent(a.row.alert) ||
    Date.parse(b.row.alert.detected_at) - Date.parse(a.row.alert.detected_at));
  rows.slice(SHOWN).forEach(([key]) => alerts.delete(key));
  return rows.slice(0, SHOWN).map(([, entry]) => entry);
}

function arrange(list, nodes) {
  const same = list.children.length === nodes.length && nodes.every((node, i) => list.children[i] === node);
  if (!same) list.replaceChildren(...nodes);
}

function count(id, n) {
  const box = byId(id);
  box.querySelector("dd").textContent = n;
  box.classList.toggle("some", n > 0);
}

function paintAlerts() {
  const rows = inOrder();
  arrange(byId("alerts"), rows.map((entry) => entry.node));
  const empty = byId("alerts-empty");
  empty.hidden = rows.length > 0;
  const open = rows.filter((entry) => isOpen(entry.row.alert)).length;
  const urgent = rows.filter((entry) => isUrgent(entry.row.alert)).length;
  count("count-critical", urgent);
  count("count-open", open - urgent);
  document.title = urgent > 0 ? `(${urgent}) Vigil – operations centre` : "Vigil – operations centre";
}

function paintGateways() {
  const rank = { lost: 0, gap: 1, good: 2 };
  const rows = [...gateways.entries()].map(([key, gateway]) => ({ key, gateway, rank: rank[verdictOf(gateway)[0]] }));
  rows.sort((a, b) => a.rank - b.rank || a.key.localeCompare(b.key));
  arrange(byId("gateways"), rows.map((row) => gatewayNode(row.gateway)));
  byId("gateways-empty").hidden = rows.length > 0;
  count("count-lost", rows.filter((row) => row.rank === 0).length);
}

function paint() {
  if (painting) return;
  painting = true;
  requestAnimationFrame(() => {
    painting = false;
    paintAlerts();
    paintGateways();
  });
}

// --- where it comes from ---

async function get(path) {
  const response = await fetch(path, { headers: { accept: "application/json" } });
  if (!response.ok) throw new Error(`${path} answered ${response.status}`);
  return response.json();
}

async function readAll() {
  const mine = ++reading;
  try {
    const [heard, raised] = await Promise.all([get("/api/gateways"), get(`/api/alerts?limit=${SHOWN}`)]);
    if (mine !== reading) return;
    lostAfterSecs = heard.lost_after_secs;
    heard.gateways.forEach(takeGateway);
    raised.alerts.forEach((row) => takeAlert(row, false));
    byId("alerts-empty").textContent = "No alerts yet. They appear here as they arrive.";
    byId("gateways-empty").textContent = "No gateways yet. Add one to the receiver's configuration.";
    link("live");
    paint();
  } catch (error) {
    link("cut");
    setTimeout(() => { if (mine === reading) readAll(); }, AGAIN_MS);
  }
}

let cutSince = null;

function link(state) {
  const words = { live: "Live", connecting: "Connecting", cut: "Disconnected" };
  if (state === "cut") cutSince ??= new Date();
  else if (state === "live") cutSince = null;
  const node = byId("link");
  if (node.dataset.link !== state) {
    node.dataset.link = state;
    node.textContent = words[state];
  }
  const banner = byId("cut");
  banner.hidden = cutSince === null;
  if (cutSince) banner.textContent = `Disconnected from the receiver since ${clockText(cutSince)}. What you see may be old. Reconnecting…`;
}

function follow() {
  const stream = new EventSource("/api/stream");
  stream.addEventListener("hello", readAll);
  stream.addEventListener("resync", readAll);
  stream.addEventListener("alert", (event) => { takeAlert(JSON.parse(event.data), true); paint(); });
  stream.addEventListener("gateway", (event) => {
    takeGateway(JSON.parse(event.data));
    paint();
  });
  stream.onerror = () => {
    link("cut");
    // The browser reconnects a cut stream by itself, but not one that was refused.
    if (stream.readyState === EventSource.CLOSED) setTimeout(follow, AGAIN_MS);
  };
}

function tick() {
  byId("clock").textContent = clockText(new Date());
  paintGateways();
}

follow();
tick();
setInterval(tick, 1000);
