"""The live view of a cluster as rows of text: what stands in each table of ``testbed top``. Pure: the picture that the
live feed tells (``testbed/server/picture.py``) and the time in, cells and their tone out."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from testbed.api.fault_objects import fault_title
from testbed.cli.output import plain
from testbed.server.human import since

Json = Mapping[str, Any]

GOOD, BAD, WARN, QUIET, PLAIN = "good", "bad", "warn", "quiet", ""
PROBES = {"startup": "S", "readiness": "R", "liveness": "L"}
_WELL = ("Running", "Completed", "Succeeded")
_FAULT_TONES = {"Injecting": WARN, "Injected": BAD, "Done": QUIET, "Recovered": QUIET, "Failed": BAD,
                "Refused": WARN}


@dataclass(frozen=True)
class Row:
    """``tone``: of the cell that says how it is, the ``telling``-th."""

    cells: tuple[str, ...]
    tone: str = PLAIN
    telling: int = 1


NODE_HEADER = ("NODE", "READY", "PODS", "KIND", "ADDRESS")
POD_HEADER = ("POD", "STATUS", "READY", "RESTARTS", "PROBES", "NODE", "AGE")
SERVICE_HEADER = ("SERVICE", "ENDPOINTS", "TYPE", "CLUSTER-IP")
WORKLOAD_HEADER = ("WORKLOAD", "READY", "UPDATED", "AVAILABLE")
FAULT_HEADER = ("FAULT", "PHASE", "TARGETS", "SINCE", "SAYS")
EVENT_HEADER = ("AGO", "REASON", "OBJECT", "SAYS")


def node_rows(picture: Json) -> Iterator[Row]:
    pods = picture.get("pods", {}).values()
    for name, node in sorted(picture.get("nodes", {}).items()):
        here = [pod for pod in pods if pod["node"] == name]
        ready = {"True": "yes", "False": "no"}.get(node["ready"], "unknown")
        words = ready if ready == "yes" else f"{ready}: {node['reason']}" if node["reason"] else ready
        yield _row(name, words + ("" if node["schedulable"] else ", cordoned"),
                   f"{sum(pod['ready'] for pod in here)}/{len(here)}", node["kind"], node["address"],
                   tone=GOOD if ready == "yes" else BAD if ready == "no" else WARN)


def pod_rows(picture: Json, now: datetime) -> list[Row]:
    """Those that are not well come first: they must not be beyond the edge of a small terminal."""
    pods = sorted(picture.get("pods", {}).values(), key=lambda pod: (pod_is_well(pod), pod["namespace"], pod["name"]))
    return [_pod(pod, now) for pod in pods]


def pod_is_well(pod: Json) -> bool:
    return bool(pod["ready"] or pod["phase"] == "Succeeded") and not pod["deleting"]


def _pod(pod: Json, now: datetime) -> Row:
    own = [container for container in pod["containers"] if not container["init"]]
    ready = sum(container["ready"] for container in own)
    tone = GOOD if pod_is_well(pod) else WARN if pod["reason"] in (*_WELL, "ContainerCreating", "Terminating") else BAD
    return _row(_named(pod["namespace"], pod["name"]), pod["reason"] or pod["phase"], f"{ready}/{len(own)}",
                pod["restarts"], probes(own), pod["node"] or "–", since(pod["createdAt"], now), tone=tone)


def probes(containers: list[Json]) -> str:
    """``S+R+L`` of each container: startup, readiness, liveness; ``-`` behind one that does not hold, as far as a
    pod's status tells."""
    return " ".join("".join(PROBES[probe] + ("+" if _holds(probe, container) else "-")
                            for probe in container["probes"]) for container in containers) or "–"


def _holds(probe: str, container: Json) -> bool:
    if probe == "readiness":
        return bool(container["ready"])
    return bool(container["started"]) and container["state"] == "running"


def service_rows(picture: Json) -> Iterator[Row]:
    for key, item in sorted(picture.get("services", {}).items()):
        if key == "default/kubernetes":  # has none of ours behind it
            continue
        total = item["ready"] + item["unready"]
        yield _row(_named(*key.split("/", 1)), f"{item['ready']}/{total} ready", item["type"], item["clusterIP"],
                   tone=BAD if not item["ready"] else WARN if item["unready"] else GOOD)


def workload_rows(picture: Json) -> Iterator[Row]:
    for key, item in sorted(picture.get("workloads", {}).items()):
        kind, namespace, name = key.split("/", 2)
        whole = item["ready"] >= item["desired"]
        yield _row(f"{kind} {_named(namespace, name)}", f"{item['ready']}/{item['desired']}", item["updated"],
                   item["available"], tone=GOOD if whole else BAD if not item["ready"] else WARN)


def fault_rows(picture: Json, now: datetime) -> list[Row]:
    """The newest first."""
    found = [_row(f"{fault_title(fault['kind'], fault['action'])} {_named(*key.split('/', 2)[1:])}", fault["phase"],
                  ", ".join(fault["targets"]) or "–", since(fault["since"], now), fault["message"],
                  tone=_FAULT_TONES.get(fault["phase"], PLAIN)) for key, fault in picture.get("faults", {}).items()]
    return found[::-1]


def event_rows(picture: Json, now: datetime) -> list[Row]:
    """The newest first."""
    events = sorted(picture.get("events", {}).values(), reverse=True,
                    key=lambda event: (str(event["at"])[:19], event.get("monotonicUs", 0), str(event["at"])))
    return [_row(since(event["at"], now), event["reason"] + (f" ×{event['count']}" if event["count"] > 1 else ""),
                 event["object"].replace("/default/", "/", 1), event["message"],
                 tone=WARN if event["type"] == "Warning" else PLAIN)
            for event in events]


def _named(namespace: str, name: str) -> str:
    return name if namespace == "default" else f"{namespace}/{name}"


def _row(*cells: Any, tone: str = PLAIN) -> Row:
    return Row(tuple(plain(cell) for cell in cells), tone)
