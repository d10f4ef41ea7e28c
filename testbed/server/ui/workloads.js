/** Workloads and Services as two tables: how much of each is ready. */

import {element, keyed, mark, reshape, say, show} from "./dom.js";

const OF_THE_API = "default/kubernetes";  // a Service without pods
const $ = id => document.getElementById(id);

export function showWorkloads(picture) {
  picture.on(["workloads"], () => {
    table($("workloads-rows"), [...picture.workloads].map(([key, load]) => workload(key, load)));
    show($("workloads"), picture.workloads.size);
  });
  picture.on(["services"], () => {
    const rows = [...picture.services].filter(([key]) => key !== OF_THE_API);
    table($("services-rows"), rows.map(([key, service]) => ofService(key, service)));
    show($("services"), rows.length);
  });
}

function workload(key, {desired, ready, updated}) {
  const [kind, namespace, name] = key.split("/");
  return {key, kind, name: named(namespace, name), said: `${ready} of ${desired} ready`,
          shape: ready >= desired ? "ready" : ready ? "unready" : "failing",
          more: updated < desired ? `${updated} updated` : ""};
}

function ofService(key, {ready, unready, clusterIP}) {
  return {key, kind: "Service", name: named(...key.split("/")), more: clusterIP,
          said: `${ready} ready${unready ? `, ${unready} not` : ""}`,
          shape: ready ? unready ? "unready" : "ready" : "failing"};
}

const named = (namespace, name) => namespace === "default" ? name : `${namespace}/${name}`;

function table(place, rows) {
  keyed(place, rows.sort((a, b) => a.key < b.key ? -1 : 1), {
    key: row => row.key,
    make: row => element("tr", {}, element("th", {scope: "row", title: row.kind}),
      element("td", {}, mark(), element("span")), element("td", {class: "num"})),
    update: (line, row) => {
      const [name, ready, more] = line.children;
      say(name, row.name);
      reshape(ready.firstElementChild, row.shape);
      say(ready.lastElementChild, row.said);
      say(more, row.more);
    },
  });
}
