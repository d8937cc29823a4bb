// Evidence as pictures: drawn from the alert and the ground of its site, in SVG attributes, as wide as the page gives them.

import { clockText, element, words } from "/vigil.js";

const NAMESPACE = "http://www.w3.org/2000/svg";
const ROW = 26;
const TOP = 26;
// Metres in a degree of latitude; of longitude by the cosine of where it is.
const DEGREE_M = 111320;
// Of a list that is longer, the rest is counted.
const LONGEST = 60;
// So deep evidence is looked through for positions; the rules nest them twice.
const DEEPEST = 8;
// A fix that is less exact says nothing of a site; it is drawn with this, the reach of a cell of a mobile network.
const FARTHEST_M = 35000;

function svg(tag, attributes, text) {
  const node = document.createElementNS(NAMESPACE, tag);
  for (const [name, value] of Object.entries(attributes ?? {})) {
    if (typeof value === "number" && !Number.isFinite(value)) throw new RangeError(`${name} of ${tag} is no number`);
    node.setAttribute(name, value);
  }
  if (text !== undefined) node.textContent = text;
  return node;
}

/** A figure with a caption; `what` is what it says to somebody who does not see it. */
function figure(name, caption, width, height, what, parts) {
  const root = svg("svg", { viewBox: `0 0 ${width} ${height}`, width, height, role: "img", "aria-label": what });
  root.append(...parts);
  const node = element("figure", "card picture");
  node.dataset.picture = name;
  node.append(root, element("figcaption", "quiet", caption));
  return node;
}

const text = (x, y, said, classes = "", anchor = "start") => svg("text", { x, y, class: classes, "text-anchor": anchor }, said);
const line = (x1, y1, x2, y2, classes) => svg("line", { x1, y1, x2, y2, class: classes });
const clip = (said, most) => (said.length > most ? `${said.slice(0, most - 1)}…` : said);

/** Every picture that this alert has. */
export function pictures(known, zone, width) {
  const { alert } = known;
  const evidence = alert.evidence ?? {};
  const room = Math.max(260, width - 30);
  const drawn = [];
  const draw = (name, make) => {
    try {
      drawn.push(...[make()].filter(Boolean));
    } catch {
      drawn.push(undrawn(name));
    }
  };
  if (evidence.signals) {
    draw("signals", () => signals(evidence, zone, room));
    draw("score", () => score(evidence, known.threshold, room));
  }
  draw("plan", () => {
    const places = positions(evidence, known.run ?? {}, known.ground);
    return places.some(isOfAlert) ? plan(places, known.ground?.geofence, zone, room) : null;
  });
  if (evidence.scanned || known.run) draw("tour", () => tour(evidence, known.run ?? {}, zone, room));
  if (evidence.members) draw("members", () => members(known, evidence, zone));
  if (!evidence.signals) {
    draw("timeline", () => {
      const when = moments(known, evidence);
      return when.length > 1 ? timeline(when, evidence, zone, room) : null;
    });
  }
  return drawn;
}

/** In the place of a picture of evidence that is not as the rules of this version write it. */
function undrawn(name) {
  const node = element("p", "card picture quiet", "This picture cannot be drawn: the evidence for it is not as it should be.");
  node.dataset.picture = name;
  return node;
}

// --- time ---

function axis(from, to, left, right) {
  const span = Math.max(1, to - from);
  return (instant) => left + ((Date.parse(instant) - from) / span) * (right - left);
}

function hours(from, to, at, zone, bottom) {
  const parts = [];
  const marks = [0, 0.5, 1].map((share) => new Date(from + share * (to - from)).toISOString());
  marks.forEach((instant, n) => {
    const x = at(instant);
    parts.push(line(x, TOP - 8, x, bottom, "grid"));
    parts.push(text(x, TOP - 12, clockText(instant, zone), "quiet", ["start", "middle", "end"][n]));
  });
  return parts;
}

