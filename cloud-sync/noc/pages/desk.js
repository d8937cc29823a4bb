// What the pages of site files and of policies do alike.

import { byId, element } from "/vigil.js";

export { byId };

export async function ask(answering) {
  const answer = await answering;
  const text = await answer.text();
  let body;
  try {
    body = JSON.parse(text);
  } catch {
    body = { error: text };
  }
  return { ok: answer.ok, status: answer.status, body, text };
}

export function tell(text, bad = false) {
  const told = byId("told");
  told.textContent = text;
  told.hidden = text === "";
  told.classList.toggle("bad", bad);
}

export function when(at) {
  return `${at.slice(0, 10)} ${at.slice(11, 19)} UTC`;
}

export function row(cells) {
  const node = element("tr");
  for (const cell of cells) {
    const td = element("td");
    td.append(cell);
    node.append(td);
  }
  return node;
}

export function button(text, act) {
  const node = element("button", "quiet", text);
  node.type = "button";
  node.addEventListener("click", act);
  return node;
}

/** Each problem with its file and line, so that it can be found in the text above. */
export function list(problems) {
  const node = byId("problems");
  node.hidden = problems.length === 0;
  const where = (file, line) => [file, line ? `line ${line}` : ""].filter(Boolean).join(", ");
  const said = ({ file, line, key, problem }) => element("li", "", [where(file, line), key, problem].filter(Boolean).join(": "));
  node.replaceChildren(...problems.map(said));
}
