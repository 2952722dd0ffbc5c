// Likes: stored by the server, and shown wherever the picture is shown.

import { patch } from "./api.js";
import { h, notice } from "./dom.js";

const SHAPE = "M12 20.3 4.6 13a4.8 4.8 0 0 1 0-6.9 5 5 0 0 1 7 0l.4.4.4-.4a5 5 0 0 1 7 0 4.8 4.8 0 0 1 0 6.9z";
const changed = [];

export const onLiked = (act) => changed.push(act);

export function heart(picture) {
  const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  const path = document.createElementNS("http://www.w3.org/2000/svg", "path");
  svg.setAttribute("viewBox", "0 0 24 24");
  svg.setAttribute("aria-hidden", "true");
  path.setAttribute("d", SHAPE);
  svg.append(path);
  const button = h("button", {
    type: "button", className: "heart", "aria-label": "Like", "data-like": picture.id,
    onclick: () => like(picture.id, button.getAttribute("aria-pressed") !== "true").catch((error) => notice(error.message, "error")),
  }, svg);
  button.setAttribute("aria-pressed", String(picture.liked ?? false));
  return button;
}

export async function like(id, liked) {
  const card = await patch(`/v1/gallery/${id}`, { liked });
  for (const button of document.querySelectorAll(`[data-like="${id}"]`)) button.setAttribute("aria-pressed", String(card.liked));
  changed.forEach((act) => act(card));
}
