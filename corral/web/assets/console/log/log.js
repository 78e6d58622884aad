// The log as a window: a few pages of rows between two spacers, whatever its length.
import { el } from "../dom.js";
import { count } from "../words.js";
import { row, streaming } from "./rows.js";
import { SIZE, Store } from "./store.js";
import { Stream } from "./stream.js";

const ROW_GUESS = 32; // px of a row nobody has measured
const OVERSCAN = 700; // px kept ready beyond both edges of the screen
const NEAR_END = 90; // px from the end that still count as being there
const RETRY_MS = 1500;
const LIFE = /^(run\.|session\.(interrupted|unreachable|reachable)|permission\.)/;

export class Log {
  constructor(page, { onChange }) {
    this.page = page;
    this.root = page.querySelector("[data-log]");
    this.onChange = onChange;
    this.store = new Store(page.dataset.run, Number(this.live.dataset.lastSeq));
    const { who, me } = page.dataset;
    this.context = { store: this.store, cwd: page.querySelector(".facts code")?.textContent, opened: new Map(), who, me };
    this.heights = []; // px by page, once measured
    this.sections = new Map(); // page → its element
    this.patience = new Set(); // pages to ask for again, but not yet
    this.blocks = new Map(); // streamed block → {kind, text}
    this.settled = new Set(); // streamed blocks whose stored message is here; late frames of them are no news
    this.following = !this.isOver && !("calm" in page.dataset); // a calm page begins at its top
    this.stream = new Stream(this.store.runId, () => this.store.cursor, {
      event: (event) => this.take(event),
      token: (token) => this.hear(token),
      state: (state) => this.say(state),
      isOver: () => this.isOver,
    });
  }

  // The server renders and refreshes this region; its data tell what state the run is in.
  get live() {
    return this.page.querySelector("#live");
  }

  get isOver() {
    return this.live.dataset.ended === "true" && Number(this.live.dataset.lastSeq) <= this.store.total;
  }

  open() {
    this.top = el("div", { "aria-hidden": "true" });
    this.bottom = el("div", { "aria-hidden": "true" });
    this.tail = el("div");
    this.root.replaceChildren(this.top, this.bottom, this.tail);
    this.sizes = new ResizeObserver(() => this.measure());
    addEventListener("scroll", () => this.scrolled(), { passive: true });
    addEventListener("resize", () => this.schedule());
    addEventListener("hashchange", () => this.aimAtHash());
    this.page.querySelector("[data-follow]").addEventListener("click", () => this.follow(!this.following));
    this.page.querySelector("[data-latest]").addEventListener("click", () => this.latest());
    if (this.isOver) this.say("ended");
    else this.stream.open();
    if (!this.aimAtHash()) this.follow(this.following);
    this.render();
  }

  // --- what arrives

  take(event) {
    if (!this.store.append(event)) return;
    this.settle(event);
    const page = this.store.pageOf(event.sequence);
    this.dirty(page);
    const call = event.event_type === "agent.tool_result" && this.store.calls.get(event.payload.tool_use_id);
    if (call) this.redraw(call);
    if (LIFE.test(event.event_type)) this.onChange(event);
    this.schedule();
  }

  hear({ block, offset, text, kind = "text" }) {
    if (this.settled.has(block)) return;
    const known = this.blocks.get(block) ?? { kind, text: offset > 0 ? "… " : "", end: offset };
    if (offset < known.end) return;
    known.text += text;
    known.end = offset + text.length;
    this.blocks.set(block, known);
    this.schedule();
  }

  // A stored message takes the place of the block it was streamed as.
  settle({ event_type: type, payload }) {
    if (LIFE.test(type) && type.startsWith("run.")) return this.blocks.clear();
    const kind = { "agent.message": "text", "agent.thinking": "thinking" }[type];
    if (!kind) return;
    const of = [...this.blocks].filter(([, block]) => block.kind === kind);
    if (payload.block) this.settled.add(payload.block);
    if (this.blocks.delete(payload.block)) return;
    const same = of.find(([, block]) => (payload.text ?? "").includes(block.text.replace(/^… /, "").trim())) ?? of[0];
    if (same) this.blocks.delete(same[0]);
  }

  // The server's region was refreshed: it may know of events, or of a new attempt, that no stream told of.
  notice() {
    if (!this.isOver && !this.stream.isOpen) this.stream.open();
    this.schedule();
  }

