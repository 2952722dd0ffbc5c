// A mask painted over a picture, with a finger, a pen, a mouse, or the arrow keys and the space bar.

import { h } from "./dom.js";

const STEP_PX = 6;

export class Mask {
  // The canvas has the picture's own pixels, laid over it at whatever size it is shown.
  constructor(stage, image, { width, height }, brush) {
    this.stage = stage;
    this.brush = brush;
    this.at = { x: width / 2, y: height / 2 };
    this.canvas = h("canvas", {
      width, height, tabIndex: 0, className: "mask", role: "img",
      "aria-label": "The mask. Arrow keys move the brush, the space bar paints, Delete clears.",
    });
    this.ink = this.canvas.getContext("2d");
    this.cursor = h("span", { className: "brush", hidden: true });
    this.canvas.addEventListener("pointerdown", (event) => this.begin(event));
    this.canvas.addEventListener("pointermove", (event) => this.move(event));
    for (const kind of ["pointerup", "pointercancel"]) this.canvas.addEventListener(kind, () => (this.drawing = false));
    this.canvas.addEventListener("keydown", (event) => this.key(event));
    this.canvas.addEventListener("blur", () => (this.cursor.hidden = true));
    this.isEmpty = true;
    stage.classList.add("painting");
    this.frame = h("div", { className: "easel" }, this.canvas, this.cursor);
    image.after(this.frame);
  }

  begin(event) {
    this.canvas.setPointerCapture(event.pointerId);
    this.drawing = true;
    this.at = this.where(event);
    this.paint(this.at);
  }

  move(event) {
    const from = this.at;
    this.at = this.where(event);
    if (this.drawing) this.paint(from);
    this.show();
  }

  where(event) {
    const box = this.canvas.getBoundingClientRect();
    const scale = this.canvas.width / box.width;
    return { x: (event.clientX - box.left) * scale, y: (event.clientY - box.top) * scale };
  }

  key(event) {
    const way = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] }[event.key];
    if (way) {
      this.at = {
        x: Math.min(Math.max(this.at.x + way[0] * STEP_PX, 0), this.canvas.width),
        y: Math.min(Math.max(this.at.y + way[1] * STEP_PX, 0), this.canvas.height),
      };
    } else if (event.key === " ") this.paint(this.at);
    else if (event.key === "Delete") this.clear();
    else return;
    event.preventDefault();
    this.show();
  }

  paint(from) {
    Object.assign(this.ink, { lineWidth: Number(this.brush.value), lineCap: "round", strokeStyle: "#2b5fb8" });
    this.ink.beginPath();
    this.ink.moveTo(from.x, from.y);
    this.ink.lineTo(this.at.x, this.at.y);
    this.ink.stroke();
    this.isEmpty = false;
  }

  show() {
    const scale = this.canvas.getBoundingClientRect().width / this.canvas.width;
    const side = `${Number(this.brush.value) * scale}px`;
    Object.assign(this.cursor.style, { left: `${this.at.x * scale}px`, top: `${this.at.y * scale}px`, width: side, height: side });
    this.cursor.hidden = false;
  }

  clear() {
    this.ink.clearRect(0, 0, this.canvas.width, this.canvas.height);
    this.isEmpty = true;
  }

  // As the server wants it: white where to draw; what is transparent counts as black.
  url() {
    const { width, height } = this.canvas;
    const white = h("canvas", { width, height });
    const ink = white.getContext("2d");
    ink.drawImage(this.canvas, 0, 0);
    ink.globalCompositeOperation = "source-in";
    ink.fillStyle = "white";
    ink.fillRect(0, 0, width, height);
    return white.toDataURL("image/png");
  }

  leave() {
    this.frame.remove();
    this.stage.classList.remove("painting");
  }
}
