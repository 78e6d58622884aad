// What somebody types into a field with data-draft survives a reload, a lost session and a failed request, in this tab.
const PREFIX = "corral.draft.";
const SENT = "corral.sent";

for (const field of document.querySelectorAll("[data-draft]")) {
  field.value ||= sessionStorage.getItem(PREFIX + field.dataset.draft) ?? "";
}
// A form that led away from its page was taken. It was not if that page is here again, or one that stands alone: which
// says what is wrong, or asks who is there.
const sent = sessionStorage.getItem(SENT);
sessionStorage.removeItem(SENT);
if (sent && document.querySelector(".shell") && !document.querySelector(`[data-draft="${CSS.escape(sent)}"]`)) {
  sessionStorage.removeItem(PREFIX + sent);
}

document.addEventListener("input", ({ target }) => {
  if (target.matches("[data-draft]")) sessionStorage.setItem(PREFIX + target.dataset.draft, target.value);
});
document.addEventListener("submit", ({ target }) => {
  const field = !target.matches("[hx-post]") && target.querySelector("[data-draft]");
  if (field) sessionStorage.setItem(SENT, field.dataset.draft);
});
document.addEventListener("reset", ({ target }) => {
  const field = target.querySelector("[data-draft]");
  if (field) sessionStorage.removeItem(PREFIX + field.dataset.draft);
});
