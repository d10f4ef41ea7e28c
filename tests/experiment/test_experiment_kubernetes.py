"""A foreign cluster with Chaos Mesh: what is looked at before anything starts, whom a fault may hit, whole runs."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from foreign_world import ForeignCluster

from testbed.api.resources import CUSTOM_RESOURCE_DEFINITIONS, DEPLOYMENTS, NAMESPACES
from testbed.client.kubeconfig import read_access
from testbed.errors import EnvironmentProblem, InvalidInput
from testbed.experiment import method, phases
from testbed.experiment.loading import LoadedExperiment, load_experiment
from testbed.experiment.platforms.kubernetes import kubernetes_source
from testbed.experiment.result import Result, Verdict
from testbed.experiment.runner import ExperimentRun
from testbed.experiment.variants import variants_of

WEB = (Path(__file__).parents[2] / "examples" / "web.yaml").read_text()
EXPERIMENT = """\
apiVersion: testbed.io/v1alpha1
kind: Experiment
metadata: {name: crash}
spec:
  namespace: shop
  workload: [web.yaml]
  steadyState:
    - ready: {deployment: web}
      within: 20s
  method:
    - name: crash
      fault: %s
      timeout: 10s
  observe: 0.1s
  jitter: 0
  seed: 3
"""
CRASH = ("{apiVersion: chaos-mesh.org/v1alpha1, kind: PodChaos, spec: {action: container-kill, mode: one, "
         "containerNames: [web], selector: {labelSelectors: {app: web}}}}")
FREEZE = ("{apiVersion: testbed.io/v1alpha1, kind: FreezeChaos, spec: {mode: one, duration: 5s, selector: "
          "{labelSelectors: {app: web}}}}")


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(phases, "BASELINE_S", 0.1)
    monkeypatch.setattr(method, "API_LOST_S", 0.5)


@pytest.fixture
async def cluster(tmp_path: Path) -> AsyncIterator[ForeignCluster]:
    async with ForeignCluster(tmp_path) as made:
        yield made


def experiment(folder: Path, fault: str = CRASH) -> LoadedExperiment:
    (folder / "web.yaml").write_text(WEB)
    (folder / "crash.yaml").write_text(EXPERIMENT % fault)
    return load_experiment(folder / "crash.yaml")


def job(cluster: ForeignCluster, folder: Path, loaded: LoadedExperiment, said: list[str] | None = None) -> Any:
    told = said if said is not None else []
    source = kubernetes_source(read_access([cluster.kubeconfig]), told.append, addresses={})
    return ExperimentRun(variants_of(loaded, platforms=("kubernetes",)), lambda platform: source, folder / "runs",
                         told.append).run_alone()


def journal(folder: Path, result: Result) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((folder / "runs" / result.run_id / "journal.json").read_text())
    return found


async def namespaces(cluster: ForeignCluster) -> set[str]:
    return {item["metadata"]["name"] for item in (await cluster.client.list(NAMESPACES)).items}


async def test_a_whole_run(cluster: ForeignCluster, tmp_path: Path) -> None:
    before = await namespaces(cluster)
    result: Result = await job(cluster, tmp_path, experiment(tmp_path))
    assert (result.runs[0].verdict, result.runs[0].reason) == (Verdict.PASSED, "")
    assert cluster.refused and cluster.expired  # it was awkward
    assert (result.environment.platform, result.environment.nodes) == ("kubernetes", 1)
    assert any("Chaos Mesh tells the moment" in note for note in result.notes)
    assert await namespaces(cluster) == before  # the one that was made is gone, with all that was in it
    kinds = {item["spec"]["group"] for item in (await cluster.client.list(CUSTOM_RESOURCE_DEFINITIONS)).items}
    assert kinds == {"chaos-mesh.org"}  # none of ours was left there
    exactly_whom_it_may_hit(cluster.chaos)
    no_more_exact_than_what_told_of_it(result)


def exactly_whom_it_may_hit(chaos: list[dict[str, Any]]) -> None:
    (seen,) = chaos
    assert seen["spec"]["mode"] == "all" and list(seen["spec"]["selector"]["pods"]) == ["shop"]
    assert len(seen["spec"]["selector"]["pods"]["shop"]) == 1 and seen["spec"]["containerNames"] == ["web"]


def no_more_exact_than_what_told_of_it(result: Result) -> None:
    crash = result.runs[0].disruptions[0]
    marks = crash.marks
    assert marks.injected is not None and marks.detected is not None and marks.restored is not None
    assert marks.injected <= marks.detected < marks.restored
    off_by = crash.mark_uncertainties["injected"]
    assert off_by > 0.001 and marks.detected - marks.injected < off_by + 1.0


async def test_more_than_the_blast_radius_is_refused(cluster: ForeignCluster, tmp_path: Path) -> None:
    result: Result = await job(cluster, tmp_path, experiment(tmp_path, CRASH.replace("mode: one", "mode: all")))
    assert (result.verdict, result.exit_code) == (Verdict.NO_EFFECT, 6)
    assert "this would hit 4 of the 4 pods" in result.reason
    assert cluster.chaos == []


async def test_without_chaos_mesh(tmp_path: Path) -> None:
    async with ForeignCluster(tmp_path, chaos_mesh=False) as cluster:
        with pytest.raises(EnvironmentProblem, match=r"no chaos-mesh.org/v1alpha1 PodChaos") as caught:
            await job(cluster, tmp_path, experiment(tmp_path))
        assert "install Chaos Mesh" in caught.value.hint
        assert "shop" not in await namespaces(cluster)


async def test_a_fault_of_ours_is_refused_by_word(cluster: ForeignCluster, tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="FreezeChaos is a fault of the testbed alone"):
        await job(cluster, tmp_path, experiment(tmp_path, FREEZE))
    assert "shop" not in await namespaces(cluster)


async def test_every_right_that_is_missing_is_named(cluster: ForeignCluster, tmp_path: Path) -> None:
    cluster.denied = {("create", "podchaos"), ("delete", "deployments")}
    with pytest.raises(EnvironmentProblem) as caught:
        await job(cluster, tmp_path, experiment(tmp_path))
    assert "create podchaos.chaos-mesh.org in namespace shop" in caught.value.message
    assert "delete deployments.apps in namespace shop" in caught.value.message
    assert "list nodes" not in caught.value.message
    assert (await cluster.client.list(DEPLOYMENTS)).items == ()


async def test_rights_that_nobody_tells_are_unknown_and_said(cluster: ForeignCluster, tmp_path: Path) -> None:
    cluster.silent = True
    result: Result = await job(cluster, tmp_path, experiment(tmp_path))
    assert result.runs[0].verdict is Verdict.PASSED
    assert any("is unknown" in note for note in result.notes)


async def test_an_api_that_is_gone_during_a_run(cluster: ForeignCluster, tmp_path: Path) -> None:
    said: list[str] = []
    running = asyncio.create_task(job(cluster, tmp_path, experiment(tmp_path), said))
    await cluster.injected.wait()
    await cluster.close_api()
    async with asyncio.timeout(30):
        while "undoing" not in said:  # noqa: ASYNC110  (what is said wakes nobody)
            await asyncio.sleep(0.02)
    await cluster.open_api()
    result: Result = await running
    assert (result.verdict, result.exit_code) == (Verdict.INCONCLUSIVE, 9), result.reason
    assert "the API was lost" in result.reason
    assert "shop" not in await namespaces(cluster)
    assert journal(tmp_path, result)["faults"][0]["undoneAt"]


async def test_a_cluster_that_is_not_there(cluster: ForeignCluster, tmp_path: Path) -> None:
    await cluster.close_api()
    try:
        with pytest.raises(EnvironmentProblem, match="platform kubernetes is not there"):
            await job(cluster, tmp_path, experiment(tmp_path))
    finally:
        await cluster.open_api()


async def test_a_cluster_that_does_not_know_us(cluster: ForeignCluster, tmp_path: Path) -> None:
    wrong = tmp_path / "wrong"
    wrong.write_text(cluster.kubeconfig.read_text().replace(cluster.instance.token_file.read_text().strip(), "x" * 30))
    cluster.kubeconfig = wrong
    with pytest.raises(EnvironmentProblem, match="does not know us"):
        await job(cluster, tmp_path, experiment(tmp_path))
