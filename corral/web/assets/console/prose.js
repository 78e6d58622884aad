// Texts of an agent that the server wrote into the page (a plan, say) as the little Markdown they are.
import { prose } from "./log/text.js";

function draw() {
  for (const place of document.querySelectorAll("[data-prose]:not([data-drawn])")) {
    place.replaceChildren(...prose(place.textContent));
    place.dataset.drawn = "";
  }
}

draw();
document.addEventListener("htmx:after:swap", draw);
