// Deletes pictures, and removes them from every list of the page.

import { remove } from "./api.js";

const removed = [];

export const onRemoved = (act) => removed.push(act);

export async function deletePictures(ids) {
  for (const id of ids) {
    await remove(`/v1/gallery/${id}`);
    for (const shown of document.querySelectorAll(`[data-picture="${id}"]`)) shown.remove();
    removed.forEach((act) => act(id));
  }
}

// Deleting cannot be undone, so the button asks a second time.
export function askTwice(button, words, act) {
  if (button.dataset.sure) return act();
  const before = button.textContent;
  button.dataset.sure = "yes";
  button.textContent = words;
  button.addEventListener("blur", () => {
    delete button.dataset.sure;
    button.textContent = before;
  }, { once: true });
}
