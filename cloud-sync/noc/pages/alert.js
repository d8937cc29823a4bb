// One alert: everything that is known of it, and what people make of it.

import { alertCard, arrange, byId, element, fact, link, nameOf, news, reveal, secondsText, timeNode, words } from "/vigil.js";
import { me, post, said } from "/me.js";
import { pictures } from "/pictures.js";

// How long to wait before a reading that failed is tried again.
const AGAIN_MS = 3000;
// What arrives within so long is read at once.
const READ_MS = 150;
// A window that is drawn narrower or wider is drawn again after so long.
const REDRAW_MS = 150;

const PATH = location.pathname;
const [, , TENANT, SITE, GATEWAY] = PATH.split("/").map(decodeURIComponent);
const HERE = Intl.DateTimeFormat().resolvedOptions().timeZone || "UTC";
const STATES = { on_its_way: "on its way to the gateway", at_gateway: "at the gateway", refused: "refused by the gateway" };
// Where a message to a contact stands, and how many of its tries are shown.
const NOTICES = { waiting: "being told", told: "told", refused: "refused it", given_up: "given up after a day", stopped: "no longer needed" };
const TRIES = 5;

let known = null;
let reading = 0;
let waits = false;
let cutSince = null;

const zone = () => known?.heard?.health?.timezone || "UTC";
const siteName = () => nameOf(known?.heard?.health, SITE);

// --- what is shown ---

/** The alert as the centre sees it: with the status of what is on its way. */
function shown() {
  return { ...known.alert, status: known.status };
}

/** Every part by itself: what was written elsewhere may make one of them impossible, and costs no other. */
function paint() {
  let whole = true;
  for (const part of [paintAlert, paintHistory, paintEvidence, paintChoices, paintWelfare, paintTold, paintOthers, draw]) {
    try {
      part();
    } catch {
      whole = false;
    }
  }
  reveal();
  if (!whole) link("cut", `A part of this alert cannot be shown, and what you see may be old. All of it is at /api${PATH}.`);
}

function paintAlert() {
  const alert = shown();
  document.title = `${words(alert.rule)} – Vigil`;
  const lost = known.heard?.lost ? "lost: what you do reaches it when it is heard again" : null;
  const more = { Gateway: GATEWAY, "Times in": zone(), Line: lost };
  arrange(byId("alert"), [alert], () => "alert", () => alertCard(alert, zone(), known.now, siteName(), more));
}

const paintHistory = () => arrange(byId("history"), known.history, lineKey, lineNode);

function paintTold() {
  byId("told-part").hidden = known.told.length === 0;
  arrange(byId("told"), known.told, ({ id }) => id, toldNode);
}

function paintOthers() {
  byId("others-part").hidden = known.others.length === 0;
  arrange(byId("others"), known.others, (row) => `${row.gateway}/${row.alert.id}`, otherNode);
}

function paintEvidence() {
  const list = element("dl");
  const { method, response, by, notes } = known.alert.verification ?? {};
  if (method && method !== "NONE") fact(list, "Verified by", [words(method), response, by, notes].filter(Boolean).join(", "));
  for (const [name, value] of Object.entries(known.alert.evidence ?? {})) {
    if (value === null || typeof value === "object" && !Array.isArray(value)) continue;
    if (name.endsWith("_permille")) fact(list, words(name.replace("_permille", "")), `${value / 10} %`);
    else fact(list, words(name), name === "score" ? (value / 1000).toFixed(2) : plain(value));
  }
  byId("evidence").hidden = list.children.length === 0;
  arrange(byId("evidence"), [...list.children], (pair) => pair.firstChild.textContent, (pair) => pair);
}

function plain(value) {
  if (typeof value === "boolean") return value ? "yes" : "no";
  if (typeof value === "string" && /^\d{4}-\d\d-\d\dT/.test(value)) return timeNode(value, zone(), known.now);
  if (!Array.isArray(value)) return value;
  if (value.length === 0) return null;
  return value.some((item) => typeof item === "object") ? `${value.length}` : value.join(", ");
}