  say(state) {
    const words = { live: "live", reconnecting: "reconnecting…", ended: "" };
    const place = this.page.querySelector("[data-stream]");
    place.dataset.state = state;
    place.textContent = words[state];
    this.page.querySelector("[data-follow]").hidden = state === "ended";
    if (state === "ended") this.blocks.clear(), this.schedule();
  }

  // --- following, jumping

  follow(on) {
    this.following = on;
    this.page.querySelector("[data-follow]").setAttribute("aria-pressed", String(on));
    if (on) this.toEnd();
  }

  latest() {
    if (this.isOver) this.toEnd();
    else this.follow(true);
  }

  toEnd() {
    this.moveTo(document.documentElement.scrollHeight);
    this.schedule();
  }

  scrolled() {
    if (Math.abs(scrollY - this.moved) > 2) {
      const near = this.isNearEnd();
      if (near !== this.following && !this.isOver) {
        this.following = near;
        this.page.querySelector("[data-follow]").setAttribute("aria-pressed", String(near));
      }
    }
    this.schedule();
  }

  isNearEnd() {
    return document.documentElement.scrollHeight - innerHeight - scrollY < NEAR_END;
  }

  moveTo(y) {
    scrollTo({ top: y, behavior: "instant" });
    this.moved = scrollY;
  }

