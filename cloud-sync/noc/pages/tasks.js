// Tasks for a site, given by the operations centre, and what became of all that was sent to its gateway.

import { me, post, said as saidBy } from "/me.js";
import { arrange, byId, element, fact, link, nameOf, reveal, secondsText, timeNode, words } from "/vigil.js";

// What is sent is fetched by its gateway within a second or two; so often is looked whether it was.
const LOOK_MS = 2000;
const ROWS = 100;
const HERE = Intl.DateTimeFormat().resolvedOptions().timeZone || "UTC";
const STATES = { waiting: "on its way to the gateway", acknowledged: "carried out", refused: "refused by the gateway" };

let gateways = [];
let cutSince = null;

const chosen = () => gateways[byId("gateway").selectedIndex];
const where = ({ tenant, site, gateway }) =>
  `/api/gateways/${encodeURIComponent(gateway)}/commands?tenant=${encodeURIComponent(tenant)}&site=${encodeURIComponent(site)}`;

async function get(path) {
  const response = await fetch(path, { headers: { accept: "application/json" } });
  if (!response.ok) throw new Error(`${path} answered ${response.status}`);
  return response.json();
}

function sentNode(command) {
  const node = element("li", "card line");
  node.dataset.state = command.state;
  const head = element("div", "head");
  const name = command.data.task ?? command.data.alert ?? command.data.guard ?? command.id;
  head.append(element("strong", "", name), element("span", "status", words(command.type.replace(".", " "))), element("span", "state", STATES[command.state]));
  head.append(timeNode(command.queued_at, HERE, new Date().toISOString(), "when"));
  const facts = element("dl", "facts");
  for (const [field, value] of Object.entries(command.data)) {
    if (field !== "task" && typeof value !== "object") fact(facts, words(field), field.endsWith("_at") ? timeNode(value, HERE) : value);
  }
  node.append(head, facts);
  if (command.refused) node.append(element("p", "bad", `Refused: ${command.refused}`));
  return node;
}

async function look() {
  try {
    if (gateways.length === 0) {
      gateways = (await get("/api/gateways")).gateways;
      const name = ({ health, site, tenant, gateway }) => `${nameOf(health, site)} (${tenant}), ${gateway}`;
      byId("gateway").replaceChildren(...gateways.map((row) => new Option(name(row))));
      const asked = new URLSearchParams(location.search).get("gateway");
      const at = gateways.findIndex(({ tenant, site, gateway }) => `${tenant}/${site}/${gateway}` === asked);
      if (at >= 0) byId("gateway").selectedIndex = at;
    }
    const commands = chosen() ? (await get(`${where(chosen())}&limit=${ROWS}`)).commands : [];
    arrange(byId("sent"), commands, ({ id }) => id, sentNode);
    byId("sent-empty").hidden = commands.length > 0;
    cutSince = null;
    link("live", "");
  } catch {
    cutSince ??= Date.now();
    link("cut", `Disconnected from the receiver since ${secondsText(cutSince, HERE)}. What you see may be old. Reconnecting…`);
  }
  reveal();
}

async function send(form, said, command) {
  try {
    const response = await post(where(chosen()), command);
    const answer = await saidBy(response);
    byId(said).classList.toggle("bad", !response.ok);
    byId(said).textContent = response.ok ? `${command.data.task}: on its way to the gateway.` : answer.error;
    if (response.ok) form.reset();
    await look();
  } catch {
    byId(said).classList.add("bad");
    byId(said).textContent = "The receiver does not answer; look below whether it was sent.";
  }
}

byId("give").addEventListener("submit", (event) => {
  event.preventDefault();
  const { task, title, priority, guard, due } = event.target.elements;
  const data = { task: task.value, title: title.value || null, priority: priority.value, guard: guard.value || null };
  data.due_at = due.value ? new Date(due.value).toISOString() : null;
  send(event.target, "give-said", { type: "task.upsert", data });
});
byId("cancel").addEventListener("submit", (event) => {
  event.preventDefault();
  send(event.target, "cancel-said", { type: "task.cancel", data: { task: event.target.elements.task.value } });
});
byId("gateway").addEventListener("change", () => {
  const { tenant, site, gateway } = chosen();
  history.replaceState(null, "", `/tasks?gateway=${encodeURIComponent(`${tenant}/${site}/${gateway}`)}`);
  look();
});

function tick() {
  byId("clock").replaceChildren(secondsText(Date.now(), HERE), " ", element("small", "", HERE));
}

look();
setInterval(look, LOOK_MS);
tick();
setInterval(tick, 1000);
// Asked for before it is needed: a step is not to wait for it.
me().catch(() => {});