function draw() {
  const room = byId("pictures");
  const drawn = pictures(known, zone(), room.clientWidth || 340);
  room.replaceChildren(...drawn);
  room.hidden = drawn.length === 0;
}

const lineKey = (line) => `${line.at} ${line.by} ${line.status} ${line.kept}`;

function lineNode(line) {
  const node = element("li", "card line");
  node.dataset.state = line.state ?? line.kept;
  const head = element("div", "head");
  head.append(element("strong", "", line.by), element("span", "status", words(line.status)));
  const state = line.state ? STATES[line.state] : known.alert.rule === "gateway_lost" ? "at the centre" : line.by === "agent" ? "by the gateway" : "on site";
  head.append(element("span", "state", state), exactly(line.at));
  node.append(head);
  const said = [line.method ? `by ${words(line.method)}` : null, line.response ? `“${line.response}”` : null, line.note];
  if (said.some(Boolean)) node.append(element("p", "", said.filter(Boolean).join(" – ")));
  if (line.refused) node.append(element("p", "bad", `Refused: ${line.refused}`));
  return node;
}

function exactly(instant) {
  const node = timeNode(instant, zone(), known.now, "when");
  node.textContent = secondsText(instant, zone());
  return node;
}

function otherNode(row) {
  const alert = { ...row.alert, status: row.status };
  const card = alertCard(alert, zone(), known.now, null);
  const summary = card.querySelector(".summary");
  const anchor = element("a", "", summary.textContent);
  anchor.href = `/alerts/${[row.tenant, row.site, row.gateway, row.alert.id].map(encodeURIComponent).join("/")}`;
  summary.replaceChildren(anchor);
  return card;
}

/** A message to somebody outside: who, when, and what came of each try. */
function toldNode(notice) {
  const node = element("li", "card line");
  node.dataset.state = notice.state;
  const head = element("div", "head");
  head.append(element("strong", "", notice.contact), element("span", "status", NOTICES[notice.state]), exactly(notice.ended_at ?? notice.made_at));
  node.append(head);
  if (notice.why) node.append(element("p", "bad", notice.why));
  if (notice.next_at) node.append(element("p", "", `Tried ${notice.tries} times; again at ${secondsText(notice.next_at, zone())}`));
  const tries = element("ol", "plain");
  for (const { at, result, status, said } of (notice.log ?? []).slice(-TRIES)) {
    tries.append(element("li", "", [`${secondsText(at, zone())}: ${result}`, status, said].filter(Boolean).join(", ")));
  }
  node.append(tries);
  return node;
}

function paintChoices() {
  for (const button of byId("choices").children) button.hidden = !known.legal.includes(button.value);
  byId("choices").hidden = known.legal.length === 0;
  byId("step-none").hidden = known.legal.length > 0;
  for (const field of byId("step").elements) field.disabled = known.legal.length === 0;
}

function paintWelfare() {
  byId("welfare-part").hidden = !known.alert.guard;
  const waiting = known.welfare.some((check) => check.state === "waiting");
  byId("welfare").disabled = waiting;
  arrange(byId("welfare-list"), known.welfare.slice(0, 5), (check) => check.id, (check) => {
    const node = element("li", "", `${secondsText(check.queued_at, zone())}: `);
    node.append(element("span", check.refused ? "bad" : "", welfareText(check)));
    return node;
  });
}

function welfareText({ state, refused, result }) {
  if (refused) return `not asked: ${refused}`;
  if (result?.answered_at) return `answered at ${secondsText(result.answered_at, zone())}`;
  if (result) return "nobody answered";
  return state === "waiting" ? "on its way to the gateway" : "the handset was asked";
}

// --- what people do ---

async function send(path, body) {
  const response = await post(path, body);
  return [response.ok, await said(response)];
}

function say(id, text, bad) {
  byId(id).textContent = text;
  byId(id).classList.toggle("bad", Boolean(bad));
}

