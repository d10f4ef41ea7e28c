"""What a page is to those who do not see it, and what axe-core does not judge as serious: headings, tables, charts."""

from __future__ import annotations

# Headings that leave a level out, and data tables without a header.
UNTOLD = """() => {
  const shown = selector => [...document.querySelectorAll(selector)].filter(found => found.checkVisibility());
  const headings = shown("h1, h2, h3, h4, h5, h6");
  const level = found => found ? +found.tagName[1] : 0;
  const skipped = headings.filter((found, index) => level(found) > level(headings[index - 1]) + 1);
  const bare = shown("table").filter(found => !found.querySelector("th[scope]"));
  return [...skipped, ...bare].map(found => found.outerHTML.slice(0, 120));
}"""
# What each drawn chart is called; null where it is no picture with a name.
CHARTS = """() => [...document.querySelectorAll(".chart")]
  .filter(found => found.querySelector("svg") && found.checkVisibility())
  .map(found => found.getAttribute("role") === "img" ? found.getAttribute("aria-label") : null)"""
OPEN_ALL = "document.querySelectorAll('details').forEach(found => { found.open = true; })"
