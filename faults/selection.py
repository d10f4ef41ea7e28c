"""Which pods, containers or nodes a fault object hits. Pure: objects as JSON in, targets out.

Rules: chaos-mesh pkg/selector/pod/selector.go and pkg/selector/generic/mode.go. A selector without namespaces means
the fault's own namespace. Beyond upstream: pods of kube-system, pods that have ended or are being deleted are never
hit.
"""

from __future__ import annotations

import math
import random as randomness
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any, TypeVar

from faults.blast_radius import workload_of
from faults.protocol import Json, Refused, Target

PROTECTED_NAMESPACES = frozenset({"kube-system"})
MODES = ("one", "all", "fixed", "fixed-percent", "random-max-percent")
OPERATORS = ("In", "NotIn", "Exists", "DoesNotExist")
_POD_CRITERIA = ("namespaces", "labelSelectors", "expressionSelectors", "annotationSelectors", "fieldSelectors", "pods",
                 "podPhaseSelectors")

T = TypeVar("T")


def matching_pods(
    selector: Mapping[str, Any], own_namespace: str, pods: Iterable[Json], nodes: Iterable[Json]
) -> list[Json]:
    """Pods that the selector names, by namespace and name.

    Raises: Refused when it names a protected namespace.
    """
    namespaces = set(selector.get("namespaces") or ()) | set(selector.get("pods") or ()) or {own_namespace}
    forbidden = sorted(namespaces & PROTECTED_NAMESPACES)
    if forbidden:
        raise Refused(f"pods of namespace {', '.join(forbidden)} are never hit", hint="choose other namespaces")
    allowed_nodes = _allowed_nodes(selector, nodes)
    found = [pod for pod in pods
             if pod["metadata"].get("namespace") in namespaces and alive(pod) and _named(selector, pod)
             and _labelled(selector, pod) and _fielded(selector, pod)
             and (allowed_nodes is None or (pod.get("spec") or {}).get("nodeName") in allowed_nodes)]
    return sorted(found, key=lambda pod: (pod["metadata"]["namespace"], pod["metadata"]["name"]))


def matching_nodes(
    selector: Mapping[str, Any], own_namespace: str, pods: Iterable[Json], nodes: Sequence[Json]
) -> list[str]:
    """Names of the nodes that the selector names: by ``nodes``/``nodeSelectors`` alone, else those of matching pods."""
    if not any(selector.get(key) for key in _POD_CRITERIA):
        allowed = _allowed_nodes(selector, nodes)
        return sorted(node["metadata"]["name"] for node in nodes if allowed is not None
                      and node["metadata"]["name"] in allowed)
    names = {(pod.get("spec") or {}).get("nodeName") for pod in matching_pods(selector, own_namespace, pods, nodes)}
    return sorted(name for name in names if name)


def choose(candidates: Sequence[T], mode: str, value: str, random: randomness.Random) -> list[T]:
    """What of the candidates is hit, in their order.

    Raises: Refused when the mode or its value is wrong.
    """
    total = len(candidates)
    if mode == "all":
        return list(candidates)
    if mode == "one":
        number = 1
    elif mode == "fixed":
        number = number_of(mode, value)
    elif mode == "fixed-percent":
        number = math.floor(total * number_of(mode, value) / 100)
    elif mode == "random-max-percent":
        number = math.floor(total * random.randint(0, number_of(mode, value)) / 100)
    else:
        raise Refused(f"mode {mode!r} is not one of {', '.join(MODES)}")
    chosen = random.sample(range(total), min(number, total))
    return [candidates[index] for index in sorted(chosen)]


def containers_of(pod: Json, names: Sequence[str], *, first_only: bool = False) -> list[Target]:
    """The pod's containers of these names; without names all of them, or the first.

    Raises: Refused when the pod has no container of a name.
    """
    present = [str(container["name"]) for container in pod["spec"].get("containers") or ()]
    missing = sorted(set(names) - set(present))
    if missing:
        raise Refused(f"pod {pod['metadata']['name']} has no container {', '.join(missing)}",
                      hint="its containers: " + ", ".join(present))
    wanted = [name for name in present if name in names] if names else present[:1] if first_only else present
    target = pod_target(pod)
    return [replace(target, container=name) for name in wanted]


