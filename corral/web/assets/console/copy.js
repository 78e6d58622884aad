// Copy buttons. Where the page is not a secure context (plain HTTP in a LAN) the text is selected and copied the old way.
import { announce } from "./dom.js";

document.addEventListener("click", async (event) => {
  const button = event.target.closest("[data-copy]");
  if (!button) return;
  const source = document.getElementById(button.dataset.copy);
  const done = await copy(source);
  button.textContent = done ? "Copied" : "Press ⌘C";
  announce(done ? "Copied" : "Selected; press Control C to copy");
  setTimeout(() => (button.textContent = "Copy"), 2000);
});

async function copy(source) {
  try {
    await navigator.clipboard.writeText(source.textContent);
    return true;
  } catch {
    getSelection().selectAllChildren(source);
    return document.execCommand("copy");
  }
}
