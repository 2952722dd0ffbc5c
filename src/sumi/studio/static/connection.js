// Whether the server answers: polled while the page is visible, and checked at once when a request fails.

import { sleep } from "./dom.js";

const EVERY_MS = 700;
const PATIENCE_MS = 1200; // together less than two seconds, even where the server hangs

const listeners = [];
let there; // undefined until the first answer
let wake = () => {};

export const isThere = () => there !== false;
export const onConnection = (act) => {
  listeners.push(act);
  if (there !== undefined) act(there);
};
export const check = () => wake();

async function answers() {
  try {
    const reply = await fetch("/health", { cache: "no-store", credentials: "omit", signal: AbortSignal.timeout(PATIENCE_MS) });
    return reply.status < 500;
  } catch {
    return false;
  }
}

export async function watchConnection() {
  document.addEventListener("visibilitychange", () => wake());
  for (;;) {
    if (!document.hidden) {
      const now = await answers();
      if (now !== there) {
        there = now;
        listeners.forEach((act) => act(now));
      }
    }
    await Promise.race([sleep(EVERY_MS), new Promise((resolve) => (wake = resolve))]);
  }
}
