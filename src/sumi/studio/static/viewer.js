// The viewer: one large picture with its details, the tools for it, and links to its neighbours.

import { file, get } from "./api.js";
import { Board } from "./board.js";
import { OPERATION_NAMES, nameOf, slug, tag } from "./card.js";
import { copy } from "./controls.js";
import { button, download, h, isTyping, notice, openTab } from "./dom.js";
import { edit } from "./edit.js";
import { coded, image } from "./images.js";
import { submit } from "./jobs.js";
import { layers } from "./layers.js";
import { heart } from "./likes.js";
import { blend, restyle, vary } from "./panels.js";
import { askTwice, deletePictures } from "./removal.js";

const MAX_PX = 256; // the largest picture that the upsampler takes
const OPERATIONS = { Vary: "vary", Edit: "edit", Restyle: "restyle", "Blend with": "blend", Upscale: "upscale" };

let explaining = null; // a picture to explain once the tab exists
let explain = (picture) => (explaining = picture);
let viewer = null;

export function onExplain(act) {
  explain = act;
  if (explaining) act(explaining);
}

// Open a picture of the gallery. among: the ids of its list, for next and previous.
export async function view(id, among = []) {
  const card = await get(`/v1/gallery/${id}`);
  begin().show({ ...card, reference: { picture: id } }, among);
}

// Open a picture that was uploaded.
export function viewUpload(picture) {
  begin().show(picture, []);
}

function begin() {
  if (!viewer?.dialog.open) {
    viewer = new Viewer();
    document.body.append(viewer.dialog);
    viewer.dialog.showModal();
  }
  return viewer;
}

class Viewer {
  constructor() {
    this.board = new Board();
    this.leave = () => {};
    this.stage = h("div", { className: "stage" }, h("div", { className: "room" }, this.board.element));
    this.ways = [[-1, "Previous picture", "‹"], [1, "Next picture", "›"]].map(([by, name, sign]) =>
      button(sign, () => this.walk(by), { className: `quiet way ${by < 0 ? "back" : "on"}`, "aria-label": name }));
    this.stage.append(...this.ways);
    this.side = h("div", { className: "side" });
    const close = button("✕", () => this.dialog.close(), { className: "quiet close", "aria-label": "Close" });
    this.dialog = h("dialog", { className: "table", "aria-labelledby": "table-title" }, close, this.stage, this.side);
    this.dialog.addEventListener("close", () => (this.leave(), this.dialog.remove()));
    this.dialog.addEventListener("keydown", (event) => this.key(event));
    let pressed = null; // a stroke that ends outside the dialog is not a click on its backdrop
    this.dialog.addEventListener("pointerdown", (event) => (pressed = event.target));
    this.dialog.addEventListener("click", (event) => event.target === this.dialog && pressed === this.dialog && this.dialog.close());
  }

  show(picture, among) {
    this.leave();
    this.leave = () => {};
    this.picture = picture;
    this.among = among;
    this.shortcut = () => false;
    this.board.show(image(picture, { alt: nameOf(picture), className: "whole" }), picture);
    this.panel = h("div", { className: "panel", "aria-live": "polite" });
    const head = h("header", {}, h("h2", { id: "table-title" }, nameOf(picture), " ", tag(picture)), picture.id ? heart(picture) : null);
    this.side.replaceChildren(...[head, notes(picture), this.facts(), this.origins(), this.tools(), this.panel].filter(Boolean));
    this.dialog.dataset.shown = picture.id ?? "";
    const at = among.indexOf(picture.id);
    this.ways.forEach((way, number) => {
      way.hidden = among.length < 2;
      way.disabled = among[at + (number ? 1 : -1)] === undefined;
    });
  }

  async walk(by) {
    const next = this.among[this.among.indexOf(this.picture.id) + by];
    if (next) await view(next, this.among).catch((error) => this.wrong(error));
  }

  key(event) {
    if (isTyping(event)) return;
    if (this.shortcut(event)) return event.preventDefault();
    const by = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
    if (!by || event.target.closest("input, select, canvas") || this.side.querySelector("[aria-expanded=true]")) return;
    event.preventDefault();
    this.walk(by);
  }

  facts() {
    const { picture } = this;
    const decoder = picture.recipe?.stages.decoder;
    const facts = {
      seed: picture.seed, size: `${picture.width} × ${picture.height}`, steps: decoder?.steps, guidance: decoder?.guidance,
      "match with the prompt": picture.recipe?.prompt ? picture.score?.toFixed(2) : undefined,
    };
    const shown = Object.entries(facts).filter(([, value]) => value !== undefined);
    return h("dl", {}, shown.map(([name, value]) => h("div", {}, h("dt", {}, name), h("dd", {}, `${value}`))));
  }

  // The pictures that this one was made from, filled in when the server answers.
  origins() {
    const { picture } = this;
    const place = h("div", { className: "origins", hidden: true });
    if (picture.job && picture.operation !== "generate") this.fillOrigins(place, picture).catch(() => {});
    return place;
  }

