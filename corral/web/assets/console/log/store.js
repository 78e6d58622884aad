// The events of a run, in pages of SIZE by sequence number, so that a page is found by arithmetic. Numbers have no gaps
// but in a log of which a part was let go: there a page has none in their places.
export const SIZE = 100;
const KEEP = 40; // pages held in memory; others are fetched again

export class Store {
  constructor(runId, total) {
    this.runId = runId;
    this.total = total;
    this.pages = new Map();
    this.loading = new Map();
    this.calls = new Map(); // tool_use_id → sequence of the call
    this.results = new Map(); // tool_use_id → the result's event
  }

  get pageCount() {
    return Math.ceil(this.total / SIZE);
  }

  // The last sequence number up to which everything is known to exist; a stream goes on from here.
  get cursor() {
    return this.total;
  }

  pageOf(sequence) {
    return Math.floor((sequence - 1) / SIZE);
  }

  sizeOf(page) {
    return Math.min(SIZE, this.total - page * SIZE);
  }

  isLoaded(page) {
    return (this.pages.get(page)?.length ?? 0) >= this.sizeOf(page);
  }

  get(sequence) {
    return this.pages.get(this.pageOf(sequence))?.[(sequence - 1) % SIZE];
  }

  // Resolves when the page is here; rejects when the server could not be asked.
  load(page) {
    if (this.isLoaded(page)) return Promise.resolve();
    if (!this.loading.has(page)) {
      const wanted = this.fetch(page * SIZE, SIZE)
        .then((events) => this.keep(page, placed(page, events)))
        .finally(() => this.loading.delete(page));
      this.loading.set(page, wanted);
    }
    return this.loading.get(page);
  }

  async fetch(after, limit) {
    const answer = await fetch(`/api/runs/${this.runId}/events?after=${after}&limit=${limit}`, {
      headers: { accept: "application/json" },
    });
    if (!answer.ok) throw new Error(`The server answered ${answer.status}`);
    return answer.json();
  }

  keep(page, events) {
    const known = this.pages.get(page) ?? [];
    if (events.length < known.length) return;
    this.pages.delete(page); // to the young end of the map
    this.pages.set(page, events);
    this.total = Math.max(this.total, page * SIZE + events.length);
    events.forEach((event) => event && this.index(event));
    this.forget();
  }

  // Takes an event of the stream. False if it was here before.
  append(event) {
    if (event.sequence <= this.total) return false;
    const page = this.pageOf(event.sequence);
    const events = this.pages.get(page);
    const place = (event.sequence - 1) % SIZE;
    if (place === 0) this.pages.set(page, [event]);
    else if (events?.length === place) events.push(event);
    this.total = event.sequence;
    this.index(event);
    this.forget();
    return true;
  }

  index(event) {
    const id = event.payload?.tool_use_id;
    if (!id) return;
    if (event.event_type === "agent.tool_call") this.calls.set(id, event.sequence);
    if (event.event_type === "agent.tool_result") this.results.set(id, event);
  }

  forget() {
    for (const [page, events] of this.pages) {
      if (this.pages.size <= KEEP) return;
      if (page === this.pageCount - 1) continue;
      this.pages.delete(page);
      for (const event of events) {
        const id = event?.payload?.tool_use_id;
        if (id) this.calls.delete(id), this.results.delete(id);
      }
    }
  }
}

// Events at their places in a page. One that comes from beyond tells that nothing more is to come in this one.
function placed(page, events) {
  const mine = events.filter((event) => event.sequence <= (page + 1) * SIZE);
  const size = mine.length < events.length ? SIZE : mine.length && ((mine.at(-1).sequence - 1) % SIZE) + 1;
  const places = new Array(size).fill(null);
  for (const event of mine) places[(event.sequence - 1) % SIZE] = event;
  return places;
}
