// The tab *Teach*: a new word from one's own pictures, its progress, and what was taught, to draw with.

import { file, get, post, remove } from "./api.js";
import { button, field, h, notice, onShown, openTab } from "./dom.js";
import { read } from "./upload.js";

const POLL_MS = 2000;
const MOST_SIDE_PX = 768; // pictures are made this small before they are sent; the model reads them at 256
const [FEWEST, MOST] = [2, 200];

export function startTeach(place) {
  const pictures = new Map(); // address -> its cell
  const shown = h("div", { className: "cells small", role: "list", "aria-label": "Pictures to teach from" });
  const input = h("input", { type: "file", accept: "image/*", multiple: true, hidden: true, tabIndex: -1, "aria-hidden": "true" });
  const concept = h("input", { type: "text", name: "concept", maxLength: 200, placeholder: "my cat Mochi", required: true, autocomplete: "off" });
  const minutes = h("input", { type: "number", name: "minutes", min: 1, max: 600, step: 1, value: 20 });
  const begin = h("button", { className: "primary" }, "Teach");
  const wrong = h("p", { className: "wrong", role: "alert", hidden: true });
  const count = h("p", { className: "meta", "aria-live": "polite" });
  const form = h("form", { className: "lesson", noValidate: true, onsubmit: (event) => (event.preventDefault(), teach()) },
    h("p", { className: "explained" }, "Choose a dozen pictures of one thing, best cut out on a transparent background, and give it a word. The model then draws it in new colours and in company."),
    h("div", { className: "row" }, button("Choose pictures", () => input.click()), input, count), shown,
    field("What do they show? The new word comes last.", concept), field("Minutes", minutes), wrong, h("div", { className: "row" }, begin));
  const list = h("ul", { className: "taught", "aria-label": "What was taught" });
  place.replaceChildren(form, h("section", {}, h("h3", {}, "What was taught"), list));

  const complain = (text) => {
    wrong.textContent = text;
    wrong.hidden = !text;
  };

  input.addEventListener("change", async () => {
    for (const file of [...input.files]) {
      try {
        const url = await reduced(await read(file));
        const cell = h("figure", { className: "cell", role: "listitem" },
          h("div", { className: "frame" }, h("img", { src: url, alt: file.name })),
          button("Remove", () => (pictures.delete(url), cell.remove(), tally()), { "aria-label": `Remove ${file.name}` }));
        if (!pictures.has(url)) shown.append(cell);
        pictures.set(url, cell);
      } catch (error) {
        notice(error.message, "error");
      }
    }
    input.value = "";
    tally();
  });
  const tally = () => (count.textContent = pictures.size ? `${pictures.size} chosen` : "");

  async function teach() {
    if (pictures.size < FEWEST || pictures.size > MOST) return complain(`Choose ${FEWEST} to ${MOST} pictures; a dozen is a good number.`);
    if (!concept.value.trim()) return complain("Say what they show, with a word that is new to the model: my cat Mochi.");
    complain("");
    begin.disabled = true;
    try {
      const images = [...pictures.keys()].map((url) => ({ image_url: url }));
      const { name } = await post("/v1/adapters", { concept: concept.value.trim(), minutes: Number(minutes.value) || 20, images });
      notice(`The model learns ${name}.`);
      pictures.clear();
      shown.replaceChildren();
      tally();
      await refresh();
    } catch (error) {
      complain(error.message);
    } finally {
      begin.disabled = false;
    }
  }

  let timer;
  async function refresh() {
    clearTimeout(timer);
    const { data } = await get("/v1/adapters").catch(() => ({ data: null }));
    if (data) {
      list.replaceChildren(...(data.length ? data.map((card) => row(card, refresh)) : [h("li", { className: "empty" }, "Nothing yet.")]));
      onAdapters(data.filter((card) => card.status === "ready" && card.usable));
    }
    if (!data || data.some((card) => card.status === "learning")) timer = setTimeout(refresh, POLL_MS);
  }
  onShown(place, refresh);
  refresh();
}

