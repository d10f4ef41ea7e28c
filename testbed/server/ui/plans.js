/** What the two buttons would do: the fault object that they create, and whom it hits, in words. Pure. */

import {listed, plural, standing} from "./words.js";

export const SECONDS = {min: 1, max: 600, usual: 20};
const PATIENCE_S = 10;
const PROTECTED = "kube-system";  // faults/selection.py: never hit

const object = (apiVersion, kind, namespace, name, spec) =>
  ({apiVersion, kind, metadata: {name, namespace}, spec});

/** Deletes one pod through the API at once. `mark`: a few letters that no other fault's name has. */
export function killObject(pod, mark) {
  return object("chaos-mesh.org/v1alpha1", "PodChaos", pod.namespace, `page-pod-kill-${mark}`,
    {action: "pod-kill", mode: "one", selector: {pods: {[pod.namespace]: [pod.name]}}});
}

/** Takes a node's power away for so many seconds. */
export function cutObject(node, seconds, mark) {
  return object("testbed.io/v1alpha1", "NodeChaos", "default", `page-node-kill-${mark}`,
    {action: "kill", mode: "one", selector: {nodes: [node]}, duration: `${seconds}s`});
}

/** Why this pod cannot be killed, or nothing. */
export function spared(pod) {
  if (!pod) return "This pod is gone.";
  if (pod.namespace === PROTECTED) return `Pods of ${PROTECTED} are never hit.`;
  if (pod.deleting) return "This pod is being deleted already.";
  if (pod.phase === "Succeeded" || pod.phase === "Failed") return "This pod has ended.";
  return "";
}

/** What killing a pod means, as sentences. `pods`: all of the cluster. */
export function killWords(pod, pods) {
  const where = pod.node ? ` on ${pod.node}` : "";
  const said = [`The pod ${pod.name}${where} is deleted at once, without time to finish its requests.`];
  if (!pod.owner) return [...said, "Nothing makes it again: no controller owns it."];
  const siblings = pods.filter(other => ownerOf(other) === ownerOf(pod) && alive(other));
  const ready = siblings.filter(other => other.ready && other.name !== pod.name).length;
  const rest = ready ? `${plural(ready, "ready one")} ${ready === 1 ? "remains" : "remain"}`
    : "no ready one remains, so its users will notice";
  return [...said, `It hits 1 of the ${plural(siblings.length, "pod")} of ${pod.owner.replace("/", " ")}; ${rest}. `
    + "A new one takes its place."];
}

/**
 * What cutting a node's power means: `{said, losses}`; `losses`: one line for each workload that loses pods. `broken`:
 * the nodes that are hit now.
 */
export function cutWords(node, seconds, pods, broken) {
  const living = pods.filter(alive), here = living.filter(pod => pod.node === node);
  const losses = [...new Set(here.map(ownerOf))].sort().map(owner => {
    const all = living.filter(pod => ownerOf(pod) === owner), [, kind, name] = owner.split("/");
    const lost = all.filter(pod => pod.node === node).length;
    const left = all.filter(pod => pod.node !== node && pod.ready).length;
    return `${kind} ${name}: ${lost} of ${plural(all.length, "pod")}, ${left || "none"} ready elsewhere`;
  });
  const said = [`Everything on ${node} goes silent for ${plural(seconds, "second")}: its network first, then its agent `
    + `and ${here.length ? plural(here.length, "pod") : "no pod"}. Then its power comes back.`];
  const others = broken.filter(name => name !== node);
  if (others.length) said.push(`${listed(others)} ${others.length > 1 ? "are" : "is"} broken already.`);
  return {said, losses};
}

const JUDGED = "The chaos daemon judges, and refuses what is more.";
export const LIMITS = {
  PodChaos: `At most half of a workload's pods may be hit at a time, and one always. ${JUDGED}`,
  NodeChaos: `At most one node may be broken at a time. ${JUDGED}`,
};

/** How the fault that was created fares: `{shape, said, isOver}`; `fault`: as the feed tells it, if it does yet. */
export function fate(fault, waitedS) {
  const whom = fault?.targets?.length ? `: ${listed(fault.targets)}` : "";
  switch (fault && standing(fault)) {
    case "refused": return {shape: "failing", said: `Refused: ${fault.message}`, isOver: true};
    case "failed": return {shape: "failing", said: `Did not take effect: ${fault.message}`, isOver: true};
    case "in effect": return {shape: "hit", said: `In effect${whom}. ${fault.message ?? ""}`.trim(), isOver: true};
    case "done": case "over": return {shape: "ready", said: `Done${whom}.`, isOver: true};
  }
  if (waitedS < PATIENCE_S) return {shape: "pending", said: "Created. Waiting for the chaos daemon …", isOver: false};
  return {shape: "unknown", isOver: false, said: `The chaos daemon has not answered for ${PATIENCE_S} seconds. `
    + "The fault stays, and takes effect when it does."};
}

const alive = pod => !pod.deleting && pod.phase !== "Succeeded" && pod.phase !== "Failed";
const ownerOf = pod => `${pod.namespace}/${pod.owner || `Pod/${pod.name}`}`;
