"""How every panel of ours looks, and what it must say: title, description, unit, and what is read where nothing is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from colours import BAD, DOUBTFUL, GOOD, NEUTRAL, STATES
from grafana_foundation_sdk.builders import bargauge, heatmap, prometheus, stat, statetimeline, table, timeseries
from grafana_foundation_sdk.builders import common as common_builders
from grafana_foundation_sdk.builders import dashboard as builders
from grafana_foundation_sdk.builders import heatmap as heatmap_builders
from grafana_foundation_sdk.models import common, dashboard
from grafana_foundation_sdk.models import heatmap as heatmap_models
from queries import SOURCE, at_end, column, heat, query

RUNBOOKS = "docs/runbooks.md"
SCRAPE = "1s"  # how often Prometheus looks: a shorter outage than two looks cannot be seen in a graph
Steps = Sequence[tuple[float | None, str]]
NO_COLOUR: Steps = ((None, NEUTRAL),)
GOOD_WHEN_ZERO: Steps = ((None, GOOD), (1e-9, BAD))
WORTH_A_LOOK: Steps = ((None, GOOD), (1e-9, DOUBTFUL))
GOOD_WHEN_FULL: Steps = ((None, BAD), (1e-9, DOUBTFUL), (1.0, GOOD))


def thresholds(steps: Steps) -> builders.ThresholdsConfig:
    return builders.ThresholdsConfig().mode(dashboard.ThresholdsMode.ABSOLUTE).steps(
        [dashboard.Threshold(value=value, color=color) for value, color in steps])


def alerted(description: str, *alerts: str) -> str:
    """With the alerts that tell of what the panel shows, and where it is written what to do then."""
    places = ", ".join(f"{alert} ({RUNBOOKS}#{alert.lower()})" for alert in alerts)
    return f"{description} {'Alerts' if len(alerts) > 1 else 'Alert'}: {places}."


def _common(panel: Any, title: str, description: str, unit: str, none: str, height: int, span: int) -> Any:
    return (panel.title(title).description(description).datasource(SOURCE).unit(unit).no_value(none).height(height)
            .span(span))


def _legend(shown: bool) -> common_builders.VizLegendOptions:
    return (common_builders.VizLegendOptions().display_mode(common.LegendDisplayMode.LIST)
            .placement(common.LegendPlacement.BOTTOM).show_legend(shown).calcs([]))


def _last() -> common_builders.ReduceDataOptions:
    return common_builders.ReduceDataOptions().calcs(["lastNotNull"])


def _mapping(texts: Sequence[str]) -> list[Any]:
    """0, 1, 2 ... as these words, in their colours."""
    return [dashboard.ValueMap(options={
        str(value): dashboard.ValueMappingResult(text=word, color=STATES[word], index=value)
        for value, word in enumerate(texts)})]


def number(
    title: str, description: str, expression: str, *, unit: str = "short", steps: Steps, none: str = "0",
    whole_range: bool = False, states: Sequence[str] = (), link: builders.DashboardLink | None = None, span: int = 4,
) -> stat.Panel:
    """One figure, six to a row.

    whole_range: it is asked once for all of the time shown, and is not drawn over it. states: words for 0, 1, 2 ...
    """
    panel = _common(stat.Panel(), title, description, unit, none, 4, span)
    background = bool(states)
    panel = (panel.thresholds(thresholds(steps)).reduce_options(_last())
             .graph_mode(common.BigValueGraphMode.NONE if whole_range or states else common.BigValueGraphMode.AREA)
             .color_mode(common.BigValueColorMode.BACKGROUND if background else common.BigValueColorMode.VALUE))
    if states:
        panel = panel.mappings(_mapping(states))
    if link is not None:
        panel = panel.data_links([link])
    return panel.with_target((at_end if whole_range else query)(expression))


def names(title: str, description: str, one: prometheus.Dataquery, *, none: str, span: int = 4) -> stat.Panel:
    """The legends of the series, where they say more than the figures."""
    return (_common(stat.Panel(), title, description, "short", none, 4, span).thresholds(thresholds(NO_COLOUR))
            .reduce_options(_last()).graph_mode(common.BigValueGraphMode.NONE)
            .text_mode(common.BigValueTextMode.NAME).with_target(one))


def graph(
    title: str, description: str, *queries: prometheus.Dataquery, unit: str = "short", span: int = 12, none: str,
    stacked: bool = False, states: Sequence[str] = (), limit: float | None = None, most: float | None = None,
) -> timeseries.Panel:
    """Lines over time; gaps stay gaps, since nothing known is not zero.

    states: words that series' names are or end with, for their colours. limit: a line that should not be crossed.
    """
    panel = (_common(timeseries.Panel(), title, description, unit, none, 8, span)
             .line_width(1).fill_opacity(40 if stacked else 8).show_points(common.VisibilityMode.NEVER)
             .span_nulls(False).interval(SCRAPE).min(0).legend(_legend(True))
             .tooltip(common_builders.VizTooltipOptions().mode(common.TooltipDisplayMode.MULTI)
                      .sort(common.SortOrder.DESCENDING)))
    if stacked:
        panel = panel.stacking(common_builders.StackingConfig().mode(common.StackingMode.NORMAL).group("A"))
    if most is not None:
        panel = panel.max(most)
    if limit is not None:
        panel = panel.thresholds(thresholds(((None, "transparent"), (limit, BAD)))).thresholds_style(
            common_builders.GraphThresholdsStyleConfig().mode(common.GraphThresholdsStyleMode.DASHED))
    for word in states:
        panel = panel.override_by_regexp(f"/(^| ){word}$/", [dashboard.DynamicConfigValue(
            id_val="color", value={"mode": "fixed", "fixedColor": STATES[word]})])
    for one in queries:
        panel = panel.with_target(one)
    return panel


def states(
    title: str, description: str, *queries: prometheus.Dataquery, texts: Sequence[str], none: str, span: int = 24,
    height: int = 6,
) -> statetimeline.Panel:
    """Windows of time, a lane for each series. texts: words for the values 0, 1, 2 ..."""
    panel = (_common(statetimeline.Panel(), title, description, "short", none, height, span)
             .mappings(_mapping(texts)).merge_values(True).fill_opacity(80).row_height(0.8).interval(SCRAPE)
             .show_value(common.VisibilityMode.NEVER).legend(_legend(False)))
    for one in queries:
        panel = panel.with_target(one)
    return panel


def heat_map(title: str, description: str, buckets: str, *, unit: str, none: str, span: int = 12) -> heatmap.Panel:
    """How often each size came, over time. buckets: an expression with the label ``le``; unit: of the sizes."""
    return (_common(heatmap.Panel(), title, description, "short", none, 8, span).interval(SCRAPE)
            .calculate(False).cell_gap(1).y_axis(heatmap_builders.YAxisConfig().unit(unit))
            .color(heatmap_builders.HeatmapColorOptions().mode(heatmap_models.HeatmapColorMode.SCHEME)
                   .scheme("Oranges").steps(64))
            .with_target(heat(buckets)))


def bars(title: str, description: str, expression: str, legend: str, *, unit: str, none: str,
         span: int = 12, height: int = 8) -> bargauge.Panel:
    """One bar for each series, with its value at the end of the time shown."""
    return (_common(bargauge.Panel(), title, description, unit, none, height, span).thresholds(thresholds(NO_COLOUR))
            .min(0).orientation(common.VizOrientation.HORIZONTAL).display_mode(common.BarGaugeDisplayMode.GRADIENT)
            .reduce_options(_last()).with_target(at_end(expression, legend)))


def listing(
    title: str, description: str, columns: Mapping[str, tuple[str, str, Steps | None]], keys: Mapping[str, str], *,
    none: str, span: int = 24, height: int = 8,
) -> table.Panel:
    """A table at the end of the time shown.

    columns: title -> expression, unit, and the colours behind its cells. keys: label -> title of its column.
    """
    panel = _common(table.Panel(), title, description, "short", none, height, span)
    renamed = dict(keys)
    for number_, (name, (expression, unit, steps)) in enumerate(columns.items()):
        reference = chr(ord("A") + number_)
        renamed[f"Value #{reference}"] = name
        panel = panel.with_target(column(expression).ref_id(reference))
        properties = [dashboard.DynamicConfigValue(id_val="unit", value=unit),
                      dashboard.DynamicConfigValue(id_val="noValue", value="–")]  # of one cell, not of the table
        if steps is not None:
            properties += [
                dashboard.DynamicConfigValue(id_val="thresholds", value={"mode": "absolute", "steps": [
                    {"value": value, "color": color} for value, color in steps]}),
                dashboard.DynamicConfigValue(id_val="custom.cellOptions", value={"type": "color-background",
                                                                                "mode": "basic"})]
        panel = panel.override_by_name(name, properties)
    return panel.with_transformation(dashboard.DataTransformerConfig(id_val="merge", options={})).with_transformation(
        dashboard.DataTransformerConfig(id_val="organize", options={
            "excludeByName": {"Time": True}, "renameByName": renamed,
            "indexByName": {name: index for index, name in enumerate(renamed)}}))
