// A run's page: its log, its life as a bar, and the box to write in.
import { Log } from "./log/log.js";
import { search } from "./log/search.js";
import { timeline } from "./log/timeline.js";

const page = document.querySelector("[data-run]");

if (page) {
  const bar = timeline(page);
  const log = new Log(page, { onChange: (event) => { refreshRegions(); bar.reload(event); } });
  search(page, log);
  log.open();
  document.addEventListener("htmx:after:swap", () => { log.notice(); bar.reload(); });
  page.addEventListener("htmx:after:request", ({ detail: { ctx }, target }) => {
    if (target.matches("[data-composer]") && ctx?.response?.status < 400) target.reset();
  });
}

let soon = 0;

// The facts and the cards change with few events; many of these at once are one refresh.
function refreshRegions() {
  clearTimeout(soon);
  soon = setTimeout(() => document.body.dispatchEvent(new CustomEvent("refresh")), 120);
}
