// A form whose answer is no page of ours, or never comes, says so; the page and what was typed stay as they are. So they do
// when what the page shows is gone.
const toast = document.querySelector("#failure");

document.addEventListener("htmx:after:request", ({ detail: { ctx } }) => {
  const { status } = ctx.response;
  if (status < 400) return isForm(ctx) && hide();
  const answer = new DOMParser().parseFromString(ctx.text ?? "", "text/html");
  if (status < 500 && ctx.select && answer.querySelector(ctx.select)) return; // it says itself what is wrong
  ctx.swap = "none";
  if (status === 401) return;
  const told = answer.querySelector("[data-message]")?.textContent || `The server answered ${status}`;
  if (isForm(ctx)) say(told);
  else if (status === 403 || status === 404) say(`${told}. This page shows what was here last.`);
});
document.addEventListener("htmx:error", ({ detail: { ctx } }) => {
  if (ctx && isForm(ctx)) say("The server does not answer. This page keeps what you wrote: try again.");
});
// A page's own refusal stands at its top, which may be far from the button.
document.addEventListener("htmx:after:swap", ({ detail: { ctx } }) => {
  if (ctx.request.method === "POST" && ctx.response.status >= 400) document.querySelector("#problem")?.scrollIntoView({ block: "nearest" });
});
document.addEventListener("click", ({ target }) => target.closest("[data-dismiss]") && hide());

function isForm({ sourceElement }) {
  return sourceElement.matches("form");
}

// As a popover it stands above dialogs as well.
function say(text) {
  toast.querySelector("p").textContent = text;
  if (!toast.matches(":popover-open")) toast.showPopover();
}

function hide() {
  if (toast.matches(":popover-open")) toast.hidePopover();
}
