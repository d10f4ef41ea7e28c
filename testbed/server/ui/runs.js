/**
 * Past runs, with their reports; two can be chosen and compared. Asked for anew when an experiment begins or ends, and
 * then until its report is there.
 */

import {read} from "./ask.js";
import {element, keyed, mark, reshape, say, set, show} from "./dom.js";
import {phaseOf} from "./story.js";
import {day, seconds, verdictShape} from "./words.js";

const SETTLE_MS = 1500;  // the runner writes its report after its last word to the API
const MAX_LOOKS = 60;  // for a report that has not come yet; it takes seconds, on a busy machine many
const $ = id => document.getElementById(id);

export class Runs {
  #picture; #chosen = new Set(); #known = ""; #rows = []; #later; #looks = 0;

  constructor(picture) {
    this.#picture = picture;
    picture.on(["experiments"], () => {
      const phases = [...picture.experiments].map(([key, run]) => `${key} ${phaseOf(run, picture.now())}`).join();
      if (phases === this.#known) return;
      this.#known = phases;
      this.#looks = 0;
      this.#lookLater();
    });
  }

  #lookLater() {
    clearTimeout(this.#later);
    this.#later = setTimeout(() => this.load(), SETTLE_MS);
  }

  async load() {
    const runs = await read("/testbed/v1/runs");
    if (!runs) return;  // the banner says that nobody answers; the list stays
    this.#rows = runs.flatMap(rowsOf);
    const choices = new Set(this.#rows.filter(row => row.isMeasured).map(row => row.id));
    for (const id of this.#chosen) if (!choices.has(id)) this.#chosen.delete(id);
    keyed($("runs-rows"), this.#rows, {key: row => row.id, make: row => this.#make(row), update: fill});
    show($("runs-none"), !this.#rows.length);
    show($("runs-table"), this.#rows.length);
    this.#offer();
    if (this.#awaitsReport(runs) && ++this.#looks < MAX_LOOKS) this.#lookLater();
  }

  /** Whether a run that has ended is still without the report that its runner is writing. */
  #awaitsReport(runs) {
    const ended = new Set([...this.#picture.experiments.values()]
      .filter(run => run.phase === "Finished").map(run => String(run.folder ?? "").split("/", 1)[0]));
    return runs.some(run => ended.has(run.id) && !run.report);
  }

  #make(row) {
    const box = element("input", {type: "checkbox", "aria-label": `Choose ${row.id} for a comparison`, onchange: () => {
      if (box.checked) this.#chosen.add(row.id);
      else this.#chosen.delete(row.id);
      this.#offer();
    }});
    return element("tr", {"data-run": row.id, class: row.isVariant ? "variant" : null},
      element("td", {}, box), element("th", {scope: "row"}), element("td"),
      element("td", {}, mark(), element("span")), element("td"), element("td", {class: "id"}, row.id));
  }

  /** The link to the comparison: of two runs, the older one first. */
  #offer() {
    const [first, second] = this.#rows.filter(row => this.#chosen.has(row.id))
      .sort((a, b) => seconds(a.started) - seconds(b.started));
    const isPair = this.#chosen.size === 2;
    const where = new URLSearchParams(isPair ? {a: first.id, b: second.id} : {});
    set($("compare"), {href: isPair ? `${first.base}compare?${where}` : null, "aria-disabled": isPair ? null : "true"});
    say($("compare-hint"), isPair ? `${first.id} with ${second.id}` : `Choose two runs (${this.#chosen.size} chosen).`);
  }
}

/** A run as rows: of several variants there is one for each, for it is them that can be compared. */
function rowsOf(run) {
  const isMeasured = !run.running && !run.problem && run.verdict !== "broken off" && !run.variants.length;
  const variants = run.variants.map(name => ({
    id: `${run.id}/${name}`, experiment: name, started: run.started, verdict: "", report: "", isMeasured: !run.running,
    isVariant: true, base: run.base,
  }));
  return [{...run, verdict: run.problem || run.verdict, isMeasured}, ...variants];
}

function fill(line, row) {
  const [choice, name, started, verdict, report] = line.children, box = choice.firstElementChild;
  box.disabled = !row.isMeasured;
  say(name, row.experiment || "unknown");
  say(started, row.isVariant ? "" : day(seconds(row.started)));
  reshape(verdict.firstElementChild, row.verdict ? verdictShape(row.verdict) : "note");
  say(verdict.lastElementChild, row.isVariant ? "a variant of it" : row.verdict);
  const href = row.report ? `${row.base}${encodeURIComponent(row.id)}/${row.report}` : null;
  if (report.dataset.href === String(href)) return;
  report.dataset.href = String(href);
  report.replaceChildren(href
    ? element("a", {href, target: "_blank", rel: "noopener", "aria-label": `Report of ${row.id}`}, "report")
    : element("span", {class: "muted"}, row.isVariant ? "" : "none yet"));
}
