/**
 * The two acts of this page: kill a pod, cut a node's power. Each is said in full before it is done, in a dialog, and
 * its fate is told there. What is created and what it means: `plans.js`. Whether it may be is the chaos daemon's.
 */

import {create} from "./ask.js";
import {element, reshape, say, show} from "./dom.js";
import {cutObject, cutWords, fate, killObject, killWords, LIMITS, SECONDS} from "./plans.js";
import {hitsOf} from "./story.js";

const PLURALS = {PodChaos: "podchaos", NodeChaos: "nodechaos"};
const $ = id => document.getElementById(id);

export class Acts {
  #picture; #plan = null; #created = null; #sentAt = 0; #ticker = 0;

  constructor(picture) {
    this.#picture = picture;
    $("act-form").addEventListener("submit", event => {
      event.preventDefault();
      this.#send();
    });
    $("act-seconds").addEventListener("input", () => this.#describe());
    $("act").addEventListener("close", () => $("act").open || this.#forget());  // open: for the next question already
    for (const button of document.querySelectorAll("dialog .close")) {
      button.addEventListener("click", () => button.closest("dialog").close());
    }
    picture.on(["faults"], () => this.#follow());
  }

  /** Asks whether to kill this pod. */
  kill(key) {
    const pod = this.#picture.pods.get(key), mark = someLetters();
    this.#ask(`Kill ${pod.name}?`, "Kill the pod", false, () => ({
      object: killObject(pod, mark), said: killWords(pod, [...this.#picture.pods.values()]), losses: []}));
  }

  /** Asks whether, and for how long, to cut this node's power. */
  cut(node) {
    const mark = someLetters();
    this.#ask(`Cut the power of ${node}?`, "Cut the power", true, () => {
      const seconds = Number($("act-seconds").value);
      const {pods, nodes, faults} = this.#picture, hits = hitsOf(faults.values());
      const broken = [...nodes.keys()].filter(name => hits.has(name));
      return {object: cutObject(node, seconds, mark), ...cutWords(node, seconds, [...pods.values()], broken)};
    });
  }

  #ask(title, word, needsSeconds, plan) {
    this.#forget();
    this.#plan = plan;
    say($("act-title"), title);
    say($("act-do"), word);
    show($("act-for"), needsSeconds);
    const {min, max, usual} = SECONDS;
    Object.assign($("act-seconds"), {disabled: !needsSeconds, min, max, value: usual});
    this.#stage("asking");
    this.#describe();
    $("act").showModal();
    $("act-cancel").focus();  // Enter by mistake breaks nothing
  }

  #describe() {
    if (!$("act-seconds").disabled && !$("act-seconds").validity.valid) return;
    const {object, said, losses} = this.#plan();
    $("act-said").replaceChildren(...said.map(text => element("p", {}, text)),
      ...(losses.length ? [element("ul", {}, ...losses.map(text => element("li", {}, text)))] : []));
    say($("act-limit"), LIMITS[object.kind]);
    say($("act-object"), JSON.stringify(object, null, 2));
  }

  async #send() {
    const plan = this.#plan, {object} = plan(), {namespace, name} = object.metadata;
    this.#stage("sending");
    this.#tell("pending", "Sending …");
    this.#sentAt = performance.now();
    const path = `/apis/${object.apiVersion}/namespaces/${namespace}/${PLURALS[object.kind]}`;
    const problem = await create(`${path}?fieldValidation=Strict`, object);
    if (this.#plan !== plan) return;  // the dialog was closed meanwhile; what was created is told of under Faults
    if (problem) {
      this.#stage("asking");
      return this.#tell("failing", problem);
    }
    this.#created = `${object.kind}/${namespace}/${name}`;
    this.#stage("sent");
    $("act-cancel").focus();
    this.#ticker = setInterval(() => this.#follow(), 1000);
    this.#follow();
  }

  /** Tells how what was created fares, until that is settled. */
  #follow() {
    if (!this.#created) return;
    const waitedS = (performance.now() - this.#sentAt) / 1000;
    const {shape, said, isOver} = fate(this.#picture.faults.get(this.#created), waitedS);
    this.#tell(shape, said);
    if (isOver) clearInterval(this.#ticker);
  }

  #tell(shape, said) {
    reshape($("act-shape"), shape);
    say($("act-fate"), said);
  }

  /** "asking", "sending" or "sent": which controls are of use. */
  #stage(stage) {
    $("act").dataset.stage = stage;
    show($("act-do"), stage !== "sent");
    $("act-do").disabled = stage !== "asking";
    show($("act-question"), stage !== "sent");
    say($("act-cancel"), stage === "sent" ? "Close" : "Cancel");
  }

  #forget() {
    clearInterval(this.#ticker);
    this.#plan = this.#created = null;
    $("act-shape").replaceChildren();
    delete $("act-shape").dataset.shape;
    say($("act-fate"), "");
  }
}

const someLetters = () => crypto.randomUUID().slice(0, 6);
