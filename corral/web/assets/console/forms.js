// What forms do beyond HTML: send with ⌘↵, send once, filter at once, and ask for a reason before denying.
document.addEventListener("keydown", (event) => {
  if (event.key !== "Enter" || event.isComposing) return;
  const field = event.target;
  if (field.matches("[data-submit]") && (event.metaKey || event.ctrlKey)) {
    event.preventDefault();
    field.form.requestSubmit();
  }
  // Enter in the reason means deny; left to itself, a form presses its first button, which allows.
  const denial = field.closest("[data-denial]");
  if (denial) {
    event.preventDefault();
    field.form.requestSubmit(denial.querySelector("button[value=deny]"));
  }
});

document.addEventListener("submit", (event) => {
  if (!event.target.matches("[data-once]")) return;
  // After this turn, so that the pressed button is still part of what is sent.
  setTimeout(() => event.target.querySelectorAll("button[type=submit]").forEach((button) => (button.disabled = true)));
});

addEventListener("pageshow", () => {
  for (const button of document.querySelectorAll("form[data-once] button[type=submit]")) button.disabled = false;
});

document.addEventListener("click", (event) => {
  const button = event.target.closest("[data-reveal]");
  if (!button) return;
  const revealed = document.getElementById(button.dataset.reveal);
  revealed.hidden = !revealed.hidden;
  button.setAttribute("aria-expanded", String(!revealed.hidden));
  revealed.querySelector("input")?.focus();
});

// A form of filters is sent as soon as one is chosen (a year that is being typed is none yet); the address names only what
// was chosen, and after a step back the fields say what it names.
document.addEventListener("change", ({ target: { form } }) => {
  if (form?.matches("[data-auto]") && form.checkValidity()) form.requestSubmit();
});
addEventListener("pageshow", () => document.querySelectorAll("form[data-auto]").forEach((form) => form.reset()));
document.addEventListener("formdata", ({ target, formData }) => {
  if (!target.matches("[data-auto]")) return;
  for (const [name, value] of [...formData]) if (!value) formData.delete(name);
});

// What was written and taken leaves its box; what was added meanwhile stays.
document.addEventListener("htmx:after:request", ({ detail: { ctx }, target }) => {
  if (!target.matches?.("[data-composer]") || ctx.response.status >= 400) return;
  const field = target.elements.text;
  const sent = ctx.request.body.get("text");
  if (!field.value.startsWith(sent)) return;
  const added = field.value.slice(sent.length).trimStart();
  target.reset();
  if (!added) return;
  field.value = added;
  field.dispatchEvent(new Event("input", { bubbles: true }));
});

// Days begin at the midnight of whoever asks, unless they say otherwise.
for (const field of document.querySelectorAll("[data-zone]")) {
  field.value = Intl.DateTimeFormat().resolvedOptions().timeZone || field.value;
}