/** The window of an inactivity alert, a lane for each signal, and the last sign of life. */
function signals(evidence, zone, width) {
  const names = Object.keys(evidence.signals);
  const starts = Date.parse(evidence.window_start);
  const ends = Date.parse(evidence.window_end);
  const last = evidence.last_activity_at ? Date.parse(evidence.last_activity_at) : starts;
  const from = Math.min(starts, last) - (ends - starts) * 0.04;
  const bottom = TOP + names.length * ROW + 4;
  const at = axis(from, ends, 92, width - 8);
  const parts = hours(from, ends, at, zone, bottom);
  const left = at(evidence.window_start);
  names.forEach((name, n) => {
    const { state, count, weight } = evidence.signals[name];
    const y = TOP + n * ROW;
    parts.push(text(0, y + 16, words(name), "lane"));
    parts.push(svg("rect", { x: left, y: y + 3, width: Math.max(2, at(evidence.window_end) - left), height: ROW - 7, rx: 3, class: `signal ${state.toLowerCase()}` }));
    const said = `${words(state)}, ${count}${weight ? `, weighs ${(weight / 1000).toFixed(2)}` : ""}`;
    parts.push(text(left + 6, y + 17, said, "inside"));
  });
  if (evidence.last_activity_at) {
    const x = at(evidence.last_activity_at);
    parts.push(line(x, TOP - 4, x, bottom, "mark"), svg("circle", { cx: x, cy: bottom, r: 4, class: "mark" }));
    const end = x > width * 0.6;
    parts.push(text(x + (end ? -8 : 8), bottom + 14, `last: ${clip(words(evidence.last_activity ?? "activity"), 24)} ${clockText(evidence.last_activity_at, zone)}`, "quiet", end ? "end" : "start"));
  }
  const what = names.map((name) => `${name} ${words(evidence.signals[name].state)}`).join(", ");
  return figure("signals", "The window that was judged, and what was seen in it", width, bottom + 22, what, parts);
}

/** The score from 0 to 1, against the threshold of the policy as far as it is known here. */
function score(evidence, threshold, width) {
  // Of a number that is none nothing is drawn.
  const share = Math.min(Math.max(evidence.score / 1000, 0), 1);
  const right = width - 8;
  const x = (value) => 8 + value * (right - 8);
  const parts = [
    svg("rect", { x: 8, y: 8, width: right - 8, height: 14, rx: 3, class: "scale" }),
    svg("rect", { x: 8, y: 8, width: Math.max(1, x(share) - 8), height: 14, rx: 3, class: "reached" }),
  ];
  // A gateway that says it in the evidence knows best.
  const own = evidence.threshold >= 0 && evidence.threshold <= 1000 ? { score: evidence.threshold / 1000 } : null;
  const known = own ?? threshold;
  if (known) {
    const from = `inactive from ${known.score.toFixed(2)} on${known.version ? `, by site file ${known.version}` : ""}`;
    parts.push(line(x(known.score), 3, x(known.score), 27, "limit"));
    const end = known.score > 0.5;
    parts.push(text(x(known.score), 42, from, "quiet", end ? "end" : "start"));
  } else {
    parts.push(text(8, 42, "from which score on is not known here", "quiet"));
  }
  const said = `Score ${share.toFixed(2)} of 1${evidence.consecutive ? `, ${evidence.consecutive} windows in a row` : ""}${evidence.deep_night ? ", in the deep night" : ""}`;
  return figure("score", said, width, 48, said, parts);
}

const NAMES = { detected_at: "detected", cleared_at: "cleared", last_message_at: "last message", last_activity_at: "last activity" };

function moments(known, evidence) {
  const all = Object.entries(evidence).filter(([name, value]) => typeof value === "string" && (name.endsWith("_at") || name.endsWith("_by") || name === "deadline" || name === "break_start"));
  all.push(["detected_at", known.alert.detected_at], ["cleared_at", known.alert.cleared_at]);
  const dated = all.filter(([, value]) => value && !Number.isNaN(Date.parse(value)));
  return dated.sort((a, b) => Date.parse(a[1]) - Date.parse(b[1]));
}

/** What happened when, one under the other: two instants may be seconds apart. */
function timeline(when, evidence, zone, width) {
  const from = Date.parse(when[0][1]);
  const to = Date.parse(when[when.length - 1][1]);
  const at = axis(from, to, 12, width - 12);
  const bottom = TOP + when.length * ROW;
  const parts = [line(12, TOP, width - 12, TOP, "base")];
  when.forEach(([name, instant], n) => {
    const x = at(instant);
    const y = TOP + n * ROW + 18;
    const end = x > width / 2;
    parts.push(line(x, TOP, x, y - 4, "grid"), svg("circle", { cx: x, cy: TOP, r: 5, class: name === "detected_at" ? "alarm" : "mark" }));
    parts.push(text(x + (end ? -6 : 6), y, `${NAMES[name] ?? words(name)} ${clockText(instant, zone)}`, "", end ? "end" : "start"));
  });
  const battery = typeof evidence.battery_permille === "number" ? `Battery ${Math.round(evidence.battery_permille / 10)} %` : "";
  const said = ["What happened when", battery].filter(Boolean).join(" – ");
  return figure("timeline", said, width, bottom + 8, said, parts);
}

// --- place ---

