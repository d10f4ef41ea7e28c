/**
 * Says to screen readers what a person would look up for: faults, nodes that go and come, verdicts. Politely, and with
 * a pause between two, in which what happens is gathered into one sentence. What merely changes is not said.
 */

import {say} from "./dom.js";
import {phaseOf} from "./story.js";
import {faultName, listed, standing} from "./words.js";

const PAUSE_MS = 2500;
const MOST = 3;

const FAULTS = {"in effect": "hits", done: "hit", over: "is over on", failed: "did not take effect on"};
const NODES = {True: "is ready", False: "is not ready", Unknown: "is silent"};

export class Announcer {
  #place; #waiting = []; #timer = 0;

  constructor(place) {
    this.#place = place;
  }

  say(text) {
    if (this.#waiting.includes(text)) return;
    this.#waiting.push(text);
    if (!this.#timer) this.#next();
  }

  #next() {
    this.#timer = 0;
    if (!this.#waiting.length) return;
    const said = this.#waiting.splice(0);
    const more = said.length - MOST;
    say(this.#place, said.slice(0, MOST).join(" ") + (more > 0 ? ` And ${more} more.` : ""));
    this.#timer = setTimeout(() => this.#next(), PAUSE_MS);
  }

  /** Follows what changes in a picture. What stands in it when the page opens is not news. */
  follow(picture) {
    this.#onNews(picture, "faults", standing, faultWords);
    this.#onNews(picture, "nodes", node => node.ready, node => `Node ${node.name} ${NODES[node.ready]}.`);
    this.#onNews(picture, "experiments", run => phaseOf(run, picture.now()), runWords);
  }

  #onNews(picture, part, stateOf, wordsOf) {
    let known = null;
    picture.on([part], () => {
      const states = new Map([...picture[part]].map(([key, value]) => [key, stateOf(value)]));
      for (const [key, state] of known ? states : []) {
        const words = known.get(key) !== state && wordsOf(picture[part].get(key), state);
        if (words) this.say(words);
      }
      known = states;
    });
  }
}

function runWords({experiment, verdict}, phase) {
  if (phase === "Running") return `Experiment ${experiment} began.`;
  return `Experiment ${experiment} ended: ${phase === "Gone" ? "its runner is gone" : verdict}.`;
}

function faultWords(fault) {
  const verb = FAULTS[standing(fault)];
  if (standing(fault) === "refused") return `Fault ${faultName(fault)} was refused.`;
  return verb ? `Fault ${faultName(fault)} ${verb} ${listed(fault.targets ?? [])}.` : "";
}
