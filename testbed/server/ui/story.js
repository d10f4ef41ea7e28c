/** What faults and the status of an experiment tell: whom they hit, when, which run is shown, how it mends. Pure. */

import {faultName, inEffect, seconds, standing} from "./words.js";

export const PHASES = ["steady", "inject", "observe", "undo", "converge"];

const SILENT_S = 60;  // as in api/experiment_status.py: so long after its last word a run has lost its runner

/** "Running", "Finished", or "Gone": it says that it runs, and nothing more for too long. `now`: unix seconds. */
export function phaseOf({phase, updatedAt}, now) {
  const isSilent = updatedAt !== undefined && !(now - seconds(updatedAt) < SILENT_S);
  return phase === "Running" && isSilent ? "Gone" : phase;
}

/** Until when a run went, unix seconds: until now, while it does; else until its last word. */
export function endOf(status, now) {
  if (phaseOf(status, now) === "Running") return now;
  return seconds(status.endedAt ?? status.updatedAt);
}

/** `[key, status]` of the experiment to show: the newest that runs, else the newest. */
export function chosen(experiments, now) {
  const told = [...experiments].filter(([, status]) => status?.phase);
  const rank = ([, status]) => (phaseOf(status, now) === "Running" ? 1e12 : 0) + (seconds(status.startedAt) || 0);
  return told.reduce((best, entry) => !best || rank(entry) > rank(best) ? entry : best, null);
}

/** Faults that are in effect, by whom they hit: a node's name or a pod's key. */
export function hitsOf(faults) {
  const found = new Map();
  for (const fault of faults) {
    if (!inEffect(fault)) continue;
    for (const target of fault.targets ?? []) {
      const whom = target.split("/").slice(0, 2).join("/");
      found.set(whom, [...(found.get(whom) ?? []), fault]);
    }
  }
  return found;
}

/**
 * From when until when something was broken: `{name, from, until}`, unix seconds, `until` null while it is. Disruptions
 * of the experiment last until they are mended and the fault is taken back; other faults as long as they are in effect.
 */
export function windowsOf(status, allFaults) {
  const faults = [...allFaults];
  const held = new Set(faults.filter(fault => fault.run && inEffect(fault)).map(fault => fault.step));
  const ofRun = (status?.disruptions ?? []).map((item, index, all) => {
    const from = seconds(item.injectedAt), marks = item.marks ?? {}, name = item.step || item.fault;
    const isHeld = held.has(item.step) && all.findLastIndex(other => other.step === item.step) === index;
    const ends = [marks.restored, marks.undone].filter(Number.isFinite);
    return {name, from, until: item.restored && ends.length && !isHeld ? from + Math.max(...ends) : null};
  });
  const byHand = faults.filter(fault => ["in effect", "done"].includes(standing(fault)) && !fault.run).map(fault => {
    const from = seconds(fault.since);
    return {name: faultName(fault), from, until: inEffect(fault) ? null : from};
  });
  return [...ofRun, ...byHand].filter(item => Number.isFinite(item.from)).sort((a, b) => a.from - b.from);
}

const PATHS = [
  {name: "Isolation", about: "until no new request can reach what was hit", marks: [
    ["detected", "noticed"], ["unready", "counted out"], ["isolated", "isolated"]]},
  {name: "Repair", about: "until as many are ready as are wanted", marks: [
    ["detected", "noticed"], ["acted", "first healing act"], ["running", "replacement runs"], ["ready", "ready"],
    ["in_rotation", "in rotation"], ["restored", "restored"]]},
];
const BESIDE = [["alerted", "would have paged"], ["undone", "fault taken back"], ["stalled", "stalled"]];

/**
 * The paths of a disruption as rows: `{name, about, rows: [{mark, word, from, until, isOpen}]}`, in seconds since it
 * was injected. A row leads from the mark before to its own; the first one that has not come yet is open and grows
 * until `sinceS`. Marks that were passed over have no row.
 */
export function pathsOf(disruption, sinceS) {
  const marks = disruption.marks ?? {};
  return PATHS.map(({name, about, marks: wanted}) => {
    const rows = [];
    let from = 0;
    const last = wanted.findLastIndex(([mark]) => Number.isFinite(marks[mark]));
    for (const [index, [mark, word]] of wanted.entries()) {
      const at = marks[mark];
      if (Number.isFinite(at)) {
        rows.push({mark, word, from: Math.min(from, at), until: at, isOpen: false});
        from = Math.max(from, at);
      } else if (index > last && !disruption.restored) {
        rows.push({mark, word, from, until: Math.max(from, sinceS), isOpen: true});
        break;
      }
    }
    return {name, about, rows};
  });
}

/** Marks beside the two paths that were told: `{mark, word, at}`. */
export function besides(disruption) {
  return BESIDE.map(([mark, word]) => ({mark, word, at: disruption.marks?.[mark]}))
    .filter(item => Number.isFinite(item.at));
}

/** How many seconds a disruption's picture spans. */
export function spanOf(disruption, sinceS) {
  const known = [...PATHS.flatMap(path => path.marks), ...BESIDE].map(([mark]) => disruption.marks?.[mark])
    .filter(Number.isFinite);
  return Math.max(0.1, ...known, disruption.restored ? 0 : sinceS);
}
