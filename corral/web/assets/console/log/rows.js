// One event as a row of the log; null for what shows elsewhere (a result stands in its call).
import { el } from "../dom.js";
import { duration } from "../words.js";
import { person } from "./people.js";
import { prose } from "./text.js";
import { argument, bare, body, changes, output } from "./tools.js";

const clock = new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit", second: "2-digit" });
const moment = new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "medium" });

// context: {store, cwd, me: the id of whoever looks, opened: Map of sequence → whether somebody opened or closed it}
export function row(event, context) {
  const draw = DRAW[event.event_type] ?? unknown;
  return draw(event, event.payload ?? {}, context);
}

const DRAW = {
  "run.created": (event, { task }) => said(event, "Prompt", task ?? ""),
  "user.message": (event, { text, by }, { me }) => said(event, person(by, me), text ?? ""),
  "run.started": (event, { runner, pid }) => system(event, `started${runner ? ` on ${runner}` : ""}${pid ? ` · pid ${pid}` : ""}`),
  "session.init": (event, { cli_version: version, model, permission_mode: mode }) =>
    system(event, ["session started", version && `Claude Code ${version}`, model, mode].filter(Boolean).join(" · ")),
  "session.interrupted": (event, { message }) => trouble(event, message ?? "interrupted; queued again"),
  "session.retry": (event, { message, delay_seconds: wait }) =>
    attention(event, `${message ?? "The model's API asked for patience"}${wait ? `; again in ${Math.round(wait)} s` : ""}`),
  "session.compacted": (event, { message }) => system(event, message ?? "older parts were summed up"),
  "session.unreachable": (event, { message }) => attention(event, message ?? "The runner is out of reach"),
  "session.reachable": (event, { message }) => system(event, message ?? "The runner is back"),
  "run.paused": (event, { message: text, hint, by }, { me }) =>
    attention(event, text ?? "paused", ...(by && by !== "corral" ? [" (", person(by, me), ")"] : []), hint ? ` — ${hint}` : ""),
  "run.result": (event, result) => system(event, outcome(result)),
  "run.completed": (event) => system(event, "completed"),
  "run.failed": (event, { message, code, hint }) => trouble(event, [message ?? code ?? "failed", hint].filter(Boolean).join(" — ")),
  "run.cancelled": (event, { message, by }, { me }) =>
    trouble(event, message ?? "cancelled", ...(by ? [" (", person(by, me), ")"] : [])),
  "session.waiting": (event, { text }, { who }) => (text ? message(event, { text }, who) : system(event, "waits for what it has asked for")),
  "bus.delegated": (event, { task_id: id, name, title }) => linked(event, "system", `handed to ${name ?? "another agent"}: `, title, id),
  "bus.result": (event, { task_id: id, from, title, status, text }) => linked(event, status === "done" ? "" : "trouble", `${from ?? "?"} ${status === "done" ? "is done with" : "failed at"} `, title, id, text),
  "bus.progress": (event, { task_id: id, from, text }) => linked(event, "system", `${from ?? "?"} reports: `, text, id),
  "bus.message": (event, { text, type }) => said(event, type === "answer" ? "Answer" : "Message", text ?? ""),
  "log.let_go": (event, { message: text }) => system(event, text ?? "what stood here was let go"),
  "bus.refused": (event, { message: text, tool }) => trouble(event, `${tool ?? "a tool"} was refused: ${text ?? ""}`),
  "agent.message": (event, payload, { who }) => message(event, payload, who),
  // Of a log that was let go these are empty.
  "agent.thinking": (event, payload, context) => (payload.text === undefined ? null : thinking(event, payload, context)),
  "agent.tool_call": (event, payload, context) => (payload.name ? call(event, payload, context) : null),
  "agent.tool_result": (event, payload, context) => result(event, payload, context),
  "agent.needs_attention": (event, { message: text }) => attention(event, plainly(text ?? "needs you")),
  "agent.subagent_start": (event, { name, description }) => system(event, `subagent ${name ?? ""} started: ${description ?? ""}`, "nested"),
  "agent.subagent_stop": (event, { name, status }) => system(event, `subagent ${name ?? ""} ${status ?? "ended"}`, "nested"),
  "permission.requested": (event, { description, tool }, { store }) =>
    // Engines announce it themselves on the line before.
    store.get(event.sequence - 1)?.event_type === "agent.needs_attention" ? null : attention(event, `asks a person: ${description || tool}`),
  "permission.resolved": (event, { decision, reason, by }, { me }) =>
    system(event, [decision === "allow" ? "allowed" : "denied", ...(by ? [" by ", person(by, me, "you")] : []), reason ? `: ${reason}` : ""]),
  "permission.withdrawn": (event) => system(event, "no longer asks"),
};

export function streaming(kind, text, who) {
  const name = kind === "thinking" ? el("span", { class: "who faint" }, "thinking") : el("span", { class: "who" }, who);
  return el("div", { class: "ev streaming" }, el("span", { class: "seq" }, "·"), el("div", { class: "text prose" }, el("p", {}, name, text)));
}

