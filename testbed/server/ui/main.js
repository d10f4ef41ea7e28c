/** Puts the page together: the feed fills the picture, each part of the page draws what it knows of. */

import {Acts} from "./acts.js";
import {Announcer} from "./announce.js";
import {RequestChart} from "./chart.js";
import {say, show} from "./dom.js";
import {showEvents} from "./events.js";
import {ExperimentView} from "./experiment.js";
import {showFaults} from "./faults.js";
import {Feed} from "./feed.js";
import {showOverview} from "./overview.js";
import {Picture} from "./picture.js";
import {PodDialog} from "./pod.js";
import {showRooms} from "./room.js";
import {Runs} from "./runs.js";
import {clock} from "./words.js";
import {showWorkloads} from "./workloads.js";

const $ = id => document.getElementById(id);
const picture = new Picture();
const announcer = new Announcer($("news"));
const acts = new Acts(picture);
const podDialog = new PodDialog(picture, key => acts.kill(key));
const runs = new Runs(picture);

showOverview(picture);
showFaults(picture);
showWorkloads(picture);
showRooms(picture, {nodes: $("rooms"), waiting: $("waiting")},
  {onPod: key => podDialog.open(key), onNode: name => acts.cut(name)});
new RequestChart(picture);
new ExperimentView(picture);
showEvents(picture);
announcer.follow(picture);

const WORDS = {connecting: "connecting", live: "live", away: "no connection", silent: "silent", over: "session over"};
const LOST = {away: "The control plane cannot be reached.", silent: "The control plane is silent."};
const AGAIN_MS = 5000;  // only time shows that a runner was killed: it says nothing more
let lastHeard = null;
let wasLost = false;

function onMessage(event, data) {
  lastHeard = picture.now();
  if (event === "reset") picture.reset(data);
  else if (event === "change") picture.change(data);
}

/** The banner says what is shown and what is being done about it. */
function onState(state) {
  const lost = LOST[state] ?? "";
  document.documentElement.dataset.feed = state;
  say($("connection"), WORDS[state]);
  const since = lastHeard ? ` What you see is from ${clock(lastHeard)}.` : "";
  say($("banner"), lost && `${lost}${since} This page comes back by itself.`);
  show($("banner"), lost);
  if (state === "over") return sessionOver();
  if (lost && !wasLost) announcer.say(lost);
  if (state === "live" && wasLost) announcer.say("The control plane is back.");
  if (state === "live") runs.load();
  wasLost = Boolean(lost);
}

/** Without a session nothing is shown, not even what was. */
function sessionOver() {
  for (const dialog of document.querySelectorAll("dialog[open]")) dialog.close();
  picture.reset({});
  show($("main"), false);
  show($("over"), true);
  document.title = "testbed: session over";
}

setInterval(() => {
  if (document.documentElement.dataset.feed === "live") picture.again("experiments");
}, AGAIN_MS);
new Feed("/testbed/v1/live", {onMessage, onState}).start();
