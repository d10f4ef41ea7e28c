/**
 * The machine room: each node a room, each of its pods a cell (`cell.js`); pods without a node wait in a room apart.
 * Arrow keys walk among the cells of a room, which is one stop of the Tab key. What is done with a pod or a node
 * is `onPod(key)` and `onNode(name)`.
 */

import {fillCell, makeCell} from "./cell.js";
import {element, keyed, mark, reshape, say, set, show} from "./dom.js";
import {hitsOf} from "./story.js";
import {faultName, nodeState, plural} from "./words.js";

const WAITING = "";
const GHOST_MS = 1500;  // how long one sees that a pod was there
const DENSE = 15;  // with more pods than that cells are drawn small

export function showRooms(picture, {nodes, waiting}, {onPod, onNode}) {
  const draw = () => {
    const hits = hitsOf(picture.faults.values()), rooms = roomsOf(picture);
    const how = {
      key: room => room.name,
      make: room => makeRoom(room, onNode),
      update: (section, room) => fillRoom(section, room, hits, onPod),
    };
    keyed(nodes, rooms.filter(({name}) => name !== WAITING), how);
    keyed(waiting, rooms.filter(({name}) => name === WAITING), how);
  };
  picture.on(["nodes", "pods", "faults"], draw);
}

/** Rooms with their pods: `{name, node, pods: [{key, pod}]}`, by name. */
function roomsOf({nodes, pods}) {
  const rooms = new Map([...nodes].map(([name, node]) => [name, {name, node, pods: []}]));
  for (const [key, pod] of pods) {
    const name = pod.node ?? WAITING;
    if (!rooms.has(name)) rooms.set(name, {name, node: null, pods: []});
    rooms.get(name).pods.push({key, pod});
  }
  const byName = new Intl.Collator("en", {numeric: true}).compare;
  for (const room of rooms.values()) {
    room.pods.sort((a, b) => byName(a.pod.app ?? "", b.pod.app ?? "") || byName(a.key, b.key));
  }
  return [...rooms.values()].sort((a, b) => byName(a.name, b.name));
}

function makeRoom({name}, onNode) {
  const id = `room-${name || "waiting"}`;
  const parts = {
    mark: mark(),
    state: element("span", {class: "state"}),
    facts: element("p", {class: "facts"}),
    hit: element("p", {class: "hit"}),
    cells: element("div", {class: "cells", role: "toolbar", "aria-label": `Pods on ${name || "no node"}`,
                           onkeydown: walk, onfocusin: stopHere}),
    empty: element("p", {class: "empty"}, "no pods"),
    cut: element("button", {type: "button", class: "quiet", "aria-label": `Cut power of ${name}…`,
                            onclick: () => onNode(name)}, "Cut power…"),
  };
  const section = element("section", {class: "room", "aria-labelledby": id},
    element("header", {}, parts.mark, element("h3", {id}, name || "Waiting for a node"), parts.state,
      ...(name ? [parts.cut] : [])),
    parts.facts, parts.hit, parts.cells, parts.empty);
  section.parts = parts;
  return section;
}

function fillRoom(section, {name, node, pods}, hits, onPod) {
  const {parts} = section, faults = hits.get(name) ?? [];
  const power = faults.some(fault => fault.kind === "NodeChaos" && fault.action === "kill");
  const state = node ? nodeState(node, power)
    : name ? {shape: "unknown", word: "not in the cluster"} : {shape: "pending", word: ""};
  set(section, {"data-state": state.shape, "data-dense": pods.length > DENSE ? "" : null, "data-node": name});
  reshape(parts.mark, state.shape);
  say(parts.state, state.word);
  say(parts.facts, [plural(pods.length, "pod"), node?.kind, node?.address].filter(Boolean).join(" · "));
  say(parts.hit, faults.length ? `hit by ${faults.map(faultName).join(", ")}` : "");
  show(parts.hit, faults.length);
  show(parts.empty, !pods.length);
  show(parts.cells, pods.length);
  parts.cut.disabled = !node || power;
  keyed(parts.cells, pods.map(({key, pod}) => ({key, pod, node, hits: hits.get(key) ?? []})), {
    key: item => item.key,
    make: item => makeCell(() => onPod(item.key)),
    update: fillCell,
    gone: leave,
  });
  const stops = cellsOf(parts.cells);
  if (stops.length && !stops.some(cell => cell.tabIndex === 0)) stops[0].tabIndex = 0;
}

const cellsOf = toolbar => [...toolbar.children].filter(cell => !cell.disabled);

/** The cell of a pod that is gone fades; the focus that it had goes to its neighbour. */
function leave(cell) {
  const neighbour = cell.nextElementSibling ?? cell.previousElementSibling;
  const hadFocus = cell === document.activeElement;
  cell.disabled = true;
  cell.tabIndex = -1;
  set(cell, {class: "cell gone", "aria-hidden": "true", "data-pod": null});
  if (hadFocus) neighbour?.focus();
  setTimeout(() => cell.remove(), GHOST_MS);
  return true;
}

/** Arrow keys, Home and End among the cells of a room. */
function walk(event) {
  const cells = cellsOf(event.currentTarget), at = cells.indexOf(document.activeElement);
  const next = {
    ArrowRight: () => cells[at + 1],
    ArrowLeft: () => cells[at - 1],
    ArrowDown: () => beside(cells, cells[at], 1),
    ArrowUp: () => beside(cells, cells[at], -1),
    Home: () => cells[0],
    End: () => cells.at(-1),
  }[event.key];
  if (!next || at < 0) return;
  event.preventDefault();
  const cell = next();
  cell?.focus();
}

/** The cell of the row below (1) or above (-1) that is nearest. */
function beside(cells, from, direction) {
  const further = cells.filter(cell => (cell.offsetTop - from.offsetTop) * direction > 0);
  const away = (cell, side) => Math.abs(cell[side] - from[side]);
  return further.sort((a, b) => away(a, "offsetTop") - away(b, "offsetTop")
    || away(a, "offsetLeft") - away(b, "offsetLeft"))[0];
}

/** Tab comes back to the cell that was left. */
function stopHere({currentTarget, target}) {
  for (const cell of cellsOf(currentTarget)) cell.tabIndex = cell === target ? 0 : -1;
}
