/**
 * The cluster as this page knows it: the parts that the feed tells of, by key. Collects what changes until the next
 * frame and then tells those who asked for it, once. Draws nothing and asks nobody.
 */

const PARTS = ["nodes", "pods", "services", "workloads", "faults", "experiments", "events"];

export class Picture {
  #listeners = [];
  #changed = new Set();
  #later;
  #isDue = false;

  /** `later(callback)`: when listeners are told; by default with the next frame. */
  constructor(later = callback => requestAnimationFrame(callback)) {
    this.#later = later;
    this.cluster = {};
    this.skewS = 0;
    for (const part of PARTS) this[part] = new Map();
  }

  /** The whole picture anew. */
  reset(whole) {
    this.#setCluster(whole.cluster ?? {});
    for (const part of PARTS) {
      this[part] = new Map(Object.entries(whole[part] ?? {}));
      this.#mark(part);
    }
  }

  /** One change. Parts that a newer control plane tells of and this page does not know are passed over. */
  change({part, key, value}) {
    if (part === "cluster") return this.#setCluster(value ?? {});
    if (!PARTS.includes(part)) return;
    this[part].delete(key);
    if (value !== null) this[part].set(key, value);  // what was told last comes last
    this.#mark(part);
  }

  /** Unix seconds by the clock of the control plane. */
  now() {
    return Date.now() / 1000 + this.skewS;
  }

  /** Calls `listener()` after changes of any of `parts`. A value that did not change is the same object as before. */
  on(parts, listener) {
    this.#listeners.push({parts, listener});
  }

  /** Tells of a part though nothing in it changed: what it means changes with time. */
  again(part) {
    this.#mark(part);
  }

  #setCluster(cluster) {
    this.cluster = cluster;
    const now = Date.parse(cluster.now ?? "");
    if (Number.isFinite(now)) this.skewS = (now - Date.now()) / 1000;
    this.#mark("cluster");
  }

  #mark(part) {
    this.#changed.add(part);
    if (this.#isDue) return;
    this.#isDue = true;
    this.#later(() => this.#tell());
  }

  #tell() {
    const changed = this.#changed;
    this.#changed = new Set();
    this.#isDue = false;
    for (const item of this.#listeners) {
      if (!item.parts.some(part => changed.has(part))) continue;
      try {
        item.listener();
      } catch (error) {  // anybody may write a run's status, in any form: what else is shown goes on
        if (!item.hasFailed) console.error(error);
        item.hasFailed = true;
      }
    }
  }
}
