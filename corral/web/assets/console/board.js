// Cards of the board move by drag and drop, by the keyboard and by a menu: all three send the one form of #move-dialog.
// Who may not move them has no such form, and the arrow keys only.
const dialog = document.querySelector("#move-dialog");
let held = null; // the card that has to have the focus again once the board has been merged

if (dialog) {
  dialog.querySelector("form").addEventListener("submit", () => dialog.close());

  document.addEventListener("click", ({ target }) => {
    const button = target.closest("[data-move]");
    if (!button) return;
    choose(button.closest("[data-card]"));
    dialog.showModal();
  });

  // --- with the pointer

  document.addEventListener("dragstart", (event) => {
    const card = event.target.closest?.("[data-card]");
    if (!card) return;
    card.dataset.dragging = "";
    event.dataTransfer.effectAllowed = "move";
    event.dataTransfer.setData("text/plain", card.dataset.card);
  });
  document.addEventListener("dragover", (event) => {
    const column = dragging() && event.target.closest("[data-column]");
    over(column);
    if (column) event.preventDefault();
  });
  document.addEventListener("drop", (event) => {
    const column = event.target.closest("[data-column]");
    const card = dragging();
    if (!column || !card) return;
    event.preventDefault();
    done();
    move(card, column.dataset.column);
  });
  document.addEventListener("dragend", done);

  document.addEventListener("htmx:after:swap", () => {
    if (held && document.activeElement === document.body) document.getElementById(held)?.focus();
  });
}

document.addEventListener("keydown", (event) => {
  const card = event.target.closest?.("[data-card]");
  if (!card || event.metaKey || event.ctrlKey || event.altKey) return;
  if (event.key === "Enter" && event.target === card) return card.querySelector("[data-open]").click();
  const step = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
  const along = { ArrowUp: -1, ArrowDown: 1 }[event.key];
  if (!step && !along) return;
  event.preventDefault();
  const columns = [...document.querySelectorAll("[data-column]")];
  const at = columns.indexOf(card.closest("[data-column]"));
  const cards = [...columns[at].querySelectorAll("[data-card]")];
  if (along) return cards[cards.indexOf(card) + along]?.focus();
  if (event.shiftKey) return dialog && columns[at + step] && move(card, beyond(columns, at, step));
  for (let next = at + step; columns[next]; next += step) {
    const found = columns[next].querySelectorAll("[data-card]");
    if (found.length) return found[Math.min(cards.indexOf(card), found.length - 1)].focus();
  }
});

function choose(card) {
  const form = dialog.querySelector("form");
  const button = card.querySelector("[data-move]");
  form.elements.task.value = button.dataset.move;
  form.querySelector("[data-move-title]").textContent = button.dataset.title;
  for (const choice of form.querySelectorAll("button[name=status]")) choice.disabled = choice.value === button.dataset.state;
  held = card.id;
}

function move(card, state) {
  choose(card);
  const choice = dialog.querySelector(`button[name=status][value="${state}"]`);
  if (choice && !choice.disabled) choice.form.requestSubmit(choice);
}

// Nobody puts a task into waiting: the keyboard steps over that column.
function beyond(columns, at, step) {
  const next = columns[at + step];
  return (next.dataset.column === "waiting" ? columns[at + 2 * step] : next).dataset.column;
}

function dragging() {
  return document.querySelector("[data-dragging]");
}

function over(column) {
  for (const other of document.querySelectorAll("[data-over]")) if (other !== column) delete other.dataset.over;
  if (column) column.dataset.over = "";
}

function done() {
  over(null);
  const card = dragging();
  if (card) delete card.dataset.dragging;
}
