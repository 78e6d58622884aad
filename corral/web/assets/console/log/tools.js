// A tool call as a folded line with its result: what was called on, what it changed, what came back.
import { el } from "../dom.js";

const MAIN = ["command", "file_path", "notebook_path", "pattern", "path", "url", "query", "description", "subject", "prompt", "skill"];
// Corral's own tools, and what says most about a call of one (wire/words.py says it the same way).
const OURS = "mcp__corral__";
const OWN = { delegate_task: ["to", "title"], check_task: ["id"], send_message: ["to", "text"], ask_human: ["question"], report_progress: ["text"] };
const LINE = 160; // characters of an argument that stand in its line
const LONGEST = 20000; // characters of an output that are drawn before somebody asks for all

// A tool's name as people read it.
export function bare(name) {
  return (name ?? "tool").replace(OURS, "");
}

// What the call is about, on one line.
export function argument(name, input, cwd) {
  const value = said(name, input)
    .map((key) => input[key].trim())
    .join(": ");
  const line = value.split("\n", 1)[0];
  const short = cwd && line.startsWith(`${cwd}/`) ? line.slice(cwd.length + 1) : line;
  return isWhole(value) ? short : `${short.slice(0, LINE)} …`;
}

// The arguments that stand in the call's line.
function said(name, input) {
  const own = OWN[bare(name)];
  const telling = (own ?? MAIN).filter((key) => typeof input?.[key] === "string" && input[key]);
  return own ? telling : telling.slice(0, 1);
}

function isWhole(value) {
  return value.length <= LINE && !value.includes("\n");
}

// Lines added and removed by an edit: [[sign, text], …], or null where the tool is no edit.
export function changes(name, input) {
  if (name === "Write" && typeof input.content === "string") return lines(input.content).map((line) => ["+", line]);
  const edits = name === "Edit" ? [input] : name === "MultiEdit" ? (input.edits ?? []) : null;
  if (!edits?.every((edit) => typeof edit.old_string === "string" && typeof edit.new_string === "string")) return null;
  return edits.flatMap((edit) => difference(lines(edit.old_string), lines(edit.new_string)));
}

export function body(call, result) {
  const { name, input = {} } = call.payload;
  const parts = [];
  const changed = changes(name, input);
  if (changed) parts.push(diff(changed));
  else if (Array.isArray(input.todos)) parts.push(todos(input.todos));
  else if (name === "Bash") parts.push(el("pre", {}, input.command ?? ""));
  else {
    const whole = said(name, input).filter((key) => isWhole(input[key].trim()));
    const rest = Object.entries(input).filter(([key]) => !whole.includes(key));
    if (rest.length) parts.push(el("pre", {}, rest.map(([key, value]) => `${key}: ${plain(value)}`).join("\n")));
  }
  if (result) parts.push(output(result));
  return parts;
}

export function output(result) {
  const text = plain(result.payload.output).replace(/\s+$/, "");
  const failed = result.payload.is_error ? " failed" : "";
  const pre = el("pre", { class: `out${failed}`, tabindex: "0", "aria-label": failed ? "What failed" : "Result" });
  if (text.length <= LONGEST) {
    pre.append(text || "(no output)");
    return pre;
  }
  pre.append(text.slice(0, LONGEST));
  const more = el("button", { type: "button", class: "quiet" }, `Show all ${text.length.toLocaleString("en-US")} characters`);
  more.addEventListener("click", () => {
    pre.textContent = text;
    more.remove();
  });
  return el("div", {}, pre, more);
}

// A value of any shape as text: strings as they are, content blocks by their text, the rest as JSON.
export function plain(value) {
  if (typeof value === "string") return value;
  if (value === null || value === undefined) return "";
  if (Array.isArray(value) && value.every((block) => block && typeof block === "object" && "type" in block)) {
    return value.map((block) => (typeof block.text === "string" ? block.text : `[${block.type}]`)).join("\n");
  }
  return JSON.stringify(value, null, 2);
}

function diff(changed) {
  const classes = { "+": "add", "-": "del", " ": "faint" };
  return el("pre", {}, ...changed.map(([sign, text]) => el("span", { class: classes[sign] }, `${sign}${text}\n`)));
}

function todos(items) {
  const marks = { completed: "✓", in_progress: "▸", pending: "·" };
  return el("pre", {}, items.map((item) => `${marks[item.status] ?? "·"} ${item.content}`).join("\n"));
}

// Equal lines at both ends are context, of which two are kept; what lies between was replaced.
function difference(before, after) {
  let head = 0;
  while (head < before.length && head < after.length && before[head] === after[head]) head += 1;
  let tail = 0;
  while (tail < Math.min(before.length, after.length) - head && before.at(-1 - tail) === after.at(-1 - tail)) tail += 1;
  const same = (line) => [" ", line];
  return [
    ...before.slice(Math.max(0, head - 2), head).map(same),
    ...before.slice(head, before.length - tail).map((line) => ["-", line]),
    ...after.slice(head, after.length - tail).map((line) => ["+", line]),
    ...before.slice(before.length - tail, before.length - tail + 2).map(same),
  ];
}

function lines(text) {
  return text.replace(/\n$/, "").split("\n");
}