/** Everything that has a position: fixes in the evidence, checkpoints of the run, and the others of the site. */
function positions(evidence, run, ground) {
  const found = [];
  const look = (value, name, depth = 0) => {
    if (value === null || typeof value !== "object" || depth > DEEPEST || found.length >= LONGEST) return;
    if (isOnEarth(value)) found.push({ ...fixOf(value), name: words(name), kind: "fix" });
    else for (const [inner, part] of Object.entries(value)) look(part, Array.isArray(value) ? name : inner, depth + 1);
  };
  look(evidence, "position");
  const scanned = new Set(run.scanned ?? evidence.scanned ?? []);
  const missing = new Set(run.missing ?? evidence.missing ?? []);
  const stops = (ground?.checkpoints ?? []).map((stop) => ({ ...stop, kind: scanned.has(stop.id) ? "scanned" : missing.has(stop.id) ? "missing" : "other" }));
  // Of a site with more places than a plan can show, those of the alert come first.
  stops.sort((a, b) => (a.kind === "other") - (b.kind === "other"));
  return [...found, ...stops].slice(0, LONGEST);
}

const isOnEarth = ({ lat, lon }) => Number.isFinite(lat) && Number.isFinite(lon) && Math.abs(lat) <= 90 && Math.abs(lon) <= 180;

/** Of a fix that was written elsewhere, what a plan shows. */
function fixOf({ lat, lon, at, accuracy_m: accuracy }) {
  const isExact = typeof accuracy === "number" && accuracy > 0;
  return { lat, lon, at: typeof at === "string" ? at : null, accuracy_m: isExact ? Math.min(accuracy, FARTHEST_M) : null };
}

/** Whether a place says something of the alert; the others only say where that is. */
const isOfAlert = (place) => place.kind !== "other";

const STOPS = { scanned: "stop", missing: "stop missing", other: "place" };

function mark(place, cx, cy) {
  const node = place.kind === "fix" ? svg("circle", { cx, cy, r: 5, class: "alarm" }) : svg("rect", { x: cx - 5, y: cy - 5, width: 10, height: 10, class: STOPS[place.kind] });
  node.append(svg("title", {}, place.name));
  return node;
}

/** Names, the alert's own first; one that would lie on another is left to the mark itself, which tells it when it is pointed at. */
function names(places, at, zone, width, height) {
  const taken = [];
  const parts = [];
  for (const place of places) {
    const [cx, cy] = at(place);
    const said = `${clip(place.name, 24)}${place.at ? ` ${clockText(place.at, zone)}` : ""}${place.accuracy_m ? ` ±${Math.round(place.accuracy_m)} m` : ""}${place.kind === "missing" ? ", missing" : ""}`;
    const [y, long] = [Math.max(14, cy - 8), said.length * 7.2];
    // Beside its mark, on the side where there is room; where there is none, as far to the left as it takes.
    const end = cx + 10 + long > width && cx > width / 2;
    const left = Math.max(4, end ? cx - 10 - long : Math.min(cx + 10, width - 4 - long));
    const box = [left, y - 13, left + long, y + 4];
    const fits = box[0] >= 0 && box[2] <= width && box[3] <= height - 26;
    if (!fits && place.kind === "other" || taken.some((other) => box[0] < other[2] && other[0] < box[2] && box[1] < other[3] && other[1] < box[3])) continue;
    taken.push(box);
    parts.push(text(left, y, said, place.kind === "other" ? "quiet" : ""));
  }
  return parts;
}

/** A plan in metres, north up. */
function plan(places, fence, zone, width) {
  const corners = fence?.polygon?.map(([lat, lon]) => ({ lat, lon })) ?? [];
  const all = [...places, ...corners, ...(fence?.radius ? [fence] : [])];
  const [lat0, lon0] = [all[0].lat, all[0].lon];
  const east = DEGREE_M * Math.cos((lat0 * Math.PI) / 180);
  const metres = ({ lat, lon }) => [(lon - lon0) * east, (lat - lat0) * DEGREE_M];
  const reach = (place) => place.radius ?? place.accuracy_m ?? 5;
  const edges = all.map((place) => { const [x, y] = metres(place); const r = reach(place); return [x - r, x + r, y - r, y + r]; });
  const [west, farEast] = [Math.min(...edges.map((e) => e[0])), Math.max(...edges.map((e) => e[1]))];
  const [south, north] = [Math.min(...edges.map((e) => e[2])), Math.max(...edges.map((e) => e[3]))];
  const height = Math.min(300, width);
  const span = Math.max(20, farEast - west, ((north - south) * width) / height) * 1.25;
  const scale = width / span;
  const [midX, midY] = [(west + farEast) / 2, (south + north) / 2];
  const at = (place) => { const [x, y] = metres(place); return [width / 2 + (x - midX) * scale, height / 2 - (y - midY) * scale]; };
  const parts = [svg("rect", { x: 0, y: 0, width, height, rx: 4, class: "ground" })];
  if (fence?.radius) { const [cx, cy] = at(fence); parts.push(svg("circle", { cx, cy, r: fence.radius * scale, class: "fence" })); }
  if (corners.length > 2) parts.push(svg("polygon", { points: corners.map((c) => at(c).join(",")).join(" "), class: "fence" }));
  for (const place of places) {
    const [cx, cy] = at(place);
    if (place.accuracy_m) parts.push(svg("circle", { cx, cy, r: Math.max(2, place.accuracy_m * scale), class: "accuracy" }));
    parts.push(mark(place, cx, cy));
  }
  parts.push(...names(places, at, zone, width, height), ...bar(scale, width, height), svg("path", { d: `M${width - 16} 26 l-6 10 l6 -20 l6 20 z`, class: "north" }), text(width - 16, 50, "N", "quiet", "middle"));
  const own = places.filter(isOfAlert);
  const said = `${own.length} ${own.length === 1 ? "position" : "positions"}: ${own.map((p) => `${p.name} at ${p.lat.toFixed(5)}, ${p.lon.toFixed(5)}`).join("; ")}`;
  const around = fence ? "; the dashed line is the fence of the site" : "";
  return figure("plan", `${clip(said, 160)}${around} – north is up`, width, height, said, parts);
}