/** Who did what meanwhile, on the site's own clock. */
function whyNot(answer) {
  const since = answer.since;
  if (!since || since.by === "agent") return answer.error;
  return `${since.by} set it to ${since.status} at ${secondsText(since.at, zone())}, after you opened it; look again.`;
}

async function takeStep(event) {
  event.preventDefault();
  const status = event.submitter?.value;
  if (!status || !known) return;
  const fields = byId("step").elements;
  // The ledger has a line for it: what was typed or pasted in several becomes one.
  const [response, note] = [fields.response, fields.note].map(({ value }) => value.replace(/\s+/g, " ").trim());
  const step = { status, method: fields.method.value, response, note, seen: known.seen };
  for (const button of byId("choices").children) button.disabled = true;
  try {
    const [taken, answer] = await send(`/api${PATH}/steps`, step);
    if (taken) {
      byId("step").reset();
      // The step is kept in any case; the alert may not be readable at the moment.
      if (answer.alert) take(answer);
      else await read();
      say("step-said", `${words(status)}: on its way to the gateway.`);
    } else {
      say("step-said", whyNot(answer), true);
      await read();
    }
  } catch {
    say("step-said", "The receiver does not answer; nothing is known to have been done. Look again.", true);
  } finally {
    for (const button of byId("choices").children) button.disabled = false;
    paintChoices();
  }
}

async function askForLife() {
  const where = `/api/gateways/${encodeURIComponent(GATEWAY)}/commands?tenant=${encodeURIComponent(TENANT)}&site=${encodeURIComponent(SITE)}`;
  byId("welfare").disabled = true;
  try {
    const [asked, answer] = await send(where, { type: "welfare.check", data: { guard: known.alert.guard } });
    say("welfare-said", asked ? "Asked." : answer.error, !asked);
    await read();
  } catch {
    say("welfare-said", "The receiver does not answer. Try again.", true);
    byId("welfare").disabled = false;
  }
}

// --- where it comes from ---

/** Tells what is new to somebody who does not look. */
function take(fresh) {
  const before = known;
  known = fresh;
  if (before && before.seen !== fresh.seen) {
    const line = fresh.history.at(-1);
    if (line) byId("spoken").textContent = `${line.by}: ${words(line.status)}, ${STATES[line.state] ?? ""}`;
  }
  paint();
}

async function read() {
  const mine = ++reading;
  try {
    const response = await fetch(`/api${PATH}`, { headers: { accept: "application/json" } });
    if (response.status === 404) return gone();
    if (!response.ok) throw new Error(`${response.status}`);
    const fresh = await response.json();
    if (mine !== reading) return;
    cutSince = null;
    link(isFollowing() ? "live" : "slow");
    take(fresh);
  } catch {
    cut();
    setTimeout(() => { if (mine === reading) read(); }, AGAIN_MS);
  }
}

function gone() {
  byId("waiting").textContent = "There is no such alert. ";
  const back = element("a", "", "All alerts");
  back.href = "/";
  byId("waiting").append(back);
}

function cut() {
  cutSince ??= Date.now();
  link("cut", `Disconnected from the receiver since ${secondsText(cutSince, HERE)}. What you see may be old. Reconnecting…`);
}

function soon() {
  if (waits) return;
  waits = true;
  setTimeout(() => { waits = false; read(); }, READ_MS);
}

const isOurs = (row) => row.tenant === TENANT && row.site === SITE && row.gateway === GATEWAY;

function tick() {
  byId("clock").replaceChildren(secondsText(Date.now(), HERE), " ", element("small", "", HERE));
}

let drawing = 0;
addEventListener("resize", () => {
  clearTimeout(drawing);
  drawing = setTimeout(() => { if (known) draw(); }, REDRAW_MS);
});
byId("step").addEventListener("submit", takeStep);
byId("welfare").addEventListener("click", askForLife);
const newsOf = (row) => { if (isOurs(row)) soon(); };
const isFollowing = news("/api/stream", { alert: newsOf, gateway: newsOf }, read, cut);
tick();
setInterval(tick, 1000);
// Asked for before it is needed: a step is not to wait for it.
me().catch(() => {});
