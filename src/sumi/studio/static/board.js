// The board: a picture in its own proportions on a checkerboard, with margins around it and images over it.

import { h } from "./dom.js";

export class Board {
  constructor() {
    this.base = h("div", { className: "base" });
    this.over = h("div", { className: "over", hidden: true });
    this.element = h("div", { className: "board" }, this.base, this.over);
    this.margins = [0, 0, 0, 0];
  }

  // Show a picture of a size in pixels, and remove what lay over the last one.
  show(image, { width, height }) {
    this.size = { width, height };
    this.base.replaceChildren(image);
    this.lay();
    this.expand([0, 0, 0, 0]);
  }

  // Add margins at the left, top, right and bottom, in pixels of the picture.
  expand(margins) {
    this.margins = margins;
    const [left, top, right, bottom] = margins;
    const wide = left + this.size.width + right;
    const high = top + this.size.height + bottom;
    this.element.style.setProperty("--ratio", wide / high);
    this.element.toggleAttribute("data-margins", margins.some(Boolean));
    Object.assign(this.base.style, {
      left: `${(100 * left) / wide}%`, top: `${(100 * top) / high}%`,
      width: `${(100 * this.size.width) / wide}%`, height: `${(100 * this.size.height) / high}%`,
    });
  }

  // Lay images over the whole board, such as an edit's result; without images, uncover it.
  lay(...images) {
    this.over.replaceChildren(...images);
    this.over.hidden = images.length === 0;
    this.element.toggleAttribute("data-covered", images.length > 0);
  }
}
