// The styles menu: what is added to a prompt, in words that the model was taught.

import { h } from "./dom.js";

export const STYLES = {
  "Pencil drawing": "pencil drawing", "Pixel art": "pixel art", Watercolour: "watercolour", Neon: "neon",
  Silhouette: "silhouette", Mosaic: "mosaic", "Sticker with a white outline": "white outline", "Flat (Fluent)": "flat style",
  "Noto emoji": "noto style", Twemoji: "twemoji style",
};

let menu;

export function addStyles(place) {
  menu = h("select", { name: "style" },
    h("option", { value: "" }, "As the words say"),
    Object.entries(STYLES).map(([name, words]) => h("option", { value: words }, name)));
  place.append(h("label", { className: "field" }, h("span", {}, "Style"), menu));
}

export const resetStyle = () => (menu.value = "");

// The prompt with the style that is chosen, unless it names that already.
export function styled(prompt) {
  const words = menu.value;
  return words && !prompt.toLowerCase().includes(words) ? `${prompt}, ${words}` : prompt;
}
