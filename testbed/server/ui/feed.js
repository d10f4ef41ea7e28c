/**
 * The live feed: server-sent events, read by `fetch` and not by `EventSource`, which would hide the comments that show
 * that a silent control plane still lives, and the status that shows that a session is over. Resumes where it stopped.
 * Knows nothing of what the events mean.
 */

import {pageKey} from "./session.js";

const SILENCE_MS = 12_000;  // two of the feed's comments (every 5 s) and some patience
const PAUSES_MS = [250, 500, 1000, 2000, 3000];

/** Takes text apart into messages `{event, id, data}`; `rest` is the beginning of the next one. */
export function parsed(text) {
  const blocks = text.replaceAll("\r\n", "\n").split("\n\n");
  const rest = blocks.pop();
  const messages = blocks.map(block => {
    const found = {event: "message", id: null, data: []};
    for (const line of block.split("\n")) {
      const [, name, value] = /^([^:]*):? ?(.*)$/.exec(line);
      if (name === "data") found.data.push(value);
      else if (name === "event" || name === "id") found[name] = value;
    }
    return {...found, data: found.data.join("\n")};
  });
  return {messages: messages.filter(message => message.data), rest};
}

export class Feed {
  #url; #onMessage; #onState; #lastId = null; #failures = 0; #abort = null; #timer = 0; #state = "";

  /** `onState(state)`: "connecting", "live", "away" (no connection), "silent" (nothing comes), "over" (no session). */
  constructor(url, {onMessage, onState}) {
    this.#url = url;
    this.#onMessage = onMessage;
    this.#onState = onState;
  }

  start() {
    this.#tell("connecting");
    this.#run();
    addEventListener("online", () => this.#retryNow());
    document.addEventListener("visibilitychange", () => document.hidden || this.#retryNow());
  }

  async #run() {
    this.#timer = 0;
    const ended = await this.#read().catch(() => "away");
    if (ended === "over") return this.#tell("over");
    this.#tell(ended);
    const pause = PAUSES_MS[Math.min(this.#failures++, PAUSES_MS.length - 1)];
    this.#timer = setTimeout(() => this.#run(), pause);
  }

  #retryNow() {
    if (!this.#timer) return;
    clearTimeout(this.#timer);
    this.#run();
  }

  /** One connection, until it ends. Returns the state that it leaves. */
  async #read() {
    const abort = this.#abort = new AbortController();
    let isSilent = false;
    const hush = () => { isSilent = true; abort.abort(); };
    let silence = setTimeout(hush, SILENCE_MS);
    try {
      const headers = {Accept: "text/event-stream", "X-Testbed-Page": pageKey(),
        ...(this.#lastId && {"Last-Event-ID": this.#lastId})};
      const answer = await fetch(this.#url, {headers, cache: "no-store", signal: abort.signal});
      if (answer.status === 401 || answer.status === 403) return "over";
      if (!answer.ok) return "away";
      const decoder = new TextDecoder();
      let text = "";
      for await (const bytes of chunks(answer.body)) {
        clearTimeout(silence);
        silence = setTimeout(hush, SILENCE_MS);
        const {messages, rest} = parsed(text + decoder.decode(bytes, {stream: true}));
        text = rest;
        for (const message of messages) this.#take(message);
        this.#failures = 0;
        this.#tell("live");
      }
      return "away";
    } catch (error) {
      if (isSilent) return "silent";
      throw error;
    } finally {
      clearTimeout(silence);
    }
  }

  #take(message) {
    if (message.id !== null) this.#lastId = message.id;
    this.#onMessage(message.event, JSON.parse(message.data));
  }

  #tell(state) {
    if (state === this.#state) return;
    this.#state = state;
    this.#onState(state);
  }
}

async function* chunks(body) {
  const reader = body.getReader();
  for (;;) {
    const {done, value} = await reader.read();
    if (done) return;
    yield value;
  }
}
