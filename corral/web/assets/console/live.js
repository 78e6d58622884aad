// The clock of the page: regions with hx-trigger="tick from:body" follow the server while somebody can see them; those
// that cost it more follow the slow tick.
import { announce } from "./dom.js";

const TICK_MS = 2500;
const SLOW_TICK_MS = 30000;
let slowly = Date.now();
let failures = 0;
let isOver = false; // what the page shows is gone
let pending = waiting();
const org = document.querySelector("#pending")?.dataset.org;

setInterval(tick, TICK_MS);
document.addEventListener("visibilitychange", tick);

function tick() {
  if (document.querySelector("[data-dragging]")) return; // what is in somebody's hand stays where it is
  if (document.visibilityState !== "visible" || isOver) return;
  document.body.dispatchEvent(new CustomEvent("tick"));
  if (Date.now() - slowly < SLOW_TICK_MS) return;
  slowly = Date.now();
  document.body.dispatchEvent(new CustomEvent("slow-tick"));
}

document.addEventListener("htmx:after:request", ({ detail: { ctx } }) => {
  const status = ctx?.response?.status ?? 0;
  if (status === 401) location.assign("/app/sign-in");
  else away(status >= 500);
  isOver ||= (status === 403 || status === 404) && !ctx.sourceElement.matches("form");
});
document.addEventListener("htmx:error", () => away(true));
document.addEventListener("htmx:after:swap", hear);

// One missed answer is nothing to speak of; the second is.
function away(missed) {
  failures = missed ? failures + 1 : 0;
  document.querySelector("#away").hidden = failures < 2;
}

// A screen reader hears of a new question; the tab's title says how many wait, and comes with the page. Where another tab
// was switched to another org, this one follows: all around the region is of the org before.
function hear() {
  if (document.querySelector("#pending")?.dataset.org !== org) return location.reload();
  const now = waiting();
  if (now > pending) announce(now === 1 ? "1 question waits for you" : `${now} questions wait for you`);
  pending = now;
}

function waiting() {
  return Number(document.querySelector("#pending")?.dataset.count ?? 0);
}
