// Keys press what carries them: an element with data-key="c" is clicked (or, if one types there, focused) by c.
const SEQUENCE_MS = 1200;
let started = "";
let startedAt = 0;
let answered = ""; // the card that a key answered last

document.addEventListener("keydown", (event) => {
  if (event.defaultPrevented || event.metaKey || event.ctrlKey || event.altKey || event.isComposing) return;
  if (event.key === "Escape" && isTyping(event.target)) return event.target.blur();
  if (isTyping(event.target) || document.querySelector("dialog[open]")) return;
  const key = sequence(event.key);
  if (key === "j" || key === "k") return move(event, key === "j" ? 1 : -1);
  const target = find(key);
  if (!target || event.repeat) return;
  event.preventDefault();
  if (isTyping(target) || target.matches(".chip, [data-row]")) target.focus();
  else {
    answered = target.closest("[data-row]")?.id ?? answered;
    target.click();
  }
});

function isTyping(element) {
  return element.matches?.("textarea, select, input:not([type=radio], [type=checkbox], [type=submit])");
}

// `g` waits for a second key; any other key stands for itself.
function sequence(key) {
  const whole = started && performance.now() - startedAt < SEQUENCE_MS ? `${started} ${key}` : key;
  started = whole === "g" ? "g" : "";
  startedAt = performance.now();
  return whole;
}

// The card that has the focus is the one that is answered. Where there are several, or were before a key answered one,
// and none has it, the first one takes it, so that no key pressed once too often answers a card that nobody has read.
function find(key) {
  const usable = (element) => element?.checkVisibility() && !element.disabled;
  const selector = `[data-key="${CSS.escape(key)}"]`;
  const found = [...document.querySelectorAll(selector)];
  const card = document.activeElement?.closest("[data-row]");
  const near = card?.querySelector(selector);
  if (near) return usable(near) ? near : null;
  const [first, ...others] = found.filter(usable);
  const row = first?.closest("[data-row]");
  const isAnother = answered !== "" && row?.id !== answered;
  return row && (isAnother || others.some((other) => other.closest("[data-row]"))) ? row : first;
}

function move(event, step) {
  const rows = [...document.querySelectorAll("a.row, [data-row]")];
  if (!rows.length) return;
  event.preventDefault();
  const at = rows.findIndex((row) => row.contains(document.activeElement));
  const next = rows[at < 0 ? (step > 0 ? 0 : rows.length - 1) : Math.min(rows.length - 1, Math.max(0, at + step))];
  next.focus();
  next.scrollIntoView({ block: "nearest" });
}
