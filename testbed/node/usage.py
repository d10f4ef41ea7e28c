"""What the containers of a node use: read from the kernel, never from the engine, which is too slow for a look a second
and silent when it is broken. What is shown of it is ``metrics_containers``, and here ``/stats/summary``.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Any

from testbed.api import labels
from testbed.api.meta import format_time, quantity
from testbed.errors import HostError
from testbed.node.agent import Agent
from testbed.node.facts import now_s
from testbed.node.record import Record
from testbed.runtime.usage import GroupUsage, InterfaceUsage

Json = dict[str, Any]
_AT_ONCE = 8  # between turns of the loop


@dataclass(frozen=True)
class Usage:
    """Of one running container."""

    record: Record
    group: GroupUsage


@dataclass(frozen=True)
class Traffic:
    """``record``: of the sandbox, which has its pod's network."""

    record: Record
    interfaces: tuple[InterfaceUsage, ...]


@dataclass(frozen=True)
class NodeUsage:
    """``whole``: of the node's own cgroup, with what has ended; None where that cannot be seen."""

    containers: tuple[Usage, ...] = ()
    networks: tuple[Traffic, ...] = ()
    whole: GroupUsage | None = None


async def collect_usage(agent: Agent) -> NodeUsage:
    """Of all running containers; one that has just ended is left out."""
    containers: list[Usage] = []
    networks: list[Traffic] = []
    host, running = agent.shared.host, [item for item in agent.view.records.values() if item.running]
    for number, record in enumerate(running):
        if number % _AT_ONCE == 0:
            await asyncio.sleep(0)
        try:
            if record.sandbox and record.process is not None:
                networks.append(Traffic(record, await host.interfaces_of(record.process)))
            elif record.cgroup and not record.sandbox:
                containers.append(Usage(record, await host.usage_in(record.cgroup)))
        except HostError:
            continue
    try:
        whole = await host.usage_in(agent.facts.cgroup)
    except HostError:
        whole = None
    return NodeUsage(tuple(containers), tuple(networks), whole)


def summary(agent: Agent, usage: NodeUsage) -> Json:
    """kubernetes: staging kubelet/pkg/apis/stats/v1alpha1. ``usageNanoCores``: the mean since the summary before, or
    since the start."""
    now = format_time(agent.shared.clock.now())
    cores = _mean_cores(agent, usage)
    pods: dict[str, Json] = {}
    for item in usage.containers:
        tags = item.record.state.labels
        pod = pods.setdefault(item.record.uid, {
            "podRef": {"name": tags.get(labels.POD_NAME, ""), "namespace": tags.get(labels.POD_NAMESPACE, ""),
                       "uid": item.record.uid},
            "containers": [],
        })
        pod["containers"].append({
            "name": item.record.name, "cpu": _cpu(now, cores[item.record.id], item.group.cpu_seconds),
            "memory": {"time": now, "workingSetBytes": item.group.working_set_bytes,
                       "usageBytes": item.group.memory_bytes},
        })
    memory = sum(item.group.working_set_bytes for item in usage.containers)
    return {"node": {
        "nodeName": agent.facts.name,
        "cpu": _cpu(now, sum(cores.values()), sum(item.group.cpu_seconds for item in usage.containers)),
        "memory": {"time": now, "workingSetBytes": memory,
                   "usageBytes": sum(item.group.memory_bytes for item in usage.containers),
                   "availableBytes": max(0, int(quantity(agent.facts.memory)) - memory)},
    }, "pods": list(pods.values())}


def _cpu(now: str, cores: float, seconds: float) -> Json:
    return {"time": now, "usageNanoCores": int(cores * 1e9), "usageCoreNanoSeconds": int(seconds * 1e9)}


def _mean_cores(agent: Agent, usage: NodeUsage) -> dict[str, float]:
    """By container. Remembers when each was asked for."""
    moment, before, found = now_s(), agent.measures.cpu, {}
    for item in usage.containers:
        since_s, used = before.get(item.record.id, (item.record.started_s or moment, 0.0))
        found[item.record.id] = max(0.0, item.group.cpu_seconds - used) / max(moment - since_s, 1e-3)
    agent.measures.cpu = {item.record.id: (moment, item.group.cpu_seconds) for item in usage.containers}
    return found
