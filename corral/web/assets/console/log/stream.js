// One event stream that comes back: it goes on from the cursor after every cut, and says which state it is in.
const FIRST_WAIT_MS = 400;
const LONGEST_WAIT_MS = 5000;
const HIDDEN_MS = 60000; // browsers allow six connections a server; tabs that nobody sees give theirs back

export class Stream {
  // on: {event(event), token(frame), state("live" | "reconnecting" | "ended"), isOver()}
  constructor(runId, cursor, on) {
    this.runId = runId;
    this.cursor = cursor;
    this.on = on;
    this.wait = FIRST_WAIT_MS;
    document.addEventListener("visibilitychange", () => this.rest());
    addEventListener("online", () => this.timer && this.open());
    addEventListener("pagehide", () => this.close());
  }

  open() {
    this.close();
    this.source = new EventSource(`/api/runs/${this.runId}/events/stream?last_event_id=${this.cursor()}`);
    this.source.onopen = () => {
      this.wait = FIRST_WAIT_MS;
      this.on.state("live");
    };
    this.source.onmessage = ({ data }) => this.take(JSON.parse(data));
    this.source.onerror = () => this.again();
  }

  take(event) {
    if (event.event_type === "agent.token") this.on.token(event.payload);
    else this.on.event(event);
  }

  // The browser would reconnect by itself, but not after an HTTP error, and never saying so.
  again() {
    this.close();
    if (this.on.isOver()) return this.on.state("ended");
    this.on.state("reconnecting");
    this.timer = setTimeout(() => this.open(), this.wait * (0.75 + Math.random() / 2));
    this.wait = Math.min(LONGEST_WAIT_MS, this.wait * 2);
  }

  rest() {
    clearTimeout(this.hidden);
    if (document.visibilityState === "hidden") this.hidden = setTimeout(() => this.close(), HIDDEN_MS);
    else if (!this.source && !this.timer && !this.on.isOver()) this.open();
  }

  get isOpen() {
    return Boolean(this.source || this.timer);
  }

  close() {
    clearTimeout(this.timer);
    this.timer = 0;
    this.source?.close();
    this.source = null;
  }
}
