// The gallery: all pictures, found by the words of their prompts, by meaning with CLIP, or by likes.

import { get } from "./api.js";
import { figure } from "./card.js";
import { onConnection } from "./connection.js";
import { button, h, notice, onShown } from "./dom.js";
import { on } from "./jobs.js";
import { onLiked } from "./likes.js";
import { onRemoved } from "./removal.js";
import { Selection } from "./selection.js";

const PAGE = 36;

export function startGallery(place) {
  const search = h("input", { type: "search", name: "search", placeholder: "Search the gallery …", maxLength: 400, "aria-label": "Search the gallery", autocomplete: "off" });
  const ways = ["words", "meaning"].map((way) =>
    h("label", {}, h("input", { type: "radio", name: "way", value: way, checked: way === "words" }), h("span", {}, `by ${way}`)));
  const liked = button("Liked", () => (liked.setAttribute("aria-pressed", String(!likedOnly())), begin()), { "aria-pressed": "false" });
  const grid = h("div", { className: "cells small", "data-list": "gallery" });
  const selection = new Selection(grid);
  const form = h("form", { className: "search", role: "search", onsubmit: (event) => (event.preventDefault(), begin()) },
    search, h("div", { className: "ways", role: "radiogroup", "aria-label": "Search by" }, ways), liked, selection.toggle);
  const empty = h("p", { className: "empty", hidden: true });
  const more = h("button", { type: "button", className: "quiet more", hidden: true, onclick: () => load(last) }, "More");
  place.replaceChildren(form, selection.bar, empty, grid, more);
  let last = null;
  let requested = 0;
  let stale = true;

  const query = () => search.value.trim();
  const way = () => form.elements.way.value;
  const likedOnly = () => liked.getAttribute("aria-pressed") === "true";

  async function begin() {
    stale = false;
    await load(null);
  }

  async function load(after) {
    const mine = ++requested;
    const params = new URLSearchParams({ limit: PAGE });
    if (query()) params.set(way(), query());
    if (likedOnly()) params.set("liked", "true");
    if (after) params.set("after", after);
    let page;
    try {
      page = await get(`/v1/gallery?${params}`);
    } catch (error) {
      stale = true;
      return error.status === undefined || notice(error.message, "error"); // while the server is away, the page already says so
    }
    if (mine !== requested) return; // the query has changed meanwhile
    if (!after) grid.replaceChildren();
    grid.append(...page.data.map((picture) => figure(picture, { caption: true })));
    last = page.data.at(-1)?.id ?? null;
    more.hidden = !page.has_more;
    tell();
    selection.show();
  }

  function tell() {
    empty.hidden = grid.children.length > 0;
    empty.textContent = query() ? "No picture matches." : likedOnly() ? "No likes yet. Press a picture's heart." : "Your pictures will appear here.";
  }

  let typing;
  search.addEventListener("input", () => {
    clearTimeout(typing);
    typing = setTimeout(begin, 250);
  });
  for (const choice of ways) choice.addEventListener("change", begin);
  on("job", (job) => {
    if (job.status === "succeeded" && job.pictures) stale = true;
    if (stale && place.offsetParent && !query() && !selection.isOn) begin();
  });
  onRemoved(tell);
  onLiked((card) => {
    if (likedOnly() && !card.liked) {
      grid.querySelector(`[data-picture="${card.id}"]`)?.remove();
      begin(); // a list that was requested before may still hold the picture
    }
    stale ||= likedOnly();
    tell();
  });
  onShown(place, () => stale && begin());
  onConnection((isThere) => isThere && stale && place.offsetParent && begin());
}
