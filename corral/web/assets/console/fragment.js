// A link that signs in or invites carries its token behind the #, which browsers never send: it reaches the server in a
// form's body only. A second link in the same window changes only what is behind the #.
const page = document.querySelector("[data-fragment]");

if (page) {
  addEventListener("hashchange", send);
  send();
}

function send() {
  if (location.hash.length < 2) return;
  const form = page.querySelector("[data-fragment-form]");
  form.elements.token.value = decodeURIComponent(location.hash.slice(1));
  history.replaceState(null, "", location.pathname);
  for (const says of page.querySelectorAll("[data-say]")) says.hidden = says.dataset.say !== "working";
  form.requestSubmit();
}
