/** What states, moments and durations are called, and which shape stands for them. Pure: values in, words out. */

/** Seconds as people say them: 12 ms, 1.63 s, 2 min 5 s. */
export function duration(seconds) {
  if (seconds === null || seconds === undefined || !Number.isFinite(seconds)) return "–";
  if (seconds < 0) return `−${duration(-seconds)}`;
  if (seconds < 0.9995) return `${Math.round(seconds * 1000)} ms`;
  if (seconds < 9.995) return `${seconds.toFixed(2)} s`;
  if (seconds < 99.95) return `${seconds.toFixed(1)} s`;
  const whole = Math.round(seconds), hours = Math.floor(whole / 3600), minutes = Math.floor(whole / 60) % 60;
  return hours ? `${hours} h ${minutes} min` : `${minutes} min ${whole % 60} s`;
}

export function milliseconds(value) {
  return value === null || value === undefined ? "–" : duration(value / 1000);
}

export const count = value => new Intl.NumberFormat("en").format(value ?? 0).replaceAll(",", "\u202f");

export const plural = (number, word) => `${count(number)} ${word}${number === 1 ? "" : "s"}`;

/** "a", "a and b", "a, b and c". */
export function listed(words) {
  return words.length < 2 ? words.join("") : `${words.slice(0, -1).join(", ")} and ${words.at(-1)}`;
}

/** Unix seconds of an RFC 3339 moment; NaN where there is none. */
export const seconds = moment => Date.parse(moment ?? "") / 1000;

const CLOCK = new Intl.DateTimeFormat("en-GB", {hour: "2-digit", minute: "2-digit", second: "2-digit"});
const DAY = new Intl.DateTimeFormat("en-GB", {day: "numeric", month: "short", hour: "2-digit", minute: "2-digit"});

/** The time of day of unix seconds, in the reader's time zone. */
export const clock = unix => Number.isFinite(unix) ? CLOCK.format(unix * 1000) : "–";
export const day = unix => Number.isFinite(unix) ? DAY.format(unix * 1000) : "–";

/** `{shape, word}` of a pod. What runs on a node that is silent is unknown, whatever was last told of it. */
export function podState(pod, node) {
  if (pod.deleting) return {shape: "ending", word: "ending"};
  if (pod.phase === "Succeeded") return {shape: "done", word: "completed"};
  if (node && node.ready === "Unknown") return {shape: "unknown", word: "unknown"};
  if (pod.phase === "Failed" || /BackOff|Err|OOM|Invalid|Error|Evicted/.test(pod.reason ?? "")) {
    return {shape: "failing", word: pod.reason || "failed"};
  }
  if (pod.phase === "Pending") return {shape: "pending", word: (pod.reason || "pending").replace("Pending", "pending")};
  if (pod.ready) return {shape: "ready", word: "ready"};
  return {shape: "unready", word: pod.containers?.some(item => !item.started) ? "starting" : "not ready"};
}

/** `{shape, word}` of a node; `power`: whether a fault holds its power off. */
export function nodeState(node, power) {
  if (power) return {shape: "off", word: "power cut"};
  if (node.ready === "Unknown") return {shape: "unknown", word: "silent"};
  if (node.ready !== "True") return {shape: "failing", word: "not ready"};
  return node.schedulable ? {shape: "ready", word: "ready"} : {shape: "unready", word: "cordoned"};
}

/** Each probe of a container: its letter, its whole name, and whether it passes (null: nobody has said so yet). */
export function probesOf(container) {
  const passes = {
    startup: container.started ? true : null,
    readiness: container.started ? Boolean(container.ready) : null,
    liveness: container.started ? true : null,  // failing, the container would be started again
  };
  return (container.probes ?? []).map(name => ({name, letter: name[0].toUpperCase(), passes: passes[name]}));
}

export const passing = passes => passes === null ? "waiting" : passes ? "passes" : "fails";

/** A pod's name without what its controller put in front: the part that tells it from its siblings. */
export function shortName(pod) {
  const owner = (pod.owner ?? "").split("/")[1] ?? "";
  if (!owner || !pod.name.startsWith(`${owner}-`)) return {stem: "", tail: pod.name};
  return {stem: owner, tail: pod.name.slice(owner.length + 1).split("-").at(-1)};
}

export const restartsOf = pod => (pod.containers ?? []).reduce((sum, item) => sum + (item.restarts ?? 0), 0);

/** PodChaos and pod-kill as one says it; kinds that have one act only are named by their kind. */
export function faultName(fault) {
  const kind = fault.kind.replace(/Chaos$/, "").toLowerCase();
  if (!fault.action) return kind;
  return /^(pod|container)-/.test(fault.action) ? fault.action : `${kind} ${fault.action}`;
}

/** What a fault's phase means to who looks: "injecting", "in effect", "done", "over", "refused", "failed". */
export function standing({phase}) {
  if (phase === "Injected") return "in effect";
  return phase === "Recovered" ? "over" : (phase ?? "Injecting").toLowerCase();
}

export const inEffect = fault => ["injecting", "in effect"].includes(standing(fault));

const VERDICTS = new Map([["passed", "ready"], ["running", "pending"]]);

export function verdictShape(verdict) {
  const isOpen = /void|inconclusive|interrupted|broken|aborted/.test(verdict);  // it says nothing of the cluster
  return VERDICTS.get(verdict) ?? (isOpen ? "unknown" : "failing");
}
