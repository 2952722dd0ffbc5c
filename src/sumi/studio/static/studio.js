// Gradio lays out the page; this fills it, once it is there.

import { get } from "./api.js";
import { onOpen } from "./card.js";
import { onConnection, watchConnection } from "./connection.js";
import { addColour, focusPrompt, onEnter, prompt, wish, write } from "./controls.js";
import { drawn, h, notice } from "./dom.js";
import { startFeed } from "./feed.js";
import { startGallery } from "./gallery.js";
import { startHowItWorks } from "./how_it_works.js";
import { on, submit, unfinishedJobs, watch } from "./jobs.js";
import { clearRefusal, showRefusal } from "./refusal.js";
import { addStyles } from "./styles.js";
import { chooser, takeDropped } from "./upload.js";
import { view, viewUpload } from "./viewer.js";

const PARTS = ["#prompt textarea", "#draw", "#examples button:last-child", "#n input", "#seed :is(input, textarea)", "#background input", "#colour", "#style", "#upload", "#queue", "#feed"];
const NARROW = "(max-width: 900px)";

function masthead(place) {
  const state = h("p", { className: "state", "aria-live": "polite" });
  const model = h("span", {});
  place.replaceChildren(
    h("a", { href: "./", className: "brand" }, h("img", { src: "own/seal.svg", alt: "", width: 40, height: 40 }), h("span", {}, "Sumi")),
    h("p", { className: "motto" }, "Words in, pictures out. ", model), state);
  on("job", () => (state.textContent = unfinishedJobs().length ? `${unfinishedJobs().length} being drawn` : ""));
  get("/v1/models").then(({ data: [{ id, operations }] }) => {
    model.textContent = `The model is ${id}.`;
    document.body.dataset.operations = operations.join(" "); // what it cannot do is hidden, in studio.css and the viewer
  }, () => {});
}

// A line above everything while the server does not answer.
function sayWhetherAway() {
  const line = h("p", { id: "away", role: "alert", popover: "manual" });
  document.body.append(line);
  onConnection((isThere) => {
    document.body.toggleAttribute("data-offline", !isThere);
    line.textContent = isThere ? "" : "The server does not answer. Nothing is lost: this page goes on as soon as it is back.";
    if (line.matches(":popover-open") === isThere) isThere ? line.hidePopover() : line.showPopover();
  });
}

async function draw(more = {}) {
  if (!prompt()) {
    notice("Say first what should be drawn.");
    return focusPrompt();
  }
  const said = wish();
  if (!said) return;
  clearRefusal();
  const button = document.getElementById("draw");
  button.setAttribute("aria-busy", "true");
  try {
    await submit({ ...said, ...more });
    notice("");
  } catch (error) {
    if (error.code === "unknown_prompt") showRefusal(error, said.prompt, drawPrompt, () => draw({ anyway: true }));
    else notice(error.message, "error");
  } finally {
    button.removeAttribute("aria-busy");
  }
}

function drawPrompt(text) {
  write("prompt", text);
  draw();
}

function examples(place) {
  for (const button of place.querySelectorAll("button")) {
    button.addEventListener("click", () => drawPrompt(button.textContent.trim()));
  }
}

async function start() {
  drawn("#gallery").then(startGallery);
  drawn("#how-it-works").then(startHowItWorks);
  masthead(await drawn("#masthead"));
  for (const part of PARTS) await drawn(part);
  document.body.append(h("p", { id: "notice", role: "status", popover: "manual" }));
  sayWhetherAway();
  onOpen(view);
  const settings = document.getElementById("settings");
  addStyles(document.getElementById("style"));
  document.getElementById("upload").replaceChildren(h("p", {}, "Or start from a picture of your own: ", chooser("Choose a file", viewUpload), ", drop it here, or paste it."));
  takeDropped(viewUpload);
  examples(document.getElementById("examples"));
  addColour(document.getElementById("colour"));
  onEnter(() => draw());
  document.getElementById("draw").addEventListener("click", () => draw());
  startFeed(document.getElementById("feed"), document.getElementById("queue"));
  if (matchMedia(NARROW).matches) settings.querySelector("button").click();
  document.body.dataset.ready = "yes";
  watch();
  watchConnection();
}

start();
