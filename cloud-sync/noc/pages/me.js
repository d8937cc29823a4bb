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
