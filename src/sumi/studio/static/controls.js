// Gradio's controls, read and written where they stand.

import { h } from "./dom.js";

const NUMBERS = { n: "n", "best-of": "best_of", steps: "steps", guidance: "guidance", seed: "seed" };
const entry = (id) => document.querySelector(`#${id} :is(textarea, input:not([type=range]))`);
const choices = () => [...document.querySelectorAll("#background input[type=radio]")];

let colour;

export function addColour(place) {
  colour = h("input", { type: "color", value: "#f2c14e", "aria-label": "Colour of the background" });
  place.append(colour);
  const show = () => (place.hidden = chosen() !== "colour");
  document.getElementById("background").addEventListener("change", show);
  show();
}

const chosen = () => choices().find((choice) => choice.checked)?.value ?? "auto";

export const prompt = () => entry("prompt").value.trim();

// What a new drawing is asked with. Settings left alone are not sent: the model has its own.
export function wish() {
  const said = { kind: "generate", prompt: prompt(), background: chosen() === "colour" ? colour.value : chosen() };
  for (const [id, name] of Object.entries(NUMBERS)) {
    const value = entry(id).value.trim();
    if (value === "") continue;
    if (Number.isNaN(Number(value))) throw new Error(`${name} should be a number, not ${value}`);
    said[name] = Number(value);
  }
  if (said.best_of <= said.n) delete said.best_of;
  const negative = entry("negative").value.trim();
  if (negative) said.negative = negative;
  return said;
}

export function write(id, value) {
  const control = entry(id);
  const setter = Object.getOwnPropertyDescriptor(Object.getPrototypeOf(control), "value").set;
  setter.call(control, value ?? "");
  for (const kind of ["input", "change", "blur"]) control.dispatchEvent(new Event(kind, { bubbles: true }));
}

// The settings of a picture, from its recipe.
export function copy(recipe) {
  const decoder = recipe.stages.decoder;
  write("prompt", recipe.prompt);
  write("negative", recipe.negative);
  write("seed", recipe.seed);
  write("n", 1);
  write("best-of", 1);
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
