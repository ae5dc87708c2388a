"use strict";
// Pages work without this script: it says which images are gone, shows where a slider stands, and
// gives the judge's questions keys.
(() => {
  // an image that is not there leaves a frame that says so (errors do not bubble: captured)
  const lost = (image) => {
    if (image.matches && image.matches("img[data-image]")) image.parentElement.classList.add("lost");
  };
  document.addEventListener("error", (event) => lost(event.target), true);
  const sweep = (root) => {
    for (const image of root.querySelectorAll("img[data-image]")) {
      if (image.complete && image.naturalWidth === 0 && image.loading !== "lazy") lost(image);
    }
  };
  sweep(document);
  document.addEventListener("htmx:load", (event) => sweep(event.target));

  document.addEventListener("input", (event) => {
    const form = event.target.closest(".scores");
    if (!form || event.target.type !== "range") return;
    event.target.nextElementSibling.textContent = Number(event.target.value).toFixed(3);
    const [low, high] = ["low", "high"].map((name) => Number(form.elements[name].value));
    const svg = form.querySelector("svg");
    const bars = svg.querySelectorAll(".bar");
    const from = Number(svg.dataset.low);
    const width = (Number(svg.dataset.high) - from) / bars.length;
    bars.forEach((bar, i) => {
      const inside = from + (i + 1) * width >= low && from + i * width <= high;
      bar.classList.toggle("out", !inside);
    });
  });

  // y, n, u and z answer the question on screen
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || event.target.closest("input, select, textarea")) return;
    const button = document.querySelector(`#question [data-key="${CSS.escape(event.key.toLowerCase())}"]`);
    if (!button || document.querySelector("#question .htmx-request")) return;
    event.preventDefault();
    button.click();
  });

  // what a server says instead of a part of the page is shown where the part would be
  document.addEventListener("htmx:beforeSwap", (event) => {
    if (event.detail.xhr.status >= 400 && event.detail.xhr.responseText) event.detail.shouldSwap = true;
  });
  document.addEventListener("htmx:sendError", () => {
    const box = document.getElementById("main");
    if (!box || box.querySelector(".fault.offline")) return;
    const line = document.createElement("p");
    line.className = "fault offline";
    line.setAttribute("role", "alert");
    line.textContent = "The server does not answer: it was stopped. Start it again and reload.";
    box.prepend(line);
  });
})();
