// The tab "How it works". A panel is `async (picture, place) => {}`: it explains one thing about a picture.

import { events, get } from "./api.js";
import { nameOf, label, tag } from "./card.js";
import { onConnection } from "./connection.js";
import { button, h, onShown, sleep } from "./dom.js";
import { nearest, words } from "./explanations.js";
import { address, coded, image } from "./images.js";
import { on } from "./jobs.js";
import { onRemoved } from "./removal.js";
import { onExplain } from "./viewer.js";

const PANELS = [showSteps, words, nearest];
const CHOICES = 12;
const FRAME_MS = 140;

export function startHowItWorks(place) {
  const strip = h("div", { className: "strip", role: "group", "aria-label": "Choose a picture" });
  const newer = button("Newer", () => turn(-1));
  const older = button("Older", () => turn(1));
  const pages = h("nav", { className: "pages", "aria-label": "More pictures" }, newer, older);
  const panels = h("div", { className: "panels" });
  const empty = h("p", { className: "empty", hidden: true }, "Draw something first; then you can watch how it was drawn.");
  place.replaceChildren(h("div", { className: "chooses" }, strip, pages), empty, panels);
  const starts = [null]; // the picture after which each visited page starts
  let page = 0;
  let shown = null;
  let stale = true;

  async function explain(picture) {
    shown = picture.id;
    mark();
    const features = document.body.dataset.features?.split(" ");
    const can = (feature) => !features || features.includes(feature);
    const panelsOf = PANELS.filter((panel) =>
      panel === words ? can("explain") && picture.operation === "generate" : panel === nearest ? can("nearest") : true);
    const places = panelsOf.map(() => h("section", {}));
    panels.replaceChildren(...places);
    await Promise.all(panelsOf.map((panel, number) => panel(picture, places[number])));
  }

  function mark() {
    for (const choice of strip.children) choice.setAttribute("aria-pressed", String(choice.dataset.choice === shown));
  }

  async function choose() {
    stale = false;
    const query = new URLSearchParams({ limit: CHOICES, ...(starts[page] && { after: starts[page] }) });
    const listed = await get(`/v1/gallery?${query}`).catch(() => null);
    if (!listed) return (stale = true);
    const { data, has_more: hasMore } = listed;
    if (hasMore) starts[page + 1] = data.at(-1).id;
    newer.disabled = page === 0;
    older.disabled = !hasMore;
    pages.hidden = page === 0 && !hasMore;
    empty.hidden = page > 0 || data.length > 0;
    strip.replaceChildren(...data.map((picture) =>
      h("button", { type: "button", className: "frame", "data-choice": picture.id, "aria-label": label(picture), onclick: () => explain(picture) },
        image(picture, { alt: "", loading: "lazy" }))));
    mark();
    if (!shown && data.length) explain(data[0]);
  }

  function turn(by) {
    page += by;
    choose();
  }

  function restart() {
    starts.length = 1;
    page = 0;
    choose();
  }

  on("job", (job) => (stale ||= job.status === "succeeded"));
  onRemoved(() => (stale = true));
  onExplain(explain);
  onShown(place.parentElement, () => stale && restart());
  onConnection((isThere) => isThere && stale && place.parentElement.offsetParent && restart());
}

// Every step that drew a picture, from noise to result.
async function showSteps(picture, place) {
  const noisy = h("img", { alt: "", className: "whole" });
  const mean = h("img", { alt: "", className: "whole" });
  const slider = h("input", { type: "range", min: 0, max: 0, value: 0, "aria-label": "From noise to picture", disabled: true });
  const play = h("button", { type: "button", className: "quiet", disabled: true, onclick: () => run() }, "Play");
  const where = h("output", { className: "where" }, "Drawing the picture again …");
  place.append(
    h("h3", {}, nameOf(picture), " ", tag(picture)),
    h("div", { className: "twins" },
      h("figure", {}, h("div", { className: "stage" }, noisy), h("figcaption", {}, "Noisy image")),
      h("figure", {}, h("div", { className: "stage" }, mean), h("figcaption", {}, "Estimate"))),
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
  const words = `${stage}, step ${step} of ${of}, ${Math.round(100 * t)}% noise`;
  return { noisy: coded(noisy), mean: coded(mean), words: words[0].toUpperCase() + words.slice(1) };
}
