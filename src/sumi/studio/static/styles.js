// The styles menu: those of the styles that the model was taught in which it draws differently, in words that it reads.

import { h } from "./dom.js";

export const STYLES = {
  "pencil drawing": "{}, pencil drawing",
  watercolour: "a watercolour of {}",
  neon: "{}, neon",
  silhouette: "{}, silhouette",
  mosaic: "{}, mosaic",
  "white outline": "{}, white outline",
};

let menu;

export function addStyles(place) {
  menu = h("select", { name: "style" },
    h("option", { value: "" }, "As the words say"),
    Object.keys(STYLES).map((style) => h("option", { value: style }, style[0].toUpperCase() + style.slice(1))));
  place.append(h("label", { className: "field" }, h("span", {}, "Style"), menu));
}

export const resetStyle = () => (menu.value = "");

// The prompt in the style that is chosen, unless it names that already.
export function styled(prompt) {
  const style = menu.value;
  return style && !prompt.toLowerCase().includes(style) ? STYLES[style].replace("{}", () => prompt) : prompt;
}
