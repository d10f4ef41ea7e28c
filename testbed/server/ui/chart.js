/**
 * The requests of an experiment, second by second: answered ones stand up from the line, failed and late ones hang down
 * from it, so that an outage is seen without its colour; below them the latencies; behind both the time when something
 * was broken. Keeps what it was told for three minutes. Which experiment that is: `story.js`; the drawing: `plot.js`.
 */

import {element, keyed, say, set, show} from "./dom.js";
import {Plot} from "./plot.js";
import {chosen, phaseOf, windowsOf} from "./story.js";
import {clock, count, milliseconds} from "./words.js";

const KEPT_S = 180;
const LEAST_S = 60;
const TABLE_S = 12;
const $ = id => document.getElementById(id);

/** Values of a second: `[unix_s, ok, failed, late, p50_ms, p99_ms]`. */
const COLUMNS = ["ok", "failed", "late", "p50", "p99"];

export class RequestChart {
  #picture; #plot; #rows = new Map(); #of = ""; #target = ""; #pointed = null;

  constructor(picture) {
    this.#picture = picture;
    this.#plot = new Plot($("requests-plot"), second => { this.#pointed = second; this.#legend(); });
    $("requests-target").addEventListener("change", event => { this.#target = event.target.value; this.draw(); });
    $("requests-table").addEventListener("toggle", () => this.draw());
    picture.on(["experiments", "faults"], () => this.draw());
    new ResizeObserver(() => this.draw()).observe($("requests-plot"));
  }

  draw() {
    const now = this.#picture.now(), [key, status] = chosen(this.#picture.experiments, now) ?? [];
    const loads = status?.load ?? [];
    const load = loads.find(item => item.target === this.#target) ?? loads[0];
    this.#targets(loads, load);
    this.#keep(`${key} ${load?.target}`, load?.recent ?? []);
    show($("requests-none"), !this.#rows.size);
    $("requests").dataset.empty = String(!this.#rows.size);
    this.#totals(load);
    if (!this.#rows.size) return;
    const last = Math.max(...this.#rows.keys());
    const end = phaseOf(status, now) === "Running" ? Math.max(last + 1, Math.floor(now)) : last + 1;
    const first = Math.min(...this.#rows.keys());
    const span = Math.min(KEPT_S, Math.max(LEAST_S, end - first), this.#plot.mostSeconds());
    this.#plot.draw({from: end - span, until: end, rows: [...this.#rows.values()],
                     windows: windowsOf(status, this.#picture.faults.values())});
    this.#legend();
    this.#table();
    set($("requests-plot"), {"aria-label": this.#sentence()});
  }

  #targets(loads, load) {
    const choice = $("requests-target");
    show($("requests-choice"), loads.length > 1);
    keyed(choice, loads, {key: item => item.target, make: () => element("option"), update: (option, item) => {
      say(option, item.target);
      option.selected = item === load;
    }});
  }

  #keep(of, recent) {
    if (of !== this.#of) this.#rows.clear();
    this.#of = of;
    for (const row of recent) this.#rows.set(row[0], row);
    const oldest = Math.max(0, ...this.#rows.keys()) - KEPT_S;
    for (const second of this.#rows.keys()) if (second < oldest) this.#rows.delete(second);
  }

  /** The second that is pointed at, else the last one. */
  #shown() {
    return this.#rows.get(this.#pointed) ?? this.#rows.get(Math.max(...this.#rows.keys()));
  }

  #legend() {
    const row = this.#shown();
    if (!row) return;
    say($("requests-at"), `${clock(row[0])}${this.#pointed === row[0] ? "" : " (last)"}`);
    for (const [index, name] of COLUMNS.entries()) {
      const value = row[index + 1];
      say($(`requests-${name}`), name.startsWith("p") ? milliseconds(value) : `${count(value)}/s`);
    }
  }

  #totals(load) {
    const parts = load ? [["sent", load.sent], ["answered", load.ok], ["failed", load.failed], ["late", load.late],
                          ["not sent", load.unsent]] : [];
    say($("requests-totals"), parts.map(([word, value]) => `${count(value)} ${word}`).join(" · "));
  }

  #sentence() {
    const [second, ok, failed, late, p50, p99] = this.#shown();
    return `Requests per second. At ${clock(second)}: ${ok} answered, ${failed} failed, ${late} late; `
      + `median ${milliseconds(p50)}, 99th percentile ${milliseconds(p99)}.`;
  }

  /** The last seconds as a table, for those who do not see the picture; only while it is open. */
  #table() {
    if (!$("requests-table").open) return;
    const rows = [...this.#rows.values()].sort((a, b) => b[0] - a[0]).slice(0, TABLE_S);
    keyed($("requests-rows"), rows, {
      key: row => row[0],
      make: () => element("tr", {}, element("th", {scope: "row"}), ...COLUMNS.map(() => element("td", {class: "num"}))),
      update: (line, [second, ok, failed, late, p50, p99]) => {
        const texts = [clock(second), ok, failed, late, milliseconds(p50), milliseconds(p99)];
        for (const [index, cell] of [...line.children].entries()) say(cell, texts[index]);
      },
    });
  }
}

