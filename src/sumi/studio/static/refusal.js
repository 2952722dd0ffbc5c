// A prompt that the model does not know: a line below it, prompts that would work, and a button to draw it anyway.

import { button, h } from "./dom.js";

// Show why a prompt was refused. choose: draws a suggestion. insist: draws the prompt as it is.
export function showRefusal(error, prompt, choose, insist) {
  clearRefusal();
  const act = (run) => () => {
    clearRefusal();
    run();
  };
  const tries = error.suggestions.map((text) => button(text, act(() => choose(text)), { className: "quiet suggestion" }));
  const place = document.getElementById("prompt");
  const shown = prompt.length > 60 ? `${prompt.slice(0, 60)}…` : prompt;
  place.append(h("div", { id: "refusal" },
    h("p", { className: "wrong", role: "alert" }, `The model does not know “${shown}”. Try one of these:`),
    h("div", { className: "row" }, tries, button("Draw anyway", act(insist), { id: "anyway" }))));
  place.querySelector("textarea").addEventListener("input", clearRefusal, { once: true });
}

export const clearRefusal = () => document.getElementById("refusal")?.remove();
