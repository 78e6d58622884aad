// The little Markdown agents write, as elements: paragraphs, headings, lists, fences, code, bold, links.
import { el } from "../dom.js";

const INLINE = /`([^`\n]+)`|\*\*([^*\n]+)\*\*|\[([^\]\n]+)\]\((https?:\/\/[^\s)]+)\)|(https?:\/\/[^\s<>")\]]*[^\s<>")\].,;:!?])/g;

export function prose(text) {
  const blocks = [];
  const parts = text.replaceAll("\r\n", "\n").split(/^(```[^\n]*\n[\s\S]*?(?:^```[^\S\n]*$|$(?![\s\S])))/m);
  for (const part of parts) {
    if (part.startsWith("```")) blocks.push(el("pre", {}, part.replace(/^```[^\n]*\n/, "").replace(/\n?```\s*$/, "")));
    else for (const block of part.split(/\n{2,}/)) if (block.trim()) blocks.push(...paragraph(block.replace(/^\n+|\n+$/g, "")));
  }
  return blocks;
}

function paragraph(block) {
  const heading = block.match(/^(#{1,6}) ([^\n]*)(?:\n([\s\S]*))?$/);
  if (heading) return [el("h3", {}, ...inline(heading[2])), ...(heading[3] ? paragraph(heading[3]) : [])];
  const lines = block.split("\n");
  const first = lines.findIndex((line) => /^\s*([-*]|\d+\.) /.test(line));
  if (first < 0) return [el("p", {}, ...inline(block))];
  const before = lines.slice(0, first);
  const items = [];
  for (const line of lines.slice(first)) {
    if (/^\s*([-*]|\d+\.) /.test(line)) items.push(line.replace(/^\s*([-*]|\d+\.) /, ""));
    else items[items.length - 1] += `\n${line.trim()}`;
  }
  const list = el(/^\s*\d/.test(lines[first]) ? "ol" : "ul", {}, ...items.map((item) => el("li", {}, ...inline(item))));
  return before.length ? [el("p", {}, ...inline(before.join("\n"))), list] : [list];
}

function inline(text) {
  const nodes = [];
  let end = 0;
  for (const match of text.matchAll(INLINE)) {
    const [whole, code, bold, label, address, bare] = match;
    nodes.push(text.slice(end, match.index));
    if (code) nodes.push(el("code", {}, code));
    else if (bold) nodes.push(el("b", {}, bold));
    else nodes.push(el("a", { href: address ?? bare, rel: "noreferrer noopener", target: "_blank", class: "link" }, label ?? bare));
    end = match.index + whole.length;
  }
  nodes.push(text.slice(end));
  return nodes.filter(Boolean);
}
