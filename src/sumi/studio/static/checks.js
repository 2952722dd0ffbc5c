// The tab *Check*: what is known of where a picture comes from, and what the policy holds back for a person.

import { file as fetchFile, get, post, sendFile } from "./api.js";
import { button, h, notice, onShown } from "./dom.js";

const SIGNED = {
  trusted: "Signed, and unchanged since. This machine trusts the signer's authority.",
  valid: "Signed, and unchanged since, by somebody whom this machine does not know.",
  invalid: "Changed after it was signed, or damaged.",
  not_present: "No signature.",
};
const SUBJECTS = { prompt: "A prompt", input: "A picture to start from", output: "A picture that was drawn" };

export function startChecks(place) {
  const found = h("div", { className: "found", "aria-live": "polite" });
  const input = h("input", { type: "file", accept: "image/png,image/jpeg,image/webp,image/gif", hidden: true, tabIndex: -1, "aria-hidden": "true" });
  input.addEventListener("change", () => {
    if (input.files[0]) check(input.files[0], found);
    input.value = "";
  });
  const zone = h("div", { className: "zone" }, h("p", {}, "Drop a picture here, or ", button("choose a file", () => input.click()), input, "."));
  takeDropped(place, (file) => check(file, found));
  const reviews = h("div", { className: "reviews" });
  place.replaceChildren(zone, found, h("h3", {}, "Held back for a review"), reviews);
  onShown(place, () => showReviews(reviews));
}

// The page opens pictures that are dropped elsewhere; here they are checked.
function takeDropped(place, act) {
  place.addEventListener("dragover", (event) => {
    event.preventDefault();
    event.stopPropagation();
  });
  place.addEventListener("drop", (event) => {
    event.preventDefault();
    event.stopPropagation();
    if (event.dataTransfer.files[0]) act(event.dataTransfer.files[0]);
  });
}

async function check(file, found) {
  found.setAttribute("aria-busy", "true");
  found.replaceChildren(h("p", {}, `Looking at ${file.name} …`));
  try {
    const { results } = await sendFile("/v1/content_provenance_checks", file);
    found.replaceChildren(h("h3", {}, file.name), h("dl", {}, ...rows(results)), h("p", { className: "small" }, "None of this proves anything: marks can be removed, copied and forged."));
  } catch (error) {
    found.replaceChildren();
    notice(error.message, "error");
  } finally {
    found.removeAttribute("aria-busy");
  }
}

function rows(results) {
  const of = Object.fromEntries(results.map((result) => [result.type, result]));
  const { c2pa, sumi_recipe: recipe, sumi_watermark: mark, sumi_gallery: gallery } = of;
  const origins = c2pa.ingredients.map((one) => `${one.title} (${one.manifest === "absent" ? "no marks" : `marks ${one.manifest}`})`);
  const pairs = [
    ["Signature", SIGNED[c2pa.validation_state]],
    ["Signed by", [c2pa.issuer, c2pa.generated_at].filter(Boolean).join(", ")],
    ["Source", c2pa.digital_source_type],
    ["Model", c2pa.model],
    ["Taught by", c2pa.rights],
    ["Made from", origins.join("; ")],
    ["Recipe", recipe.outcome === "detected" ? `${recipe.prompt || recipe.operation}, seed ${recipe.seed}${recipe.signed ? ", as signed" : ""}` : "None."],
    ["Watermark", `${mark.outcome === "detected" ? "Found" : "Not found"}, score ${mark.score}.`],
    ["In your gallery", gallery.similar.map((one) => `${one.prompt || one.picture} (${one.distance} of 256 bits apart)`).join("; ") || "Nothing like it."],
  ];
  return pairs.filter(([, value]) => value).flatMap(([name, value]) => [h("dt", {}, name), h("dd", {}, value)]);
}

async function showReviews(place) {
  try {
    const { data } = await get("/v1/reviews?status=pending");
    place.replaceChildren(...(data.length ? await Promise.all(data.map((review) => card(review, place))) : [h("p", { className: "empty" }, "Nothing waits for a review.")]));
  } catch (error) {
    if (error.status !== undefined) notice(error.message, "error");
  }
}

async function card(review, place) {
  const decide = (approved) => async () => {
    try {
      await post(`/v1/reviews/${review.id}`, { approved });
      await showReviews(place);
    } catch (error) {
      notice(error.message, "error");
    }
  };
  const reasons = review.reasons.map((one) => `${one.code} (${one.category})`).join(", ");
  const shown = review.subject === "prompt" ? h("blockquote", {}, review.text) : h("img", { src: await picture(review), alt: `The picture of the review ${review.id}`, width: 128 });
  return h("article", { className: "review" }, h("p", {}, `${SUBJECTS[review.subject]}: ${reasons}`), shown,
    h("div", { className: "row" }, button("Approve", decide(true)), button("Reject", decide(false))));
}

async function picture(review) {
  const data = await fetchFile(`/v1/reviews/${review.id}/picture`);
  return URL.createObjectURL(data);
}
