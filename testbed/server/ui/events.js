/** The stream of events, newest first: all, warnings only, or those about what is typed. Not read out: too many. */

import {element, keyed, mark, reshape, say, set, show} from "./dom.js";
import {clock, seconds} from "./words.js";

const SHOWN = 200;
const $ = id => document.getElementById(id);

export function showEvents(picture) {
  const draw = () => {
    const wanted = $("events-words").value.trim().toLowerCase(), onlyWarnings = $("events-warnings").checked;
    const rows = [...picture.events].reverse().map(([key, event]) => ({key, event}))
      .filter(({event}) => (!onlyWarnings || event.type === "Warning") && (!wanted || textOf(event).includes(wanted)))
      .sort(newestFirst)
      .slice(0, SHOWN);
    keyed($("events-list"), rows, {key: row => row.key, make, update});
    show($("events-none"), !rows.length);
    say($("events-none"), picture.events.size ? "No event fits." : "No events yet.");
  };
  picture.on(["events"], draw);
  $("events-words").addEventListener("input", draw);
  $("events-warnings").addEventListener("change", draw);
}

/** A second's events by the one clock that all of them share: what came again has no fractions in its time. */
export function newestFirst({event: a}, {event: b}) {
  const one = a.at.slice(0, 19), other = b.at.slice(0, 19);
  return one === other ? (b.monotonicUs ?? 0) - (a.monotonicUs ?? 0) : one < other ? 1 : -1;
}

const textOf = event => `${event.object} ${event.reason} ${event.message}`.toLowerCase();

function make() {
  const parts = {
    time: element("time"), mark: mark(), reason: element("b"), count: element("span", {class: "times"}),
    object: element("span", {class: "object"}), message: element("span", {class: "message"}),
    runbook: element("a", {target: "_blank", rel: "noopener"}, "runbook"),
  };
  const line = element("li", {}, parts.time, parts.mark,
    element("p", {}, parts.reason, " ", parts.object, " ", parts.count, parts.runbook, parts.message));
  line.parts = parts;
  return line;
}

function update(line, {event}) {
  if (line.event === event) return;
  line.event = event;
  const {parts} = line, isWarning = event.type === "Warning";
  line.dataset.type = event.type;
  say(parts.time, clock(seconds(event.at)));
  parts.time.dateTime = event.at ?? "";
  reshape(parts.mark, isWarning ? "warning" : "note");
  say(parts.reason, event.reason);
  say(parts.object, event.object);
  say(parts.count, event.count > 1 ? `×${event.count} ` : "");
  say(parts.message, event.message);
  show(parts.runbook, event.runbook);
  set(parts.runbook, {href: event.runbook || null,
    "aria-label": `Runbook of ${(event.message ?? "").split(":")[0]}`});
}
