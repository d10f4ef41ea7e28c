/** What one sees first: numbers of the whole cluster. */

import {say} from "./dom.js";
import {chosen, phaseOf} from "./story.js";
import {count, inEffect, plural} from "./words.js";

const $ = id => document.getElementById(id);

export function showOverview(picture) {
  picture.on(["cluster"], () => cluster(picture.cluster));
  picture.on(["nodes", "pods", "workloads", "faults"], () => numbers(picture));
  picture.on(["experiments"], () => requests(picture));
}

function cluster({name, profile, version, supervisor}) {
  const isOther = supervisor && supervisor !== "testbed";
  say($("cluster"), name);
  say($("cluster-facts"), [profile && `profile ${profile}`, isOther && `supervised by ${supervisor}`,
                           version && `testbed ${version}`].filter(Boolean).join(" · "));
}

function numbers(picture) {
  const nodes = [...picture.nodes.values()], loads = [...picture.workloads.values()];
  const pods = [...picture.pods.values()].filter(pod => pod.phase !== "Succeeded" && !pod.deleting);
  const ready = pods.filter(pod => pod.ready && picture.nodes.get(pod.node)?.ready !== "Unknown").length;
  const broken = [...picture.faults.values()].filter(inEffect).length;
  tell("nodes", `${nodes.filter(node => node.ready === "True").length}/${nodes.length}`,
       nodes.every(node => node.ready === "True"));
  tell("pods", `${ready}/${pods.length}`, ready === pods.length);
  tell("workloads", `${loads.filter(isWhole).length}/${loads.length}`, loads.every(isWhole));
  tell("faults", broken, !broken);
  const told = [`${ready}/${pods.length} ready`, broken && plural(broken, "fault"), picture.cluster.name ?? "testbed"];
  document.title = told.filter(Boolean).join(" · ");
}

const isWhole = load => load.ready >= load.desired;

function requests(picture) {
  const now = picture.now(), [, status] = chosen(picture.experiments, now) ?? [];
  const last = status && phaseOf(status, now) === "Running" ? status.load?.[0]?.recent?.at(-1) : null;
  tell("requests", last ? `${count(last[1] + last[2] + last[3])}/s` : "–", !last?.[2]);
  say($("number-requests-bad"), last ? `${count(last[2])} failed` : "no load");
}

function tell(name, text, isGood) {
  const place = $(`number-${name}`);
  say(place, text);
  place.dataset.good = String(isGood);
}
