// The page of what was spent: its charts, and the names of time zones.
import "./console/charts.js";

const zones = document.querySelector("#zones");
const field = document.querySelector("#tz");
field?.addEventListener("focus", () => {
  if (zones.childElementCount) return;
  const own = Intl.DateTimeFormat().resolvedOptions().timeZone;
  for (const zone of new Set([own, "UTC", ...Intl.supportedValuesOf("timeZone")])) zones.append(new Option(zone, zone));
});