function row(card, refresh) {
  const act = (label, path, request = post) =>
    button(label, () => request(`/v1/adapters/${card.name}${path}`).then(refresh, (error) => notice(error.message, "error")), { "aria-label": `${label} ${card.name}` });
  const share = card.num_steps ? Math.min(1, card.step / card.num_steps) : null;
  const left = card.eta_s ? `, about ${Math.max(1, Math.round(card.eta_s / 60))} min left` : "";
  const told = {
    ready: card.usable ? `“${card.concept}”, from ${card.pictures} pictures` : `made for another model, ${card.base}`,
    learning: `${card.doing ?? "starting"}${left}`,
    stopped: "stopped; it can go on",
    failed: card.error ?? "failed",
  }[card.status];
  return h("li", { "data-status": card.status },
    h("div", {}, h("b", {}, card.word ?? card.name), h("span", { className: "meta" }, ` ${told}`),
      card.has_picture ? sheet(card) : null,
      card.status === "learning" ? h("progress", { value: share ?? undefined, "aria-label": `Progress of ${card.name}` }) : null),
    h("div", { className: "row" },
      card.status === "ready" && card.usable ? button("Draw with it", () => drawWith(card), { "aria-label": `Draw with ${card.name}` }) : null,
      card.status === "learning" ? act("Stop", "/stop") : null,
      card.status === "stopped" || card.status === "failed" ? act("Go on", "/resume") : null,
      act("Remove", "", remove)));
}

// What an adapter draws, so far or at the end.
function sheet(card) {
  const picture = h("img", { alt: `What ${card.name} draws`, className: "samples" });
  file(`/v1/adapters/${card.name}/picture`).then((blob) => (picture.src = URL.createObjectURL(blob)), () => picture.remove());
  picture.addEventListener("load", () => URL.revokeObjectURL(picture.src));
  return picture;
}

// A picture's address, made smaller where it is larger than needed; transparency stays.
async function reduced({ url, width, height }) {
  const scale = MOST_SIDE_PX / Math.max(width, height);
  if (scale >= 1) return url;
  const whole = h("img", { src: url });
  await whole.decode();
  const canvas = h("canvas", { width: Math.round(width * scale), height: Math.round(height * scale) });
  canvas.getContext("2d").drawImage(whole, 0, 0, canvas.width, canvas.height);
  return canvas.toDataURL("image/png");
}

// Drawing with what was taught: a menu among the settings, which appears once there is something to choose. ------------

let place;
let boxes = [];

export const addAdapters = (where) => ((place = where), (place.hidden = true));

function onAdapters(cards) {
  if (!place) return;
  const before = new Map(boxes.map((box) => [box.card.name, [box.check.checked, box.weight.value]]));
  boxes = cards.map((card) => {
    const [on, value] = before.get(card.name) ?? [false, "1"];
    const check = h("input", { type: "checkbox", checked: on });
    const weight = h("input", { type: "number", min: 0, max: 2, step: 0.1, value, "aria-label": `Weight of ${card.name}` });
    return { card, check, weight };
  });
  place.hidden = !boxes.length;
  place.replaceChildren(h("span", { className: "heading" }, "Taught words"),
    ...boxes.map(({ card, check, weight }) => h("div", { className: "adapter" }, h("label", {}, check, ` ${card.word}`), weight)));
}

// The adapters that are chosen, as a request names them; "" for none.
export const chosenAdapters = () =>
  boxes.filter((box) => box.check.checked).map((box) => (Number(box.weight.value) === 1 ? box.card.name : `${box.card.name}:${box.weight.value}`)).join(",");

function drawWith(card) {
  for (const box of boxes) if (box.card.name === card.name) box.check.checked = true;
  openTab("Draw");
  document.querySelector("#prompt textarea").focus();
  notice(`Write a prompt with ${card.word} in it.`);
}
