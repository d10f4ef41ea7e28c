"""How much one may break at a time. Pure: what is chosen, what is hurt already, and the limits in; a refusal out.

By default at most half of a workload's pods, and one node. A fault object that means more says so in an annotation.
What counts is everything that is in effect or may come into effect, of whatever fault object: two faults may not take
one half each. A workload is the pod's controller, a Deployment where that is one of its ReplicaSets; a pod without a
controller is a workload of its own. One pod of a workload may always be hit: nothing else could be tested where there
is only one.

A fault on a node counts as a node; its pods are not counted one by one.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from faults.protocol import Json, Refused, Target
from testbed.api.labels import POD_TEMPLATE_HASH
from testbed.errors import Mistake

MAX_PODS = "testbed.io/max-pods"  # annotations of a fault object: a share ("75%") or a number ("3")
MAX_NODES = "testbed.io/max-nodes"
DEFAULT_PODS = "50%"
DEFAULT_NODES = "1"
LIMIT = re.compile(r"(?P<number>[1-9][0-9]{0,6})|(?P<share>[1-9][0-9]?|100)%")


def allowed(limit: str, total: int) -> int:
    """How many of ``total`` a limit leaves: a share is rounded down, but one is always left.

    Raises: Refused when it is no limit.
    """
    found = LIMIT.fullmatch(limit)
    if found is None:
        raise Refused(what_is_wrong(limit))
    return int(found["number"]) if found["number"] else max(1, total * int(found["share"]) // 100)


def what_is_wrong(limit: str) -> str:
    return f"{limit[:40]!r} is not a limit: write a whole number from 1, or a share from 1% to 100%"


def mistakes(annotations: Mapping[str, Any]) -> list[Mistake]:
    """Limits that are none."""
    return [Mistake(what_is_wrong(str(annotations[key])), f"metadata.annotations[{key}]")
            for key in (MAX_PODS, MAX_NODES) if key in annotations and not LIMIT.fullmatch(str(annotations[key]))]


def workload_of(pod: Json) -> str:
    """``Kind/namespace/name`` of what a pod belongs to.

    A Deployment's ReplicaSet is named after it and the hash of its template, which its pods carry as a label
    (kubernetes: pkg/controller/deployment/sync.go getNewReplicaSet).
    """
    metadata = pod["metadata"]
    namespace = metadata.get("namespace", "")
    owner = next((item for item in metadata.get("ownerReferences") or () if item.get("controller")), None)
    if owner is None:
        return f"Pod/{namespace}/{metadata['name']}/{metadata.get('uid', '')}"
    kind, name = str(owner["kind"]), str(owner["name"])
    tail = "-" + str((metadata.get("labels") or {}).get(POD_TEMPLATE_HASH) or "")
    if kind == "ReplicaSet" and len(tail) > 1 and name.endswith(tail):
        kind, name = "Deployment", name.removesuffix(tail)
    return f"{kind}/{namespace}/{name}"


def check_pods(
    chosen: Iterable[Target], hurt: Iterable[Target], pods: Iterable[Json], annotations: Mapping[str, Any],
    killed: Iterable[Target] = (),
) -> None:
    """Args: hurt: what other injections hit, now or soon. pods: all that live. killed: what others have killed a short
        while ago: it counts until all pods of its workload are ready again.

    Raises: Refused when more of a workload would be hit than the annotations allow.
    """
    limit = str(annotations.get(MAX_PODS, DEFAULT_PODS))
    members: dict[str, set[str]] = {}
    home: dict[str, str] = {}
    ailing: set[str] = set()
    for pod in pods:
        uid, workload = str(pod["metadata"].get("uid", "")), workload_of(pod)
        members.setdefault(workload, set()).add(uid)
        home[uid] = workload
        if not _ready(pod):
            ailing.add(workload)
    wanted = {target.uid for target in chosen if target.uid}
    already = {target.uid for target in hurt if target.uid} - wanted
    for workload in sorted({home[uid] for uid in wanted if uid in home}):
        mine = members[workload]
        dead = {target.uid for target in killed if target.workload == workload and workload in ailing}
        hit, others = len(mine & wanted), len((mine & already) | (dead - wanted))
        most = allowed(limit, len(mine))
        if hit + others > most:
            raise Refused(
                f"this would hit {hit} of the {len(mine)} pods of {_told(workload)}"
                + (f" while {others} of them {_be(others)} hit already" if others else "")
                + f"; the limit is {limit}, which is {most}",
                hint=f'select fewer, or annotate the fault with {MAX_PODS}: "100%"')


def check_nodes(
    chosen: Iterable[str], hurt: Iterable[str], existing: Sequence[str], annotations: Mapping[str, Any]
) -> None:
    """Args: hurt: nodes that other injections hit. existing: all of the cluster.

    Raises: Refused when more nodes would be hit than the annotations allow.
    """
    limit = str(annotations.get(MAX_NODES, DEFAULT_NODES))
    wanted = set(chosen)
    others = set(hurt) - wanted
    most = allowed(limit, len(existing))
    total = len(wanted) + len(others)
    if total > most:
        raise Refused(
            f"this would hit {len(wanted)} of the {len(existing)} nodes ({', '.join(sorted(wanted))})"
            + (f" while {', '.join(sorted(others))} {_be(len(others))} hit already" if others else "")
            + f"; the limit is {limit}" + (f", which is {most}" if limit.endswith("%") else ""),
            hint=f'select fewer, or annotate the fault with {MAX_NODES}: "{total}"')


def _ready(pod: Json) -> bool:
    return any(item.get("type") == "Ready" and item.get("status") == "True"
               for item in (pod.get("status") or {}).get("conditions") or ())


def _be(number: int) -> str:
    return "is" if number == 1 else "are"


def _told(workload: str) -> str:
    kind, _, name = workload.split("/")[:3]
    return f"{kind} {name}"
