// The page of policies: what was given for tenants and clients, and one that is given to the sites that it concerns.

import { me, post } from "/me.js";
import { ask, byId, button, list, row, tell, when } from "/desk.js";

const form = byId("give");
const field = (name) => form.elements.namedItem(name);

// The version that was looked at: what is given comes after it, or is refused.
let after = 0;
let sites = [];

const whose = () => ({ tenant: field("tenant").value.trim(), client: field("client").value.trim() });

function path() {
  const { tenant, client } = whose();
  return `/api/policies/${[tenant, client].filter(Boolean).map(encodeURIComponent).join("/")}`;
}

const concerned = ({ tenant, client }) => sites.filter((site) => site.tenant === tenant && (client === "" || site.client === client));

/** Every tenant and client that has a policy or a site; without a policy there is a row to begin one. */
function rows(policies) {
  const known = new Map(policies.map((policy) => [`${policy.tenant}/${policy.client}`, policy]));
  for (const { tenant, client } of sites.flatMap((site) => [{ ...site, client: "" }, site])) {
    const key = `${tenant}/${client}`;
    if (!known.has(key)) known.set(key, { tenant, client, latest: null });
  }
  return [...known.entries()].sort(([a], [b]) => (a < b ? -1 : 1)).map(([, policy]) => policy);
}

async function readAll() {
  const [given, of] = await Promise.all([ask(fetch("/api/policies")), ask(fetch("/api/sites"))]);
  const failed = [given, of].find((answer) => !answer.ok);
  if (failed) return tell(failed.body.error, true);
  sites = of.body.sites;
  const shown = rows(given.body.policies).map((policy) => {
    const { tenant, client, latest } = policy;
    const name = button(client || "all clients", () => choose(tenant, client));
    const count = String(concerned(policy).length);
    return row(latest ? [tenant, name, String(latest.version), when(latest.at), latest.by, latest.note, count] : [tenant, name, "none", "", "", "", count]);
  });
  byId("none").hidden = shown.length > 0;
  byId("policies").hidden = shown.length === 0;
  byId("policies").tBodies[0].replaceChildren(...shown);
  showConcerned();
}

function showConcerned() {
  const names = concerned(whose()).map(({ site }) => site);
  const most = 20;
  const more = names.length > most ? ` and ${names.length - most} more` : "";
  byId("concerned").textContent = names.length === 0 ? "No site is concerned yet." : `Sealed anew and told to their gateways: ${names.slice(0, most).join(", ")}${more}.`;
}

async function choose(tenant, client) {
  field("tenant").value = tenant;
  field("client").value = client;
  list([]);
  tell("");
  await readOne();
}

async function readOne() {
  after = 0;
  showConcerned();
  if (!whose().tenant) return;
  const asked = path();
  const { ok, status, body } = await ask(fetch(asked));
  // Somebody who goes on typing is answered for what stands there now.
  if (asked !== path()) return;
  if (ok) {
    after = body.version;
    field("text").value = body.content;
  } else if (status !== 404) tell(body.error, true);
}

async function give(event) {
  event.preventDefault();
  const note = encodeURIComponent(field("note").value.trim());
  const { ok, body } = await ask(post(`${path()}?after=${after}&note=${note}`, field("text").value));
  list(ok ? [] : body.problems ?? []);
  tell(ok ? `Version ${body.version} is given; ${body.sites} ${body.sites === 1 ? "site was" : "sites were"} sealed anew, and their gateways fetch it.` : body.error, !ok);
  if (ok) {
    after = body.version;
    await readAll();
  }
}

form.addEventListener("submit", give);
for (const name of ["tenant", "client"]) field(name).addEventListener("change", readOne);

await readAll();
// Who may only look is not offered what would be refused.
me().then(({ role }) => { byId("send").hidden = role !== "admin"; }).catch(() => {});
