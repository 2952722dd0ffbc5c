// A picture in a grid: its image, its name, how it was made, and whether it is liked.

import { h, notice } from "./dom.js";
import { image } from "./images.js";
import { heart } from "./likes.js";

export const OPERATION_NAMES = {
  vary: "variation", edit: "edit", blend: "blend", restyle: "restyled", upscale: "upscaled", explore: "explored",
  img2img: "drawn over",
};

// A picture's name: its prompt, or that of the pictures it was made from.
export function nameOf(picture) {
  if (picture.prompt) return picture.prompt;
  const made = OPERATION_NAMES[picture.operation];
  return made ? `${made[0].toUpperCase()}${made.slice(1)} of an uploaded picture` : picture.name ?? "A picture";
}

export const label = (picture) =>
  [nameOf(picture), picture.prompt && OPERATION_NAMES[picture.operation], picture.seed === undefined ? null : `seed ${picture.seed}`].filter(Boolean).join(", ");

export const tag = (picture) => (picture.prompt && OPERATION_NAMES[picture.operation] ? h("span", { className: "tag" }, OPERATION_NAMES[picture.operation]) : null);

export const slug = (picture) => `${nameOf(picture).toLowerCase().replace(/[^\p{L}\p{N}]+/gu, "-").slice(0, 60)}-${picture.seed}`;

let open = async () => {};
export const onOpen = (act) => (open = act);
export const openPicture = (id, among) => open(id, among).catch((error) => notice(error.message, "error"));

// The ids of the pictures in the same list, in order.
const neighbours = (element) =>
  [...(element.closest("[data-list]") ?? element.parentElement).querySelectorAll("[data-picture]")].map((one) => one.dataset.picture);

export function figure(picture, { caption = false } = {}) {
  const cell = h("figure", { className: "cell", "data-picture": picture.id });
  const frame = h("button", { type: "button", className: "frame", onclick: () => openPicture(picture.id, neighbours(cell)), "aria-label": label(picture) },
    image(picture, { alt: "", loading: "lazy" }));
  cell.append(h("div", { className: "lay" }, frame, heart(picture)));
  if (caption) cell.append(h("figcaption", {}, h("span", { className: "words" }, nameOf(picture)), tag(picture)));
  if (picture.note && caption) cell.append(h("p", { className: "drawn-as" }, picture.note));
  return cell;
}
