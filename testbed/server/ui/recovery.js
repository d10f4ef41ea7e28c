/** Draws how a disruption mends: two paths as bars, a row from mark to mark; the open row grows. Decides nothing. */

import {element, keyed, say, set, svg} from "./dom.js";
import {besides, pathsOf, spanOf} from "./story.js";
import {clock, duration, seconds} from "./words.js";

export function makeRecovery() {
  const parts = {
    title: element("h3"), facts: element("p", {class: "muted"}), paths: element("div", {class: "paths"}),
    beside: element("p", {class: "beside"}),
  };
  const place = element("div", {class: "recovery"}, parts.title, parts.facts, parts.paths, parts.beside);
  place.parts = parts;
  return place;
}

/** `sinceS`: how long ago it was injected, in seconds. */
export function drawRecovery({parts}, disruption, sinceS) {
  const span = spanOf(disruption, sinceS);
  const others = (disruption.targets ?? 1) > 1 ? ` and ${disruption.targets - 1} more` : "";
  say(parts.title, disruption.target ? `${disruption.fault} on ${disruption.target}${others}` : disruption.fault);
  say(parts.facts, [`run ${disruption.run}`, disruption.step, `injected ${clock(seconds(disruption.injectedAt))}`,
    disruption.restored ? `restored after ${duration(disruption.marks?.restored)}` : "not restored yet",
    Number.isFinite(disruption.outage_s) ? `outage ${duration(disruption.outage_s)}` : "",
    `${disruption.failed ?? 0} failed`].filter(Boolean).join(" · "));
  keyed(parts.paths, pathsOf(disruption, sinceS), {
    key: path => path.name,
    make: makePath,
    update: (place, path) => fillPath(place, path, span),
  });
  say(parts.beside, besides(disruption).map(({word, at}) => `${word} after ${duration(at)}`).join(" · "));
}

const makePath = ({name, about}) => element("div", {class: "path", "data-path": name},
  element("h4", {}, name, element("small", {}, ` ${about}`)), element("ol"));

function fillPath(place, {rows}, span) {
  keyed(place.lastElementChild, rows, {
    key: row => row.mark,
    make: row => element("li", {"data-mark": row.mark}, element("span", {class: "word"}), track(),
      element("span", {class: "num"})),
    update: (line, row) => {
      const [word, bars, time] = line.children, share = value => `${(value / span * 100).toFixed(2)}%`;
      set(line, {"data-open": row.isOpen ? "" : null});
      set(bars.lastElementChild, {x: share(row.from), width: `max(3px, ${share(row.until - row.from)})`});
      say(word, row.isOpen ? `${row.word} …` : row.word);
      say(time, duration(row.until));
    },
  });
}

const track = () => svg("svg", {"aria-hidden": "true", class: "track"},
  svg("rect", {class: "rail", y: 5, width: "100%", height: 4, rx: 2}),
  svg("rect", {class: "bar", y: 1, height: 12, rx: 3}));
