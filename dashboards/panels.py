"""How every panel of ours looks, and what every query must carry: the few words that dashboards are written in.

Follows the rules of Grafana's dashboard linter: a templated data source, ``job`` and ``instance`` matchers, title,
description and unit on each panel, rates over ``$__rate_interval``.
"""

from __future__ import annotations

import re

from grafana_foundation_sdk.builders import common as common_builders
from grafana_foundation_sdk.builders import dashboard as builders
from grafana_foundation_sdk.builders import prometheus, stat, statetimeline, timeseries
from grafana_foundation_sdk.models import common, dashboard

SOURCE = common.DataSourceRef(type_val="prometheus", uid="${datasource}")
MATCH = 'job=~"$job", instance=~"$instance"'
SCRAPE = "1s"  # the interval of compose/prometheus: a shorter outage than two scrapes cannot be seen in a graph


def selected(expression: str) -> str:
    """``metric[...]`` with our matchers put into every ``{}``: write ``kube_pod_info{}`` or ``x{phase="Running"}``."""
    return re.sub(r"\{([^}]*)\}", lambda found: "{" + MATCH + (", " + found[1] if found[1] else "") + "}", expression)


def query(expression: str, legend: str = "") -> prometheus.Dataquery:
    return prometheus.Dataquery().expr(selected(expression)).legend_format(legend).datasource(SOURCE).range()


def _steps(*steps: tuple[float | None, str]) -> builders.ThresholdsConfig:
    return builders.ThresholdsConfig().mode(dashboard.ThresholdsMode.ABSOLUTE).steps(
        [dashboard.Threshold(value=value, color=color) for value, color in steps])


GOOD_WHEN_ZERO = ((None, "green"), (0.0001, "red"))
GOOD_WHEN_FULL = ((None, "red"), (1.0, "green"))
NEUTRAL = ((None, "blue"),)


def number(
    title: str, description: str, expression: str, *, unit: str = "short", steps: tuple[tuple[float | None, str], ...],
    none: str = "0",
) -> stat.Panel:
    """One figure, six to a row."""
    return (stat.Panel().title(title).description(description).datasource(SOURCE).unit(unit).no_value(none)
            .height(4).span(4).thresholds(_steps(*steps)).graph_mode(common.BigValueGraphMode.AREA)
            .color_mode(common.BigValueColorMode.VALUE)
            .reduce_options(common_builders.ReduceDataOptions().calcs(["lastNotNull"]))
            .with_target(query(expression)))


def graph(
    title: str, description: str, *queries: prometheus.Dataquery, unit: str = "short", span: int = 12,
    stacked: bool = False, least: float | None = 0,
) -> timeseries.Panel:
    """Lines over time; gaps stay gaps, since nothing known is not zero."""
    panel = (timeseries.Panel().title(title).description(description).datasource(SOURCE).unit(unit)
             .height(8).span(span).line_width(1).fill_opacity(40 if stacked else 8).show_points(
                 common.VisibilityMode.NEVER).span_nulls(False).interval(SCRAPE)
             .legend(common_builders.VizLegendOptions().display_mode(common.LegendDisplayMode.LIST)
                     .placement(common.LegendPlacement.BOTTOM).show_legend(True).calcs([]))
             .tooltip(common_builders.VizTooltipOptions().mode(common.TooltipDisplayMode.MULTI)
                      .sort(common.SortOrder.DESCENDING)))
    if stacked:
        panel = panel.stacking(common_builders.StackingConfig().mode(common.StackingMode.NORMAL).group("A"))
    if least is not None:
        panel = panel.min(least)
    for one in queries:
        panel = panel.with_target(one)
    return panel


def states(title: str, description: str, *queries: prometheus.Dataquery, texts: dict[str, tuple[str, str]],
           span: int = 24, height: int = 6) -> statetimeline.Panel:
    """Windows of time. ``texts``: value -> (word, colour)."""
    mapping = dashboard.ValueMap(options={
        value: dashboard.ValueMappingResult(text=word, color=color, index=index)
        for index, (value, (word, color)) in enumerate(texts.items())})
    panel = (statetimeline.Panel().title(title).description(description).datasource(SOURCE).unit("short")
             .height(height).span(span).mappings([mapping]).merge_values(True).fill_opacity(80).row_height(0.8)
             .interval(SCRAPE).show_value(common.VisibilityMode.NEVER)
             .legend(common_builders.VizLegendOptions().display_mode(common.LegendDisplayMode.LIST)
                     .placement(common.LegendPlacement.BOTTOM).show_legend(False).calcs([])))
    for one in queries:
        panel = panel.with_target(one)
    return panel


def skeleton(title: str, uid: str, description: str) -> builders.Dashboard:
    """An empty dashboard of ours: variables, refresh, fault windows on every graph, links to its sisters."""
    def variable(name: str, label: str, values: str) -> builders.QueryVariable:
        return (builders.QueryVariable(name).label(label).query(values).datasource(SOURCE).multi(True).include_all(True)
                .all_value(".+").refresh(dashboard.VariableRefresh.ON_TIME_RANGE_CHANGED)
                .sort(dashboard.VariableSort.ALPHABETICAL_ASC).current(dashboard.VariableOption(
                    selected=True, text=["All"], value=["$__all"])))

    windows = (builders.AnnotationQuery().name("Faults").datasource(SOURCE).enable(True).hide(False).icon_color("red")
               .expr(selected("testbed_fault_active{} == 1")).step(SCRAPE).title_format("{{fault}}")
               .text_format("{{target}} on {{node}}").tag_keys("fault,node"))
    return (builders.Dashboard(title).uid(uid).description(description).tags(["testbed"]).readonly()
            .tooltip(dashboard.DashboardCursorSync.CROSSHAIR).time("now-15m", "now").refresh("5s")
            .timezone("browser").version(1)
            .with_variable(builders.DatasourceVariable("datasource").label("Data Source").type("prometheus")
                           .current(dashboard.VariableOption(selected=True, text="Prometheus", value="prometheus")))
            .with_variable(variable("job", "Job", "label_values(testbed_build_info, job)"))
            .with_variable(variable("instance", "Cluster", 'label_values(testbed_build_info{job=~"$job"}, instance)'))
            .with_variable(variable("namespace", "Namespace",
                                    f"label_values(kube_pod_info{{{MATCH}}}, namespace)"))
            .annotation(windows)
            .link(builders.DashboardLink("Testbed").type(dashboard.DashboardLinkType.DASHBOARDS).tags(["testbed"])
                  .as_dropdown(True).include_vars(True).keep_time(True)))
