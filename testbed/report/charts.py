"""The charts of the HTML report as Vega-Lite specifications, made with Altair.

They hold no data and no colours: data comes by name from the page, colours are tokens (``@bad``) that the page replaces
for light and dark, and the page sets each width to what the screen has.
"""

from __future__ import annotations

import warnings
from typing import Any

Spec = dict[str, Any]
_TIME = "Seconds since the run began"


def overview() -> Spec:
    """One time axis: disruptions, request rate with failures, latency percentiles, ready replicas, restarts, events."""
    import altair as alt

    alt.data_transformers.disable_max_rows()
    zoom = alt.selection_interval(bind="scales", encodings=["x"], name="zoom")
    panels = [_disruptions(alt), _rate(alt), _latency(alt), _replicas(alt), _events(alt)]
    chart = alt.vconcat(*panels, spacing=14).resolve_scale(x="shared", color="independent")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # the same parameter on every panel is what is wanted
        return _finished(chart.add_params(zoom))


def waterfall() -> Spec:
    """Both paths of one disruption and what clients met, from its injection on."""
    import altair as alt

    x = alt.X("start:Q", title="Seconds since injection", scale=alt.Scale(nice=False))
    lanes = alt.Y("lane:N", title=None, sort=["clients", "isolation", "repair", "alerts"],
                  axis=alt.Axis(domain=False, ticks=False, labelPadding=8))
    tooltip = [alt.Tooltip("label:N", title="gap"), alt.Tooltip("said:N", title="took"),
               alt.Tooltip("cause:N", title="cause")]
    base = alt.Chart(alt.NamedData("gaps"))
    bars = base.mark_bar(height=16, cornerRadius=3, stroke="@page", strokeWidth=1).encode(
        x=x, x2="end:Q", y=lanes, color=alt.Color("tone:N", scale=None), tooltip=tooltip)
    marks = alt.Chart(alt.NamedData("marks")).mark_point(filled=True, size=70, shape="diamond", opacity=1).encode(
        x="at:Q", y=lanes, color=alt.Color("tone:N", scale=None),
        tooltip=[alt.Tooltip("label:N", title="mark"), alt.Tooltip("said:N", title="after")])
    zero = alt.Chart(alt.NamedData("zero")).mark_rule(color="@bad", strokeDash=[3, 3]).encode(x="at:Q")
    return _finished(alt.layer(zero, bars, marks).properties(height=96, width=600))


def spread() -> Spec:
    """Every run's value of each quantity, its median and the interval of the median."""
    import altair as alt

    return _spread(alt, alt.Axis(domain=False, ticks=False, labelLimit=220), step=26)


def variants() -> Spec:
    """The same of one quantity and many variants, whose names may have several lines and are never cut. Its axis begins
    where the longest name ends, and the whole is as wide as the page. The page says how high it is."""
    import altair as alt

    axis = alt.Axis(domain=False, ticks=False, labelLimit=0, labelExpr="split(datum.label, '\\n')", labelLineHeight=13)
    return _spread(alt, axis, step=26) | {"autosize": {"type": "fit-x", "contains": "padding"}}


def _spread(alt: Any, axis: Any, *, step: int) -> Spec:
    y = alt.Y("label:N", title=None, sort=None, axis=axis)
    base = alt.Chart(alt.NamedData("statistics"))
    values = alt.Chart(alt.NamedData("values")).mark_circle(size=46, opacity=0.55, color="@accent").encode(
        x=alt.X("value:Q", title="Seconds", scale=alt.Scale(zero=True)), y=y,
        tooltip=[alt.Tooltip("label:N", title="what"), alt.Tooltip("value:Q", title="seconds", format=".3f")])
    interval = base.transform_filter("isValid(datum.low)").mark_rule(strokeWidth=3, color="@ink", opacity=0.5).encode(
        x="low:Q", x2="high:Q", y=y)
    middle = base.transform_filter("isValid(datum.median)").mark_tick(thickness=3, height=16, color="@ink").encode(
        x="median:Q", y=y, tooltip=[alt.Tooltip("label:N", title="what"),
                                    alt.Tooltip("median:Q", title="median", format=".3f")])
    return _finished(alt.layer(values, interval, middle).properties(height=alt.Step(step), width=600))


