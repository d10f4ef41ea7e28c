"""Which faults there are: our own, and plug-ins of the entry point group ``testbed.faults``.

A name is ``<Kind>/<action>`` (``PodChaos/pod-kill``); kinds without actions end in the slash (``FreezeChaos/``).
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from importlib.metadata import entry_points
from typing import Any

from faults import refusals
from faults.protocol import Fault, Refused
from testbed.api.resources import ResourceType
from testbed.errors import Mistake

GROUP = "testbed.faults"
OWN: dict[str, str] = {
    "PodChaos/pod-kill": "faults.pod_kill:PodKill",
    "PodChaos/pod-failure": "faults.pod_failure:PodFailure",
    "PodChaos/container-kill": "faults.container_kill:ContainerKill",
    "FreezeChaos/": "faults.freeze:Freeze",
    "NodeChaos/kill": "faults.node_kill:NodeKill",
    "NodeChaos/freeze": "faults.node_freeze:NodeFreeze",
    "NodeChaos/partition": "faults.node_partition:NodePartition",
    "NodeChaos/clock": "faults.node_clock:NodeClock",
    "TimeChaos/": "faults.time_chaos:TimeChaos",
    "ImageChaos/registry-down": "faults.image_chaos:RegistryDown",
    "ImageChaos/registry-slow": "faults.image_chaos:RegistrySlow",
    "ImageChaos/tag-gone": "faults.image_chaos:TagGone",
    "IOChaos/fault": "faults.io_chaos:IoFault",
    "IOChaos/latency": "faults.io_chaos:IoLatency",
    "NodeChaos/cpu-pressure": "faults.node_stress:CpuPressure",
    "NodeChaos/memory-pressure": "faults.node_stress:MemoryPressure",
    "NodeChaos/disk-fill": "faults.node_disk_fill:DiskFill",
    "NodeChaos/slow-disk": "faults.node_slow_disk:SlowDisk",
    "StressChaos/": "faults.stress:ContainerStress",
    "NetworkChaos/bandwidth": "faults.network:Bandwidth",
    "NetworkChaos/corrupt": "faults.network:Corrupt",
    "NetworkChaos/delay": "faults.network:Delay",
    "NetworkChaos/duplicate": "faults.network:Duplicate",
    "NetworkChaos/loss": "faults.network:Loss",
    "NetworkChaos/netem": "faults.network:Netem",
    "NetworkChaos/partition": "faults.network:Partition",
    "DNSChaos/error": "faults.dns_chaos:DnsError",
    "DNSChaos/random": "faults.dns_chaos:DnsRandom",
    "HTTPChaos/": "faults.http_chaos:HttpChaos",
    "EngineChaos/freeze": "faults.engine_chaos:EngineFreeze",
    "EngineChaos/kill": "faults.engine_chaos:EngineKill",
    "NodeChaos/reboot": "faults.node_reboot:NodeReboot",
    "NodeChaos/drain": "faults.node_drain:NodeDrain",
    "ControlPlaneChaos/kill": "faults.control_plane_kill:ControlPlaneKill",
    "ControlPlaneChaos/freeze": "faults.control_plane_freeze:ControlPlaneFreeze",
    "ControlPlaneChaos/slow": "faults.control_plane_slow:ControlPlaneSlow",
    "ShamChaos/": "faults.sham:Sham",
}


def fault_name(obj: Mapping[str, Any]) -> str:
    """Of the fault that serves an object."""
    return f"{obj['kind']}/{(obj.get('spec') or {}).get('action') or ''}"


class Registry:
    """Loads a fault when it is first needed. ``own``: names to ``module:class``."""

    def __init__(self, own: Mapping[str, str] = OWN) -> None:
        self._own = own
        self._loaded: dict[str, Fault] = {}

    def names(self) -> tuple[str, ...]:
        return tuple(sorted({*self._own, *(point.name for point in entry_points(group=GROUP))}))

    def faults(self) -> tuple[Fault, ...]:
        """All of them, by name."""
        return tuple(self.get(name) for name in self.names())

    def kinds(self) -> tuple[ResourceType, ...]:
        """Where the API serves their objects."""
        found = {fault.kind.group_resource: fault.kind for fault in self.faults()}
        return tuple(found[key] for key in sorted(found))

    def get(self, name: str) -> Fault:
        """Raises: Refused when nothing serves it."""
        if name not in self._loaded:
            self._loaded[name] = self._load(name)
        return self._loaded[name]

    def mistakes(self, obj: Mapping[str, Any]) -> tuple[Mistake, ...]:
        """All that is wrong with a well-formed fault object itself, whatever the cluster looks like."""
        try:
            own = self.get(fault_name(obj)).mistakes(obj["spec"])
        except Refused as error:
            own = (Mistake(str(error), "spec.action"),)
        return (*refusals.mistakes(obj), *own)

    def _load(self, name: str) -> Fault:
        made: Fault
        if name in self._own:
            module, _, attribute = self._own[name].partition(":")
            made = getattr(import_module(module), attribute)()
            return made
        for point in entry_points(group=GROUP, name=name):
            made = point.load()()
            return made
        kind, _, action = name.partition("/")
        for other in self._own:
            if other.startswith(f"{kind}/") and (reason := self.get(other).left_out.get(action)):
                raise Refused(f"{name} is left out: {reason}")
        raise Refused(f"there is no fault {name}", hint="faults: " + ", ".join(self.names()))
