/** One pod in full, in a dialog that goes on living: its containers, probes, restarts, and the last events about it. */

import {element, keyed, reshape, say, show} from "./dom.js";
import {newestFirst} from "./events.js";
import {spared} from "./plans.js";
import {clock, passing, plural, podState, probesOf, seconds} from "./words.js";

const $ = id => document.getElementById(id);
const LAST_EVENTS = 6;

export class PodDialog {
  #picture; #key = null;

  /** `kill(key)`: asks whether to kill the pod. */
  constructor(picture, kill) {
    this.#picture = picture;
    picture.on(["pods", "nodes", "events"], () => this.#draw());
    $("pod").addEventListener("close", () => {
      if (!$("pod").open) this.#key = null;  // told late: it may be open again
    });
    $("pod-kill").addEventListener("click", () => {
      const key = this.#key;
      $("pod").close();
      kill(key);
    });
  }

  open(key) {
    this.#key = key;
    this.#draw();
    $("pod").showModal();
  }

  #draw() {
    if (!this.#key) return;
    const pod = this.#picture.pods.get(this.#key), why = spared(pod);
    $("pod-kill").disabled = Boolean(why);
    say($("pod-spared"), why);
    if (!pod) return say($("pod-state"), "gone");
    const state = podState(pod, this.#picture.nodes.get(pod.node));
    say($("pod-title"), pod.name);
    reshape($("pod-shape"), state.shape);
    say($("pod-state"), state.word);
    say($("pod-facts"), [pod.namespace, pod.owner?.replace("/", " "), pod.node || "no node yet",
                         pod.startedAt && `since ${clock(seconds(pod.startedAt))}`].filter(Boolean).join(" · "));
    keyed($("pod-containers"), pod.containers ?? [], {key: item => item.name, make: makeRow, update: fillRow});
    keyed($("pod-events"), this.#events(pod), {key: item => item.key, make: () => element("li"), update: fillEvent});
    show($("pod-quiet"), !$("pod-events").childElementCount);
  }

  #events(pod) {
    return [...this.#picture.events].reverse().map(([key, event]) => ({key, event}))
      .filter(({event}) => event.object === `Pod/${pod.namespace}/${pod.name}`)
      .sort(newestFirst).slice(0, LAST_EVENTS);
  }
}

const makeRow = () => element("tr", {}, element("th", {scope: "row"}), element("td"), element("td", {class: "num"}),
  element("td"));

function fillRow(row, container) {
  const [name, state, restarts, probes] = row.children;
  say(name, container.name);
  say(state, [container.state, container.reason].filter(Boolean).join(": "));
  say(restarts, container.restarts);
  const told = probesOf(container).map(probe => `${probe.name}\u00a0${passing(probe.passes)}`);
  say(probes, told.join(", ") || "none");
}

function fillEvent(row, {event}) {
  const often = event.count > 1 ? ` (${plural(event.count, "time")})` : "";
  say(row, `${clock(seconds(event.at))} ${event.reason}: ${event.message}${often}`);
}