  async fillOrigins(place, picture) {
    const { origins } = await get(`/v1/jobs/${picture.job}`);
    const shown = await Promise.all(origins.map(async ({ picture: id, prompt }, number) => {
      const card = id && await get(`/v1/gallery/${id}`).catch(() => null);
      const small = picture.recipe.sources[number]?.png;
      const words = nameOf(card ?? { prompt, name: "an uploaded picture" });
      const preview = card ? image(card, { alt: "" }) : small ? h("img", { src: coded(small), alt: "" }) : h("span", {});
      const frame = card
        ? h("button", { type: "button", className: "frame", "aria-label": `Open ${words}`, onclick: () => view(card.id, []) }, preview)
        : h("span", { className: "frame" }, preview);
      return h("li", {}, frame, h("span", { className: "words" }, words));
    }));
    const made = OPERATION_NAMES[picture.operation] ?? picture.operation;
    place.append(h("h3", {}, `${made[0].toUpperCase()}${made.slice(1)} of`), h("ul", {}, shown));
    place.hidden = shown.length === 0;
  }

  tools() {
    const { picture } = this;
    const { operations: known, features } = document.body.dataset;
    const operations = known?.split(" ");
    const hasLayers = picture.id && (features === undefined || features.split(" ").includes("layers"));
    const panels = { Vary: vary, Edit: edit, Restyle: restyle, "Blend with": blend, ...(hasLayers && { Layers: layers }) };
    const can = ([name]) => !operations || !(name in OPERATIONS) || operations.includes(OPERATIONS[name]);
    const others = {
      Upscale: () => this.enlarge(),
      ...(picture.id && {
        "How it works": () => this.explain(),
        "Copy settings": () => this.settings(),
        PNG: () => this.save("content", "png"),
        SVG: () => this.save("svg", "svg"),
        Delete: (pressed) => askTwice(pressed, "Really delete", () => this.delete()),
      }),
    };
    const first = Object.entries(panels).filter(can).map(([name, panel]) => button(name, (event) => this.turn(event.currentTarget, panel), { "aria-expanded": "false" }));
    const second = Object.entries(others).filter(can).map(([name, act]) => button(name, (event) => act(event.currentTarget)));
    return h("div", { className: "tools", role: "group", "aria-label": "Tools" }, first, second);
  }

  // Open a panel, or close it where it is open.
  turn(pressed, panel) {
    const opens = pressed.getAttribute("aria-expanded") !== "true";
    for (const other of this.side.querySelectorAll(".tools [aria-expanded]")) other.setAttribute("aria-expanded", String(opens && other === pressed));
    this.leave();
    this.leave = () => {};
    this.shortcut = () => false;
    this.panel.replaceChildren();
    this.board.lay();
    this.board.expand([0, 0, 0, 0]);
    if (opens) panel(this);
  }

  // Fill the panel with a form and focus its first field. act gets the form's data.
  form(words, fields, action, act) {
    const form = h("form", {},
      h("p", {}, words), fields, h("p", { className: "wrong", role: "alert", hidden: true }), h("button", { className: "primary" }, action));
    form.addEventListener("submit", async (event) => {
      event.preventDefault();
      this.wrong(null);
      await act(new FormData(form)).catch((error) => this.wrong(error));
    });
    this.panel.replaceChildren(form);
    form.querySelector("input, button")?.focus({ preventScroll: true });
    return form;
  }

  wrong(error) {
    let line = this.panel.querySelector(".wrong");
    if (!line) this.panel.append(line = h("p", { className: "wrong", role: "alert" }));
    line.hidden = !error;
    line.textContent = error?.message ?? "";
  }

  // Submit a job on this picture, and go to the feed.
  async send(request) {
    await submit({ images: [this.picture.reference], ...request });
    this.dialog.close();
    openTab("Draw");
    scrollTo({ top: 0 });
  }

  enlarge() {
    const { width, height } = this.picture;
    if (Math.max(width, height) > MAX_PX)
      return this.wrong(new Error(`Upscale takes pictures of up to ${MAX_PX} pixels along a side; this one has ${width} × ${height}.`));
    return this.send({ kind: "upscale" }).catch((error) => this.wrong(error));
  }

  settings() {
    copy(this.picture.recipe);
    this.dialog.close();
    openTab("Draw");
    scrollTo({ top: 0 });
    notice("Settings copied. Press Draw to draw this picture again.");
  }

  explain() {
    this.dialog.close();
    openTab("How it works");
    explain(this.picture);
  }

  async save(kind, suffix) {
    try {
      download(await file(`/v1/gallery/${this.picture.id}/${kind}`), `${slug(this.picture)}.${suffix}`);
    } catch (error) {
      this.wrong(error);
    }
  }

  async delete() {
    try {
      await deletePictures([this.picture.id]);
      const at = this.among.indexOf(this.picture.id);
      const rest = this.among.filter((id) => id !== this.picture.id);
      const next = rest[Math.min(at, rest.length - 1)];
      if (next) await view(next, rest);
      else this.dialog.close();
    } catch (error) {
      this.wrong(error);
    }
  }
}

// The model's notes about a prompt, such as unknown words.
export function notes({ note, notes: several, recipe }) {
  const lines = several?.length ? several : [note ?? recipe?.note].filter(Boolean);
  return lines.length ? h("ul", { className: "notes" }, lines.map((line) => h("li", {}, line))) : null;
}
