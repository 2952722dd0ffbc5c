// One picture: how it lies in a grid, and the table on which it is looked at and worked on.

import { file, get, remove } from "./api.js";
import { copy } from "./controls.js";
import { field, h, notice, openTab, range } from "./dom.js";
import { submit } from "./jobs.js";
import { Mask } from "./mask.js";

const LARGEST_PX = 256; // that the upsampler takes
const changed = [];

let explaining = null; // what was asked before the tab was there to answer
let explain = (picture) => (explaining = picture);

export const onRemoved = (act) => changed.push(act);
export function onExplain(act) {
  explain = act;
  if (explaining) act(explaining);
}

// Where a picture is on this very server, whatever name the server gives itself.
export function address({ url }) {
  const { pathname, search } = new URL(url, location);
  return pathname + search;
}

export const called = (picture) => picture.prompt || "A picture without words";

export function figure(picture, { act = open, caption = false } = {}) {
  const image = h("img", { src: address(picture), alt: called(picture), loading: "lazy", draggable: false });
  image.addEventListener("error", () => renew(image, picture), { once: true });
  const button = h("button", { type: "button", className: "frame", onclick: () => act(picture), "aria-label": `${called(picture)}, seed ${picture.seed}` }, image);
  return h("figure", { className: "cell", "data-picture": picture.id }, button, caption ? h("figcaption", {}, called(picture)) : null);
}

// An address opens for an hour; a page may be open for longer.
async function renew(image, picture) {
  const card = await get(`/v1/gallery/${picture.id}`).catch(() => null);
  if (card) image.src = address(card);
}

export async function open(picture) {
  let card;
  try {
    card = await get(`/v1/gallery/${picture.id}`);
  } catch (error) {
    return notice(error.message, "error");
  }
  const table = new Table(card);
  document.body.append(table.dialog);
  table.dialog.showModal();
}

class Table {
  constructor(card) {
    this.card = card;
    this.image = h("img", { src: address(card), alt: called(card), className: "whole" });
    this.stage = h("div", { className: "stage" }, this.image);
    this.panel = h("div", { className: "panel", "aria-live": "polite" });
    const close = h("button", { type: "button", className: "quiet close", "aria-label": "Close", onclick: () => this.dialog.close() }, "✕");
    const side = h("div", { className: "side" }, h("h2", { id: "table-title" }, called(card)), this.facts(), this.tools(), this.panel);
    this.dialog = h("dialog", { className: "table", "aria-labelledby": "table-title" }, close, this.stage, side);
    this.dialog.addEventListener("close", () => this.dialog.remove());
    this.dialog.addEventListener("click", (event) => event.target === this.dialog && this.dialog.close());
  }

  facts() {
    const { card } = this;
    const decoder = card.recipe.stages.decoder;
    const facts = {
      seed: card.seed, size: `${card.width} × ${card.height}`, steps: decoder?.steps, guidance: decoder?.guidance,
      "nearness to the words": card.prompt && card.score !== null ? card.score.toFixed(2) : undefined,
    };
    const told = Object.entries(facts).filter(([, value]) => value !== undefined);
    return h("dl", {}, told.map(([name, value]) => h("div", {}, h("dt", {}, name), h("dd", {}, `${value}`))));
  }

  tools() {
    const { card } = this;
    const panels = { Vary: () => this.vary(), Edit: () => this.edit(), Restyle: () => this.restyle(), "Blend with": () => this.blend() };
    const others = {
      Upscale: () => this.send({ kind: "upscale" }),
      "How it works": () => this.explain(),
      "Copy settings": () => this.settings(),
      PNG: () => save(`/v1/gallery/${card.id}/content`, `${slug(card)}.png`),
      SVG: () => save(`/v1/gallery/${card.id}/svg`, `${slug(card)}.svg`),
      Delete: (button) => this.forget(button),
    };
    const make = (name, act, attributes = {}) => h("button", { type: "button", ...attributes, onclick: (event) => act(event.currentTarget) }, name);
    const first = Object.entries(panels).map(([name, act]) => make(name, (button) => this.turn(button, act), { "aria-expanded": "false" }));
    const second = Object.entries(others).map(([name, act]) => make(name, act));
    second.find((button) => button.textContent === "Upscale").disabled = Math.max(card.width, card.height) > LARGEST_PX;
    return h("div", { className: "tools", role: "group", "aria-label": "What to do with it" }, first, second);
  }

  turn(button, act) {
    for (const other of this.dialog.querySelectorAll("[aria-expanded]")) other.setAttribute("aria-expanded", String(other === button));
    this.mask?.leave();
    this.mask = null;
    act();
    this.panel.querySelector("input, button")?.focus();
  }

