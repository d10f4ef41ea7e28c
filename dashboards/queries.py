"""The PromQL that several dashboards share: selectors, quantiles, workloads of every kind under one label.

Follows the rules of Grafana's dashboard linter: each selector has ``job`` and ``instance``, each rate has
``$__rate_interval``.
"""

from __future__ import annotations

from grafana_foundation_sdk.builders import prometheus
from grafana_foundation_sdk.models import common
from grafana_foundation_sdk.models.prometheus import PromQueryFormat

SOURCE = common.DataSourceRef(type_val="prometheus", uid="${datasource}")
NAMESPACE = 'namespace=~"$namespace"'
EXPERIMENT = 'experiment=~"$experiment"'
NODE = 'node=~"$node"'
POD = f'{NAMESPACE}, {NODE}, pod=~"$pod"'
CONTAINER = f'{POD}, container!=""'  # a whole pod's groups have no container, and are not to be counted twice
DEPLOYMENT = f'{NAMESPACE}, deployment=~"$deployment"'

ASKED_FOR = "kube_deployment_spec_replicas|kube_statefulset_replicas|kube_daemonset_status_desired_number_scheduled"
READY = ("kube_deployment_status_replicas_ready|kube_statefulset_status_replicas_ready"
         "|kube_daemonset_status_number_ready")
UPDATED = ("kube_deployment_status_replicas_updated|kube_statefulset_status_replicas_updated"
           "|kube_daemonset_status_updated_number_scheduled")


def of(metric: str, *matchers: str, **labels: str) -> str:
    """A selector with our matchers. ``metric``: its name, or several with ``|`` between them."""
    named = [f'__name__=~"{metric}"'] if "|" in metric else []
    every = [*named, 'job=~"$job"', 'instance=~"$instance"', *(f'{name}="{value}"' for name, value in labels.items()),
             *matchers]
    return f"{'' if named else metric}{{{', '.join(every)}}}"


def query(expression: str, legend: str = "") -> prometheus.Dataquery:
    """Over the time that the dashboard shows."""
    return prometheus.Dataquery().expr(expression).legend_format(legend).datasource(SOURCE).range()


def at_end(expression: str, legend: str = "") -> prometheus.Dataquery:
    """Once, at the end of that time."""
    return query(expression, legend).instant()


def column(expression: str) -> prometheus.Dataquery:
    """At the end of that time, one row for each series."""
    return at_end(expression).format(PromQueryFormat.TABLE)


def heat(expression: str) -> prometheus.Dataquery:
    """Buckets over time."""
    return query(expression, "{{le}}").format(PromQueryFormat.HEATMAP)


def rate(metric: str, *matchers: str, **labels: str) -> str:
    """Per second."""
    return f"rate({of(metric, *matchers, **labels)}[$__rate_interval])"


def quantile(which: float, histogram: str, *matchers: str, by: str = "") -> str:
    """Of what was observed lately, by labels. ``histogram``: its name without ``_bucket``."""
    labels = ", ".join(("le", by) if by else ("le",))
    return f"histogram_quantile({which}, sum by ({labels}) ({rate(f'{histogram}_bucket', *matchers)}))"


def increase(metric: str, *matchers: str) -> str:
    """By how much each counter has grown within the time shown."""
    return f"increase({of(metric, *matchers)}[$__range])"


def appeared(metric: str, *matchers: str, within: str = "$__range") -> str:
    """The same of counters that come to be with their first event, which ``increase`` would miss."""
    now = of(metric, *matchers)
    return f"clamp_min({now} - ({now} offset {within} or {now} * 0), 0)"


def by_workload(selector: str) -> str:
    """Sums per namespace and ``workload``, which is ``Deployment/web``, ``StatefulSet/db`` or ``DaemonSet/log``."""
    for kind in ("Deployment", "StatefulSet", "DaemonSet"):
        selector = f'label_replace({selector}, "workload", "{kind}/$1", "{kind.lower()}", "(.+)")'
    return f"sum by (namespace, workload) ({selector})"


def workloads(names: str) -> str:
    """A number that each workload has, whatever its kind. ``names``: of metrics, one for each kind."""
    return by_workload(of(names, NAMESPACE))


def by_service(metric: str, **labels: str) -> str:
    """Slices are called after their Service, with five letters behind."""
    return (f"count by (namespace, service) (label_replace({of(metric, NAMESPACE, **labels)}, "
            '"service", "$1", "endpointslice", "(.+)-[^-]+"))')


def firing() -> str:
    """Alerts; the one that always fires is none (severity ``none``)."""
    return of("ALERTS", 'severity!="none"', alertstate="firing")


def restarts_by_workload() -> str:
    """Restarts within the time shown, of pods that are there at its end."""
    of_replica_sets = of("kube_pod_owner", owner_kind="ReplicaSet")
    of_others = of("kube_pod_owner", 'owner_kind!="ReplicaSet"')
    owned = (f'label_replace({of_replica_sets}, "workload", "Deployment/$1", "owner_name", "(.*)-[^-]+") or '
             f'label_join({of_others}, "workload", "/", "owner_kind", "owner_name")')
    restarts = f"sum by (namespace, pod) ({increase('kube_pod_container_status_restarts_total', NAMESPACE)})"
    return (f"sum by (namespace, workload) ({restarts} * on (namespace, pod) group_left (workload) "
            f"max by (namespace, pod, workload) ({owned}))")
