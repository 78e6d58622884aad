// A field that refers to secrets as ${NAME} says which of them nobody has stored, while it is written.
const REFERENCE = /\$\{([A-Z][A-Z0-9_]*)\}/g;

function tell(field) {
  const known = new Set(field.form.dataset.known.split(" "));
  const names = new Set([...field.value.matchAll(REFERENCE)].map((found) => found[1]));
  const lacking = [...names].filter((name) => !known.has(name));
  const said = lacking.length ? `Nobody has stored ${lacking.join(", ")} yet: runs will wait for it.` : "";
  const hint = field.parentElement.querySelector("[data-lacking]");
  if (hint.textContent !== said) hint.textContent = said;
}

document.querySelectorAll("[data-references]").forEach(tell);
document.addEventListener("input", ({ target }) => target.matches("[data-references]") && tell(target));