# --- panels of the overview


def _x(alt: Any, *, labels: bool = False, field: str = "t") -> Any:
    axis = alt.Axis(title=_TIME if labels else None, labels=labels, ticks=labels, grid=True)
    return alt.X(f"{field}:Q", axis=axis, scale=alt.Scale(nice=False, zero=False))


def _disruptions(alt: Any) -> Any:
    """One row per disruption: how long it was in force, and, as a line, until everything was restored."""
    base = alt.Chart(alt.NamedData("windows"))
    y = alt.Y("name:N", title=None, sort=None, axis=alt.Axis(domain=False, ticks=False, grid=False, labelLimit=110))
    tooltip = [alt.Tooltip("name:N", title="disruption"), alt.Tooltip("what:N", title="what"),
               alt.Tooltip("start:Q", title="from", format=".2f"), alt.Tooltip("end:Q", title="to", format=".2f")]
    bars = base.mark_bar(height=9, cornerRadius=3, opacity=0.85).encode(
        x=_x(alt, field="start"), x2="end:Q", y=y, color=alt.Color("tone:N", scale=None), tooltip=tooltip)
    tails = base.transform_filter("isValid(datum.restored)").mark_rule(strokeWidth=2, opacity=0.8).encode(
        x="start:Q", x2="restored:Q", y=y, color=alt.Color("tone:N", scale=None))
    ends = base.transform_filter("isValid(datum.restored)").mark_point(
        shape="diamond", filled=True, size=55, opacity=1, color="@good").encode(
        x="restored:Q", y=y, tooltip=[alt.Tooltip("name:N", title="disruption"),
                                      alt.Tooltip("restored:Q", title="restored at", format=".2f")])
    return alt.layer(tails, bars, ends).properties(height=alt.Step(16), width=600)


def _windows(alt: Any) -> list[Any]:
    """Disruptions, shaded on every panel."""
    base = alt.Chart(alt.NamedData("windows"))
    shade = base.mark_rect(opacity=0.13).encode(
        x="start:Q", x2="end:Q", color=alt.Color("tone:N", scale=None),
        tooltip=[alt.Tooltip("name:N", title="disruption"), alt.Tooltip("what:N", title="what")])
    edge = base.mark_rule(opacity=0.7, strokeWidth=1).encode(x="start:Q", color=alt.Color("tone:N", scale=None))
    return [shade, edge]


def _rate(alt: Any) -> Any:
    base = alt.Chart(alt.NamedData("series"))
    tooltip = [alt.Tooltip("t:Q", title="second", format=".1f"), alt.Tooltip("ok:Q", title="answered/s"),
               alt.Tooltip("failed:Q", title="failed/s")]
    answered = base.mark_area(interpolate="step-after", fillOpacity=0.18, line={"color": "@accent", "strokeWidth": 1.2},
                              color="@accent").encode(
        x=_x(alt), y=alt.Y("ok:Q", title="requests/s"), tooltip=tooltip)
    # An outage is one block, as wide as it was long; a single failure in a long run is never thinner than can be seen.
    failed = base.mark_area(interpolate="step-after", color="@bad", opacity=1).encode(x=_x(alt), y="failed:Q")
    seen = base.transform_filter("datum.failed > 0").mark_bar(color="@bad", width=2).encode(
        x=_x(alt, field="mid"), y="failed:Q", tooltip=tooltip)
    locust = alt.Chart(alt.NamedData("locust")).mark_line(
        interpolate="step-after", strokeWidth=1, strokeDash=[2, 2], color="@muted").encode(
        x=_x(alt), y="rate:Q", tooltip=[alt.Tooltip("t:Q", title="second"),
                                        alt.Tooltip("rate:Q", title="Locust requests/s")])
    locust_failed = alt.Chart(alt.NamedData("locust")).transform_filter("datum.failed > 0").mark_point(
        filled=True, size=22, color="@bad").encode(
        x=_x(alt), y="failed:Q", tooltip=[alt.Tooltip("t:Q", title="second"),
                                          alt.Tooltip("failed:Q", title="Locust requests that failed/s")])
    return alt.layer(*_windows(alt), answered, locust, failed, seen, locust_failed).properties(height=130, width=600)


