/** A pod as a cell of its node's room: shape, name, state, restarts, probes, and what hits it. */

import {element, mark, reshape, say, set, show} from "./dom.js";
import {faultName, listed, passing, plural, podState, probesOf, restartsOf, shortName} from "./words.js";

const MARKS = new Map([[true, "✓"], [false, "✗"], [null, "·"]]);

export function makeCell(open) {
  const parts = {
    mark: mark(),
    stem: element("span", {class: "stem"}),
    tail: element("b"),
    state: element("span", {class: "state"}),
    restarts: element("span", {class: "restarts"}),
    probes: element("span", {class: "probes"}),
    hit: element("span", {class: "mark hit"}),
  };
  const cell = element("button", {class: "cell", type: "button", tabindex: "-1", onclick: open},
    element("span", {class: "name"}, parts.mark, parts.tail, parts.hit, parts.stem),
    element("span", {class: "facts"}, parts.state, parts.restarts, parts.probes));
  cell.parts = parts;
  return cell;
}

/** Draws the pod anew where anything of it, of its node or of the faults on it is another than before. */
export function fillCell(cell, {key, pod, node, hits}) {
  const faults = hits.map(faultName).join(" ");
  if (cell.pod === pod && cell.node === node && cell.faults === faults) return;
  Object.assign(cell, {pod, node, faults});
  const {parts} = cell, state = podState(pod, node), {stem, tail} = shortName(pod), restarts = restartsOf(pod);
  set(cell, {"data-state": state.shape, "data-pod": key, "data-hit": hits.length ? "" : null,
             "aria-label": sentence(pod, state, restarts, hits), title: pod.name});
  reshape(parts.mark, state.shape);
  say(parts.stem, stem);
  say(parts.tail, tail);
  say(parts.state, state.word);
  say(parts.restarts, restarts ? `↻${restarts}` : "");
  if (hits.length) reshape(parts.hit, "hit");
  show(parts.hit, hits.length);
  drawProbes(parts.probes, pod);
}

/** A letter for each kind of probe; of several containers the one that fares worst. */
function drawProbes(holder, pod) {
  const worst = new Map();
  for (const probe of (pod.containers ?? []).flatMap(probesOf)) {
    if (!worst.has(probe.letter) || probe.passes === false) worst.set(probe.letter, probe.passes);
  }
  const text = pod.ready || pod.phase === "Running" ? [...worst] : [];
  const told = text.map(([letter, passes]) => letter + MARKS.get(passes)).join("");
  if (holder.dataset.told === told) return;
  holder.dataset.told = told;
  holder.replaceChildren(...text.map(([letter, passes]) =>
    element("i", {class: passing(passes)}, letter + MARKS.get(passes))));
}

/** What a screen reader says of the cell. */
function sentence(pod, state, restarts, hits) {
  const failing = new Set((pod.containers ?? []).flatMap(probesOf).filter(probe => probe.passes === false)
    .map(probe => `${probe.name} probe fails`));
  const more = [state.word, ...failing, ...(restarts ? [plural(restarts, "restart")] : []),
                ...(hits.length ? [`hit by ${listed(hits.map(faultName))}`] : [])];
  return `${pod.name}: ${more.join(", ")}`;
}
