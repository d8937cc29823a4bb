// Which alerts are shown: what the form says, kept in the address, so that a link shows the same to somebody else.

import { byId, isOpen, words } from "/vigil.js";

// Somebody who types is not answered at every letter.
const TYPING_MS = 300;
const FIELDS = ["q", "severity", "status", "place", "open", "rule", "guard", "from", "to", "single"];
const RULES = ["inactivity", "sos", "man_down", "tour_missed", "tour_partial", "tour_at_risk", "tour_sequence", "task_overdue",
  "task_at_risk", "device_silent", "device_battery_low", "clock_skew", "guard_absent", "break_overrun", "storm", "gateway_lost"];

/** The filters of `form`; `changed` is called when they are. */
export function filters(form, changed) {
  const fields = form.elements;
  for (const rule of RULES) byId("rules").append(new Option(words(rule), rule));

  function fromAddress() {
    const asked = new URLSearchParams(location.search);
    for (const name of FIELDS) {
      const field = fields[name];
      const value = asked.get(name) ?? "";
      if (field.type === "checkbox") field.checked = value === "true";
      else {
        // A site is listed when its gateway is known.
        if (name === "place" && value && ![...field.options].some((o) => o.value === value)) field.add(new Option(value, value));
        field.value = value;
      }
    }
    if (["rule", "guard", "from", "to", "single"].some((name) => said(name))) form.querySelector("details").open = true;
    byId("clear").hidden = isAll();
  }

  function said(name) {
    const field = fields[name];
    return field.type === "checkbox" ? (field.checked ? "true" : "") : field.value.trim();
  }

  const isAll = () => FIELDS.every((name) => !said(name));

  function toAddress() {
    const asked = new URLSearchParams();
    for (const name of FIELDS) if (said(name)) asked.set(name, said(name));
    history.replaceState(null, "", asked.size ? `/?${asked}` : "/");
    byId("clear").hidden = isAll();
    changed();
  }

  /** What the receiver is asked; instants are those of this screen's clock. */
  function query() {
    const asked = new URLSearchParams();
    for (const name of ["q", "severity", "status", "open", "rule", "guard"]) if (said(name)) asked.set(name, said(name));
    const [tenant, site] = said("place").split("/");
    if (site) { asked.set("tenant", tenant); asked.set("site", site); }
    for (const name of ["from", "to"]) if (said(name)) asked.set(name, new Date(said(name)).toISOString());
    return asked;
  }

  /** Whether an alert that has just come is looked for. The receiver compares the gateway's status, and so does this. */
  function holds(row) {
    const { alert } = row;
    const texts = [alert.summary, alert.id, alert.subject, alert.rule, `${row.tenant}/${row.site}`].join("\n").toLowerCase();
    const at = Date.parse(alert.detected_at);
    return said("q").toLowerCase().split(/\s+/).every((word) => texts.includes(word))
      && ["severity", "rule", "guard"].every((name) => !said(name) || alert[name] === said(name))
      && (!said("status") || row.said === said("status"))
      && (!said("place") || said("place") === `${row.tenant}/${row.site}`)
      && (!said("open") || isOpen(alert))
      && (!said("from") || at >= Date.parse(said("from")))
      && (!said("to") || at < Date.parse(said("to")));
  }

  /** Adds sites to the list; those that are there stay, and what is chosen. */
  function sites(known) {
    const place = fields.place;
    for (const [value, name] of known) {
      const there = [...place.options].find((option) => option.value === value);
      if (!there) place.add(new Option(name, value));
      else if (there.text !== name) there.text = name;
    }
  }

  fromAddress();
  let typing = 0;
  form.addEventListener("input", () => { clearTimeout(typing); typing = setTimeout(toAddress, TYPING_MS); });
  form.addEventListener("submit", (event) => { event.preventDefault(); clearTimeout(typing); toAddress(); });
  // After the browser has emptied the fields.
  form.addEventListener("reset", () => setTimeout(toAddress));
  addEventListener("popstate", () => { fromAddress(); changed(); });
  return { query, holds, sites, isAll, get single() { return Boolean(said("single")); } };
}