function frame(event, kind, text, aside = "") {
  const nested = event.payload?.parent_tool_use_id ? " nested" : "";
  const when = Date.parse(event.created_at);
  return el(
    "div",
    { class: `ev ${kind}${nested}`, id: `e${event.sequence}` },
    el("a", { class: "seq", href: `#e${event.sequence}`, title: moment.format(when), "aria-label": `Line ${event.sequence}` }, String(event.sequence)),
    text,
    el("span", { class: "dur" }, aside),
  );
}

function words(...children) {
  return el("div", { class: "text prose" }, ...children);
}

// What a person wrote stands as it was written.
function said(event, who, text) {
  const blocks = [el("p", {}, text)];
  named(blocks, who);
  return frame(event, "user", words(...blocks), clock.format(Date.parse(event.created_at)));
}

function message(event, { text, parent_tool_use_id: parent }, who) {
  const blocks = prose(text ?? "");
  named(blocks, parent ? "Subagent" : who);
  return frame(event, "", words(...blocks));
}

function named(blocks, who) {
  const name = el("span", { class: "who" }, who);
  if (blocks[0]?.nodeName === "P") blocks[0].prepend(name);
  else blocks.unshift(el("p", {}, name));
}

function system(event, text, kind = "") {
  return frame(event, `system ${kind}`, words(...[text].flat()));
}

function trouble(event, ...text) {
  return frame(event, "trouble", words(...text), clock.format(Date.parse(event.created_at)));
}

function attention(event, ...text) {
  return frame(event, "attention", words(...text), clock.format(Date.parse(event.created_at)));
}

// Plans and questions are tools too, but of no name that says anything to a person; a plan stands in its card.
function plainly(text) {
  return text.replace(/ asks: ExitPlanMode[^]*/, " has a plan and would like to begin").replace(" asks: AskUserQuestion ", " asks: ");
}

// What happened to a task that the run handed on, with the way there.
function linked(event, kind, before, label, id, text = "") {
  const link = el("a", { class: "link", href: `/app/tasks/${encodeURIComponent(id ?? "")}` }, label || "a task");
  return frame(event, kind, words(el("p", {}, before, link), ...prose(text)), clock.format(Date.parse(event.created_at)));
}

function unknown(event, payload) {
  return system(event, `${event.event_type} ${Object.keys(payload).length ? JSON.stringify(payload) : ""}`);
}

function thinking(event, { text = "" }, context) {
  const summary = el("summary", {}, "thinking");
  const fold = folded(event, summary, false, context, () => [el("div", {}, text)]);
  fold.classList.add("thinking");
  return frame(event, "", words(fold));
}

function call(event, { name, input = {}, tool_use_id: id }, context) {
  const answer = context.store.results.get(id);
  const failed = Boolean(answer?.payload.is_error);
  const changed = changes(name, input);
  const summary = el("summary", {}, el("b", {}, bare(name)), ` ${argument(name, input, context.cwd)}`);
  if (changed) summary.append(...counts(changed));
  if (failed) summary.append(el("span", { class: "del" }, " failed"));
  const fold = folded(event, summary, failed, context, () => body(event, answer));
  const took = answer ? duration(Date.parse(answer.created_at) - Date.parse(event.created_at)) : "…";
  return frame(event, "tool", words(fold), took);
}

// A result stands in its call. Where the call is far above and not loaded, it stands alone.
function result(event, { tool_use_id: id, name, is_error: failed }, context) {
  if (context.store.calls.has(id)) return null;
  const summary = el("summary", {}, el("b", {}, bare(name)), failed ? el("span", { class: "del" }, " failed") : " result");
  return frame(event, "tool", words(folded(event, summary, failed, context, () => [output(event)])));
}

// Folded bodies are made when first opened: most never are.
function folded(event, summary, open, context, make) {
  const isOpen = context.opened.get(event.sequence) ?? open;
  const fold = el("details", { open: isOpen }, summary);
  let made = false;
  const fill = () => {
    if (!made) fold.append(...make());
    made = true;
  };
  if (isOpen) fill();
  fold.addEventListener("toggle", () => {
    if (fold.open) fill();
    if (fold.open !== open || context.opened.has(event.sequence)) context.opened.set(event.sequence, fold.open);
  });
  return fold;
}

function counts(changed) {
  const added = changed.filter(([sign]) => sign === "+").length;
  const removed = changed.filter(([sign]) => sign === "-").length;
  return [added ? el("span", { class: "add" }, ` +${added}`) : null, removed ? el("span", { class: "del" }, ` −${removed}`) : null].filter(Boolean);
}

function outcome({ turns, duration_seconds: seconds, cost_usd: cost, is_error: failed }) {
  const parts = [failed ? "the agent ended with an error" : "result"];
  if (turns !== undefined && turns !== null) parts.push(`${turns} ${turns === 1 ? "turn" : "turns"}`);
  if (seconds) parts.push(duration(seconds * 1000));
  if (typeof cost === "number") parts.push(`$${cost.toFixed(3)}`);
  return parts.join(" · ");
}
