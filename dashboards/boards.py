"""What all dashboards have in common: variables, refresh, windows of faults and alerts, links, numbering.

A dashboard is its heading and its rows of panels. Panels fill lines of 24 columns from left to right.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from colours import BAD, DOUBTFUL, NEUTRAL
from grafana_foundation_sdk.builders import dashboard as builders
from grafana_foundation_sdk.models import dashboard
from panels import SCRAPE
from queries import NAMESPACE, NODE, SOURCE, appeared, of

TAG = "testbed"
VALUES = {  # variable -> its title, and the series and label of its values; each may depend on those before it
    "job": ("Job", "testbed_build_info{}", "job"),
    "instance": ("Instance", 'testbed_build_info{job=~"$job"}', "instance"),
    "namespace": ("Namespace", of("kube_pod_info"), "namespace"),
    "experiment": ("Experiment", of("testbed_experiment_running"), "experiment"),
    "node": ("Node", of("kube_node_info"), "node"),
    "pod": ("Pod", of("kube_pod_info", NAMESPACE, NODE), "pod"),
    "deployment": ("Deployment", of("kube_deployment_spec_replicas", NAMESPACE), "deployment"),
    "controller": ("Controller", of("testbed_workqueue_depth"), "controller"),
}


def board(uid: str, title: str, description: str, variables: Sequence[str],
          rows: Iterable[tuple[str, Sequence[Any]]]) -> dashboard.Dashboard:
    """``variables``: those beside data source, job and instance."""
    made = (builders.Dashboard(f"Testbed / {title}").uid(uid).description(description).tags([TAG]).readonly()
            .tooltip(dashboard.DashboardCursorSync.CROSSHAIR).time("now-15m", "now").refresh("5s")
            .timezone("browser").version(1)
            .with_variable(builders.DatasourceVariable("datasource").label("Data source").type("prometheus").current(
                dashboard.VariableOption(selected=True, text="Prometheus", value="prometheus"))))
    for name in ("job", "instance", *variables):
        made = made.with_variable(_variable(name, *VALUES[name]))
    for window in _windows():
        made = made.annotation(window)
    made = made.link(builders.DashboardLink("Testbed").type(dashboard.DashboardLinkType.DASHBOARDS).tags([TAG])
                     .as_dropdown(True).include_vars(True).keep_time(True))
    for heading, panels in rows:
        made = made.with_row(builders.Row(heading))
        for panel in panels:
            made = made.with_panel(panel)
    return _numbered(made.build())


def _variable(name: str, title: str, series: str, label: str) -> builders.QueryVariable:
    """Of all its values at first; asked again when the time shown changes."""
    values = f"label_values({series}, {label})"
    return (builders.QueryVariable(name).label(title).query(values).definition(values).datasource(SOURCE)
            .multi(True).include_all(True).all_value(".+").refresh(dashboard.VariableRefresh.ON_TIME_RANGE_CHANGED)
            .sort(dashboard.VariableSort.ALPHABETICAL_ASC).current(dashboard.VariableOption(
                selected=True, text=["All"], value=["$__all"])))


def _windows() -> list[builders.AnnotationQuery]:
    """Times that every graph shows. Grafana joins points no further apart than one step to one window."""
    def window(name: str, colour: str, held: str, title: str, text: str, *, shown: bool) -> builders.AnnotationQuery:
        return (builders.AnnotationQuery().name(name).datasource(SOURCE).enable(shown).hide(False)
                .icon_color(colour).expr(held).step(SCRAPE).title_format(title).text_format(text))

    return [
        window("Faults", BAD, f"{of('testbed_fault_active')} == 1", "{{fault}}", "{{target}} on {{node}}", shown=True),
        window("Kills", BAD, _kills(), "{{fault}}", "done at once", shown=True),
        window("Alerts", DOUBTFUL, f"{of('ALERTS', alertstate='firing')} == 1", "{{alertname}}",
               "{{namespace}} {{deployment}} {{pod}} {{node}}", shown=False),
        window("Experiments", NEUTRAL, f"{of('testbed_experiment_running')} == 1", "{{experiment}}", "on {{platform}}",
               shown=False),
    ]


def _kills() -> str:
    """Injections that were counted within the last step and hold nothing, each at one step. What was counted before
    anybody looked has no moment."""
    return (f"{appeared('testbed_faults_total', within='$__interval')} > 0 "
            f"and on (job, instance) {of('testbed_build_info')} offset $__interval "
            f"unless on (job, instance, fault) {of('testbed_fault_active')} == 1")


def to_board(uid: str, title: str, *more: str) -> builders.DashboardLink:
    """A link to another dashboard, for the same time and choice. ``more``: further ``name=value`` of its address."""
    kept = ("${__url_time_range}", *(f"${{{name}:queryparam}}" for name in ("datasource", "job", "instance")), *more)
    return builders.DashboardLink(title).url(f"/d/{uid}?" + "&".join(kept))


def _numbered(built: dashboard.Dashboard) -> dashboard.Dashboard:
    """Panels and queries get numbers and letters of their own, which links and expressions need."""
    for number, panel in enumerate(built.panels or [], 1):
        panel.id_val = number
        for index, target in enumerate(getattr(panel, "targets", None) or []):
            target.ref_id = chr(ord("A") + index)
    return built
