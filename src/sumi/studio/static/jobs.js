// Jobs live on the server. This module polls them, follows their steps, and notifies listeners.

import { events, get, post } from "./api.js";
import { check, onConnection } from "./connection.js";
import { sleep } from "./dom.js";

export const PREVIEWS = 12;
const SHOWN = 16;
const FOLLOWED = 3; // a browser opens six connections to one server; the others stay free
const BUSY_MS = 1000;
const IDLE_MS = 8000;
const OVER = ["succeeded", "failed", "canceled"];

export const isOver = (job) => OVER.includes(job.status);

const known = new Map();
const followed = new Map();
const listeners = { job: new Set(), progress: new Set(), poll: new Set() };
let wake = () => {};

// Listen for jobs, their progress, and every poll of the list; returns a function that stops listening.
export function on(kind, act) {
  listeners[kind].add(act);
  return () => listeners[kind].delete(act);
}
const emit = (kind, ...values) => listeners[kind].forEach((act) => act(...values));

export async function submit(request) {
  const job = await post("/v1/jobs", { previews: PREVIEWS, ...request });
  update(job);
  wake();
  return job;
}

export async function cancel(id) {
  update(await post(`/v1/jobs/${id}/cancel`));
}

// Poll the server's list for ever, more often while it draws.
export async function watch() {
  onConnection((isThere) => isThere && wake());
  for (;;) {
    let pause = BUSY_MS;
    try {
      await poll();
      emit("poll");
      if (![...known.values()].some((job) => !isOver(job))) pause = IDLE_MS;
    } catch (error) {
      if (error.status === undefined) check();
    }
    await Promise.race([sleep(pause), new Promise((resolve) => (wake = resolve))]);
  }
}

async function poll() {
  const { data } = await get(`/v1/jobs?limit=${SHOWN}`);
  const missing = [...known.values()].filter((job) => !isOver(job) && !data.some(({ id }) => id === job.id));
  const older = await Promise.all(missing.map((job) => get(`/v1/jobs/${job.id}`)));
  await unfinished(data, older);
  for (const job of [...data, ...older].reverse()) {
    if (job.status === "succeeded" && !job.pictures && !known.get(job.id)?.pictures) update(await get(`/v1/jobs/${job.id}`));
    else update(job);
  }
  const waiting = [...known.values()].filter((job) => !isOver(job) && !followed.has(job.id));
  waiting.sort((one, other) => one.created_at - other.created_at);
  for (const job of waiting.slice(0, FOLLOWED - followed.size)) follow(job.id);
}

// A long queue reaches past the first page of the list.
async function unfinished(data, older) {
  if (isOver(data.at(-1) ?? { status: "failed" })) return;
  for (const status of ["running", "queued"]) {
    const more = await get(`/v1/jobs?limit=100&status=${status}`);
    older.push(...more.data.filter(({ id }) => ![...data, ...older].some((job) => job.id === id)));
  }
}

function update(job) {
  const before = known.get(job.id);
  if (before && isOver(before)) return;
  if (before && before.status === job.status && before.progress > job.progress) job.progress = before.progress;
  known.set(job.id, job);
  emit("job", job, before);
}

async function follow(id) {
  const stop = new AbortController();
  followed.set(id, stop);
  try {
    for await (const { kind, data } of events(`/v1/jobs/${id}/events`, stop.signal)) {
      if (kind === "progress") {
        Object.assign(known.get(id), { status: "running", progress: data.progress });
        emit("progress", known.get(id), data);
      }
      if (kind === "done") update(data);
    }
  } catch {
    // The connection broke: the next poll follows the job again.
  } finally {
    followed.delete(id);
    wake();
  }
}

export const unfinishedJobs = () => [...known.values()].filter((job) => !isOver(job));

// How many pictures a job draws, including candidates.
export function size({ kind, request }) {
  if (kind === "blend") return request.amount === undefined ? (request.frames ?? 8) : 1;
  if (kind === "explore" || kind === "upscale" || kind === "restyle") return 1;
  return Math.max(request.n ?? 1, request.best_of ?? 0);
}

const WORDS = {
  vary: "Variations of", edit: "Edit of", blend: "Blend of", upscale: "Upscale of", explore: "Exploration of", img2img: "Drawing over",
};

// A job's title: its prompt, or what it does to which pictures.
export function title({ kind, request, origins = [] }) {
  if (kind === "restyle") return `${request.before} → ${request.after}`;
  const from = origins.map(({ prompt }) => prompt || "an uploaded picture").join(" and ");
  if (kind === "edit" && request.prompt && !origins.some(({ prompt }) => prompt === request.prompt)) return `${from} → ${request.prompt}`;
  return WORDS[kind] ? `${WORDS[kind]} ${from}` : request.prompt;
}
