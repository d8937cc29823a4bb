// Who is logged in, and how a page of theirs changes something: with the word that no page of another site knows.

let asked = null;

/** Who is logged in; asked for once. */
export function me() {
  asked ??= fetch("/api/me", { headers: { accept: "application/json" } }).then((answer) => answer.json()).catch((error) => {
    asked = null;
    throw error;
  });
  return asked;
}

/** What an answer says. A refusal that a proxy or a full disk wrote is no JSON; then its status is what there is to say. */
export async function said(response) {
  const text = await response.text();
  try {
    return JSON.parse(text);
  } catch (error) {
    if (response.ok) throw error;
    return { error: `The receiver refused it with the status ${response.status}${response.statusText ? ` (${response.statusText})` : ""}.` };
  }
}

/** Sends `body` to `path`, as JSON unless it is a text. */
export async function post(path, body) {
  const { csrf } = await me();
  const text = typeof body === "string";
  return fetch(path, {
    method: "POST",
    headers: {
      "content-type": text ? "text/plain; charset=utf-8" : "application/json",
      accept: "application/json",
      "x-csrf-token": csrf,
    },
    body: text ? body : JSON.stringify(body),
  });
}
