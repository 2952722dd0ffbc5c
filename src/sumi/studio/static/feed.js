// The feed: a sheet of pictures for every job, sharpening while it draws, and the queue above.

import { h, notice } from "./dom.js";
import { cancel, isOver, on, size, title, unfinishedJobs } from "./jobs.js";
import { figure } from "./card.js";
import { onRemoved } from "./removal.js";
import { notes } from "./viewer.js";

const MOST_SHEETS = 8;
const TOGETHER = 4; // pictures of one job that the engine draws at once

const sheets = new Map();

export function startFeed(feed, queue) {
  const empty = h("p", { className: "empty" }, "Nothing here yet. Write what you would like to see.");
  feed.append(empty);
  feed.setAttribute("aria-busy", "true"); // until the first list of jobs arrives
  feed.dataset.list = "feed";
  on("poll", () => feed.removeAttribute("aria-busy"));
  onRemoved(() => [...sheets.values()].forEach((sheet) => sheet.over && sheet.grid.isConnected && !sheet.grid.children.length && sheet.leave()));
  on("job", (job) => {
    if (job.status === "canceled" && !sheets.has(job.id)) return;
    empty.hidden = true;
    const sheet = sheets.get(job.id) ?? add(feed, job);
    sheet.show(job);
    showQueue(queue);
  });
  on("progress", (job, progress) => {
    sheets.get(job.id)?.advance(job, progress);
    showQueue(queue);
  });
}

function add(feed, job) {
  const sheet = new Sheet(job);
  const newer = [...sheets.values()].find((other) => other.created > job.created_at);
  const after = [...sheets.values()].filter((other) => other.created > job.created_at).at(-1);
  sheets.set(job.id, sheet);
  if (newer) after.element.after(sheet.element);
  else feed.prepend(sheet.element);
  const oldest = [...sheets.values()].sort((one, other) => other.created - one.created).slice(MOST_SHEETS);
  for (const gone of oldest.filter((old) => old.over)) gone.leave();
  const ordered = [...sheets.entries()].sort(([, one], [, other]) => other.created - one.created);
  sheets.clear();
  for (const [id, one] of ordered) sheets.set(id, one);
  return sheet;
}

class Sheet {
  constructor(job) {
    this.id = job.id;
    this.created = job.created_at;
    this.over = false;
    this.cells = Array.from({ length: size(job) }, () => h("div", { className: "cell waiting" }));
    this.grid = h("div", { className: "cells" }, this.cells);
    this.notes = h("div", {});
    this.meta = h("p", { className: "meta" });
    this.stop = h("button", { className: "quiet", type: "button", onclick: () => end(job.id) }, "Cancel");
    const head = h("header", {}, h("h3", {}, title(job)), this.meta, this.stop);
    this.element = h("article", { className: "sheet", "data-job": job.id, "aria-label": title(job) }, head, this.notes, this.grid);
  }

  leave() {
    this.element.remove();
    sheets.delete(this.id);
  }

  show(job) {
    this.element.dataset.status = job.status;
    this.meta.textContent = describe(job);
    const lines = notes(job) ?? notes(job.pictures?.[0] ?? {});
    if (lines) this.notes.replaceChildren(lines);
    if (!isOver(job) || this.over) return;
    this.stop.remove();
    this.element.removeAttribute("aria-busy");
    if (job.status === "succeeded" && !job.pictures) return;
    this.over = true;
    if (job.pictures) this.grid.replaceChildren(...job.pictures.map((picture) => figure(picture)));
    else this.grid.remove();
  }

  advance(job, progress) {
    this.meta.textContent = describe(job, progress);
    this.element.setAttribute("aria-busy", "true");
    const first = job.request.seed ?? progress.seeds[0];
    const alike = new Set(progress.seeds).size < progress.seeds.length;
    const batch = Math.floor(((progress.step - 1) * Math.ceil(this.cells.length / TOGETHER)) / progress.of);
    progress.previews.forEach((preview, row) => {
      const cell = this.cells[alike ? batch * TOGETHER + row : progress.seeds[row] - first];
      if (!cell) return;
      cell.className = "cell";
      const image = cell.firstChild ?? cell.appendChild(h("img", { alt: "" }));
      image.src = `data:image/png;base64,${preview}`;
    });
  }
}

function describe(job, progress) {
  const words = { queued: "waiting", failed: job.error?.message ?? "failed", canceled: "canceled" };
  if (job.status === "running") return progress ? `${progress.stage}, step ${progress.step} of ${progress.of}` : "drawing";
  if (job.status !== "succeeded") return words[job.status];
  const { seed, best_of: of } = job.request;
  return [of ? `best of ${of}` : null, seed === undefined ? null : `seed ${seed}`].filter(Boolean).join(" · ");
}

async function end(id) {
  try {
    await cancel(id);
  } catch (error) {
    notice(error.message, "error");
  }
}

function showQueue(queue) {
  const jobs = unfinishedJobs().sort((one, other) => one.created_at - other.created_at);
  queue.hidden = jobs.length < 2;
  const rows = jobs.map((job) => {
    const bar = h("progress", { max: 1, value: job.progress, "aria-label": `Progress of ${title(job)}` });
    const stop = h("button", { className: "quiet", type: "button", onclick: () => end(job.id), "aria-label": `Cancel ${title(job)}` }, "Cancel");
    return h("li", {}, h("span", {}, title(job)), bar, stop);
  });
  const focused = queue.contains(document.activeElement) && document.activeElement.getAttribute("aria-label");
  queue.replaceChildren(h("h2", {}, `Queue, ${jobs.length}`), h("ol", {}, rows));
  if (focused) queue.querySelector(`[aria-label="${CSS.escape(focused)}"]`)?.focus();
}
