// A picture as it lies in a grid: its image, what it is called, how it was made, and whether it is liked.

import { h, notice } from "./dom.js";
import { image } from "./images.js";
import { heart } from "./likes.js";

export const MADE = {
  vary: "variation", edit: "edit", blend: "blend", restyle: "restyled", upscale: "enlarged", explore: "explored",
  img2img: "drawn over",
};

// What a picture is called: its prompt, or that of the pictures that it was made from.
export function called(picture) {
  if (picture.prompt) return picture.prompt;
  const made = MADE[picture.operation];
  return made ? `${made[0].toUpperCase()}${made.slice(1)} of an uploaded picture` : picture.name ?? "A picture";
}

export const label = (picture) =>
  [called(picture), picture.prompt && MADE[picture.operation], picture.seed === undefined ? null : `seed ${picture.seed}`].filter(Boolean).join(", ");

export const tag = (picture) => (picture.prompt && MADE[picture.operation] ? h("span", { className: "tag" }, MADE[picture.operation]) : null);

export const slug = (picture) => `${called(picture).toLowerCase().replace(/[^\p{L}\p{N}]+/gu, "-").slice(0, 60)}-${picture.seed}`;

let open = async () => {};
export const onOpen = (act) => (open = act);
export const openPicture = (id, among) => open(id, among).catch((error) => notice(error.message, "error"));

// The pictures beside this one, as they lie in its list.
const neighbours = (element) =>
  [...(element.closest("[data-list]") ?? element.parentElement).querySelectorAll("[data-picture]")].map((one) => one.dataset.picture);

export function figure(picture, { caption = false } = {}) {
  const cell = h("figure", { className: "cell", "data-picture": picture.id });
  const frame = h("button", { type: "button", className: "frame", onclick: () => openPicture(picture.id, neighbours(cell)), "aria-label": label(picture) },
    image(picture, { alt: "", loading: "lazy" }));
  cell.append(h("div", { className: "lay" }, frame, heart(picture)));
  if (caption) cell.append(h("figcaption", {}, h("span", { className: "words" }, called(picture)), tag(picture)));
  if (picture.note && caption) cell.append(h("p", { className: "drawn-as" }, picture.note));
  return cell;
}
