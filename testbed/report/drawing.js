  // Draws Vega-Lite charts in the page's own colours; both kinds of report include it. A chart is one
  // picture whose words come with its data: a screen reader does not walk through thousands of marks.
  const views = new Map();
  const token = name => getComputedStyle(document.documentElement).getPropertyValue("--" + name).trim();
  const tones = {};
  function readTones() {
    for (const name of ["page", "card", "ink", "muted", "line", "accent", "good", "bad", "warm",
                        "gap1", "gap2", "gap3", "gap4", "gap5", "gap6", "gap7"]) tones["@" + name] = token(name);
  }
  const toned = value => Array.isArray(value) ? value.map(toned)
    : value && typeof value === "object" ? Object.fromEntries(Object.entries(value).map(([k, v]) => [k, toned(v)]))
    : typeof value === "string" && tones[value] ? tones[value] : value;

  const config = () => ({
    background: null, font: "system-ui, -apple-system, 'Segoe UI', Roboto, sans-serif",
    view: {stroke: null}, tick: {bandSize: 12},
    axis: {labelColor: tones["@muted"], titleColor: tones["@muted"], gridColor: tones["@line"], domainColor: tones["@line"],
           tickColor: tones["@line"], titleFontWeight: 500, titleFontSize: 11, labelFontSize: 11, gridOpacity: .7},
    axisX: {grid: true, gridOpacity: .45},
    axisY: {minExtent: 58, tickCount: 4},
    legend: {labelColor: tones["@muted"], titleColor: tones["@muted"], labelFontSize: 11, symbolType: "stroke", padding: 0, offset: 2},
  });

  function sized(spec, width) {
    const sizedSpec = structuredClone(spec);
    for (const part of sizedSpec.vconcat || [sizedSpec]) part.width = Math.max(120, width);
    return sizedSpec;
  }

  async function draw(element, spec, {words, ...datasets}) {
    const width = element.clientWidth;
    if (!width) return;
    const narrow = width < 480;
    const whole = toned(sized(spec, spec.autosize ? width : width - (narrow ? 74 : 92)));
    whole.datasets = toned(datasets);
    whole.config = config();
    whole.padding = {left: 2, right: 10, top: 6, bottom: 2};
    const old = views.get(element);
    if (old) old.finalize();
    views.set(element, await vegaEmbed(element, whole, {actions: false, renderer: "svg", logLevel: 1, tooltip: {theme: "custom"}}));
    element.setAttribute("role", "img");  // after Vega, which says that it is a document
    element.setAttribute("aria-label", words);
    element.querySelector("svg").setAttribute("aria-hidden", "true");
  }
