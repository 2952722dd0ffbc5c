// Elements without templates: text stays text, whatever a prompt holds.

export function h(tag, props = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(props)) {
    if (value === undefined || value === null || value === false) continue;
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (name in element && !["list", "form"].includes(name)) element[name] = value;
    else element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...children.flat().filter((child) => child !== null && child !== undefined && child !== false));
  return element;
}

// A labelled control. `unit` is shown after a range's value.
export function field(label, control, { range = false, unit = "" } = {}) {
  const output = range ? h("output", {}, `${control.value}${unit}`) : null;
  if (range) control.addEventListener("input", () => (output.textContent = `${control.value}${unit}`));
  return h("label", { className: "field" }, h("span", {}, label, output ? " " : null, output), control);
}

export const range = (name, min, max, step, value) => h("input", { type: "range", name, min, max, step, value });

export const sleep = (milliseconds) => new Promise((resolve) => setTimeout(resolve, milliseconds));

// Resolves once the page has such an element; Gradio renders a tab when it is first opened.
export async function waitFor(selector) {
  for (;;) {
    const found = document.querySelector(selector);
    if (found) return found;
    await sleep(40);
  }
}

const NOTICE_MS = 6000;

// Show a line above everything, even an open dialog; screen readers announce it.
export function notice(text, kind = "note") {
  const line = document.getElementById("notice");
  line.className = kind;
  line.textContent = text;
  clearTimeout(notice.timer);
  if (line.matches(":popover-open")) line.hidePopover(); // showing it again puts it above a dialog that opened since
  if (!text) return;
  line.showPopover();
  notice.timer = setTimeout(() => line.hidePopover(), NOTICE_MS);
}

export const button = (label, onclick, props = {}) =>
  h("button", { type: "button", className: "quiet", ...props, onclick }, label);

export const isTyping = ({ target }) =>
  target.matches?.("textarea, select, input:not([type=range], [type=radio], [type=checkbox], [type=color], [type=button])") ?? false;

// Save a file.
export function download(blob, name) {
  const url = URL.createObjectURL(blob);
  h("a", { href: url, download: name }).click();
  setTimeout(() => URL.revokeObjectURL(url), 10_000);
}

export function openTab(name) {
  const tabs = document.querySelectorAll("#tabs > .tab-wrapper [role=tab], #tabs [role=tablist] [role=tab]");
  [...tabs].find((tab) => tab.textContent.trim() === name)?.click();
}

export function onShown(element, act) {
  new IntersectionObserver((entries) => entries.some((entry) => entry.isIntersecting) && act()).observe(element);
}
