// The menu of styles. The server offers those that the model knows, each a prompt with {} in it.

import { h } from "./dom.js";

let menu;
let templates = {};

export function addStyles(place, styles) {
  templates = styles;
  menu = h("select", { name: "style" },
    h("option", { value: "" }, "As in the prompt"),
    Object.keys(styles).map((style) => h("option", { value: style }, style[0].toUpperCase() + style.slice(1))));
  place.append(h("label", { className: "field" }, h("span", {}, "Style"), menu));
}

export const resetStyle = () => menu && (menu.value = "");

// The prompt in the chosen style, unless it already names that style.
export function styled(prompt) {
  const style = menu?.value;
  return style && !prompt.toLowerCase().includes(style) ? templates[style].replace("{}", () => prompt) : prompt;
}
