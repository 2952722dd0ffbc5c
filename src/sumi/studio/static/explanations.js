// Two panels of the tab "How it works": which word drew which part, and the nearest training drawings.

import { get } from "./api.js";
import { h } from "./dom.js";
import { coded, image } from "./images.js";

const share = (number) => `${Math.round(100 * number)}%`;

// For each word a heat map of where it matters, and the picture drawn without it.
export async function words(picture, place) {
  await fill(place, "words", "Which word drew what",
    "The model draws the picture again without each word, from the same noise. Red shows where the picture changes; the number is the word's share of all change.",
    async () => (await get(`/v1/gallery/${picture.id}/words`)).data.map((word) =>
      h("figure", {},
        h("figcaption", {}, h("b", {}, word.word), " ", h("span", { className: "share" }, share(word.share))),
        h("img", { src: coded(word.heat), alt: `Where “${word.word}” acted: ${share(word.share)} of all changes` }),
        h("div", { className: "stage" }, h("img", { src: coded(word.without), alt: `Without “${word.word}”` })),
        h("small", {}, `without “${word.word}”`))));
}

export async function nearest(picture, place) {
  await fill(place, "nearest", "What the model learned from",
    "The training drawings nearest to the picture by CLIP, and, framed, the one nearest by pixels. A distance of 0 would be a copy.",
    async () => {
      const { data } = await get(`/v1/gallery/${picture.id}/nearest`);
      const closest = Math.min(...data.map((near) => near.distance));
      return [
        h("figure", {}, h("div", { className: "stage" }, image(picture, { alt: "" })), h("b", {}, "The picture")),
        ...data.map((near) => drawing(near, near.distance === closest)),
      ];
    });
}

function drawing(near, closest) {
  const name = [near.concept, near.person].filter(Boolean).join(", ");
  return h("figure", { className: closest ? "closest" : "" },
    h("div", { className: "stage" }, h("img", { src: coded(near.thumbnail), alt: name })),
    h("b", {}, name),
    h("small", {}, `distance ${near.distance.toFixed(2)}, cosine ${near.cosine.toFixed(2)}`),
    h("small", {}, `${near.author}, ${near.licence}`));
}

async function fill(place, name, title, explanation, figures) {
  const wait = h("p", { className: "where", role: "status" }, "Computing …");
  place.append(h("h3", {}, title), h("p", { className: "explained" }, explanation), wait);
  try {
    const made = await figures();
    wait.replaceWith(h("div", { className: `evidence ${name}` }, ...made));
    place.dataset.ready = "yes";
  } catch (error) {
    wait.textContent = error.message;
  }
}
