"""The live page through a whole story on real containers: open, watch an experiment break and mend something, break
something oneself, read the report."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from support.cluster import ROOT, Cluster, run_testbed, wait_for
from support.manifests import web
from support.page_view import CHROMIUM, PageView, chromium, tab

pytest.importorskip("playwright.async_api", reason="playwright is not installed (a development tool)")
pytestmark = [pytest.mark.engine, pytest.mark.timeout(600),
              pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine: apt-get install chromium")]

EXPERIMENT = """
apiVersion: testbed.io/v1alpha1
kind: Experiment
metadata: {name: lose-a-node}
spec:
  workload: [web.yaml]
  steadyState:
    - ready: {deployment: web}
  load:
    pulse: {service: web, path: /, rate: 50}
  method:
    - name: lose-a-node
      at: 3s
      fault:
        apiVersion: testbed.io/v1alpha1
        kind: NodeChaos
        spec: {action: kill, mode: one, selector: {labelSelectors: {app: web}}, duration: 8s}
  objectives: ["lose-a-node.repair.median < 60s"]
  runs: 1
  seed: 3
"""
PATIENCE_MS = 90_000


@pytest.fixture(scope="module", autouse=True)
def workload(cluster: Cluster) -> None:
    cluster.apply(web("web", replicas=4, liveness_failures=30))
    cluster.wait_ready("app=web", 4)


@pytest.fixture
def experiment(cluster: Cluster, tmp_path: Path) -> list[str]:
    """The command that runs it."""
    (tmp_path / "web.yaml").write_text(web("web", replicas=4, liveness_failures=30))
    file = tmp_path / "experiment.yaml"
    file.write_text(EXPERIMENT)
    return [sys.executable, "-m", "testbed", "run", str(file), "--name", cluster.name]


async def test_the_whole_story(cluster: Cluster, experiment: list[str]) -> None:
    async def entrance() -> str:
        return str(run_testbed("ui", "--print", "--name", cluster.name).stdout).strip()

    async with chromium() as browser, tab(browser) as view:
        view.page.set_default_timeout(PATIENCE_MS)
        await view.enter(entrance)
        await _sees_the_cluster(view)
        await _watches_an_experiment(view, experiment)
        await _opens_its_report(view)
        await _kills_a_pod(view, cluster)
        await _cuts_a_nodes_power(view)
        assert view.complaints == []
        await _loses_the_control_plane_for_a_while(view, cluster)
        assert await view.page.evaluate("window.isTheSamePage")


async def _sees_the_cluster(view: PageView) -> None:
    await view.page.evaluate("window.isTheSamePage = true")
    await view.until("document.querySelectorAll('.room[data-state=ready]').length === 3")
    await view.until("document.querySelectorAll('.cell[data-state=ready][data-pod^=\"default/web-\"]').length === 4")
    await view.says("#workloads-rows", "web 4 of 4 ready")


async def _watches_an_experiment(view: PageView, command: list[str]) -> None:
    running = await asyncio.create_subprocess_exec(*command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    try:
        await view.says("#experiment-when", "run 1 of 1")
        await view.until("document.querySelector('#requests-plot path.ok').getAttribute('d')?.length > 100")
        await view.says(".room[data-state=off] header .state", "power cut")
        await view.says(".recovery h3", "NodeChaos/kill on node-")
        await view.page.wait_for_selector("[data-path=Repair] [data-open], [data-path=Repair] [data-mark=restored]")
        await view.screenshot("story-node-lost")
        await view.says(".recovery", "restored after")
        await view.until("document.querySelectorAll('.room[data-state=ready]').length === 3")
        await view.says("#experiment-when", "passed")
        async with asyncio.timeout(120):
            said, _ = await running.communicate()
        assert running.returncode == 0, said.decode()
    finally:
        if running.returncode is None:
            running.send_signal(signal.SIGINT)  # it takes back what it broke
            await running.communicate()


async def _opens_its_report(view: PageView) -> None:
    await view.page.wait_for_selector("#runs-rows a")
    report = await view.follow("#runs-rows tr:first-child a")
    assert await report.inner_text("#verdict") == "passed"
    await report.wait_for_function("() => document.documentElement.dataset.drawn === 'true'")
    await report.close()


async def _kills_a_pod(view: PageView, cluster: Cluster) -> None:
    victim = str(cluster.ready_pods("app=web")[0]["metadata"]["name"])
    await view.cell(victim).click()
    await view.page.click("#pod-kill")
    assert "3 ready ones remain" in await view.text("#act-said")
    await view.page.click("#act-do")
    await view.says("#act-fate", f"Done: default/{victim}.")
    await view.page.click("#act-cancel")
    await view.until(f"!document.querySelector('.cell[data-pod=\"default/{victim}\"]')")
    await view.until("document.querySelectorAll('.cell[data-state=ready][data-pod^=\"default/web-\"]').length === 4")


async def _cuts_a_nodes_power(view: PageView) -> None:
    await view.room("node-3").get_by_role("button", name="Cut power of node-3").click()
    await view.page.fill("#act-seconds", "4")
    await view.page.click("#act-do")
    await view.says("#act-fate", "In effect: node-3.")
    await view.room("node-1").get_by_role("button", name="Cut power of node-1").wait_for(state="attached")
    await view.page.keyboard.press("Escape")
    await view.room("node-1").get_by_role("button", name="Cut power of node-1").click()
    await view.page.click("#act-do")
    await view.says("#act-fate", "Refused: this would hit")  # two nodes at once are more than the limit
    await view.page.keyboard.press("Escape")
    await view.until("document.querySelectorAll('.room[data-state=ready]').length === 3")


async def _loses_the_control_plane_for_a_while(view: PageView, cluster: Cluster) -> None:
    def pid() -> int:
        found: dict[str, Any] = json.loads(cluster.testbed("status", "-o", "json"))[cluster.name]
        return next(int(item["pid"]) for item in found["processes"] if item["name"] == "api")

    frozen = pid()
    os.kill(frozen, signal.SIGSTOP)
    try:
        await view.says("#banner", "The control plane is silent.")
        await view.screenshot("story-control-plane-silent")
    finally:
        os.kill(frozen, signal.SIGCONT)
    await view.says("#connection", "live")
    os.kill(pid(), signal.SIGKILL)
    wait_for("a new API", lambda: pid() not in (0, frozen))
    await view.says("#connection", "live")
    assert await view.page.is_hidden("#banner")
