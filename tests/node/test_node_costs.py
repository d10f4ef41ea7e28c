"""What a scrape costs the agent of a full node: what it asks the kernel for, exactly, and processor time within a bound
that only another order breaks (``benchmarks/metrics.py`` measures it)."""

from __future__ import annotations

import os
from collections import Counter
from pathlib import Path
from typing import Any

from node_world import pod, until
from simulated_world import SimulatedWorld, simulated
from support.costs import least_cpu_s
from test_node_usage_files import GROUP, write

from testbed.node.facts import MAX_PODS
from testbed.node.metrics import AgentExposition
from testbed.node.usage import collect_usage
from testbed.runtime.cgroup_usage import read_interfaces, read_usage
from testbed.runtime.usage import GroupUsage, InterfaceUsage

MOST_S = 0.5  # on a calm machine it takes a twentieth of that


def test_a_scrape_of_a_full_node_reads_each_container_once_and_takes_no_time_worth_telling(tmp_path: Path) -> None:
    write(tmp_path / "cgroup", unified=True)
    read: Counter[str] = Counter()

    async def usage_in(cgroup: str) -> GroupUsage | None:
        read["cgroup"] += 1
        return read_usage(tmp_path / "cgroup", GROUP, unified=True)

    async def interfaces_of(process: Any) -> tuple[InterfaceUsage, ...]:
        read["network"] += 1
        return read_interfaces(os.getpid())[:1] or (InterfaceUsage("eth0", 1, 2, 3, 4, 5, 6, 7, 8),)

    async def body(w: SimulatedWorld) -> None:
        agent = await w.start_agent()
        for number in range(MAX_PODS):
            await w.create(pod(f"p{number}"))
        await until(lambda: sum(item.running for item in agent.view.records.values()) == 2 * MAX_PODS, within_s=120)
        w.host.usage_in = usage_in  # type: ignore[method-assign,assignment]
        w.host.interfaces_of = interfaces_of  # type: ignore[method-assign]
        exposition = AgentExposition(agent)
        texts: list[str] = []

        async def scrape() -> None:
            texts.append(exposition.text(await collect_usage(agent))[0].decode())

        await scrape()
        assert read == {"cgroup": MAX_PODS + 1, "network": MAX_PODS}  # and the node's own
        (text,) = texts
        for family in ("container_cpu_usage_seconds_total{", "container_network_receive_bytes_total{"):
            assert sum(line.startswith(family) for line in text.splitlines()) == MAX_PODS
        assert await least_cpu_s(scrape) < MOST_S
        await exposition.close()

    simulated(tmp_path, body)
