// The operators' page: every alert of every site as it arrives, and which gateways are heard.

import { alertCard, arrange, byId, byUrgency, clockText, count, element, fact, isOpen, isUrgent, link, nameOf, news, reveal, secondsText, speak, timeNode, words }
  from "/vigil.js";
import { filters } from "/filters.js";

// How many alerts are read at once; older ones are asked for.
const SHOWN = 200;
// So many alerts the receiver gives at once.
const MOST = 1000;
// How long to wait before a reading that failed is tried again.
const AGAIN_MS = 3000;
// For how long an alert that has just come is lit; the animation takes 2.5 s.
const FRESH_MS = 2500;
// What arrives within so long is drawn at once: a delivery brings up to 500 events.
const PAINT_MS = 50;
// A record of health is short; a longer one is not shown whole.
const HEALTH_FACTS = 24;
// What stands elsewhere on the card.
const KNOWN_HEALTH = ["gateway", "at", "site_name", "timezone"];

const HERE = Intl.DateTimeFormat().resolvedOptions().timeZone || "UTC";

const alerts = new Map();
const gateways = new Map();
let lostAfterSecs = 90;
let painting = false;
let reading = 0;
let cutSince = null;
// How it is connected; and whether what was read could be drawn.
let state = "connecting";
let drawn = true;
// How many alerts stay on the page, and where the older ones go on.
let room = SHOWN;
let next = null;
let searchedTo = null;

const placeOf = (row) => `${row.tenant}/${row.site}/${row.gateway}`;

const keyOf = (row) => `${placeOf(row)}/${row.alert.id}`;

function duration(secs) {
  if (secs < 60) return `${Math.floor(secs)} s`;
  if (secs < 3600) return `${Math.floor(secs / 60)} min`;
  if (secs < 172800) return `${Math.floor(secs / 3600)} h`;
  return `${Math.floor(secs / 86400)} days`;
}

// --- what is known ---

function takeAlert(row, isNews) {
  const key = keyOf(row);
  const known = alerts.get(key);
  if (known && known.row.alert.revision > row.alert.revision) return;
  // What the gateway says, before what is on its way to it.
  row.said = row.alert.status;
  row.alert.status = row.status;
  if (isNews && !known && isUrgent(row.alert)) speak(row.alert, siteName(row));
  if (!wanted.holds(row)) {
    alerts.delete(key);
    return;
  }
  const isNew = known?.row.alert.revision !== row.alert.revision;
  alerts.set(key, { key, row, litUntil: isNews && isNew ? performance.now() + FRESH_MS : known?.litUntil ?? 0 });
}

function takeGateway(row) {
  const silentSecs = row.last_heard_at ? row.silent_secs ?? 0 : null;
  gateways.set(placeOf(row), { key: placeOf(row), row, silentSecs, since: performance.now() });
}

function silence(gateway) {
  if (gateway.silentSecs === null) return null;
  return gateway.silentSecs + (performance.now() - gateway.since) / 1000;
}

const healthOf = (row) => gateways.get(placeOf(row))?.row.health ?? {};
const siteName = (row) => nameOf(healthOf(row), row.site);
// The site's own wall clock, as its gateway reports it; UTC until it has.
const zoneOf = (row) => healthOf(row).timezone || "UTC";

// --- what is shown ---

function alertNode({ row, litUntil, others }) {
  const zone = zoneOf(row);
  const now = new Date().toISOString();
  const card = alertCard(row.alert, zone, now, siteName(row), { Gateway: row.gateway, "Times in": zone, Step: wayOf(row) });
  if (performance.now() < litUntil) card.classList.add("fresh");
  const summary = card.querySelector(".summary");
  const anchor = element("a", "", row.alert.summary || words(row.alert.rule));
  anchor.href = `/alerts/${[row.tenant, row.site, row.gateway, row.alert.id].map(encodeURIComponent).join("/")}`;
  summary.replaceChildren(anchor);
  if (others?.length) card.append(moreNode(others));
  return card;
}

/** The others of an incident, folded away. */
function moreNode(others) {
  const node = element("details", "more");
  const list = element("ol", "list");
  list.append(...others.map((other) => alertNode(other)));
  const open = others.filter(({ row }) => isOpen(row.alert)).length;
  node.append(element("summary", "", `${others.length} more of this incident${open ? `, ${open} open` : ""}`), list);
  return node;
}

