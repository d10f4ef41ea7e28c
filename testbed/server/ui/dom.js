/** Elements made, and kept in line with values: what the page needs of a framework. Knows nothing of what is shown. */

const SVG = "http://www.w3.org/2000/svg";

/**
 * An HTML element. `attributes`: `class`, `aria-...`, `data-...`; a function is a listener (`onclick`); null is left
 * out.
 */
export function element(name, attributes = {}, ...children) {
  return filled(document.createElement(name), attributes, children);
}

export function svg(name, attributes = {}, ...children) {
  return filled(document.createElementNS(SVG, name), attributes, children);
}

/** One of the shapes of index.html. Only a picture: its meaning stands in words beside it. */
export function shape(name) {
  return svg("svg", {class: `shape ${name}`, "aria-hidden": "true"}, svg("use", {href: `#shape-${name}`}));
}

/** Where `reshape` puts a shape. */
export const mark = () => element("span", {class: "mark"});

/** Changes the text only where it differs: what did not change is not painted, and not read out again. */
export function say(node, text) {
  const wanted = String(text ?? "");
  if (node.textContent !== wanted) node.textContent = wanted;
}

/** Sets attributes that differ; null takes one away. */
export function set(node, attributes) {
  for (const [name, value] of Object.entries(attributes)) {
    if (value === null || value === undefined) node.removeAttribute(name);
    else if (node.getAttribute(name) !== String(value)) node.setAttribute(name, value);
  }
}

export function show(node, isShown) {
  if (node.hidden === Boolean(isShown)) node.hidden = !isShown;
}

/** Takes the place of the shape that `holder` shows. */
export function reshape(holder, name) {
  if (holder.dataset.shape === name) return;
  holder.dataset.shape = name;
  holder.replaceChildren(shape(name));
}

/**
 * Brings `parent`'s children in line with `items`, each known by its key. What stays is neither made again nor moved,
 * so that focus, selection and scrolling stay where they are.
 *
 * `make(item)` gives a new child, `update(child, item)` fills it; `gone(child)` may return true to take it away later.
 */
export function keyed(parent, items, {key, make, update, gone = () => false}) {
  const known = parent.keyedChildren ??= new Map();
  const wanted = new Set(items.map(key));
  for (const [id, child] of known) {
    if (wanted.has(id)) continue;
    known.delete(id);
    child.isLeaving = gone(child);
    if (!child.isLeaving) child.remove();
  }
  let before = parent.firstElementChild;
  for (const item of items) {
    const id = key(item);
    if (!known.has(id)) known.set(id, make(item));
    const child = known.get(id);
    update(child, item);
    while (before?.isLeaving) before = before.nextElementSibling;
    if (before === child) before = child.nextElementSibling;
    else parent.insertBefore(child, before);
  }
}

function filled(node, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (value === null || value === undefined) continue;
    if (typeof value === "function") node.addEventListener(name.slice(2), value);
    else node.setAttribute(name, value);
  }
  node.append(...children);
  return node;
}
