/** The faults that are in effect, and those that were a short while ago or were refused. */

import {element, keyed, mark, reshape, say, show} from "./dom.js";
import {clock, faultName, inEffect, seconds, standing} from "./words.js";

const TOLD_S = 120;  // how long one that is over, or was refused, is still told of
const LOOK_MS = 10_000;  // how often it is looked whether that time has passed
const SHAPES = {"in effect": "hit", injecting: "pending", done: "done", over: "ready"};
const $ = id => document.getElementById(id);

export function showFaults(picture) {
  const draw = () => {
    const now = picture.now();
    const told = [...picture.faults].map(([key, fault]) => ({key, fault}))
      .filter(({fault}) => inEffect(fault) || now - seconds(fault.since) <= TOLD_S)
      .sort((a, b) => b.fault.since < a.fault.since ? -1 : 1);
    keyed($("faults-list"), told, {key: item => item.key, make, update});
    show($("faults-none"), !told.length);
  };
  picture.on(["faults"], draw);
  setInterval(draw, LOOK_MS);
}

const make = () => element("li", {}, mark(), element("p", {}, element("b"), " ", element("span")), element("time"),
  element("p", {class: "message"}));

function update(line, {key, fault}) {
  const [shape, what, time, message] = line.children, [name, whom] = what.children;
  line.dataset.fault = key;
  line.dataset.standing = standing(fault);
  reshape(shape, SHAPES[standing(fault)] ?? "failing");
  say(name, `${faultName(fault)} ${standing(fault)}`);
  say(whom, (fault.targets ?? []).join(", "));
  say(time, clock(seconds(fault.since)));
  say(message, fault.message);
}