/** What the last step of the centre waits for. */
function wayOf(row) {
  const last = row.steps?.[row.steps.length - 1];
  if (last?.state === "on_its_way") return `${last.by}, on its way to the gateway`;
  return last?.state === "refused" ? `${last.by}, refused by the gateway` : null;
}

/** How long a gateway may be silent: as the receiver counts. */
function patience(gateway) {
  const declared = Math.min(gateway.row.health?.reports_every_secs ?? 0, 3600);
  return Math.max(lostAfterSecs, 3 * declared);
}

function verdictOf(gateway) {
  const secs = silence(gateway);
  if (secs === null) return ["lost", "never heard"];
  if (secs > patience(gateway)) return ["lost", `lost for ${duration(secs)}`];
  if (gateway.row.missing > 0) return ["gap", "gap"];
  return ["good", "heard"];
}

function gatewayNode(gateway) {
  const [health, verdict] = verdictOf(gateway);
  const row = gateway.row;
  const node = element("li", "card gateway");
  node.dataset.health = health;
  const head = element("div", "head");
  head.append(element("span", "name", siteName(row)), element("span", "verdict", verdict));
  const facts = element("dl", "facts");
  fact(facts, "Gateway", row.gateway);
  fact(facts, "Tenant", row.tenant);
  if (row.last_heard_at) fact(facts, "Last heard", timeNode(row.last_heard_at, HERE, new Date().toISOString()));
  fact(facts, "Last event", row.highest_sequence);
  if (row.reused > 0) fact(facts, "Numbers given twice", `${row.reused} (its store was put back)`, "loud");
  if (row.missing > 0) fact(facts, "Missing", `${row.missing} (${holes(row)})`, "loud");
  node.append(head, facts);
  if (row.health) node.append(healthNode(row.health));
  return node;
}

function holes(row) {
  const text = row.holes.slice(0, 3).map((h) => (h.first === h.last ? `${h.first}` : `${h.first}–${h.last}`));
  return text.join(", ") + (row.holes.length > 3 ? ", …" : "");
}

function healthNode(health) {
  const node = element("details");
  const facts = element("dl", "facts");
  const shown = Object.entries(health).filter(([name, value]) => !KNOWN_HEALTH.includes(name) && typeof value !== "object");
  for (const [name, value] of shown.slice(0, HEALTH_FACTS)) {
    if (name === "store_bytes") fact(facts, "store", `${(value / 1048576).toFixed(1)} MiB`);
    else fact(facts, words(name), typeof value === "boolean" ? (value ? "yes" : "no") : value);
  }
  node.append(element("summary", "", "Health"), facts);
  return node;
}

/** Alerts of one incident as one, the worst of them on top; what another explains is below that. */
function incidents(rows) {
  const groups = new Map();
  for (const item of rows) {
    const { row } = item;
    const key = wanted.single ? item.key : `${row.tenant}/${row.site}/${row.folded ?? row.incident ?? item.key}`;
    const group = groups.get(key);
    if (group) group.others.push(item);
    else groups.set(key, { ...item, others: [] });
  }
  return [...groups.values()];
}

function paintAlerts() {
  const rows = [...alerts.values()].sort((a, b) => byUrgency(a.row.alert, b.row.alert, a.row.listed_at, b.row.listed_at));
  rows.splice(room).forEach(({ key }) => alerts.delete(key));
  arrange(byId("alerts"), incidents(rows), ({ key }) => key, alertNode);
  byId("alerts-empty").hidden = rows.length > 0;
  byId("alerts-empty").textContent = wanted.isAll() ? "All quiet. Alerts appear here as they arrive." : "No such alert.";
  byId("older").hidden = !next;
  byId("older").textContent = searchedTo ? "Search further back" : "Older alerts";
  byId("searched").hidden = !searchedTo;
  byId("searched").textContent = searchedTo ? `Searched back to ${clockText(searchedTo, HERE, new Date().toISOString())}.` : "";
  const open = rows.filter(({ row }) => isOpen(row.alert)).length;
  const urgent = rows.filter(({ row }) => isUrgent(row.alert)).length;
  count("count-critical", urgent);
  count("count-open", open - urgent);
  document.title = urgent > 0 ? `(${urgent}) Vigil – operations centre` : "Vigil – operations centre";
}

