// Search in a log of any length: reads it through once for each question, and goes from hit to hit.
import { count } from "../words.js";

const AT_ONCE = 1000;

export function search(page, log) {
  const form = page.querySelector("[data-search]");
  const field = form.querySelector("input");
  const says = form.querySelector("[data-hits]");
  let asked = "";
  let hits = [];
  let at = -1;

  form.addEventListener("submit", (event) => event.preventDefault());
  field.addEventListener("keydown", (event) => {
    if (event.key !== "Enter") return;
    event.preventDefault();
    if (field.value.trim().toLowerCase() === asked) step(event.shiftKey ? -1 : 1);
    else start();
  });
  field.addEventListener("input", () => field.value || start());
  log.root.addEventListener("drawn", () => highlight(log.root, asked));

  async function start() {
    asked = field.value.trim().toLowerCase();
    hits = [];
    at = -1;
    says.textContent = "";
    highlight(log.root, asked);
    if (asked) await scan(asked);
  }

  async function scan(question) {
    for (let after = 0; after < log.store.total; after += AT_ONCE) {
      const events = await log.store.fetch(after, AT_ONCE).catch(() => null);
      if (asked !== question) return;
      if (!events) return breakOff();
      hits.push(...events.filter((event) => event.sequence <= after + AT_ONCE && texts(event.payload).toLowerCase().includes(question)).map((event) => event.sequence));
      if (at < 0 && hits.length) step(1);
      tell(after + AT_ONCE < log.store.total ? Math.round(((after + AT_ONCE) / log.store.total) * 100) : null);
    }
  }

  // Half a search must not say that there is nothing: the next Enter begins again.
  function breakOff() {
    asked = "";
    says.textContent = "the server did not answer";
  }

  function step(by) {
    if (!hits.length) return;
    at = (at + by + hits.length) % hits.length;
    tell(null);
    log.aim(hits[at], { open: true });
  }

  function tell(percent) {
    const place = hits.length ? `${count(at + 1)} of ${count(hits.length)}` : percent === null ? "nothing found" : "";
    says.textContent = percent === null ? place : `${place} · ${percent} %`;
  }
}

function texts(value) {
  if (typeof value === "string") return value;
  if (value && typeof value === "object") return Object.values(value).map(texts).join("\n");
  return "";
}

// Marks the words in what is drawn, without touching the elements.
function highlight(root, question) {
  if (!globalThis.Highlight) return;
  const ranges = [];
  if (question) {
    const walker = document.createTreeWalker(root, NodeFilter.SHOW_TEXT);
    for (let node = walker.nextNode(); node; node = walker.nextNode()) {
      const text = node.data.toLowerCase();
      for (let found = text.indexOf(question); found >= 0; found = text.indexOf(question, found + question.length)) {
        const range = new Range();
        range.setStart(node, found);
        range.setEnd(node, found + question.length);
        ranges.push(range);
      }
    }
  }
  CSS.highlights.set("found", new Highlight(...ranges));
}
