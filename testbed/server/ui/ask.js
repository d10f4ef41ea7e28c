/**
 * Asks the control plane, and asks again where no answer came: a browser drops requests whenever an address of this
 * machine changes, and each container that starts changes one. So whoever creates something gives it its name.
 */

import {pageKey} from "./session.js";

const PAUSES_MS = [200, 500, 1200];

/** `{answer, tries}`. Rejects when there was no answer to any try. */
async function persistently(url, options) {
  for (let tries = 1; ; tries += 1) {
    try {
      const headers = {...options?.headers, "X-Testbed-Page": pageKey()};
      return {answer: await fetch(url, {cache: "no-store", ...options, headers}), tries};
    } catch (error) {
      if (tries > PAUSES_MS.length) throw error;
      await new Promise(resolve => setTimeout(resolve, PAUSES_MS[tries - 1]));
    }
  }
}

/** The JSON of an answer; null where there is none, or it is no good one. */
export async function read(url) {
  try {
    const {answer} = await persistently(url);
    return answer.ok ? await answer.json() : null;
  } catch {
    return null;
  }
}

/** Creates an object. Returns what the API said against it, or nothing. */
export async function create(url, object) {
  const headers = {"Content-Type": "application/json"};
  try {
    const {answer, tries} = await persistently(url, {method: "POST", headers, body: JSON.stringify(object)});
    if (answer.ok || (answer.status === 409 && tries > 1)) return "";  // 409: a try before this one got through
    const status = await answer.json().catch(() => ({}));
    return `Refused: ${status.message ?? `the API answered ${answer.status}`}`;
  } catch {
    return "The control plane does not answer. If it was created all the same, it is told of under Faults.";
  }
}