def pod_target(pod: Json) -> Target:
    metadata = pod["metadata"]
    return Target(metadata["namespace"], metadata["name"], metadata.get("uid", ""),
                  node=(pod.get("spec") or {}).get("nodeName", ""), workload=workload_of(pod))


def number_of(mode: str, value: str) -> int:
    """How many, or what share, a mode's value means. Raises: Refused when it is none."""
    most = 100 if mode.endswith("-percent") else 10_000_000
    if not value.isascii() or not value.isdigit() or not 0 < int(value[:9]) <= most or len(value) > 8:
        raise Refused(f"mode {mode} needs value: a whole number from 1 to {most}, not {value[:40]!r}")
    return int(value)


def alive(pod: Json) -> bool:
    """It has not ended and is not being deleted."""
    return (not pod["metadata"].get("deletionTimestamp")
            and (pod.get("status") or {}).get("phase") not in ("Succeeded", "Failed"))


def container_id(pod: Json, container: str) -> str:
    """Of the container that runs now, as the agent tells it; empty when none does or nothing is told."""
    for status in (pod.get("status") or {}).get("containerStatuses") or ():
        if status.get("name") == container and "running" in (status.get("state") or {}):
            return str(status.get("containerID") or "").rpartition("/")[2]
    return ""


def runs(pod: Json, container: str = "") -> bool:
    """Whether the pod runs, and in it, where one is named, this container."""
    status = pod.get("status") or {}
    if not alive(pod) or status.get("phase") != "Running":
        return False
    told = any(item.get("name") == container for item in status.get("containerStatuses") or ())
    return not container or not told or bool(container_id(pod, container))


def _named(selector: Mapping[str, Any], pod: Json) -> bool:
    named = selector.get("pods")
    return not named or pod["metadata"]["name"] in (named.get(pod["metadata"]["namespace"]) or ())


def _labelled(selector: Mapping[str, Any], pod: Json) -> bool:
    labels = pod["metadata"].get("labels") or {}
    annotations = pod["metadata"].get("annotations") or {}
    return (_has(labels, selector.get("labelSelectors")) and _has(annotations, selector.get("annotationSelectors"))
            and all(_expression(item, labels) for item in selector.get("expressionSelectors") or ()))


def _has(values: Mapping[str, str], wanted: Mapping[str, str] | None) -> bool:
    return all(values.get(key) == value for key, value in (wanted or {}).items())


def _expression(item: Mapping[str, Any], labels: Mapping[str, str]) -> bool:
    """apimachinery/pkg/labels/selector.go Requirement.Matches: NotIn holds where the key is missing."""
    key, operator, values = item.get("key", ""), item.get("operator"), item.get("values") or ()
    if operator == "In":
        return key in labels and labels[key] in values
    if operator == "NotIn":
        return key not in labels or labels[key] not in values
    if operator == "Exists":
        return key in labels
    if operator == "DoesNotExist":
        return key not in labels
    raise Refused(f"operator {operator!r} is not one of {', '.join(OPERATORS)}")


def _fielded(selector: Mapping[str, Any], pod: Json) -> bool:
    phases = selector.get("podPhaseSelectors")
    if phases and (pod.get("status") or {}).get("phase") not in phases:
        return False
    return all(_field(pod, path) == value for path, value in (selector.get("fieldSelectors") or {}).items())


def _field(pod: Json, path: str) -> str:
    value: Any = pod
    for part in path.split("."):
        value = value.get(part) if isinstance(value, dict) else None
    return "" if value is None else str(value)


def _allowed_nodes(selector: Mapping[str, Any], nodes: Iterable[Json]) -> set[str] | None:
    """Names that ``nodes`` and ``nodeSelectors`` leave (either is enough, as upstream); None: no such criterion."""
    names, labels = selector.get("nodes"), selector.get("nodeSelectors")
    if not names and not labels:
        return None
    allowed = set(names or ())
    if labels:
        allowed |= {node["metadata"]["name"] for node in nodes
                    if _has(node["metadata"].get("labels") or {}, labels)}
    return allowed
