// Layers: show or hide each thing of a picture on the board, and download all layers for painting programs.

import { file, get } from "./api.js";
import { slug } from "./card.js";
import { button, download, h } from "./dom.js";
import { coded } from "./images.js";

export async function layers(viewer) {
  const { board, panel, picture } = viewer;
  const wait = h("p", { role: "status" }, "Drawing the picture again to get its layers …");
  panel.replaceChildren(wait);
  let data;
  try {
    ({ data } = await get(`/v1/gallery/${picture.id}/layers`));
  } catch (error) {
    return panel.contains(wait) && wait.replaceWith(h("p", { className: "wrong", role: "alert" }, error.message));
  }
  if (!panel.contains(wait)) return;
  if (!data.length) {
    wait.textContent = "This picture was drawn in one piece. A prompt with several things, such as “a red fox and a blue car”, is drawn in layers.";
    return;
  }
  const sheets = data.map(({ image }) => h("img", { src: coded(image), alt: "" }));
  const rows = data.map(({ prompt, image }, number) => {
    const box = h("input", { type: "checkbox", checked: true, onchange: () => (sheets[number].hidden = !box.checked) });
    return h("li", {}, h("label", {}, box, h("span", { className: "frame" }, h("img", { src: coded(image), alt: "" })), h("span", { className: "words" }, prompt)));
  });
  board.lay(...sheets);
  panel.replaceChildren(
    h("p", {}, "The top layer comes first. Untick a layer to hide it."),
    h("ol", { className: "layers" }, rows.reverse()),
    button("Download OpenRaster", async () => {
      try {
        download(await file(`/v1/gallery/${picture.id}/openraster`), `${slug(picture)}.ora`);
      } catch (error) {
        viewer.wrong(error);
      }
    }, { className: "primary" }));
  panel.querySelector("input").focus({ preventScroll: true });
}
