// The theme is a cookie, so that the server renders it and no page ever flashes in the other one.
const YEAR = 31536000;

document.addEventListener("click", (event) => {
  const button = event.target.closest("[data-theme-choice]");
  if (!button) return;
  const choice = button.dataset.themeChoice;
  if (choice === "auto") delete document.documentElement.dataset.theme;
  else document.documentElement.dataset.theme = choice;
  document.cookie = `corral_theme=${choice}; path=/app; max-age=${choice === "auto" ? 0 : YEAR}; samesite=lax`;
  for (const other of document.querySelectorAll("[data-theme-choice]")) {
    other.setAttribute("aria-pressed", String(other === button));
  }
});