def _latency(alt: Any) -> Any:
    """A line ends where requests were due and none was answered. p99 lies below, broad: p95 is often the same."""
    panels = [part for quantile, color, width in (("p99", "@gap6", 4.0), ("p95", "@warm", 1.4), ("p50", "@accent", 1.4))
              for part in _quantile(alt, quantile, color, width)]
    return alt.layer(*_windows(alt), *panels).properties(height=120, width=600)


def _quantile(alt: Any, quantile: str, color: str, width: float) -> list[Any]:
    """Its line, and a dot where a single bin has an answer: no line would show it."""
    base = alt.Chart(alt.NamedData("latencies")).transform_filter(f"datum.quantile == '{quantile}'").encode(
        x=_x(alt, field="mid"), y=alt.Y("ms:Q", title="latency ms", scale=alt.Scale(type="log", nice=True)),
        tooltip=[alt.Tooltip("mid:Q", title="second", format=".2f"), "quantile:N",
                 alt.Tooltip("ms:Q", title="ms", format=".1f")])
    opacity = 0.5 if width > 2 else 1
    return [base.mark_line(interpolate="monotone", strokeWidth=width, color=color, opacity=opacity, strokeCap="butt",
                           invalid="break-paths-filter-domains"),
            base.transform_filter("datum.alone").mark_circle(size=6 * width, color=color, opacity=opacity)]


def _replicas(alt: Any) -> Any:
    """A bin's value is that of its end, and is drawn there: nothing falls before what makes it fall."""
    base = alt.Chart(alt.NamedData("series"))
    desired = base.mark_line(interpolate="step-after", strokeDash=[4, 3], strokeWidth=1.2, color="@muted").encode(
        x=_x(alt, field="end"), y=alt.Y("desired:Q", title="ready pods", axis=alt.Axis(tickMinStep=1)))
    ready = base.mark_line(interpolate="step-after", strokeWidth=2, color="@good").encode(
        x=_x(alt, field="end"), y=alt.Y("ready:Q", scale=alt.Scale(zero=True)),
        tooltip=[alt.Tooltip("end:Q", title="second", format=".1f"), "ready:Q", "desired:Q"])
    restarts = base.transform_filter("datum.restarts > 0").mark_point(
        shape="triangle-up", filled=True, size=70, color="@warm", opacity=1).encode(
        x=_x(alt, field="end"), y=alt.Y("ready:Q"), tooltip=[alt.Tooltip("end:Q", title="second", format=".1f"),
                                                alt.Tooltip("restarts:Q", title="container restarts")])
    return alt.layer(*_windows(alt), desired, ready, restarts).properties(height=84, width=600)


def _events(alt: Any) -> Any:
    ticks = alt.Chart(alt.NamedData("events")).mark_tick(thickness=2, height=12, opacity=0.85).encode(
        x=_x(alt, labels=True), y=alt.Y("group:N", title=None, sort=None,
                                        axis=alt.Axis(domain=False, ticks=False, labelLimit=90)),
        color=alt.Color("tone:N", scale=None),
        tooltip=[alt.Tooltip("t:Q", title="second", format=".3f"), "kind:N", "object:N", "message:N"])
    return alt.layer(*_windows(alt), ticks).properties(height=alt.Step(15), width=600)


def _finished(chart: Any) -> Spec:
    spec: Spec = chart.to_dict(validate=False)
    for key in ("$schema", "config"):
        spec.pop(key, None)
    return spec
