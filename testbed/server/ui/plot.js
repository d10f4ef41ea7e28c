/** Draws seconds of requests into an SVG: bars up and down, two lines of latency, shaded windows. Keeps no values. */

import {keyed, say, set, svg} from "./dom.js";
import {clock, duration} from "./words.js";

const LEFT = 54, RIGHT = 8, TOP = 20, BARS = 150, GAP = 26, LINES = 74, BOTTOM = 22;
const HEIGHT = TOP + BARS + GAP + LINES + BOTTOM;
const NARROWEST_BAR = 3, LETTER = 7.8;

export class Plot {
  #place; #root; #layers; #frame = null;

  /** `onPoint(second)`: the pointer is over that second; null: over none. */
  constructor(place, onPoint) {
    this.#place = place;
    const layer = name => svg("g", {class: name});
    const path = name => svg("path", {class: name});
    this.#layers = {
      broken: path("broken"), windows: layer("windows"), grid: layer("grid"), ok: path("ok"), failed: path("failed"),
      late: path("late"), p99: path("p99"), p50: path("p50"), axis: path("axis"), pointer: path("pointer"),
    };
    this.#root = svg("svg", {height: HEIGHT, "aria-hidden": "true"}, hatching(), ...Object.values(this.#layers));
    place.append(this.#root);
    place.addEventListener("pointermove", event => onPoint(this.#point(event)));
    place.addEventListener("pointerleave", () => { this.#point(null); onPoint(null); });
  }

  /** How many seconds have room. */
  mostSeconds() {
    return Math.max(30, Math.floor((this.#place.clientWidth - LEFT - RIGHT) / NARROWEST_BAR));
  }

  /** `from`, `until`: unix seconds; `rows`: `[unix_s, ok, failed, late, p50_ms, p99_ms]`; `windows`: of `story.js`. */
  draw({from, until, rows, windows}) {
    const width = this.#place.clientWidth;
    if (!width) return;
    const seen = rows.filter(([second]) => second >= from && second < until).sort((a, b) => a[0] - b[0]);
    const x = second => LEFT + (second - from) / (until - from) * (width - LEFT - RIGHT);
    this.#frame = {from, until, width};
    set(this.#root, {width, viewBox: `0 0 ${width} ${HEIGHT}`});
    const base = this.#bars(seen, x);
    this.#latencies(seen, x);
    this.#windows(windows, x, from, until);
    this.#grid(x, from, until, base);
  }

  #bars(rows, x) {
    const up = nice(Math.max(1, ...rows.map(row => row[1])));
    const worst = Math.max(0, ...rows.map(row => row[2] + row[3]));
    const down = Math.max(worst, up * 0.18);
    const scale = BARS / (up + down), base = TOP + up * scale;
    const wide = Math.max(1, (x(1) - x(0)) * 0.8);
    const bar = (second, top, tall) => tall > 0 ? box(x(second), top, wide, tall) : "";
    set(this.#layers.ok, {d: rows.map(row => bar(row[0], base - row[1] * scale, row[1] * scale)).join("")});
    set(this.#layers.failed, {d: rows.map(row => bar(row[0], base, row[2] * scale)).join("")});
    set(this.#layers.late, {d: rows.map(row => bar(row[0], base + row[2] * scale, row[3] * scale)).join("")});
    return {y: base, up, top: TOP, down: worst, low: base + worst * scale};
  }

  #latencies(rows, x) {
    const most = nice(Math.max(1, ...rows.flatMap(row => [row[4] ?? 0, row[5] ?? 0])));
    const y = value => TOP + BARS + GAP + LINES * (1 - value / most);
    for (const [name, index] of [["p50", 4], ["p99", 5]]) {
      let isDown = false, last = null;
      const d = rows.map(row => {
        const value = row[index], isNext = isDown && row[0] === last + 1;
        last = row[0];
        isDown = Number.isFinite(value);
        return isDown ? `${isNext ? "L" : "M"}${x(row[0] + 0.5).toFixed(1)} ${y(value).toFixed(1)}` : "";
      }).join("");
      set(this.#layers[name], {d});
    }
    this.#frame.most = most;
  }

  #windows(windows, x, from, until) {
    const shown = windows.filter(item => item.from < until && (item.until ?? until) > from).map(item => {
      const left = x(Math.max(from, item.from)), right = x(Math.min(until, item.until ?? until));
      return {...item, left, right: Math.max(right, left + 2), label: item.name};
    });
    unclutter(shown, this.#frame.width - RIGHT);
    set(this.#layers.broken, {d: joined(shown).map(([left, right]) =>
      box(left, TOP - 2, right - left, HEIGHT - TOP - BOTTOM + 4)).join("")});
    keyed(this.#layers.windows, shown, {
      key: item => `${item.name} ${item.from}`,
      make: () => svg("g", {}, svg("path"), svg("text", {y: 13})),
      update: (group, {left, label, labelAt}) => {
        const [edge, text] = group.children;
        set(edge, {d: `M${left.toFixed(1)} 4V${HEIGHT - BOTTOM + 2}`});
        set(text, {x: labelAt.toFixed(1)});
        say(text, label);
      },
    });
  }

  #grid(x, from, until, base) {
    const {width, most} = this.#frame, low = TOP + BARS + GAP;
    const step = [5, 10, 15, 30, 60].find(every => (x(every) - x(0)) >= 74) ?? 60;
    const moments = [];
    for (let at = Math.ceil(from / step) * step; at < until; at += step) moments.push(at);
    const labels = [
      {id: "up", x: LEFT - 6, y: base.top + 4, text: base.up, end: true},
      {id: "zero", x: LEFT - 6, y: base.y + 4, text: "0", end: true},
      ...(base.low > base.y + 12 ? [{id: "down", x: LEFT - 6, y: base.low + 4, text: base.down, end: true}] : []),
      {id: "most", x: LEFT - 6, y: low + 4, text: duration(most / 1000), end: true},
      {id: "least", x: LEFT - 6, y: low + LINES + 2, text: "0", end: true},
      ...moments.filter(at => x(at) < width - 30).map(at => ({id: at, x: x(at), y: HEIGHT - 5, text: clock(at)})),
    ];
    keyed(this.#layers.grid, labels, {
      key: item => item.id,
      make: ({end}) => svg("text", {class: end ? "end" : "middle"}),
      update: (text, item) => { set(text, {x: item.x.toFixed(1), y: item.y.toFixed(1)}); say(text, item.text); },
    });
    const ticks = moments.map(at => `M${x(at).toFixed(1)} ${low + LINES}v4`).join("");
    const line = y => `M${LEFT} ${y.toFixed(1)}H${width - RIGHT}`;
    set(this.#layers.axis, {d: `${line(base.y)}${line(low + LINES)}${ticks}`});
  }

  #point(event) {
    const {from, until, width} = this.#frame ?? {};
    const x = event ? event.clientX - this.#root.getBoundingClientRect().left : -1;
    if (!width || x < LEFT || x > width - RIGHT) {
      set(this.#layers.pointer, {d: null});
      return null;
    }
    const second = Math.floor(from + (x - LEFT) / (width - LEFT - RIGHT) * (until - from));
    set(this.#layers.pointer, {d: `M${x} ${TOP}V${HEIGHT - BOTTOM}`});
    return second;
  }
}

const box = (left, top, wide, tall) =>
  `M${left.toFixed(1)} ${top.toFixed(1)}h${wide.toFixed(1)}v${tall.toFixed(1)}h-${wide.toFixed(1)}z`;

/** Where they cover something: `[left, right]`, those that overlap as one. They come by their beginnings. */
function joined(windows) {
  const areas = [];
  for (const {left, right} of windows) {
    const last = areas.at(-1);
    if (last && left <= last[1]) last[1] = Math.max(last[1], right);
    else areas.push([left, right]);
  }
  return areas;
}

/** Puts the labels where they fit before `end`. Those that have no room of their own share that of the one before. */
function unclutter(windows, end) {
  const place = item => { item.labelAt = Math.min(item.left + 5, end - item.label.length * LETTER); };
  let last = null;
  for (const item of windows) {
    place(item);
    if (last && item.labelAt < last.labelAt + last.label.length * LETTER + 10) {
      if (!last.label.split(", ").includes(item.label)) last.label += `, ${item.label}`;
      item.label = "";
      place(last);
    } else last = item;
  }
}

/** The next round number: 1, 2 or 5 times a power of ten, or one and a half. */
function nice(value) {
  const power = 10 ** Math.floor(Math.log10(value));
  return power * [1, 1.25, 1.5, 2, 2.5, 3, 4, 5, 6, 8, 10].find(step => step * power >= value);
}

function hatching() {
  const pattern = {id: "hatch", width: 5, height: 5, patternUnits: "userSpaceOnUse", patternTransform: "rotate(45)"};
  return svg("defs", {}, svg("pattern", pattern, svg("rect", {width: 5, height: 5}), svg("path", {d: "M0 0V5"})));
}
