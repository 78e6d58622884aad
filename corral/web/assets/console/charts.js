// Charts are pictures of tables: what they show, what it is called and where a click leads stands in the table's cells.
import uPlot from "uplot";
import { el } from "./dom.js";
import { compact, money } from "./words.js";

const DRAGGED = 12; // px: less is a click
const UNITS = {
  usd: { of: (value) => value / 1e6, said: money, axis: dollars },
  tokens: { of: (value) => value, said: compact, axis: compact },
  rate: { of: (value) => value * 100, said: (value) => `${Math.round(value)} %`, axis: (value) => `${value} %` },
};
const drawn = new WeakMap(); // a plot's place → what is drawn there

const resized = new ResizeObserver((entries) => {
  for (const { target } of entries) drawn.get(target)?.chart.setSize(size(target));
});

draw();
document.addEventListener("htmx:after:swap", draw);
// Colours are resolved when a chart is drawn.
new MutationObserver(redraw).observe(document.documentElement, { attributeFilter: ["data-theme"] });
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", redraw);

function draw() {
  for (const place of document.querySelectorAll("[data-plot]")) {
    const table = read(place);
    const before = drawn.get(place);
    if (before?.text === table.text) continue;
    before?.chart.destroy();
    drawn.set(place, { text: table.text, chart: chart(place, table) });
    resized.observe(place);
  }
}

function redraw() {
  for (const place of document.querySelectorAll("[data-plot]")) {
    drawn.get(place)?.chart.destroy();
    drawn.delete(place);
  }
  draw();
}

// What a plot's table says: its columns with a colour, and of each row their values.
function read(place) {
  const table = document.getElementById(place.dataset.plot);
  const { kind, unit } = place.dataset;
  const heads = [...table.tHead.rows[0].cells];
  const columns = heads
    .map((head, index) => ({ name: head.textContent.trim(), color: head.dataset.series, index }))
    .filter(({ color }, index) => (kind === "line" ? "rate" in heads[index].dataset : color));
  const rows = [...table.tBodies[0].rows].map((row) => ({
    label: row.cells[0].textContent.trim(),
    short: row.dataset.short,
    first: row.dataset.first,
    last: row.dataset.last,
    link: row.querySelector("a"),
    values: columns.map(({ index }) => {
      const { value } = row.cells[index].dataset;
      return value === "" ? null : UNITS[unit].of(Number(value));
    }),
  }));
  return { kind, unit, columns, rows, text: table.innerHTML };
}

function chart(place, { kind, unit, columns, rows }) {
  const isLine = kind === "line";
  const { said, axis } = UNITS[unit];
  const color = resolver(place);
  const colors = columns.map((column) => color(column.color ?? "t3"));
  const at = rows.map((_, index) => index);
  const values = columns.map((_, column) => rows.map((row) => row.values[column]));
  // A bar's parts lie one above the other: the sums are drawn first, and what they stand on is drawn over them.
  const sums = isLine ? values : values.map((_, top) => rows.map((row) => total(row.values.slice(0, top + 1)))).reverse();
  const tip = el("div", { class: "tip", hidden: true });
  const u = new uPlot(
    {
      ...size(place),
      padding: [10, 8, 0, 0],
      legend: { show: false },
      scales: {
        x: { time: false, range: () => [-0.6, rows.length - 0.4] },
        y: { range: (_, __, most) => [0, unit === "rate" ? 100 : (most || 1) * 1.04] },
      },
      series: [
        {},
        ...(isLine ? colors : colors.toReversed()).map((fill) =>
          isLine
            ? { stroke: fill, width: 2, points: { show: rows.length < 60, size: 5, fill }, spanGaps: false }
            : { fill, stroke: fill, width: 0, paths: uPlot.paths.bars({ size: [0.82, 54] }), points: { show: false } },
        ),
      ],
      axes: [
        {
          ...lines(color, place),
          grid: { show: false },
          incrs: [1, 2, 3, 4, 5, 7, 10, 14, 21, 28, 35, 42, 56, 91],
          space: 58,
          size: 30,
          values: (_, splits) => splits.map((split) => rows[split]?.short ?? ""),
        },
        { ...lines(color, place), size: 56, values: (_, splits) => splits.map(axis) },
      ],
      cursor: { y: false, drag: { setScale: false }, points: { show: isLine } },
      hooks: { setCursor: [show], setSelect: [choose], destroy: [() => tip.remove()] },
    },
    [at, ...sums],
    place,
  );
  u.over.append(tip);
  let isDragged = false;
  let tapped = null;
  u.over.addEventListener("click", (event) => {
    const { idx } = u.cursor;
    if (isDragged || idx === null || idx === undefined) return (isDragged = false);
    // A finger cannot hover: it first sees what a bar is, and then opens it.
    if (event.pointerType === "touch" && tapped !== idx) return (tapped = idx);
    rows[idx].link?.click();
  });
  u.over.addEventListener("mouseleave", () => (tip.hidden = true));
  u.over.classList.toggle("leads", rows.some(({ link }) => link));
  place.uplot = u;
  return u;

  // Dragged over several bars: the days from the first to the last of them.
  function choose() {
    if (u.select.width < DRAGGED || !rows[0].link) return;
    isDragged = true;
    const bar = (px) => rows[Math.min(rows.length - 1, Math.max(0, Math.round(u.posToVal(px, "x"))))];
    const address = new URL(location.href);
    address.searchParams.delete("period");
    address.searchParams.set("from", bar(u.select.left).first);
    address.searchParams.set("to", bar(u.select.left + u.select.width).last);
    location.assign(address);
  }

  function show() {
    const { idx, left } = u.cursor;
    const row = rows[idx];
    tip.hidden = !row || left < 0;
    if (tip.hidden) return;
    const parts = columns
      .map(({ name }, n) => ({ name, value: row.values[n], color: colors[n] }))
      .filter(({ value }) => value);
    tip.replaceChildren(
      el("b", {}, row.label),
      ...parts.toReversed().map(({ name, value, color: fill }) => line(name, said(value), fill)),
      ...(isLine || parts.length === 1 ? [] : [line(parts.length ? "Total" : "Nothing", parts.length ? said(total(row.values)) : "")]),
    );
    const width = tip.offsetWidth;
    const x = u.valToPos(idx, "x");
    const beside = x + 14 + width > u.over.clientWidth ? x - 14 - width : x + 14;
    tip.style.left = `${Math.max(0, Math.min(beside, u.over.clientWidth - width))}px`;
  }
}

function line(name, value, fill) {
  const swatch = el("i", { class: "swatch" });
  if (fill) swatch.style.background = fill;
  else swatch.style.visibility = "hidden";
  return el("span", {}, swatch, el("span", { class: "name" }, name), el("span", { class: "num" }, value));
}

function total(values) {
  return values.reduce((sum, value) => sum + value, 0);
}

function lines(color, place) {
  return {
    stroke: color("axis"),
    font: `11.5px ${getComputedStyle(place).fontFamily}`,
    grid: { stroke: color("rule"), width: 1 },
    ticks: { show: false },
  };
}

function size(place) {
  return { width: place.clientWidth, height: place.clientHeight };
}

// A canvas knows no custom properties: an element of the class is asked what its colour comes to.
function resolver(place) {
  return (name) => {
    const probe = el("i", { class: `swatch ${name}`, hidden: true });
    place.append(probe);
    const { color } = getComputedStyle(probe);
    probe.remove();
    return color;
  };
}

function dollars(value) {
  if (value === 0) return "$0";
  return `$${value < 1 ? Number(value.toPrecision(2)) : compact(value)}`;
}
