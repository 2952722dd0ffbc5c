// The user's own pictures: chosen, dropped on the page or pasted. They stay in the page until a job needs them.

import { h, notice } from "./dom.js";

const MOST_BYTES = 40_000_000; // base64 makes a body of 53 MB of it
const MOST_SIDE_PX = 8192;
const READ = ["image/png", "image/jpeg", "image/webp", "image/gif"]; // that the server reads; others are converted

// Return a file as a picture for the viewer and the API; an Error for people where it is none.
export async function read(file) {
  const name = file.name || "the pasted picture";
  if (file.size > MOST_BYTES) throw new Error(`${name} has ${Math.round(file.size / 1e6)} MB; a picture may have up to ${MOST_BYTES / 1e6}.`);
  const bitmap = await createImageBitmap(file).catch(() => {
    throw new Error(`This browser cannot open ${name} as a picture. PNG, JPEG, WebP and GIF work everywhere.`);
  });
  const { width, height } = bitmap;
  if (Math.max(width, height) > MOST_SIDE_PX) throw new Error(`${name} is ${width} × ${height} pixels; a side may have up to ${MOST_SIDE_PX}.`);
  const url = READ.includes(file.type) ? await dataUrl(file) : rewritten(bitmap);
  return { url, width, height, name: file.name?.replace(/\.[^.]*$/, "") || "A pasted picture", prompt: "", reference: { image_url: url } };
}

function dataUrl(file) {
  return new Promise((resolve, reject) => {
    const reader = new FileReader();
    reader.addEventListener("load", () => resolve(reader.result));
    reader.addEventListener("error", () => reject(reader.error));
    reader.readAsDataURL(file);
  });
}

function rewritten(bitmap) {
  const canvas = h("canvas", { width: bitmap.width, height: bitmap.height });
  canvas.getContext("2d").drawImage(bitmap, 0, 0);
  return canvas.toDataURL("image/png");
}

// A button that opens the file dialog, and passes on the chosen picture.
export function chooser(words, act, props = {}) {
  const input = h("input", { type: "file", accept: "image/*", hidden: true, tabIndex: -1, "aria-hidden": "true" });
  input.addEventListener("change", () => {
    if (input.files[0]) take(input.files[0], act);
    input.value = "";
  });
  const button = h("button", { type: "button", className: "quiet", ...props, onclick: () => input.click() }, words);
  return h("span", { className: "chooser" }, button, input);
}

async function take(file, act) {
  try {
    await act(await read(file));
  } catch (error) {
    notice(error.message, "error");
  }
}

const pictured = (transfer) => [...(transfer?.files ?? [])].find((file) => file.type.startsWith("image/")) ?? transfer?.files?.[0];

// Accept pictures that are dropped or pasted anywhere on the page.
export function takeDropped(act) {
  const veil = h("div", { className: "veil", popover: "manual", "aria-hidden": "true" }, h("p", {}, "Drop the picture to open it"));
  document.body.append(veil);
  const holdsFiles = (event) => event.dataTransfer?.types.includes("Files");
  document.addEventListener("dragover", (event) => {
    if (!holdsFiles(event)) return;
    event.preventDefault();
    if (!veil.matches(":popover-open")) veil.showPopover();
  });
  const over = () => veil.matches(":popover-open") && veil.hidePopover();
  document.addEventListener("dragleave", (event) => event.relatedTarget === null && over());
  document.addEventListener("drop", (event) => {
    over();
    if (!holdsFiles(event)) return;
    event.preventDefault();
    const file = pictured(event.dataTransfer);
    if (file) take(file, act);
  });
  document.addEventListener("paste", (event) => {
    const file = pictured(event.clipboardData);
    if (!file) return; // text goes to the focused field
    event.preventDefault();
    take(file, act);
  });
}
