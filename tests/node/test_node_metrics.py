"""/metrics and /stats/summary of an agent: cAdvisor's names and labels, kubelet's own, and a page that a broken part
does not take down."""

from __future__ import annotations

import asyncio
import re
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from node_world import pod, until
from prometheus_client.parser import text_string_to_metric_families
from simulated_world import SimulatedWorld, simulated

from testbed.api.resources import PODS
from testbed.api.scrape import FAMILIES as PAGE_FAMILIES
from testbed.errors import EngineUnavailable
from testbed.node.metrics import FAMILIES, AgentExposition
from testbed.node.metrics_containers import FAMILIES as CONTAINER_FAMILIES
from testbed.node.usage import collect_usage, summary
from testbed.runtime.usage import GroupUsage, InterfaceUsage

Json = dict[str, Any]
Labels = dict[str, str]
Found = dict[str, list[tuple[Labels, float]]]
CADVISOR = {"container", "id", "image", "name", "namespace", "pod"}
LIMITED: Json = {"resources": {"limits": {"cpu": "500m", "memory": "64Mi"}},
                 "readinessProbe": {"httpGet": {"path": "/readyz", "port": 8080}, "periodSeconds": 1}}


async def running(w: SimulatedWorld, container: Json | None = None) -> AgentExposition:
    """The pod ``web`` runs."""
    agent = await w.start_agent()
    await w.create(pod("web", container=container))
    await until(lambda: any(item.cgroup and item.running and not item.sandbox for item in agent.view.records.values()))
    await asyncio.sleep(3)
    return AgentExposition(agent)


async def scrape(exposition: AgentExposition) -> tuple[str, Found]:
    body, _ = exposition.text(await collect_usage(exposition._agent))
    found: Found = {}
    for family in text_string_to_metric_families(body.decode()):
        for sample in family.samples:
            found.setdefault(sample.name, []).append((sample.labels, sample.value))
    return body.decode(), found


def test_a_container_has_cadvisors_series_with_cadvisors_labels(tmp_path: Path) -> None:
    async def story(w: SimulatedWorld) -> None:
        exposition = await running(w, LIMITED)
        text, found = await scrape(exposition)
        for family in (*FAMILIES, *CONTAINER_FAMILIES):
            assert f"# TYPE {family.name} {family.type}\n" in text
        declared = {family.name for family in (*FAMILIES, *CONTAINER_FAMILIES, *PAGE_FAMILIES)}
        exposed = set(re.findall(r"^# TYPE (\w+)", text, re.MULTILINE))
        assert {name for name in exposed - declared if not name.startswith("process_")} == set()
        (record,) = (item for item in exposition._agent.view.records.values() if item.name == "app" and item.running)
        own = {"container": "app", "id": record.cgroup, "image": "sample:v1", "name": record.state.name,
               "namespace": "default", "pod": "web"}
        ((labels, used),) = found["container_cpu_usage_seconds_total"]
        assert labels == {**own, "cpu": "total"} and used > 0
        for name, value in (("container_spec_memory_limit_bytes", 64 * 2**20), ("container_spec_cpu_quota", 50_000),
                            ("container_spec_cpu_period", 100_000), ("container_threads", 1)):
            assert found[name] == [(own, value)]
        assert found["container_memory_working_set_bytes"][0][1] > 0
        assert found["container_last_seen"][0][1] == pytest.approx(w.clock.now().timestamp())

    simulated(tmp_path, story)


def test_network_series_are_the_sandboxs_and_name_the_pod(tmp_path: Path) -> None:
    async def story(w: SimulatedWorld) -> None:
        exposition = await running(w)

        async def interfaces(process: object) -> tuple[InterfaceUsage, ...]:
            return (InterfaceUsage("eth0", 1, 2, 3, 4, 5, 6, 7, 8),)

        w.host.interfaces_of = interfaces  # type: ignore[method-assign]
        _, found = await scrape(exposition)
        for number, name in enumerate((
            "receive_bytes", "receive_packets", "receive_errors", "receive_packets_dropped", "transmit_bytes",
            "transmit_packets", "transmit_errors", "transmit_packets_dropped"), 1):
            ((labels, value),) = found[f"container_network_{name}_total"]
            assert value == number
            assert labels.keys() == CADVISOR | {"interface"}
            assert (labels["pod"], labels["container"], labels["interface"]) == ("web", "", "eth0")

    simulated(tmp_path, story)


def test_the_agent_tells_of_itself(tmp_path: Path) -> None:
    async def story(w: SimulatedWorld) -> None:
        exposition = await running(w, LIMITED)
        agent = exposition._agent
        agent.measures.evictions["memory.available"] += 1
        _, found = await scrape(exposition)
        assert found["kubelet_node_name"] == [({"node": "n1"}, 1)]
        assert found["kubelet_running_pods"] == [({}, 1)]
        assert ({"container_state": "running"}, 1) in found["kubelet_running_containers"]
        assert found["kubelet_evictions"] == [({"eviction_signal": "memory.available"}, 1)]
        assert found["kubelet_pleg_relist_duration_seconds_count"][0][1] >= 1
        assert found["kubelet_pod_worker_duration_seconds_count"][0][0] == {"operation_type": "sync"}
        assert found["kubelet_pod_worker_duration_seconds_count"][0][1] >= 1
        assert found["testbed_loop_lag_seconds"] == [({"process": "agent/n1"}, 0)]
        assert found["testbed_probe_duration_seconds_count"][0][1] >= 1
        assert found["process_resident_memory_bytes"][0][1] > 0
        assert found["node_cpu_usage_seconds_total"][0][1] > 0
        await exposition.close()

    simulated(tmp_path, story)


