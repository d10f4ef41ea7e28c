/** The running experiment, or the last one: where it stands, what was broken and how it mends, what was asked of it. */

import {element, keyed, mark, reshape, say, set, show} from "./dom.js";
import {drawRecovery, makeRecovery} from "./recovery.js";
import {chosen, endOf, phaseOf, PHASES} from "./story.js";
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
    const [, status] = chosen(this.#picture.experiments, this.#picture.now()) ?? [];
    show($("experiment-none"), !status);
    show($("experiment-body"), status);
    if (!status) return;
    const phase = phaseOf(status, this.#picture.now()), isRunning = phase === "Running";
    const disruptions = status.disruptions ?? [];
    say($("experiment-name"), status.experiment);
    say($("experiment-when"), headline(status, phase));
    const verdict = phase === "Gone" ? "broken off" : status.verdict ?? "";
    reshape($("experiment-shape"), isRunning ? "pending" : verdictShape(verdict));
    this.#steps(status, isRunning);
    this.#objectives(status.objectives ?? []);
    this.#earlier(disruptions.slice(0, -1).reverse());
    this.#follow(disruptions.at(-1), status);
  }

  /** The last disruption grows by itself between what the feed tells, as long as its run goes on. */
  #follow(disruption, status) {
    const isRunning = phaseOf(status, this.#picture.now()) === "Running";
    show($("experiment-recovery"), disruption);
    this.#open = disruption && !disruption.restored && isRunning ? {disruption, status} : null;
    if (disruption) this.#grow({disruption, status});
    if (this.#open && !this.#ticker) this.#ticker = setInterval(() => this.#grow(this.#open), TICK_MS);
    if (!this.#open) this.#ticker = clearInterval(this.#ticker) ?? 0;
  }

  #grow({disruption, status}) {
    drawRecovery(this.#recovery, disruption, endOf(status, this.#picture.now()) - seconds(disruption.injectedAt));
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

function headline(status, phase) {
  const {run, platform, verdicts = {}} = status, isRunning = phase === "Running";
  const told = Object.entries(verdicts).map(([word, number]) => `${number} ${word}`).join(", ");
  const began = clock(seconds(status.startedAt)), ended = clock(seconds(status.endedAt ?? status.updatedAt));
  return [whereItStands(status, phase, run), platform && platform !== "testbed" ? platform : "",
          told && (isRunning ? `so far ${told}` : told),
          isRunning ? `since ${began}` : `${began} to ${ended}`].filter(Boolean).join(" · ");
}

function whereItStands(status, phase, run) {
  if (phase === "Gone") return "its runner is gone";
  if (phase === "Running" && run) return `run ${run.number} of ${run.of}${run.step ? `, step ${run.step}` : ""}`;
  return `${status.verdict ?? status.phase}${status.reason ? `: ${status.reason}` : ""}`;
}
