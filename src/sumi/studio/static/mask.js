// A mask painted over a picture, with a finger, a pen, a mouse, or the arrow keys and the space bar.
//
// The mask is a list of strokes, so every stroke can be undone. A stroke is {erase, width, points}, in pixels of the
// picture; a stroke without points clears everything before it.

import { h } from "./dom.js";

const STEPS = 40; // key presses from one side to the other
const SIZES = { min: 2, max: 40, step: 2, value: 12 }; // of the brush, as percent of the picture's longer side

export class Mask {
  constructor(board, { width, height }) {
    this.board = board;
    this.side = Math.max(width, height);
    this.strokes = [];
    this.undone = [];
    this.erases = false;
    this.brush = h("input", { type: "range", name: "brush", ...SIZES });
    this.brush.addEventListener("input", () => this.show());
    this.at = { x: width / 2, y: height / 2 };
    this.listeners = [];
    this.canvas = h("canvas", {
      width, height, tabIndex: 0, className: "mask", role: "img",
      "aria-label": "Mask. The arrow keys move the brush and the space bar paints. E switches to the eraser and B to the brush, the brackets change its size, Delete clears the mask.",
    });
    this.ink = this.canvas.getContext("2d", { willReadFrequently: true });
    this.cursor = h("span", { className: "brush", hidden: true });
    const on = (kind, act) => this.canvas.addEventListener(kind, act.bind(this));
    on("pointerdown", this.press);
    on("pointermove", this.move);
    for (const kind of ["pointerup", "pointercancel"]) on(kind, this.release);
    on("keydown", this.key);
    on("keyup", (event) => event.key === " " && this.release());
    on("focus", this.show);
    for (const kind of ["blur", "pointerleave"]) on(kind, () => (this.cursor.hidden = true));
    board.base.append(this.canvas, this.cursor);
  }

  // Pointer ------------------------------------------------------------------------------------------------

  press(event) {
    if (event.button !== 0) return;
    event.preventDefault(); // painting selects no text
    this.canvas.focus({ preventScroll: true });
    this.canvas.setPointerCapture(event.pointerId);
    this.at = this.where(event);
    this.begin();
  }

  move(event) {
    this.at = this.where(event);
    if (this.stroke) this.extend();
    this.show();
  }

  where(event) {
    const box = this.canvas.getBoundingClientRect();
    const scale = this.canvas.width / box.width;
    return { x: (event.clientX - box.left) * scale, y: (event.clientY - box.top) * scale };
  }

  // Keyboard -----------------------------------------------------------------------------------------------

  key(event) {
    const way = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] }[event.key];
    if (way) {
      const step = this.side / STEPS;
      const within = (value, most) => Math.min(Math.max(value, 0), most);
      this.at = {
        x: within(this.at.x + way[0] * step, this.canvas.width), y: within(this.at.y + way[1] * step, this.canvas.height),
      };
      if (this.stroke) this.extend();
    } else if (event.key === " ") {
      if (!event.repeat) this.begin();
    } else return;
    event.preventDefault();
    event.stopPropagation();
    this.show();
  }

  // Handle shortcuts that work anywhere outside a text field; returns whether the key was one.
  shortcut({ key, ctrlKey, metaKey, shiftKey }) {
    const letter = key.toLowerCase();
    if (ctrlKey || metaKey) {
      if (letter === "z") shiftKey ? this.redo() : this.undo();
      else if (letter === "y") this.redo();
      else return false;
    } else if (key === "[") this.resize(-1);
    else if (key === "]") this.resize(1);
    else if (letter === "e") this.use(true);
    else if (letter === "b") this.use(false);
    else if (key === "Delete") this.clear();
    else return false;
    return true;
  }

  use(erases) {
    this.erases = erases;
    this.changed();
  }

  resize(by) {
    by > 0 ? this.brush.stepUp() : this.brush.stepDown();
    this.brush.dispatchEvent(new Event("input", { bubbles: true }));
  }

  // Strokes ------------------------------------------------------------------------------------------------

  begin() {
    this.stroke = { erase: this.erases, width: (this.side * Number(this.brush.value)) / 100, points: [this.at] };
    this.add(this.stroke);
  }

  extend() {
    const { points, width } = this.stroke;
    line(this.ink, width, points.at(-1), this.at);
    points.push(this.at);
  }

  release() {
    this.stroke = null;
  }

  add(stroke) {
    this.strokes.push(stroke);
    this.undone = [];
    draw(this.ink, stroke);
    this.changed();
  }

  clear() {
    if (!this.isEmpty) this.add({ points: [] });
  }

  undo() {
    if (this.strokes.length) this.undone.push(this.strokes.pop());
    this.redraw();
  }

  redo() {
    if (this.undone.length) this.strokes.push(this.undone.pop());
    this.redraw();
  }

  redraw() {
    this.stroke = null;
    this.ink.clearRect(0, 0, this.canvas.width, this.canvas.height);
    for (const stroke of this.strokes) draw(this.ink, stroke);
    this.changed();
  }

  onChange(act) {
    this.listeners.push(act);
    act();
  }

  changed() {
    this.listeners.forEach((act) => act());
  }

  get isEmpty() {
    const { data } = this.ink.getImageData(0, 0, this.canvas.width, this.canvas.height);
    return !data.some((value, index) => index % 4 === 3 && value > 0);
  }

  show() {
    const scale = this.canvas.getBoundingClientRect().width / this.canvas.width;
    const side = `${(this.side * Number(this.brush.value) * scale) / 100}px`;
    Object.assign(this.cursor.style, { left: `${this.at.x * scale}px`, top: `${this.at.y * scale}px`, width: side, height: side });
    this.cursor.hidden = false;
  }

  // The mask for the server: white where to draw; transparent counts as black.
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
    this.canvas.remove();
    this.cursor.remove();
  }
}

const COLOUR = "#2b5fb8";

// A dot at the start, because a line of no length draws nothing, and a line for every move. A redrawn stroke looks as it
// did while it was painted.
function draw(ink, { erase, width, points }) {
  if (points.length === 0) return ink.clearRect(0, 0, ink.canvas.width, ink.canvas.height);
  ink.globalCompositeOperation = erase ? "destination-out" : "source-over";
  ink.fillStyle = COLOUR;
  ink.beginPath();
  ink.arc(points[0].x, points[0].y, width / 2, 0, 2 * Math.PI);
  ink.fill();
  for (let number = 1; number < points.length; number++) line(ink, width, points[number - 1], points[number]);
}

function line(ink, width, from, to) {
  Object.assign(ink, { lineWidth: width, lineCap: "round", strokeStyle: COLOUR });
  ink.beginPath();
  ink.moveTo(from.x, from.y);
  ink.lineTo(to.x, to.y);
  ink.stroke();
}