  aimAtHash() {
    const line = Number(location.hash.match(/^#e(\d+)$/)?.[1] ?? 0);
    if (!line || line > this.store.total) return false;
    this.aim(line);
    return true;
  }

  // Brings a line to the middle of the screen, fetching what it needs. `open` unfolds it.
  async aim(sequence, { open = false } = {}) {
    this.follow(false);
    const page = this.store.pageOf(sequence);
    await this.store.load(page);
    // Its neighbour above may hold the call this line is the result of.
    if (page > 0) await this.store.load(page - 1);
    const event = this.store.get(sequence);
    const call = event?.event_type === "agent.tool_result" ? this.store.calls.get(event.payload.tool_use_id) : undefined;
    const line = call ?? sequence;
    const offset = this.root.getBoundingClientRect().top + scrollY + this.offset(this.store.pageOf(line));
    this.moveTo(offset - innerHeight / 3);
    this.render();
    const target = document.getElementById(`e${line}`);
    if (!target) return;
    for (const other of this.root.querySelectorAll(".aimed")) other.classList.remove("aimed");
    target.classList.add("aimed");
    this.aimed = line;
    if (open) target.querySelector("details")?.setAttribute("open", "");
    target.scrollIntoView({ block: "center", behavior: "instant" });
    this.moved = scrollY;
    this.schedule();
  }

  // --- the window

  schedule() {
    this.frame ??= requestAnimationFrame(() => {
      this.frame = null;
      this.render();
    });
  }

  render() {
    const anchor = this.following ? null : this.anchor();
    const [first, last] = this.wanted(anchor);
    for (const [page, section] of this.sections) if (page < first || page > last) this.unmount(page, section);
    for (let page = first; page <= last; page += 1) this.mount(page);
    this.top.style.height = `${this.offset(first)}px`;
    this.bottom.style.height = `${this.offset(this.store.pageCount) - this.offset(last + 1)}px`;
    this.tail.replaceChildren(...[...this.blocks.values()].map(({ kind, text }) => streaming(kind, text, this.context.who)));
    this.measure();
    if (this.following) this.moveTo(document.documentElement.scrollHeight);
    else if (anchor) this.restore(anchor);
    this.page.querySelector("[data-latest]").hidden = this.isNearEnd() || document.documentElement.scrollHeight < innerHeight * 2;
    this.page.querySelector("[data-total]").textContent = count(this.store.total);
    this.root.dispatchEvent(new CustomEvent("drawn"));
  }

  // The first and last page that the screen, and a little beyond, shows. Seen from a row that is on the screen, if there
  // is one: heights are guesses until measured, so a place in the whole means another page whenever a guess changes.
  wanted(anchor) {
    const pages = this.store.pageCount;
    if (!pages) return [0, -1];
    if (anchor) return this.around(anchor.page, pages);
    const above = -this.root.getBoundingClientRect().top;
    const at = (y) => {
      let page = 0;
      for (let end = this.height(0); end < y && page < pages - 1; end += this.height(page)) page += 1;
      return page;
    };
    if (this.following) return [Math.max(0, this.pageBefore(pages - 1, innerHeight + OVERSCAN)), pages - 1];
    return [at(above - OVERSCAN), at(above + innerHeight + OVERSCAN)];
  }

  around(page, pages) {
    let [first, last] = [page, page];
    let { top, bottom } = this.sections.get(page).getBoundingClientRect();
    while (top > -OVERSCAN && first > 0) top -= this.height(--first);
    while (bottom < innerHeight + OVERSCAN && last < pages - 1) bottom += this.height(++last);
    return [first, last];
  }

  pageBefore(page, distance) {
    let first = page;
    for (let tall = this.height(page); tall < distance && first > 0; tall += this.height(first)) first -= 1;
    return first;
  }

  height(page) {
    return this.heights[page] ?? this.store.sizeOf(page) * (this.guess ?? ROW_GUESS);
  }

  offset(page) {
    let sum = 0;
    for (let before = 0; before < page; before += 1) sum += this.height(before);
    return sum;
  }

  mount(page) {
    let section = this.sections.get(page);
    if (!section) {
      section = el("div", { "data-page": String(page) });
      const next = [...this.sections.keys()].filter((other) => other > page).sort((a, b) => a - b)[0];
      this.root.insertBefore(section, next === undefined ? this.bottom : this.sections.get(next));
      this.sections.set(page, section);
      this.sizes.observe(section);
    }
    const events = this.store.pages.get(page);
    if (!this.store.isLoaded(page)) this.fetch(page);
    if (!events) {
      if (!section.childElementCount) section.append(el("span", { class: "skeleton" }), el("span", { class: "skeleton" }));
      section.style.height = `${this.height(page)}px`;
      return;
    }
    if (section.drawn === events.length) return;
    if (!section.drawn) section.replaceChildren();
    section.style.height = "";
    for (const event of events.slice(section.drawn ?? 0)) if (event) section.append(...this.draw(event));
    section.drawn = events.length;
  }

  draw(event) {
    const drawn = row(event, this.context);
    if (drawn && event.sequence === this.aimed) drawn.classList.add("aimed");
    return drawn ? [drawn] : [];
  }

  redraw(sequence) {
    const old = document.getElementById(`e${sequence}`);
    const event = this.store.get(sequence);
    if (old && event) old.replaceWith(...this.draw(event));
  }

  unmount(page, section) {
    this.sizes.unobserve(section);
    section.remove();
    this.sections.delete(page);
  }

  dirty(page) {
    delete this.heights[page];
  }

  // A page just fetched may hold the calls of results already drawn, or the results of calls.
  fetch(page) {
    if (this.store.loading.has(page) || this.patience.has(page)) return;
    this.store.load(page).then(
      () => {
        // The server has less than it said (it lost power, or events were deleted): ask again, but in peace.
        if (!this.store.isLoaded(page)) return this.later(page);
        for (const near of [page - 1, page + 1]) {
          const section = this.sections.get(near);
          if (section?.drawn) section.drawn = 0;
        }
        this.schedule();
      },
      () => this.later(page),
    );
  }

  later(page) {
    this.patience.add(page);
    setTimeout(() => {
      this.patience.delete(page);
      this.schedule();
    }, RETRY_MS);
  }

  measure() {
    let rows = 0;
    let tall = 0;
    for (const [page, section] of this.sections) {
      if (!section.drawn) continue;
      this.heights[page] = section.offsetHeight;
      if (section.drawn === SIZE) rows += SIZE, tall += section.offsetHeight;
    }
    // A guess that moved with every page would make the scrollbar tremble.
    if (rows && !this.guess) this.guess = tall / rows;
  }

  // The first row on the screen, and where: rows above may change their height, it must not move.
  anchor() {
    const screen = this.root.getBoundingClientRect();
    if (screen.top >= 0) return null;
    for (const [page, section] of this.sections) {
      const box = section.getBoundingClientRect();
      if (box.bottom <= 0 || box.top >= innerHeight) continue;
      for (const shown of section.children) {
        const { top, bottom } = shown.getBoundingClientRect();
        if (bottom > 0 && shown.id) return { id: shown.id, top, page };
      }
    }
    return null;
  }

  restore({ id, top }) {
    const shown = document.getElementById(id);
    if (!shown) return;
    const shift = shown.getBoundingClientRect().top - top;
    if (Math.abs(shift) >= 1) this.moveTo(scrollY + shift);
  }
}
