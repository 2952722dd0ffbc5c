// Fills the page that Gradio lays out.

import { get } from "./api.js";
import { onOpen } from "./card.js";
import { startChecks } from "./checks.js";
import { onConnection, watchConnection } from "./connection.js";
import { addColour, focusPrompt, onEnter, prompt, readRequest, setBounds, write } from "./controls.js";
import { h, notice, waitFor } from "./dom.js";
import { startFeed } from "./feed.js";
import { startGallery } from "./gallery.js";
import { startHowItWorks } from "./how_it_works.js";
import { on, submit, unfinishedJobs, watch } from "./jobs.js";
import { clearRefusal, showRefusal } from "./refusal.js";
import { addStyles } from "./styles.js";
import { addAdapters, chosenAdapters, startTeach } from "./teach.js";
import { chooser, takeDropped } from "./upload.js";
import { view, viewUpload } from "./viewer.js";

const PARTS = ["#prompt textarea", "#draw", "#examples", "#n input", "#seed :is(input, textarea)", "#background input", "#colour", "#style", "#adapters", "#upload", "#queue", "#feed"];
const NARROW = "(max-width: 900px)";

function masthead(place) {
  const state = h("p", { className: "state", "aria-live": "polite" });
  const model = h("span", {});
  place.replaceChildren(
    h("a", { href: "./", className: "brand" }, h("img", { src: "own/seal.svg", alt: "", width: 40, height: 40 }), h("span", {}, "Sumi")),
    h("p", { className: "motto" }, "Words in, pictures out. ", model), state);
  on("job", () => (state.textContent = unfinishedJobs().length ? `${unfinishedJobs().length} being drawn` : ""));
  get("/v1/models").then(({ data: [{ id, operations, features }] }) => {
    model.textContent = `The model is ${id}.`;
    document.body.dataset.operations = operations.join(" "); // studio.css and the panels hide what it cannot do
    document.body.dataset.features = features.join(" ");
  }, () => {});
}

// A line above everything while the server does not answer.
function showConnection() {
  const line = h("p", { id: "away", role: "alert", popover: "manual" });
  document.body.append(line);
  onConnection((isThere) => {
    document.body.toggleAttribute("data-offline", !isThere);
    line.textContent = isThere ? "" : "The server does not answer. Nothing is lost; this page continues when it is back.";
    if (line.matches(":popover-open") === isThere) isThere ? line.hidePopover() : line.showPopover();
  });
}

async function draw(more = {}) {
  if (!prompt()) {
    notice("Write what to draw first.");
    return focusPrompt();
  }
  const request = readRequest();
  if (!request) return;
  const adapters = chosenAdapters();
  if (adapters) request.adapters = adapters;
  clearRefusal();
  const button = document.getElementById("draw");
  button.setAttribute("aria-busy", "true");
  try {
    await submit({ ...request, ...more });
    notice("");
  } catch (error) {
    if (error.code === "unknown_prompt") showRefusal(error, request.prompt, drawPrompt, () => draw({ anyway: true }));
    else notice(error.message, "error");
  } finally {
    button.removeAttribute("aria-busy");
  }
}

function drawPrompt(text) {
  write("prompt", text);
  draw();
}

// Example prompts and styles that the model knows, and the bounds of settings.
async function addOffers() {
  const { examples, styles, bounds } = await get("/v1/studio/offers");
  setBounds(bounds);
  const chips = examples.map((text) => h("button", { type: "button", className: "chip", onclick: () => drawPrompt(text) }, text));
  document.getElementById("examples").replaceChildren(...chips);
  if (Object.keys(styles).length) addStyles(document.getElementById("style"), styles);
}

async function start() {
  waitFor("#gallery").then(startGallery);
  waitFor("#how-it-works").then(startHowItWorks);
  waitFor("#teach").then(startTeach);
  waitFor("#checks").then(startChecks);
  masthead(await waitFor("#masthead"));
  for (const part of PARTS) await waitFor(part);
  document.body.append(h("p", { id: "notice", role: "status", popover: "manual" }));
  showConnection();
  onOpen(view);
  const settings = document.getElementById("settings");
  document.getElementById("upload").replaceChildren(h("p", {}, "Or start from your own picture: ", chooser("Choose a file", viewUpload), ", drop it here, or paste it."));
  takeDropped(viewUpload);
  addOffers().catch((error) => notice(error.message, "error"));
  addColour(document.getElementById("colour"));
  addAdapters(document.getElementById("adapters"));
  onEnter(() => draw());
  document.getElementById("draw").addEventListener("click", () => draw());
  startFeed(document.getElementById("feed"), document.getElementById("queue"));
  if (matchMedia(NARROW).matches) settings.querySelector("button").click();
  document.body.dataset.ready = "yes";
  watch();
  watchConnection();
}

start();
