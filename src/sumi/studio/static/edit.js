// Editing: paint a mask or add margins, describe the result, compare the results, keep or discard them.

import { button, field, h, range } from "./dom.js";
import { coded, image } from "./images.js";
import { cancel, isOver, on, submit } from "./jobs.js";
import { Mask } from "./mask.js";
import { deletePictures } from "./removal.js";
import { view } from "./viewer.js";

const SIDES = ["Left", "Top", "Right", "Bottom"];
const MOST_MARGIN_PX = 1024;

export function edit(viewer) {
  const { board, picture } = viewer;
  const mask = new Mask(board, picture);
  viewer.leave = () => mask.leave();
  viewer.shortcut = (event) => mask.shortcut(event);
  const margins = SIDES.map((side) => h("input", { type: "number", name: side, min: 0, max: MOST_MARGIN_PX, step: 8, value: 0, inputMode: "numeric" }));
  const expand = () => margins.map((input) => Math.trunc(Math.min(Math.max(Number(input.value) || 0, 0), MOST_MARGIN_PX)));
  for (const input of margins) input.addEventListener("input", () => board.expand(expand()));
  viewer.form("Paint over what to draw anew, or add margins. The rest stays exactly as it is.",
    [
      toolbar(mask),
      field("Brush size", mask.brush, { range: true, unit: "%" }),
      field("What the picture should show", h("input", { type: "text", name: "prompt", value: picture.prompt, maxLength: 400 })),
      field("Pictures", range("n", 1, 8, 1, 2), { range: true }),
      h("fieldset", {}, h("legend", {}, "Pixels to add"), margins.map((input, number) => field(SIDES[number], input))),
    ],
    "Edit", async (form) => {
      if (mask.isEmpty && !expand().some(Boolean)) throw new Error("Paint over what should change, or add pixels at an edge.");
      const request = { kind: "edit", prompt: form.get("prompt").trim(), n: Number(form.get("n")), expand: expand(), images: [picture.reference] };
      if (!mask.isEmpty) request.mask = { image_url: mask.url() };
      await review(viewer, request);
    });
}

function toolbar(mask) {
  const tool = (name, erases, key) => button(name, () => mask.use(erases), { "aria-keyshortcuts": key, title: `${name} (${key})` });
  const brush = tool("Brush", false, "B");
  const eraser = tool("Eraser", true, "E");
  const undo = button("Undo", () => mask.undo(), { "aria-keyshortcuts": "Control+Z", title: "Undo (Ctrl+Z)" });
  const redo = button("Redo", () => mask.redo(), { "aria-keyshortcuts": "Control+Shift+Z", title: "Redo (Ctrl+Shift+Z)" });
  const clear = button("Clear", () => mask.clear(), { "aria-keyshortcuts": "Delete", title: "Clear the mask (Delete)" });
  mask.onChange(() => {
    brush.setAttribute("aria-pressed", String(!mask.erases));
    eraser.setAttribute("aria-pressed", String(mask.erases));
    undo.disabled = mask.strokes.length === 0;
    redo.disabled = mask.undone.length === 0;
    clear.disabled = mask.strokes.length === 0;
  });
  return h("div", { className: "toolbar", role: "toolbar", "aria-label": "Mask" }, brush, eraser, undo, redo, clear);
}

// Wait for an edit, show its results over the picture, and let the user keep or discard them. The form comes back.
async function review(viewer, request) {
  const { board, panel } = viewer;
  const form = panel.querySelector("form");
  const bar = h("progress", { max: 1, "aria-label": "How far the edit is" });
  const job = await submit(request);
  const wait = h("div", { className: "review" }, h("p", { role: "status" }, "The edit is being drawn."), bar,
    h("div", { className: "row" }, button("Cancel", () => cancel(job.id).catch((error) => viewer.wrong(error)))));
  const back = () => {
    board.lay();
    panel.replaceChildren(form);
  };
  form.remove();
  panel.append(wait);
  const done = await waitForEnd(job.id, (progress) => {
    bar.value = progress.progress;
    if (progress.previews.length && panel.contains(wait)) board.lay(h("img", { src: coded(progress.previews[0]), alt: "" }));
  });
  if (!panel.contains(wait) || !panel.isConnected) return; // another picture is shown; the edit is in the gallery
  if (done.status !== "succeeded") {
    back();
    if (done.status === "failed") throw new Error(done.error?.message ?? "The edit failed.");
    return;
  }
  panel.replaceChildren(choice(viewer, request, done.pictures, back));
  panel.querySelector("[aria-pressed=true]").focus({ preventScroll: true });
}

// Wait for the end of a job, and return it with its pictures.
function waitForEnd(id, advance) {
  return new Promise((resolve) => {
    const stops = [
      on("progress", (job, progress) => job.id === id && advance(progress)),
      on("job", async (job) => {
        if (job.id !== id || !isOver(job) || (job.status === "succeeded" && !job.pictures)) return;
        stops.forEach((stop) => stop());
        resolve(job);
      }),
    ];
  });
}

function choice(viewer, request, pictures, back) {
  const { board } = viewer;
  let chosen = pictures[0];
  const among = [null, ...pictures]; // null: the picture before the edit
  const frames = among.map((picture, number) => h("button", {
    type: "button", className: "frame", "aria-label": picture ? `Result ${number}` : "Before", onclick: () => choose(picture),
  }, image(picture ?? viewer.picture, { alt: "" })));
  const keep = button("Keep this one", () => act(() => settle([chosen])), { className: "primary" });
  const choose = (picture) => {
    chosen = picture ?? chosen;
    frames.forEach((frame, number) => frame.setAttribute("aria-pressed", String(among[number] === picture)));
    keep.disabled = !picture;
    picture ? board.lay(image(picture, { alt: `Result ${among.indexOf(picture)}` })) : board.lay();
  };
  const act = (work) => work().catch((error) => viewer.wrong(error));
  const settle = async (kept) => {
    await deletePictures(pictures.filter((picture) => !kept.includes(picture)).map(({ id }) => id));
    await view(chosen.id, kept.map(({ id }) => id));
  };
  const discard = async () => {
    await deletePictures(pictures.map(({ id }) => id));
    back();
  };
  choose(chosen);
  return h("div", { className: "review" },
    h("p", { role: "status" }, pictures.length > 1 ? "Choose a result. The others are deleted unless you keep all." : "Keep the result, or go back to the mask."),
    h("div", { className: "results", role: "group", "aria-label": "Results" }, frames),
    h("div", { className: "row" }, keep,
      pictures.length > 1 ? button("Keep all", () => act(() => settle(pictures))) : null,
      button(pictures.length > 1 ? "Discard all" : "Discard", () => act(discard)),
      button("Try again", () => act(async () => (await discard(), await review(viewer, request))))));
}
