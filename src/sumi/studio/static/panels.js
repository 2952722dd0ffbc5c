// Panels of the viewer that are plain forms: vary, restyle, blend.

import { get } from "./api.js";
import { nameOf } from "./card.js";
import { button, field, h, range } from "./dom.js";
import { image } from "./images.js";
import { chooser } from "./upload.js";

const CHOICES = 24;

export function vary(viewer) {
  viewer.form("Draw other pictures of what this one shows.",
    [field("Pictures", range("n", 1, 8, 1, 4), { range: true }), field("How much may change", range("eta", 0.1, 1, 0.1, 1), { range: true })],
    "Vary", (form) => viewer.send({ kind: "vary", n: Number(form.get("n")), eta: Number(form.get("eta")) }));
}

export function restyle(viewer) {
  viewer.form("Move the picture in the direction from one text to another.",
    [
      field("From", h("input", { type: "text", name: "before", maxLength: 400, value: viewer.picture.prompt, placeholder: "a red fox" })),
      field("To", h("input", { type: "text", name: "after", maxLength: 400, placeholder: "a blue fox" })),
      field("How far", range("amount", 0.05, 1, 0.05, 0.4), { range: true }),
    ],
    "Restyle", async (form) => {
      const [before, after] = ["before", "after"].map((name) => form.get(name).trim());
      if (!before || !after) throw new Error("Fill in both: what the picture shows, and what it should show instead.");
      if (before.toLowerCase() === after.toLowerCase()) throw new Error("The two texts are the same. Change the second one.");
      await viewer.send({ kind: "restyle", before, after, amount: Number(form.get("amount")) });
    });
}

export function blend(viewer) {
  const group = h("div", { className: "choices", role: "radiogroup", "aria-label": "The other picture" });
  const others = new Map();
  const offer = (other, first = false) => {
    const value = String(others.size);
    others.set(value, other.reference ?? { picture: other.id });
    const radio = h("input", { type: "radio", name: "other", value, checked: first || others.size === 1, "aria-label": nameOf(other) });
    group[first ? "prepend" : "append"](h("label", { className: "choice" }, radio, image(other, { alt: "", loading: "lazy" })));
  };
  const empty = h("p", { hidden: true }, "There is no other picture yet. Upload one.");
  let last;
  const more = button("More", () => load(), { hidden: true });
  const load = async () => {
    const query = new URLSearchParams({ limit: CHOICES, ...(last && { after: last }) });
    const { data, has_more: hasMore } = await get(`/v1/gallery?${query}`);
    last = data.at(-1)?.id;
    for (const other of data) if (other.id !== viewer.picture.id) offer(other);
    more.hidden = !hasMore;
    empty.hidden = others.size > 0;
  };
  viewer.form("Draw the way from this picture to another.",
    [
      group, empty,
      h("div", { className: "row" }, more, chooser("Upload another", (other) => (offer(other, true), (empty.hidden = true)))),
      field("Pictures in the sequence", range("frames", 3, 12, 1, 6), { range: true }),
    ],
    "Blend", async (form) => {
      if (!form.has("other")) throw new Error("Choose the other picture, or upload one.");
      await viewer.send({ kind: "blend", frames: Number(form.get("frames")), images: [viewer.picture.reference, others.get(form.get("other"))] });
    });
  load().catch((error) => viewer.wrong(error));
}
