/** The running experiment, or the last one: where it stands, what was broken and how it mends, what was asked of it. */

import {element, keyed, mark, reshape, say, set, show} from "./dom.js";
import {drawRecovery, makeRecovery} from "./recovery.js";
import {chosen, PHASES} from "./story.js";
import {clock, duration, seconds, verdictShape} from "./words.js";

const TICK_MS = matchMedia("(prefers-reduced-motion: reduce)").matches ? 1000 : 200;
const MET = new Map([[true, ["ready", "met"]], [false, ["failing", "missed"]], [null, ["pending", "open"]]]);
const $ = id => document.getElementById(id);

export class ExperimentView {
  #picture; #recovery; #ticker = 0; #open = null;

  constructor(picture) {
    this.#picture = picture;
    this.#recovery = makeRecovery();
    $("experiment-recovery").append(this.#recovery);
    picture.on(["experiments"], () => this.#draw());
  }

  #draw() {
    const [, status] = chosen(this.#picture.experiments) ?? [];
    show($("experiment-none"), !status);
    show($("experiment-body"), status);
    if (!status) return;
    const isRunning = status.phase === "Running", disruptions = status.disruptions ?? [];
    say($("experiment-name"), status.experiment);
    say($("experiment-when"), headline(status));
    reshape($("experiment-shape"), isRunning ? "pending" : verdictShape(status.verdict ?? ""));
    this.#steps(status, isRunning);
    this.#objectives(status.objectives ?? []);
    this.#earlier(disruptions.slice(0, -1).reverse());
    this.#follow(disruptions.at(-1), isRunning);
  }

  /** The last disruption grows by itself between what the feed tells. */
  #follow(disruption, isRunning) {
    show($("experiment-recovery"), disruption);
    this.#open = disruption && !disruption.restored && isRunning ? disruption : null;
    if (disruption) this.#grow(disruption);
    if (this.#open && !this.#ticker) this.#ticker = setInterval(() => this.#grow(this.#open), TICK_MS);
    if (!this.#open) this.#ticker = clearInterval(this.#ticker) ?? 0;
  }

  #grow(disruption) {
    drawRecovery(this.#recovery, disruption, this.#picture.now() - seconds(disruption.injectedAt));
  }

  #steps({run}, isRunning) {
    show($("experiment-steps"), isRunning && run);
    const now = PHASES.indexOf(run?.phase);
    keyed($("experiment-steps"), PHASES, {
      key: name => name,
      make: name => element("li", {}, name),
      update: (item, name) => {
        const at = PHASES.indexOf(name);
        set(item, {"aria-current": at === now ? "step" : null, "data-past": at < now ? "" : null});
      },
    });
  }

  #objectives(objectives) {
    show($("objectives"), objectives.length);
    keyed($("objectives-list"), objectives, {
      key: item => item.text,
      make: () => element("li", {}, mark(), element("code"), element("span", {class: "measured"})),
      update: (line, item) => {
        const [shape, text, measured] = line.children, [name, word] = MET.get(item.met) ?? MET.get(null);
        reshape(shape, name);
        say(text, item.text);
        say(measured, [word, item.measured].filter(Boolean).join(": "));
      },
    });
  }

  #earlier(disruptions) {
    show($("earlier"), disruptions.length);
    keyed($("earlier-rows"), disruptions, {
      key: item => `${item.run} ${item.step} ${item.injectedAt}`,
      make: () => element("tr", {}, element("th", {scope: "row", class: "num"}), element("td"), element("td"),
        ...Array.from({length: 5}, () => element("td", {class: "num"}))),
      update: (row, item) => {
        const marks = item.marks ?? {};
        const restored = item.restored ? duration(marks.restored) : "not yet";
        const texts = [item.run, item.step, item.target, duration(marks.detected), duration(marks.isolated), restored,
                       duration(item.outage_s), item.failed ?? "–"];
        for (const [index, cell] of [...row.children].entries()) say(cell, texts[index]);
      },
    });
  }
}

function headline(status) {
  const {run, verdicts = {}} = status;
  const told = Object.entries(verdicts).map(([word, number]) => `${number} ${word}`).join(", ");
  const isRunning = status.phase === "Running", began = clock(seconds(status.startedAt));
  const where = isRunning && run
    ? `run ${run.number} of ${run.of}${run.step ? `, step ${run.step}` : ""}`
    : `${status.verdict ?? status.phase}${status.reason ? `: ${status.reason}` : ""}`;
  return [where, status.platform && status.platform !== "testbed" ? status.platform : "", told && (isRunning ? `so far ${told}` : told),
          isRunning ? `since ${began}` : `${began} to ${clock(seconds(status.endedAt))}`].filter(Boolean).join(" · ");
}