def test_memory_that_ran_out_is_told_after_the_container_has_ended(tmp_path: Path) -> None:
    async def story(w: SimulatedWorld) -> None:
        exposition = await running(w)
        agent = exposition._agent
        first = next(item for item in agent.view.records.values() if item.name == "app")
        await w.crash()
        await until(lambda: any(item.running and item.name == "app" and item.cgroup and item.id != first.id
                                for item in agent.view.records.values()))
        first.state = replace(first.state, oom_killed=True)
        _, found = await scrape(exposition)
        told = {labels["name"]: value for labels, value in found["container_oom_events_total"]}
        assert told[first.state.name] == 1
        assert sorted(told.values()) == [0, 1]
        assert first.state.name not in {labels["name"] for labels, _ in found["container_last_seen"]}

    simulated(tmp_path, story)


def test_an_engine_that_is_silent_hides_nothing(tmp_path: Path) -> None:
    async def story(w: SimulatedWorld) -> None:
        exposition = await running(w)

        async def silent(*_: object) -> GroupUsage:
            raise EngineUnavailable("no answer")

        w.engine.usage = silent  # type: ignore[method-assign, assignment]
        _, found = await scrape(exposition)
        assert len(found["container_cpu_usage_seconds_total"]) == 1

    simulated(tmp_path, story)


def test_a_broken_part_is_left_out_and_counted(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    async def story(w: SimulatedWorld) -> None:
        exposition = await running(w)

        def broken() -> list[object]:
            raise ZeroDivisionError

        exposition.page.parts["kubelet"] = broken  # type: ignore[assignment]
        for times in (1, 2):
            _, found = await scrape(exposition)
            assert "kubelet_running_pods" not in found
            assert found["container_cpu_usage_seconds_total"] and found["testbed_probe_failures_total"]
            assert found["testbed_scrape_failures_total"] == [({"part": "kubelet"}, times)]

    simulated(tmp_path, story)
    assert "no metrics of the part kubelet" in caplog.text


def test_the_summary_is_the_mean_since_the_summary_before(tmp_path: Path) -> None:
    """Scrapes in between change nothing of it: what an autoscaler reads must not depend on who else looks."""
    async def story(w: SimulatedWorld) -> None:
        exposition = await running(w)
        agent, spent = exposition._agent, 10.0

        async def usage(cgroup: str) -> GroupUsage:
            return GroupUsage(cpu_seconds=spent, memory_bytes=9, working_set_bytes=5)

        w.host.usage_in = usage  # type: ignore[method-assign]
        summary(agent, await collect_usage(agent))
        spent = 12.0
        await asyncio.sleep(3)
        await scrape(exposition)
        await asyncio.sleep(1)
        told = summary(agent, await collect_usage(agent))
        (container,) = told["pods"][0]["containers"]
        assert container["cpu"]["usageNanoCores"] == pytest.approx(0.5e9)
        assert container["memory"]["workingSetBytes"] == told["node"]["memory"]["workingSetBytes"] == 5

    simulated(tmp_path, story)


def test_what_is_written_of_a_container_goes_with_it(tmp_path: Path) -> None:
    async def story(w: SimulatedWorld) -> None:
        exposition = await running(w)
        await scrape(exposition)
        kept = exposition._containers._fixed
        assert kept
        await w.client.delete(PODS, "web", "default", grace_period_s=1)
        await until(lambda: not exposition._agent.view.records)
        text, found = await scrape(exposition)
        assert not exposition._containers._fixed
        assert "container_cpu_usage_seconds_total" not in found
        assert 'pod="web"' not in text

    simulated(tmp_path, story)


def test_an_agent_that_does_not_know_its_pods_yet_shows_their_limits_later(tmp_path: Path) -> None:
    async def story(w: SimulatedWorld) -> None:
        exposition = await running(w, LIMITED)
        workers, exposition._agent.workers = exposition._agent.workers, {}
        _, found = await scrape(exposition)
        assert "container_spec_memory_limit_bytes" not in found and found["container_memory_usage_bytes"]
        exposition._agent.workers = workers
        _, found = await scrape(exposition)
        assert found["container_spec_memory_limit_bytes"][0][1] == 64 * 2**20

    simulated(tmp_path, story)


def test_promtool_has_nothing_to_say(tmp_path: Path) -> None:
    promtool = shutil.which("promtool")
    if promtool is None:
        pytest.skip("promtool is not here: make tools")
    texts: list[str] = []

    async def story(w: SimulatedWorld) -> None:
        texts.append((await scrape(await running(w, LIMITED)))[0])

    simulated(tmp_path, story)
    checked = subprocess.run([promtool, "check", "metrics"], input=texts[0], capture_output=True, text=True,
                             check=False)
    assert (checked.returncode, checked.stdout + checked.stderr) == (0, "")
