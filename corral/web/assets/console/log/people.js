// Who did something, as one names them: whoever looks is "you", and others are asked for once each.
import { el } from "../dom.js";

const names = new Map(); // a person's id → the promise of their name

// Returns a text, or an element that becomes the name once it is known.
export function person(by, me, you = "You") {
  if (by?.startsWith("key:")) return "API key";
  if (!by?.startsWith("user:")) return by || "Somebody";
  const id = by.slice("user:".length);
  if (id === me) return you;
  const name = el("span", {}, "Somebody");
  named(id).then((text) => (name.textContent = text));
  return name;
}

function named(id) {
  if (!names.has(id)) names.set(id, asked(id));
  return names.get(id);
}

async function asked(id) {
  const answer = await fetch(`/api/people/${encodeURIComponent(id)}`, { headers: { accept: "application/json" } }).catch(() => null);
  if (answer?.ok) return (await answer.json()).name;
  if (answer?.status === 404) return "Somebody who has left";
  names.delete(id); // another row may ask again
  return "Somebody";
}
