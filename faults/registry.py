"""Which injector serves a fault object: our own, and plug-ins of the entry point group ``testbed.faults``.

A name is ``<Kind>/<action>`` (``PodChaos/pod-kill``); kinds without actions end in the slash (``FreezeChaos/``).
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from importlib.metadata import entry_points
from typing import Any, cast

from faults.protocol import Injector, Refused

GROUP = "testbed.faults"
OWN: dict[str, str] = {
    "PodChaos/pod-kill": "faults.pod_kill:PodKill",
    "PodChaos/pod-failure": "faults.pod_failure:PodFailure",
    "PodChaos/container-kill": "faults.container_kill:ContainerKill",
    "FreezeChaos/": "faults.freeze:Freeze",
    "NodeChaos/kill": "faults.node_kill:NodeKill",
    "NodeChaos/freeze": "faults.node_freeze:NodeFreeze",
    "NodeChaos/partition": "faults.node_partition:NodePartition",
}


def injector_name(fault: Mapping[str, Any]) -> str:
    return f"{fault['kind']}/{(fault.get('spec') or {}).get('action') or ''}"


class Registry:
    """Loads an injector when it is first needed."""

    def __init__(self) -> None:
        self._loaded: dict[str, Injector] = {}

    def get(self, name: str) -> Injector:
        """Raises: Refused when nothing serves it."""
        if name not in self._loaded:
            self._loaded[name] = self._load(name)
        return self._loaded[name]

    def _load(self, name: str) -> Injector:
        if name in OWN:
            module, _, attribute = OWN[name].partition(":")
            return cast(Injector, getattr(import_module(module), attribute)())
        for point in entry_points(group=GROUP, name=name):
            return cast(Injector, point.load()())
        raise Refused(f"there is no fault {name}", hint="faults: " + ", ".join(sorted(OWN)))
