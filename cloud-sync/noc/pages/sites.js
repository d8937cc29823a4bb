// The page of sites: what was given, its versions, and a file that is checked and given.

import { me, post } from "/me.js";
import { ask, byId, button, list, row, tell, when } from "/desk.js";

const form = byId("give");
const field = (name) => form.elements.namedItem(name);

// The version that was looked at: what is given comes after it, or is refused.
let after = 0;

const place = () => `/api/sites/${encodeURIComponent(field("tenant").value.trim())}/${encodeURIComponent(field("site").value.trim())}`;

async function readSites() {
  const { ok, body } = await ask(fetch("/api/sites"));
  if (!ok) return tell(body.error, true);
  byId("none").hidden = body.sites.length > 0;
  byId("sites").hidden = body.sites.length === 0;
  const shown = body.sites.map(({ tenant, site, client, latest }) =>
    row([tenant, button(site, () => choose(tenant, site)), client, String(latest.version), when(latest.at), latest.by, latest.note]));
  byId("sites").tBodies[0].replaceChildren(...shown);
}

async function choose(tenant, site) {
  field("tenant").value = tenant;
  field("site").value = site;
  await readVersions(true);
  tell("");
}

async function readVersions(andText) {
  const { ok, body } = await ask(fetch(`${place()}/files`));
  if (!ok) return tell(body.error, true);
  const history = byId("history");
  history.hidden = body.versions.length === 0;
  after = body.versions[0]?.version ?? 0;
  const shown = body.versions.map(({ version, at, by, note }) =>
    row([String(version), when(at), by, note, button("take its text", () => readText(version))]));
  history.querySelector("tbody").replaceChildren(...shown);
  if (andText && after > 0) await readText(after);
}

async function readText(version) {
  const { ok, body, text } = await ask(fetch(`${place()}/files/${version}`));
  if (ok) field("text").value = text;
  else tell(body.error, true);
}

async function check() {
  const { ok, body } = await ask(post(`${place()}/check`, field("text").value));
  list(ok ? body.doubts : body.problems ?? []);
  if (!ok) tell(body.error, true);
  else tell(body.doubts.length > 0 ? "It can be given; what is listed below looks like a mistake." : "It can be given.");
}

async function give(event) {
  event.preventDefault();
  const note = encodeURIComponent(field("note").value.trim());
  const { ok, body } = await ask(post(`${place()}/files?after=${after}&note=${note}`, field("text").value));
  list(ok ? [] : body.problems ?? []);
  tell(ok ? `Version ${body.version} is given; the gateways of the site fetch it.` : body.error, !ok);
  if (ok) await Promise.all([readSites(), readVersions(false)]);
}

form.addEventListener("submit", give);
byId("check").addEventListener("click", check);
field("file").addEventListener("change", async () => {
  const [file] = field("file").files;
  if (file) field("text").value = await file.text();
});
for (const name of ["tenant", "site"]) {
  field(name).addEventListener("change", () => { after = 0; if (field("tenant").value && field("site").value) readVersions(false); });
}

await readSites();
// Asked for before it is needed: a step is not to wait for it.
me().catch(() => {});
