// The directory field suggests what the chosen runner allows.
const runner = document.querySelector("select[name=runner]");
const suggestions = document.querySelector("#dirs");

if (runner && suggestions?.nodeName === "DATALIST") {
  const cwd = document.querySelector("input[name=cwd]");
  const every = [...suggestions.options].map((option) => option.value);
  runner.addEventListener("change", () => {
    const own = runner.selectedOptions[0].dataset.dirs;
    const dirs = own ? JSON.parse(own) : every;
    suggestions.replaceChildren(...dirs.map((dir) => new Option(dir, dir)));
    // A suggestion that was only a suggestion gives way; what somebody typed stays.
    if (every.includes(cwd.value) && !dirs.includes(cwd.value)) cwd.value = dirs[0] ?? "";
  });
}
