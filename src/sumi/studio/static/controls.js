// Reads and writes Gradio's controls, and shows what is wrong with a control beside it.

import { h } from "./dom.js";
import { resetStyle, styled } from "./styles.js";

const NUMBERS = {
  n: ["n", "Pictures"], "best-of": ["best_of", "Best of"], steps: ["steps", "Steps"], guidance: ["guidance", "Guidance"], seed: ["seed", "Seed"],
};
const entry = (id) => document.querySelector(`#${id} :is(textarea, input:not([type=range]))`);
const choices = () => [...document.querySelectorAll("#background input[type=radio]")];

let bounds = {};
let colour;

// The least and the largest value of each setting, as the server allows them.
export const setBounds = (allowed) => (bounds = allowed);

export function addColour(place) {
  colour = h("input", { type: "color", value: "#f2c14e", "aria-label": "Colour of the background" });
  place.append(colour);
  const show = () => (place.hidden = chosen() !== "colour");
  document.getElementById("background").addEventListener("change", show);
  show();
}

const chosen = () => choices().find((choice) => choice.checked)?.value ?? "auto";

export const prompt = () => entry("prompt").value.trim();

// The request for new pictures, or null where a control is invalid, which is then shown beside it. Empty settings are
// left out, so the model uses its own.
export function readRequest() {
  const request = { kind: "generate", prompt: styled(prompt()), background: chosen() === "colour" ? colour.value : chosen() };
  let first = null;
  for (const [id, [name, title]] of Object.entries(NUMBERS)) {
    const value = entry(id).value.trim();
    const wrong = value === "" ? "" : fault(title, value, bounds[name] ?? [], id === "guidance");
    mark(id, wrong);
    if (wrong) first ??= entry(id);
    else if (value !== "") request[name] = Number(value);
  }
  if (first) {
    first.focus();
    return null;
  }
  if (request.best_of <= request.n) delete request.best_of;
  const negative = entry("negative").value.trim();
  if (negative) request.negative = negative;
  return request;
}

function fault(title, value, [least = -Infinity, largest = Infinity], fractions) {
  const number = Number(value);
  const most = Math.min(largest, Number.MAX_SAFE_INTEGER - 256); // larger integers lose digits in a browser
  const kind = fractions ? "number" : "whole number";
  const limits = title === "Seed" ? "of 0 or more; leave it empty for a random one" : `from ${least} to ${most}`;
  if (!Number.isFinite(number) || (!fractions && !Number.isInteger(number)) || number < least || number > most)
    return `${title} should be a ${kind} ${limits}.`;
  return "";
}

// Show what is wrong with a control below it; an empty text clears it.
function mark(id, wrong) {
  const control = entry(id);
  let line = document.getElementById(`${id}-wrong`);
  if (!line) {
    line = h("p", { id: `${id}-wrong`, className: "wrong", role: "alert" });
    document.getElementById(id).append(line);
    control.addEventListener("input", () => mark(id, ""));
  }
  line.textContent = wrong;
  line.hidden = !wrong;
  control.toggleAttribute("aria-invalid", Boolean(wrong));
  if (wrong) control.setAttribute("aria-describedby", line.id);
  else control.removeAttribute("aria-describedby");
}

export function write(id, value) {
  const control = entry(id);
  const setter = Object.getOwnPropertyDescriptor(Object.getPrototypeOf(control), "value").set;
  setter.call(control, value ?? "");
  for (const kind of ["input", "change", "blur"]) control.dispatchEvent(new Event(kind, { bubbles: true }));
}

// Copy a picture's settings from its recipe.
export function copy(recipe) {
  const decoder = recipe.stages.decoder;
  write("prompt", recipe.prompt);
  write("negative", recipe.negative);
  write("seed", recipe.seed);
  write("n", 1);
  write("best-of", 1);
  resetStyle();
  if (decoder) {
    write("steps", decoder.steps);
    write("guidance", decoder.guidance);
  }
  const named = choices().find((choice) => choice.value === recipe.background);
  if (!named) colour.value = recipe.background;
  (named ?? choices().find((choice) => choice.value === "colour")).click();
}

export const focusPrompt = () => entry("prompt").focus();
export const onEnter = (act) =>
  entry("prompt").addEventListener("keydown", (event) => {
    if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
    event.preventDefault();
    act();
  });
