// A picture's image. Its address expires after an hour and the server may be away, so a failed image is loaded again.

import { get } from "./api.js";
import { check, isThere, onConnection } from "./connection.js";
import { h } from "./dom.js";

const TRIES = 3;
const lost = new Map(); // image -> function that loads it again

// A picture's address on this server, whatever name the server uses for itself.
export function address({ url }) {
  const { pathname, search, protocol } = new URL(url, location);
  return ["data:", "blob:"].includes(protocol) ? url : pathname + search;
}

export const coded = (png) => `data:image/png;base64,${png}`;

export function image(picture, props = {}) {
  const element = h("img", { src: address(picture), draggable: false, ...props });
  if (!picture.id) return element;
  let tries = 0;
  const renew = async () => {
    if (!isThere() || tries++ >= TRIES) return;
    const card = await get(`/v1/gallery/${picture.id}`).catch(() => null);
    if (card) element.src = address(card);
  };
  element.addEventListener("error", () => {
    element.dataset.lost = "yes";
    lost.set(element, () => ((tries = 0), renew()));
    check();
    renew();
  });
  element.addEventListener("load", () => {
    tries = 0;
    delete element.dataset.lost;
    lost.delete(element);
  });
  return element;
}

onConnection((isBack) => {
  if (!isBack) return;
  for (const [element, renew] of lost) {
    if (element.isConnected) renew();
    else lost.delete(element);
  }
});
