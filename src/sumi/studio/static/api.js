// The server's API. A key, where one is needed, stays in this tab and goes with every request as a header. There is no
// cookie, so no other page can send requests in a user's name.

import { h } from "./dom.js";

const KEY = "sumi-key";

export class ApiError extends Error {
  constructor(status, error) {
    super(error?.message ?? `the server answered with status ${status}`);
    this.status = status;
    this.code = error?.code;
    this.suggestions = error?.suggestions ?? [];
  }
}

// A broken connection: it has no status.
export class AwayError extends ApiError {
  constructor() {
    super(undefined, { message: "The server does not answer. Try again in a moment." });
  }
}

async function send(path, { method = "GET", body, signal } = {}) {
  const headers = {};
  const key = sessionStorage.getItem(KEY);
  if (key) headers.Authorization = `Bearer ${key}`;
  const isForm = body instanceof FormData; // the browser writes the header of a form itself
  if (body !== undefined && !isForm) headers["Content-Type"] = "application/json";
  const reply = await fetch(path, { method, headers, body: isForm ? body : body && JSON.stringify(body), signal, credentials: "omit" })
    .catch((error) => { throw error.name === "AbortError" ? error : new AwayError(); });
  if (reply.status === 401) {
    // Unless another request has already got a newer key: then this one only tries again with it.
    if (sessionStorage.getItem(KEY) === key) await askForKey(key !== null);
    return send(path, { method, body, signal });
  }
  if (!reply.ok) throw new ApiError(reply.status, (await reply.json().catch(() => ({}))).error);
  return reply;
}

export const get = async (path, options) => (await send(path, options)).json();
export const post = async (path, body = {}) => (await send(path, { method: "POST", body })).json();
export async function sendFile(path, file) {
  const form = new FormData();
  form.append("file", file);
  return (await send(path, { method: "POST", body: form })).json();
}
export const patch = async (path, body) => (await send(path, { method: "PATCH", body })).json();
export const remove = async (path) => (await send(path, { method: "DELETE" })).json();
export const file = async (path, options) => (await send(path, options)).blob();

// Server-sent events, read with fetch because an EventSource sends no key.
export async function* events(path, signal) {
  const reader = (await send(path, { signal })).body.pipeThrough(new TextDecoderStream()).getReader();
  let text = "";
  try {
    for (;;) {
      const { value, done } = await reader.read();
      if (done) return;
      text += value;
      const parts = text.split("\n\n");
      text = parts.pop();
      for (const part of parts) {
        const kind = part.match(/^event: (.*)$/m)?.[1];
        const data = part.match(/^data: (.*)$/m)?.[1];
        if (kind) yield { kind, data: JSON.parse(data) };
      }
    }
  } finally {
    await reader.cancel().catch(() => {});
  }
}

let asking = null;

function askForKey(wasWrong) {
  asking ??= new Promise((resolve) => {
    const input = h("input", { type: "password", name: "key", required: true, autocomplete: "off", placeholder: "sk-sumi-…" });
    const dialog = h("dialog", { className: "small", "aria-labelledby": "key-title" },
      h("form", { method: "dialog", onsubmit: () => sessionStorage.setItem(KEY, input.value.trim()) },
        h("h2", { id: "key-title" }, "This studio needs a key"),
        h("p", {}, wasWrong ? "The server does not know that key. " : "", "Its operator makes one with ", h("code", {}, "sumi keys create"), ". The key stays in this tab."),
        h("label", { className: "field" }, h("span", {}, "Key"), input),
        h("div", { className: "row" }, h("button", { className: "primary" }, "Continue"))));
    dialog.addEventListener("cancel", (event) => event.preventDefault());
    dialog.addEventListener("close", () => {
      dialog.remove();
      asking = null;
      resolve();
    });
    document.body.append(dialog);
    dialog.showModal();
  });
  return asking;
}
