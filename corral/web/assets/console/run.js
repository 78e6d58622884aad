// A run's page, and a task's: the log, its life as a bar, and the box to write in.
import { Log } from "./log/log.js";
import { search } from "./log/search.js";
import { timeline } from "./log/timeline.js";

const page = document.querySelector("[data-run]");

if (page) {
  const phone = matchMedia("(max-width: 720px)");
  const bar = timeline(page);
  const onChange = (event) => {
    refreshRegions();
    bar.reload(event);
  };
  const log = new Log(page, { onChange });
  search(page, log);
  let asked = 0;
  let interrupted = false;

  // On a phone cards stand above the log: whoever follows its end is taken to a new one, and back when it is answered.
  const attend = () => {
    const now = page.querySelectorAll(".asks .ask:not(.settled)").length;
    if (phone.matches && now > asked && log.following) {
      interrupted = true;
      log.follow(false);
      log.moveTo(0); // a move of ours: while the log is short, the top is near its end as well
    } else if (interrupted && !now) {
      interrupted = false;
      log.follow(!log.isOver);
    }
    asked = now;
  };

  log.open();
  attend();
  document.addEventListener("htmx:after:swap", () => {
    log.notice();
    bar.reload();
    attend();
  });
}

let soon = 0;

// The facts and the cards change with few events; many of these at once are one refresh.
function refreshRegions() {
  clearTimeout(soon);
  soon = setTimeout(() => document.body.dispatchEvent(new CustomEvent("refresh")), 120);
}

// A task that was started has another run now, and this page the log of the one before.
const shown = document.querySelector("#live")?.dataset.logOf;
document.addEventListener("htmx:after:swap", () => {
  if (shown !== undefined && document.querySelector("#live").dataset.logOf !== shown) location.reload();
});