  // A form whose fields become a job done to this picture.
  form(words, fields, wish, action) {
    const form = h("form", { onsubmit: (event) => (event.preventDefault(), this.send(wish(new FormData(form)))) },
      h("p", {}, words), fields, h("button", { className: "primary" }, action));
    this.panel.replaceChildren(form);
  }

  vary() {
    this.form("Other pictures of what this one shows.",
      [field("Pictures", range("n", 1, 8, 1, 4), { range: true }), field("How much may change", range("eta", 0.1, 1, 0.1, 1), { range: true })],
      (said) => ({ kind: "vary", n: Number(said.get("n")), eta: Number(said.get("eta")) }), "Vary");
  }

  edit() {
    const { card } = this;
    const margins = ["Left", "Top", "Right", "Bottom"].map((side) =>
      field(side, h("input", { type: "number", name: side, min: 0, max: 256, step: 8, value: 0 })));
    const brush = range("brush", 4, 60, 2, 24);
    this.mask = new Mask(this.stage, this.image, card, brush);
    this.form("Paint over what should be drawn anew, or widen the picture. The rest stays as it is, to the bit.",
      [
        field("What it should then show", h("input", { type: "text", name: "prompt", value: card.prompt, maxLength: 400 })),
        h("div", { className: "pair" }, field("Brush", brush, { range: true }), field("Pictures", range("n", 1, 8, 1, 2), { range: true })),
        h("fieldset", {}, h("legend", {}, "Pixels to add"), margins),
        h("button", { type: "button", className: "quiet", onclick: () => this.mask.clear() }, "Clear the mask"),
      ],
      (said) => {
        const wish = { kind: "edit", prompt: said.get("prompt"), n: Number(said.get("n")) };
        wish.expand = ["Left", "Top", "Right", "Bottom"].map((side) => Number(said.get(side)));
        if (!this.mask.isEmpty) wish.mask = { image_url: this.mask.url() };
        return wish;
      }, "Edit");
  }

  restyle() {
    const { card } = this;
    this.form("Move the picture in the direction in which one text differs from another.",
      [
        field("From", h("input", { type: "text", name: "before", required: true, value: card.prompt, placeholder: "a red fox" })),
        field("To", h("input", { type: "text", name: "after", required: true, placeholder: "a blue fox" })),
        field("How far", range("amount", 0.05, 1, 0.05, 0.4), { range: true }),
      ],
      (said) => ({ kind: "restyle", before: said.get("before"), after: said.get("after"), amount: Number(said.get("amount")) }), "Restyle");
  }

  async blend() {
    const { data } = await get("/v1/gallery?limit=24");
    const others = data.filter(({ id }) => id !== this.card.id);
    const choices = others.map((other, number) =>
      h("label", { className: "choice" }, h("input", { type: "radio", name: "other", value: other.id, checked: number === 0, required: true }), h("img", { src: address(other), alt: called(other), loading: "lazy" })));
    this.form(others.length ? "The way from this picture to another." : "There is no other picture yet.",
      [h("div", { className: "choices", role: "radiogroup", "aria-label": "The other picture" }, choices), field("Pictures on the way", range("frames", 3, 12, 1, 6), { range: true })],
      (said) => ({ kind: "blend", frames: Number(said.get("frames")), images: [{ picture: this.card.id }, { picture: said.get("other") }] }), "Blend");
  }

  async send(wish) {
    try {
      await submit({ images: [{ picture: this.card.id }], ...wish });
    } catch (error) {
      return this.panel.append(h("p", { className: "wrong", role: "alert" }, error.message));
    }
    this.dialog.close();
    openTab("Draw");
    scrollTo({ top: 0, behavior: "smooth" });
  }

  settings() {
    copy(this.card.recipe);
    this.dialog.close();
    openTab("Draw");
    notice("The settings of that picture are set. Draw, and it is drawn again.");
  }

  explain() {
    this.dialog.close();
    openTab("How it works");
    explain(this.card);
  }

  async forget(button) {
    if (button.dataset.sure) {
      await remove(`/v1/gallery/${this.card.id}`);
      for (const shown of document.querySelectorAll(`[data-picture="${this.card.id}"]`)) shown.remove();
      changed.forEach((act) => act(this.card));
      this.dialog.close();
    } else {
      button.dataset.sure = "yes";
      button.textContent = "Really delete";
    }
  }
}

const slug = (card) => `${called(card).toLowerCase().replace(/[^\p{L}\p{N}]+/gu, "-").slice(0, 60)}-${card.seed}`;

async function save(path, name) {
  try {
    const url = URL.createObjectURL(await file(path));
    h("a", { href: url, download: name }).click();
    setTimeout(() => URL.revokeObjectURL(url), 10_000);
  } catch (error) {
    notice(error.message, "error");
  }
}
