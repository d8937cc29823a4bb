// What the gateway's page and the operators' page share: how things are written, ordered and kept on the screen.

const SEVERITIES = ["CRITICAL", "HIGH", "MEDIUM", "LOW"];
const FINAL = ["CONFIRMED", "RESOLVED", "FALSE_POSITIVE"];

export const byId = (id) => document.getElementById(id);
export const words = (name) => String(name).replaceAll("_", " ").toLowerCase();

/** An element with classes and text; text is never read as HTML. */
export function element(tag, classes, text) {
  const made = document.createElement(tag);
  if (classes) made.className = classes;
  if (text !== undefined && text !== null) made.textContent = String(text);
  return made;
}

// --- time, on the wall clock of the site ---

const formats = new Map();

function format(zone, options) {
  const key = `${zone} ${JSON.stringify(options)}`;
  if (!formats.has(key)) {
    const whole = { ...options, hourCycle: "h23" };
    try {
      formats.set(key, new Intl.DateTimeFormat("en-GB", { ...whole, timeZone: zone }));
    } catch {
      // A zone that this browser does not know: better UTC than nothing.
      formats.set(key, new Intl.DateTimeFormat("en-GB", { ...whole, timeZone: "UTC" }));
    }
  }
  return formats.get(key);
}

const MINUTE = { hour: "2-digit", minute: "2-digit" };
const DAY = { day: "numeric", month: "short" };

// Within a night and its eve an hour alone is clear, on whichever side of midnight.
const HOUR_ALONE_MS = 18 * 3600 * 1000;

/** "23:20", or "10 Mar 23:20" if that is far from `now`. */
export function clockText(instant, zone, now) {
  const date = new Date(instant);
  if (!instant || Number.isNaN(date.getTime())) return "–";
  const time = format(zone, MINUTE).format(date);
  const near = now === undefined || Math.abs(Date.parse(now) - date.getTime()) < HOUR_ALONE_MS;
  return near ? time : `${format(zone, DAY).format(date)} ${time}`;
}

/** The hour with its seconds, for a clock. */
export const secondsText = (instant, zone) => format(zone, { ...MINUTE, second: "2-digit" }).format(new Date(instant));

/** A `<time>` on the site's wall clock; the instant in UTC is its title. */
export function timeNode(instant, zone, now, classes) {
  const node = element("time", classes, clockText(instant, zone, now));
  const date = new Date(instant);
  if (instant && !Number.isNaN(date.getTime())) {
    node.dateTime = date.toISOString();
    node.title = `${date.toISOString()} (UTC)`;
  }
  return node;
}

// --- alerts ---

export const isOpen = (alert) => !alert.cleared_at && !FINAL.includes(alert.status);
export const isUrgent = (alert) => alert.severity === "CRITICAL" && isOpen(alert);

/** Open before over, among the open the worst first, then the newest. A list of many clocks says which is the newest. */
export function byUrgency(a, b, aAt = a.detected_at, bAt = b.detected_at) {
  const severity = (alert) => (isOpen(alert) ? SEVERITIES.indexOf(alert.severity) : SEVERITIES.length);
  return severity(a) - severity(b) || Date.parse(bAt) - Date.parse(aAt);
}

/** What an alert is about, if that is not just its guard. */
function about(alert) {
  const [kind, name = ""] = String(alert.subject ?? "").split(/:(.*)/s);
  return kind === "guard" || kind === "" ? null : `${kind === "run" ? "tour" : kind} ${name.split("@")[0]}`;
}

/** What a site calls itself in its gateway's health, cut as reports cut it; else its id. */
export const nameOf = (health, id) => [...String(health?.site_name || id)].slice(0, 128).join("");

/** A pair of a `<dl class="facts">`; nothing for nothing. */
export function fact(list, name, value, classes) {
  if (value === undefined || value === null || value === "") return;
  const pair = element("div", classes);
  const shown = element("dd");
  shown.append(value instanceof Node ? value : String(value));
  pair.append(element("dt", "", name), shown);
  list.append(pair);
}

/** An alert as both pages show it; a page of many sites adds the `place`, and `more` facts. */
export function alertCard(alert, zone, now, place, more = {}) {
  const card = element("li", "card alert");
  Object.assign(card.dataset, { severity: alert.severity, rule: alert.rule, id: alert.id });
  Object.assign(card.dataset, { urgent: isUrgent(alert), open: isOpen(alert) });
  const head = element("div", "head");
  head.append(element("span", "chip severity", alert.severity), element("span", "rule", words(alert.rule)));
  if (place) head.append(element("strong", "place", place));
  if (alert.escalated) head.append(element("span", "chip warn", "ESCALATED"));
  head.append(timeNode(alert.detected_at, zone, now, "when"));
  const facts = element("dl", "facts");
  fact(facts, "Status", words(alert.status));
  if (alert.cleared_at) fact(facts, "Cleared", timeNode(alert.cleared_at, zone, now), "good");
  fact(facts, "Guard", alert.guard);
  fact(facts, "About", about(alert));
  for (const [name, value] of Object.entries(more)) fact(facts, name, value);
  card.append(head, element("p", "summary", alert.summary), facts);
  return card;
}

