"""Who came into rotation and who left it: what two looks at a Service's EndpointSlices, or at what the gateway balances
over, differ in. For logs: by the pod's uid a fault is followed to the moment when no new request reaches the victim.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

READY, UNREADY, TERMINATING, GONE = "ready", "unready", "terminating", "gone"


@dataclass(frozen=True)
class Member:
    """A pod behind a Service. ``pod``: ``namespace/name``."""

    pod: str
    uid: str
    node: str = ""
    state: str = READY


def members(slices: Iterable[Mapping[str, Any]]) -> dict[str, Member]:
    """By address, of endpoints that are pods."""
    found: dict[str, Member] = {}
    for item in slices:
        for endpoint in item.get("endpoints") or ():
            target, conditions = endpoint.get("targetRef") or {}, endpoint.get("conditions") or {}
            if target.get("kind") != "Pod":
                continue
            state = (READY if conditions.get("ready", True) else
                     TERMINATING if conditions.get("terminating") else UNREADY)
            member = Member(f"{target.get('namespace', '')}/{target.get('name', '')}", str(target.get("uid", "")),
                            str(endpoint.get("nodeName") or ""), state)
            found |= {str(address): member for address in endpoint.get("addresses") or ()}
    return found


def turned(before: Iterable[Member], after: Iterable[Member]) -> list[Member]:
    """Those that are in rotation now and were not, and those that were and are not, as they are now. A pod that is
    listed unready from the start has not turned."""
    old, new = {item.uid: item for item in before}, {item.uid: item for item in after}
    left = [new.get(uid, Member(item.pod, uid, item.node, GONE)) for uid, item in old.items() if item.state == READY]
    return [item for item in left if item.state != READY] + [
        item for uid, item in new.items() if item.state == READY and (uid not in old or old[uid].state != READY)]