/** A bar of a round number of metres, about a quarter of the plan. */
function bar(scale, width, height) {
  const about = width / 4 / scale;
  const ten = 10 ** Math.floor(Math.log10(about));
  const length = [5, 2, 1].map((n) => n * ten).find((n) => n <= about) ?? ten;
  const y = height - 14;
  const said = length >= 1000 ? `${length / 1000} km` : `${length} m`;
  return [line(12, y, 12 + length * scale, y, "base"), text(12, y - 6, said, "quiet")];
}

// --- tours ---

/** The checkpoints in the order of their scans, then those that are missing. */
function tour(evidence, run, zone, width) {
  const scanned = run.scanned ?? evidence.scanned ?? [];
  const missing = run.missing ?? evidence.missing ?? [];
  const wrong = new Set(run.out_of_order ?? evidence.out_of_order ?? []);
  const short = new Map((run.too_short ?? evidence.too_short ?? []).map((visit) => [visit.checkpoint, visit.secs]));
  const all = [...scanned.map((id) => [id, true]), ...missing.map((id) => [id, false])].slice(0, LONGEST);
  const columns = Math.max(2, Math.floor(width / 112));
  const cell = width / columns;
  const high = 66;
  const parts = [];
  all.forEach(([id, isScanned], n) => {
    const [x, y] = [(n % columns) * cell + cell / 2, Math.floor(n / columns) * high + 18];
    if (n > 0 && n % columns > 0) parts.push(line(x - cell + 11, y, x - 11, y, isScanned ? "base" : "grid"));
    const kind = !isScanned ? "missing" : wrong.has(id) ? "wrong" : short.has(id) ? "short" : "scanned";
    parts.push(svg("circle", { cx: x, cy: y, r: 10, class: `stop ${kind}` }), text(x, y + 4, isScanned ? `${n + 1}` : "–", "number", "middle"));
    parts.push(text(x, y + 25, clip(id, Math.floor(cell / 8)), "", "middle"));
    const when = run.scanned_at?.[id];
    const note = !isScanned ? "missing" : wrong.has(id) ? "out of order" : short.has(id) ? `${short.get(id)} s only` : "";
    parts.push(text(x, y + 40, [when ? clockText(when, zone) : "", note].filter(Boolean).join(" "), kind === "scanned" ? "quiet" : "loud", "middle"));
  });
  const rows = Math.max(1, Math.ceil(all.length / columns));
  const said = `${scanned.length} scanned${missing.length ? `, missing: ${missing.join(", ")}` : ""}${wrong.size ? `, out of order: ${[...wrong].join(", ")}` : ""}`;
  return figure("tour", clip(said, 200), width, rows * high, said, parts);
}

// --- storms ---

function members(known, evidence, zone) {
  const node = element("div", "card picture");
  node.dataset.picture = "members";
  const list = element("ol", "plain");
  for (const member of evidence.members.slice(0, LONGEST)) {
    const item = element("li", "", `${clockText(member.detected_at, zone)} `);
    const said = element(member.told ? "a" : "span", "", `${member.subject}${member.guard ? `, ${member.guard}` : ""}`);
    if (member.told) said.href = `/alerts/${[known.tenant, known.site, known.gateway, member.alert].map(encodeURIComponent).join("/")}`;
    item.append(said);
    list.append(item);
  }
  node.append(element("p", "quiet", `${evidence.count} alerts, ${evidence.standing} not over yet`), list);
  return node;
}
