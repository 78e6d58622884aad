// A link that signs in or invites carries its token behind the #, which browsers never send: it reaches the server in a
// form's body only.
const page = document.querySelector("[data-fragment]");

if (page && location.hash.length > 1) {
  const form = page.querySelector("[data-fragment-form]");
  form.elements.token.value = decodeURIComponent(location.hash.slice(1));
  history.replaceState(null, "", location.pathname);
  for (const says of page.querySelectorAll("[data-say]")) says.hidden = says.dataset.say !== "working";
  form.requestSubmit();
}
