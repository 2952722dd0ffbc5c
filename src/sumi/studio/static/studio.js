// Gradio lays out the page; this fills it, once it is there.

import { get } from "./api.js";
import { addColour, focusPrompt, onEnter, prompt, wish, write } from "./controls.js";
import { drawn, h, notice } from "./dom.js";
import { startFeed } from "./feed.js";
import { startGallery } from "./gallery.js";
import { startHowItWorks } from "./how_it_works.js";
import { on, submit, unfinishedJobs, watch } from "./jobs.js";

const PARTS = ["#prompt textarea", "#draw", "#examples button:last-child", "#n input", "#seed :is(input, textarea)", "#background input", "#colour", "#queue", "#feed"];
const NARROW = "(max-width: 900px)";

function masthead(place) {
  const state = h("p", { className: "state", "aria-live": "polite" });
  const model = h("span", {});
  place.replaceChildren(
    h("a", { href: "./", className: "brand" }, h("img", { src: "own/seal.svg", alt: "", width: 40, height: 40 }), h("span", {}, "Sumi")),
    h("p", { className: "motto" }, "Words in, pictures out. ", model), state);
  const show = () => (state.textContent = unfinishedJobs().length ? `${unfinishedJobs().length} being drawn` : "");
  on("job", show);
  on("connection", (isThere) => {
    document.body.toggleAttribute("data-offline", !isThere);
    if (isThere) show();
    else state.textContent = "The server is away. Nothing is lost; waiting for it …";
  });
  get("/v1/models").then(({ data }) => (model.textContent = `Drawn here, by ${data[0].id}.`), () => {});
}

async function draw() {
  if (!prompt()) {
    notice("Say first what should be drawn.");
    return focusPrompt();
  }
  const button = document.getElementById("draw");
  button.setAttribute("aria-busy", "true");
  try {
    await submit(wish());
    notice("");
  } catch (error) {
    notice(error instanceof TypeError ? "The server does not answer. Try again in a moment." : error.message, "error");
  } finally {
    button.removeAttribute("aria-busy");
  }
}

function examples(place) {
  for (const button of place.querySelectorAll("button")) {
    button.addEventListener("click", () => {
      write("prompt", button.textContent.trim());
      draw();
    });
  }
}

async function start() {
  drawn("#gallery").then(startGallery);
  drawn("#how-it-works").then(startHowItWorks);
  masthead(await drawn("#masthead"));
  for (const part of PARTS) await drawn(part);
  const settings = document.getElementById("settings");
  settings.before(h("p", { id: "notice", role: "status" }));
  examples(document.getElementById("examples"));
  addColour(document.getElementById("colour"));
  onEnter(draw);
  document.getElementById("draw").addEventListener("click", draw);
  startFeed(document.getElementById("feed"), document.getElementById("queue"));
  if (matchMedia(NARROW).matches) settings.querySelector("button").click();
  document.body.dataset.ready = "yes";
  watch();
}

start();
