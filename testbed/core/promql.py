"""Which PromQL query reads a metric of an autoscaler. The labels are those of prometheus-adapter's default rules.

A series of the metric's own name is taken as it is; where there is none, ``<name>_total`` is a counter, of which the
rate of the last minute is taken. Source: sigs.k8s.io/prometheus-adapter docs/sample-config.yaml, docs/config.md.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable

from testbed.api.autoscaling_v2 import MetricSpec, NamedMetric
from testbed.api.meta import LabelSelector

RATE_WINDOW = "1m"
_NAME = re.compile(r"[a-zA-Z_:][a-zA-Z0-9_:]*\Z")
_NOT_PLAIN = re.compile(r"([^a-zA-Z0-9_ -])")


def query(spec: MetricSpec, metric: NamedMetric, namespace: str, pods: Iterable[str]) -> str:
    """Pods: one value by label ``pod``; Object and External: one value.

    Raises: ValueError when the name is none of Prometheus'.
    """
    name = metric.metric.name
    if not _NAME.match(name):
        raise ValueError(f"{name!r} is no name of a Prometheus metric")
    wanted = _selector(metric.metric.selector)
    by = ""
    if spec.type == "Pods":
        wanted = [f"namespace={_text(namespace)}", f"pod=~{_text('|'.join(map(_escaped, sorted(pods))))}", *wanted]
        by = " by (pod)"
    elif spec.type == "Object":
        described = metric.described_object
        if described.kind == "Namespace":
            wanted = [f"namespace={_text(described.name)}", *wanted]
        else:
            wanted = [f"namespace={_text(namespace)}", f"{described.kind.lower()}={_text(described.name)}", *wanted]
    matchers = "{" + ",".join(wanted) + "}"
    return f"sum{by} ({name}{matchers}) or sum{by} (rate({name}_total{matchers}[{RATE_WINDOW}]))"


def _selector(selector: LabelSelector | None) -> list[str]:
    if selector is None:
        return []
    found = [f"{_label(key)}={_text(value)}" for key, value in sorted(selector.match_labels.items())]
    for item in selector.match_expressions:
        values = _text("|".join(map(_escaped, item.values)))
        found.append(f"{_label(item.key)}" + {
            "In": f"=~{values}", "NotIn": f"!~{values}", "Exists": '!=""', "DoesNotExist": '=""'}[item.operator])
    return found


def _label(key: str) -> str:
    return re.sub(r"[^a-zA-Z0-9_]", "_", key)


def _escaped(text: str) -> str:
    return _NOT_PLAIN.sub(r"\\\1", text)


def _text(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)
