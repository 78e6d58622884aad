// Buttons that open and close a dialog; a click beside one closes it, and so does its form once it has done its work.
document.addEventListener("click", (event) => {
  const opener = event.target.closest("[data-dialog]");
  if (opener) return document.getElementById(opener.dataset.dialog).showModal();
  if (event.target.closest("[data-close]")) return event.target.closest("dialog").close();
  if (event.target.nodeName !== "DIALOG") return;
  const box = event.target.getBoundingClientRect();
  const inside =
    event.clientX >= box.left && event.clientX <= box.right && event.clientY >= box.top && event.clientY <= box.bottom;
  if (!inside) event.target.close();
});

document.addEventListener("htmx:after:request", ({ detail: { ctx } }) => {
  if (ctx.response.status < 400) ctx.sourceElement.closest("dialog")?.close();
});