/** Reads an open CRITICAL alert out; `where` is the site. */
export function speak(alert, where) {
  byId("spoken").textContent = `Critical: ${alert.summary || words(alert.rule)}, ${where}`;
}

// --- keeping the screen still ---

/**
 * Makes `list` show `items` in order. What is there already is changed in place, and only where it says something
 * else: it keeps the focus and what is unfolded or selected, and a screen reader does not hear it twice.
 */
export function arrange(list, items, key, make) {
  const known = new Map([...list.children].map((node) => [node.dataset.key, node]));
  const nodes = items.map((item) => {
    const fresh = made(item, make, list);
    fresh.dataset.key = key(item);
    return become(known.get(fresh.dataset.key), fresh);
  });
  const still = list.children.length === nodes.length && nodes.every((node, i) => list.children[i] === node);
  if (!still) list.replaceChildren(...nodes);
}

/** The row of `item`. What is in it was written elsewhere: one that cannot be made says so, and costs no other. */
function made(item, make, list) {
  try {
    return make(item);
  } catch {
    return element(list.nodeName === "DL" ? "div" : "li", "card bad", "What is here cannot be shown.");
  }
}

/** `old` made to say what `fresh` says; or `fresh` itself, if there is no such `old`. */
function become(old, fresh) {
  if (!old || old.nodeName !== fresh.nodeName) return fresh;
  if (fresh.nodeType === Node.TEXT_NODE) {
    if (old.data !== fresh.data) old.data = fresh.data;
    return old;
  }
  takeAttributes(old, fresh);
  const olds = [...old.childNodes];
  const children = [...fresh.childNodes].map((child, i) => become(olds[i], child));
  if (children.length !== olds.length || children.some((child, i) => child !== olds[i])) old.replaceChildren(...children);
  return old;
}

function takeAttributes(old, fresh) {
  for (const { name, value } of fresh.attributes) {
    if (old.getAttribute(name) !== value) old.setAttribute(name, value);
  }
  for (const name of old.getAttributeNames()) {
    // Whether it is unfolded is the reader's choice.
    if (name !== "open" && !fresh.hasAttribute(name)) old.removeAttribute(name);
  }
}

export function count(id, n) {
  const box = byId(id);
  box.querySelector("dd").textContent = n;
  box.classList.toggle("some", n > 0);
}

/** Shows the page whole once there is something to show: nothing is pushed about while it fills. */
export function reveal() {
  byId("waiting").hidden = true;
  document.querySelector("main").hidden = false;
}

// So often a page without live news reads everything: an operator notices within a breath, and 50 screens ask ten times a second.
const READ_SECS = 5;
// How long to wait before a stream that was refused is asked for again.
const AGAIN_MS = 3000;

/**
 * Follows the changes at `path`; `events` says what is done with each. `read` reads everything: when the stream begins or fell
 * behind, and every few seconds while there is none, be it refused or cut; then it is told `true`. `lost` is called when a
 * stream ends that was there. What is returned says whether there is one.
 */
export function news(path, events, read, lost) {
  let heard = false;
  let reading = 0;
  const alone = () => {
    if (reading) return;
    read(true);
    reading = setInterval(() => read(true), READ_SECS * 1000);
  };
  const begin = () => {
    heard = true;
    clearInterval(reading);
    reading = 0;
    read(false);
  };
  const open = () => {
    const stream = new EventSource(path);
    stream.addEventListener("hello", begin);
    stream.addEventListener("resync", () => read(false));
    for (const [name, take] of Object.entries(events)) stream.addEventListener(name, (event) => take(JSON.parse(event.data)));
    stream.onerror = () => {
      if (heard) lost();
      heard = false;
      alone();
      // The browser reconnects a cut stream by itself, but not one that was refused.
      if (stream.readyState === EventSource.CLOSED) setTimeout(open, AGAIN_MS);
    };
  };
  open();
  return () => heard;
}

const LINKS = { live: "Live", connecting: "Connecting", cut: "Disconnected", slow: `Without live news; read every ${READ_SECS} s` };

/** How the page itself is connected; `lost` is said at the foot while it is not. */
export function link(state, lost) {
  document.body.dataset.link = state;
  const node = byId("link");
  if (node.dataset.link !== state || node.textContent !== LINKS[state]) {
    node.dataset.link = state;
    node.textContent = LINKS[state];
  }
  const banner = byId("cut");
  banner.hidden = state !== "cut";
  if (state === "cut" && banner.textContent !== lost) banner.textContent = lost;
}
