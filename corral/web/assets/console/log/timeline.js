// A run's life as one thin bar: how long it was queued, running, waiting.
import { duration } from "../words.js";

const WIDTH = 1000;
const LEAST = 4; // of WIDTH: a short state is still to be seen
const SVG = "http://www.w3.org/2000/svg";

export function timeline(page) {
  const bar = page.querySelector("[data-timeline]");
  const legend = page.querySelector("[data-legend]");
  let life = null;
  let skew = 0;
  let asking = 0;

  async function load() {
    const answer = await fetch(`/app/runs/${page.dataset.run}/life`, { headers: { accept: "application/json" } }).catch(() => null);
    if (!answer?.ok) return;
    life = await answer.json();
    skew = life.now - Date.now();
    draw();
  }

  function draw() {
    if (!life) return;
    const spans = life.spans.map(([status, from, to]) => ({ status, ms: Math.max(0, (to ?? Date.now() + skew) - from) }));
    const whole = spans.reduce((sum, { ms }) => sum + ms, 0) || 1;
    const widths = spans.map(({ ms }) => Math.max(LEAST, (ms / whole) * WIDTH));
    const scale = WIDTH / widths.reduce((sum, width) => sum + width, 0);
    let x = 0;
    bar.replaceChildren(
      ...spans.map(({ status }, index) => {
        const rect = document.createElementNS(SVG, "rect");
        const width = widths[index] * scale;
        for (const [key, value] of Object.entries({ x, y: 0, width: Math.max(1, width - 2), height: 6, class: status.split(" ")[0] })) rect.setAttribute(key, value);
        x += width;
        return rect;
      }),
    );
    const totals = new Map();
    for (const { status, ms } of spans) totals.set(status, (totals.get(status) ?? 0) + ms);
    legend.replaceChildren(...[...totals].map(([status, ms]) => word(status, duration(ms))));
    bar.setAttribute("aria-label", [...totals].map(([status, ms]) => `${status} ${duration(ms)}`).join(", "));
  }

  load();
  setInterval(() => life?.spans.at(-1)?.[2] === null && draw(), 1000);
  return {
    // Asked by many events at once, it asks the server once.
    reload(event) {
      if (!event) return draw();
      clearTimeout(asking);
      asking = setTimeout(load, 250);
    },
  };
}

function word(status, time) {
  const span = document.createElement("span");
  const bold = document.createElement("b");
  bold.className = "num";
  bold.textContent = time;
  span.append(`${status} `, bold);
  return span;
}