function paintGateways() {
  const rank = { lost: 0, gap: 1, good: 2 };
  const rows = [...gateways.values()].map((gateway) => ({ ...gateway, rank: rank[verdictOf(gateway)[0]] }));
  rows.sort((a, b) => a.rank - b.rank || a.key.localeCompare(b.key));
  arrange(byId("gateways"), rows, ({ key }) => key, gatewayNode);
  byId("gateways-empty").hidden = rows.length > 0;
  count("count-lost", rows.filter((row) => row.rank === 0).length);
  wanted.sites(rows.map(({ row }) => [`${row.tenant}/${row.site}`, `${siteName(row)} (${row.tenant})`]));
}

// By a timer and not by a frame: a page in the background draws no frames, and its title must tell of an alert.
function paint() {
  if (painting) return;
  painting = true;
  setTimeout(() => {
    painting = false;
    try {
      paintGateways();
      paintAlerts();
      drawn = true;
    } catch {
      drawn = false;
    }
    say(state);
    reveal();
  }, PAINT_MS);
}

// --- where it comes from ---

function say(next) {
  state = next;
  if (state === "cut") cutSince ??= Date.now();
  else cutSince = null;
  if (state !== "cut" && !drawn) {
    link("cut", "This page cannot show what it has read, and what you see may be old. The same is at /api/alerts.");
    return;
  }
  const since = cutSince ? secondsText(cutSince, HERE) : "";
  link(state, `Disconnected from the receiver since ${since}. What you see may be old. Reconnecting…`);
}

async function get(path) {
  const response = await fetch(path, { headers: { accept: "application/json" } });
  // The session has ended: nothing is seen any more without a log-in.
  if (response.status === 401) location.assign("/login?next=/");
  if (!response.ok) throw new Error(`${path} answered ${response.status}`);
  return response.json();
}

/** Reads everything; again, of as much as the page shows, while it is `alone` without a stream. */
async function readAll(alone = false) {
  // Older alerts are on their way; they are not to be thrown away by this.
  if (alone && byId("older").disabled) return;
  const mine = ++reading;
  const many = alone ? Math.min(room, MOST) : SHOWN;
  try {
    const [heard, raised] = await Promise.all([get("/api/gateways"), get(`/api/alerts?limit=${many}&${wanted.query()}`)]);
    if (mine !== reading) return;
    // Without a stream, what was not there at the reading before is the news.
    const before = alone && state !== "connecting" ? new Set(alerts.keys()) : null;
    // What was there before the reading, and is not in it, is not looked for.
    alerts.clear();
    [room, next, searchedTo] = [many, raised.next, raised.searched_to];
    lostAfterSecs = heard.lost_after_secs;
    heard.gateways.forEach(takeGateway);
    raised.alerts.forEach((row) => takeAlert(row, before !== null && !before.has(keyOf(row))));
    say(isFollowing() ? "live" : "slow");
    paint();
  } catch {
    say("cut");
    setTimeout(() => { if (mine === reading) readAll(alone); }, AGAIN_MS);
  }
}

async function readOlder() {
  const mine = ++reading;
  byId("older").disabled = true;
  try {
    const raised = await get(`/api/alerts?limit=${SHOWN}&${wanted.query()}&after=${encodeURIComponent(next)}`);
    if (mine !== reading) return;
    [room, next, searchedTo] = [room + SHOWN, raised.next, raised.searched_to];
    raised.alerts.forEach((row) => takeAlert(row, false));
    paint();
  } catch {
    say("cut");
  } finally {
    byId("older").disabled = false;
  }
}

function tick() {
  byId("clock").replaceChildren(secondsText(Date.now(), HERE), " ", element("small", "", HERE));
  paintGateways();
}

const wanted = filters(byId("filters"), () => readAll());
byId("older").addEventListener("click", readOlder);
const isFollowing = news("/api/stream", {
  alert: (row) => { takeAlert(row, true); paint(); },
  gateway: (row) => { takeGateway(row); paint(); },
}, readAll, () => {
  say("cut");
  // Whose session has ended is sent to the log-in.
  get("/api/me").catch(() => {});
});
tick();
setInterval(tick, 1000);
