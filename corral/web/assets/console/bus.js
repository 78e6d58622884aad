// A page with data-watch refreshes its regions when that stream says something; the clock of the page stays behind it.
const SOON_MS = 150;
const AGAIN_MS = 5000;
const watched = document.querySelector("[data-watch]")?.dataset.watch;
let source = null;
let soon = 0;

if (watched) {
  open();
  document.addEventListener("visibilitychange", () => (document.visibilityState === "visible" ? open() : close()));
  addEventListener("pagehide", close);
}

// Browsers allow six connections a server, so tabs that nobody sees have none.
function open() {
  if (source) return;
  source = new EventSource(watched);
  source.onmessage = () => {
    clearTimeout(soon);
    soon = setTimeout(() => document.body.dispatchEvent(new CustomEvent("refresh")), SOON_MS);
  };
  source.onerror = () => {
    close();
    setTimeout(() => document.visibilityState === "visible" && open(), AGAIN_MS);
  };
}

function close() {
  source?.close();
  source = null;
}
