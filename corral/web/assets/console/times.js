// Times age while they are looked at, and tell the reader's own zone on hover.
import { ago, until } from "./words.js";

const absolute = new Intl.DateTimeFormat(undefined, { dateStyle: "full", timeStyle: "long" });

export function refresh() {
  const now = Date.now();
  for (const time of document.querySelectorAll("time[data-ago], time[data-until]")) {
    const at = Date.parse(time.dateTime);
    const text = "ago" in time.dataset ? ago(now - at) : until(at - now);
    if (time.textContent !== text) time.textContent = text;
    const title = absolute.format(at);
    if (time.title !== title) time.title = title;
  }
}

refresh();
setInterval(refresh, 5000);
document.addEventListener("htmx:after:swap", refresh);
