// The tab "How it works". A panel is `async (picture, place) => {}`: it shows one thing about a picture, in its place.

import { events, get } from "./api.js";
import { h, onShown, sleep } from "./dom.js";
import { nearest, words } from "./evidence.js";
import { on } from "./jobs.js";
import { address, called, onExplain } from "./picture.js";

const PANELS = [unfolding, words, nearest];
const CHOICES = 12;
const FRAME_MS = 140;

export function startHowItWorks(place) {
  const strip = h("div", { className: "strip", role: "group", "aria-label": "Choose a picture" });
  const panels = h("div", { className: "panels" });
  const empty = h("p", { className: "empty", hidden: true }, "Draw something first; then you can watch it come to be.");
  place.replaceChildren(strip, empty, panels);
  let shown = null;
  let stale = true;

  async function explain(picture) {
    shown = picture.id;
    mark();
    const places = PANELS.map(() => h("section", {}));
    panels.replaceChildren(...places);
    await Promise.all(PANELS.map((panel, number) => panel(picture, places[number])));
  }

  function mark() {
    for (const button of strip.children) button.setAttribute("aria-pressed", String(button.dataset.choice === shown));
  }

  async function choose() {
    stale = false;
    const { data } = await get(`/v1/gallery?limit=${CHOICES}`).catch(() => ({ data: [] }));
    empty.hidden = data.length > 0;
    strip.replaceChildren(...data.map((picture) =>
      h("button", { type: "button", className: "frame", "data-choice": picture.id, "aria-label": called(picture), onclick: () => explain(picture) },
        h("img", { src: address(picture), alt: "", loading: "lazy" }))));
    mark();
    if (!shown && data.length) explain(data[0]);
  }

  on("job", (job) => (stale ||= job.status === "succeeded"));
  onExplain(explain);
  onShown(place.parentElement, () => stale && choose());
}

// Every step that drew a picture, from noise to result.
async function unfolding(picture, place) {
  const noisy = h("img", { alt: "", className: "whole" });
  const mean = h("img", { alt: "", className: "whole" });
  const slider = h("input", { type: "range", min: 0, max: 0, value: 0, "aria-label": "From noise to picture", disabled: true });
  const play = h("button", { type: "button", className: "quiet", disabled: true, onclick: () => run() }, "Play");
  const where = h("output", { className: "where" }, "It is being drawn again …");
  place.append(
    h("h3", {}, called(picture)),
    h("div", { className: "twins" },
      h("figure", {}, h("div", { className: "stage" }, noisy), h("figcaption", {}, "What it has")),
      h("figure", {}, h("div", { className: "stage" }, mean), h("figcaption", {}, "What it believes"))),
    h("div", { className: "scrub" }, play, slider, where));
  const frames = [];
  let playing = 0;

  const show = (number) => {
    const frame = frames[number];
    slider.value = number;
    noisy.src = frame.noisy;
    mean.src = frame.mean;
    where.textContent = frame.words;
    slider.setAttribute("aria-valuetext", frame.words);
  };

  async function run() {
    const mine = ++playing;
    for (let number = 0; number < frames.length && mine === playing && place.isConnected; number++) {
      show(number);
      await sleep(FRAME_MS);
    }
  }

  slider.addEventListener("input", () => (playing++, show(Number(slider.value))));
  try {
    for await (const { kind, data } of events(`/v1/gallery/${picture.id}/steps`)) {
      if (kind === "error") throw new Error(data.error.message);
      if (!place.isConnected) return;
      if (kind !== "frame") break;
      frames.push(framed(data));
      show(frames.length - 1);
    }
    frames.push({ noisy: address(picture), mean: address(picture), words: "The picture" });
    Object.assign(slider, { max: frames.length - 1, disabled: false });
    play.disabled = false;
    show(frames.length - 1);
    place.dataset.ready = "yes";
  } catch (error) {
    where.textContent = error.message;
  }
}

function framed({ stage, step, of, t, noisy, mean }) {
  const coded = (png) => `data:image/png;base64,${png}`;
  const words = `${stage}, step ${step} of ${of}, ${Math.round(100 * t)}% noise`;
  return { noisy: coded(noisy), mean: coded(mean), words: words[0].toUpperCase() + words.slice(1) };
}
