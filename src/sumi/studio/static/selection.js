// Selects several pictures of the gallery, by click, space bar or a range with Shift, to download, like or delete them.

import { file } from "./api.js";
import { button, download, h, notice } from "./dom.js";
import { like } from "./likes.js";
import { askTwice, deletePictures } from "./removal.js";

const MOST = 200;

export class Selection {
  constructor(grid) {
    this.grid = grid;
    this.chosen = new Set();
    this.last = null;
    this.toggle = button("Select", () => this.turn(!this.isOn), { "aria-pressed": "false" });
    this.count = h("span", { role: "status" });
    const act = (work) => () => work().catch((error) => notice(error.message, "error"));
    this.actions = [
      button("Download", act(() => this.take())),
      button("Like", act(() => this.like())),
      button("Delete", (event) => askTwice(event.currentTarget, "Really delete", act(() => this.delete()))),
    ];
    this.bar = h("div", { className: "selection", role: "toolbar", "aria-label": "Selected pictures", hidden: true },
      this.count, button("All", () => this.all()), button("None", () => this.none()), this.actions);
    grid.addEventListener("click", (event) => this.click(event), true);
    grid.addEventListener("keydown", (event) => this.isOn && event.key === "Escape" && this.turn(false));
  }

  get isOn() {
    return this.toggle.getAttribute("aria-pressed") === "true";
  }

  turn(isOn) {
    this.toggle.setAttribute("aria-pressed", String(isOn));
    this.toggle.textContent = isOn ? "Done" : "Select";
    this.bar.hidden = !isOn;
    this.grid.toggleAttribute("data-selecting", isOn);
    if (!isOn) this.chosen.clear();
    this.show();
  }

  click(event) {
    const cell = event.target.closest("[data-picture]");
    if (!this.isOn || !cell || event.target.closest(".heart")) return;
    event.preventDefault();
    event.stopPropagation();
    const id = cell.dataset.picture;
    const ids = this.cells().map((one) => one.dataset.picture);
    const adds = !this.chosen.has(id);
    const from = event.shiftKey && this.last ? ids.indexOf(this.last) : ids.indexOf(id);
    const [first, end] = [from, ids.indexOf(id)].sort((one, other) => one - other);
    for (const one of ids.slice(first, end + 1)) adds ? this.chosen.add(one) : this.chosen.delete(one);
    this.last = id;
    this.show();
  }

  cells() {
    return [...this.grid.querySelectorAll("[data-picture]")];
  }

  all() {
    for (const cell of this.cells()) this.chosen.add(cell.dataset.picture);
    this.show();
  }

  none() {
    this.chosen.clear();
    this.show();
  }

  show() {
    for (const cell of this.cells()) {
      const frame = cell.querySelector(".frame");
      if (this.isOn) frame.setAttribute("aria-pressed", String(this.chosen.has(cell.dataset.picture)));
      else frame.removeAttribute("aria-pressed");
    }
    this.count.textContent = `${this.chosen.size} selected`;
    for (const action of this.actions) action.disabled = this.chosen.size === 0;
  }

  async take() {
    if (this.chosen.size > MOST) throw new Error(`One file holds up to ${MOST} pictures; ${this.chosen.size} are selected.`);
    const zip = await file("/v1/gallery/archive", { method: "POST", body: { pictures: [...this.chosen] } });
    download(zip, `sumi-${this.chosen.size}-pictures.zip`);
  }

  async like() {
    for (const id of this.chosen) await like(id, true);
  }

  async delete() {
    const ids = [...this.chosen];
    await deletePictures(ids);
    this.turn(false);
    notice(`${ids.length} ${ids.length === 1 ? "picture" : "pictures"} deleted.`);
  }
}
