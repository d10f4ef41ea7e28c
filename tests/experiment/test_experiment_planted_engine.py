"""Planted causes on real containers: in each experiment one thing is made slow, and the report must name that one. And
a sham: twenty injections of nothing, of which nothing must come."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from support.cluster import Cluster, bring_up_for_test, run_testbed, state_home_for_test

from testbed.experiment.result import Disruption, Result

pytestmark = [pytest.mark.engine, pytest.mark.long, pytest.mark.timeout(900)]
EXPERIMENT = """\
apiVersion: testbed.io/v1alpha1
kind: Experiment
metadata: {name: planted}
spec:
  workload: [web.yaml]
  steadyState: [{ready: {deployment: web}, within: 90s}]
  load: {pulse: {service: web, rate: 50}}
  method:
%s
  observe: 500ms
  runs: %d
  seed: 5
"""
CHAOS = {"PodChaos": "chaos-mesh.org/v1alpha1"}


@dataclass(frozen=True)
class Plant:
    """``edits``: (what, by what) in the manifest. ``steps``: (kind, spec without its selector); the last is measured.
    ``after``: what that one waits for; "" is the end of the one before it."""

    kind: str
    edits: tuple[tuple[str, str], ...]
    steps: tuple[tuple[str, str], ...]
    replicas: int = 2
    after: str = ""


KILL = ("PodChaos", "action: container-kill, containerNames: [web]")
PLANTS = {
    "slow-start": Plant("application-start", (('{name: DRAIN_S, value: "2"}', '{name: START_DELAY_S, value: "8"}'),),
                        (KILL,)),
    "long-period": Plant("probe", (("livenessProbe:\n            httpGet: {path: /healthz, port: http}\n"
                                    "            periodSeconds: 1",
                                    "livenessProbe:\n            httpGet: {path: /healthz, port: http}\n"
                                    "            periodSeconds: 5"),),
                         (("FreezeChaos", "duration: 60s"),)),
    "long-drain": Plant("draining", (("            terminationGracePeriodSeconds: 1\n",
                                      "            terminationGracePeriodSeconds: 15\n"),),
                        (("FreezeChaos", "duration: 60s"),)),
    "back-off": Plant("back-off", (), (KILL, KILL, KILL, KILL), replicas=1),
    "eviction": Plant("eviction-timeout", (("      terminationGracePeriodSeconds: 10\n",
                                            "      terminationGracePeriodSeconds: 10\n"
                                            "      tolerations: [{key: node.kubernetes.io/unreachable, "
                                            "operator: Exists, effect: NoExecute, tolerationSeconds: 10}]\n"),),
                      (("NodeChaos", "action: kill, duration: 60s"),)),
}


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    with state_home_for_test(tmp_path_factory.mktemp("t")) as home, \
            bring_up_for_test("test_planted", home, nodes=2) as found:
        yield found


def run(cluster: Cluster, folder: Path, plant: Plant, runs: int = 1) -> list[Disruption]:
    """Runs it, and returns the measured disruption of each run."""
    text = (Path(__file__).parents[2] / "examples" / "web.yaml").read_text()
    text = text.replace("replicas: 4", f"replicas: {plant.replicas}")
    for what, by in plant.edits:
        assert what in text, what
        text = text.replace(what, by)
    (folder / "web.yaml").write_text(text)
    steps = "\n".join(
        f"    - name: step-{index}\n      timeout: 120s\n"
        + (f"      after: {plant.after}\n" if plant.after and index else "") + "      fault:\n"
        f"        apiVersion: {CHAOS.get(kind, 'testbed.io/v1alpha1')}\n        kind: {kind}\n        spec: {{{spec}"
        + (f"{', ' if spec else ''}mode: one, selector: {{labelSelectors: {{app: web}}}}}}" if kind != "ImageChaos"
           else "}")
        for index, (kind, spec) in enumerate(plant.steps))
    (folder / "planted.yaml").write_text(EXPERIMENT % (steps, runs))
    done = run_testbed("run", str(folder / "planted.yaml"), "--out", str(folder / "out"), check=False, timeout_s=2300,
                       TESTBED_NAME=cluster.name)
    written = [path for path in (folder / "out").glob("*/result.json")]
    assert written, done.stdout + done.stderr
    result = Result.from_json(json.loads(written[0].read_text()))
    name = f"step-{len(plant.steps) - 1}"
    found = [item for each in result.runs if (item := each.disruption(name)) is not None]
    assert len(found) >= runs, done.stdout + done.stderr  # void ones are made again
    return found


def check(found: Disruption, kind: str) -> None:
    largest = found.largest_cause("repair")
    assert largest is not None and largest.kind == kind, found.causes("repair")
    whole = found.repair_s or 0.0
    assert abs(sum(cause.seconds for cause in found.causes("repair")) - whole) <= max(
        0.05 * whole, found.uncertainty_of("restored"))
    unexplained = found.cause_s("repair", "unexplained") or 0.0
    assert unexplained <= 0.1 * whole, found.causes("repair")


@pytest.mark.parametrize("name", PLANTS)
def test_the_largest_part_is_the_planted_one(name: str, cluster: Cluster, tmp_path: Path) -> None:
    (found,) = run(cluster, tmp_path, PLANTS[name])
    check(found, PLANTS[name].kind)
    assert {sighting.witness for sighting in found.sightings} >= {"api", "injector"}


def test_a_slow_image_is_named(cluster: Cluster, tmp_path: Path) -> None:
    cluster.testbed("registry", "start")
    told: Any = cluster.testbed("registry", "push", "sample:v1")
    reference = re.search(r"127\.0\.0\.1:\d+/sample:v1", told)
    assert reference is not None, told
    plant = Plant("image", (("image: sample:v1", f"image: {reference.group()}\n          imagePullPolicy: Always"),),
                  (("ImageChaos", "action: registry-slow, latency: 1s, duration: 90s"),
                   ("PodChaos", "action: pod-kill")), after="step-0.injected")
    (found,) = run(cluster, tmp_path, plant)
    check(found, "image")


@pytest.mark.timeout(2400)
def test_nothing_comes_of_twenty_shams(cluster: Cluster, tmp_path: Path) -> None:
    plant = Plant("", (), (("ShamChaos", "duration: 8s"),))
    found = run(cluster, tmp_path, plant, runs=20)
    told = [(item.verified, item.disrupted, item.marks.detected, item.requests.failed) for item in found]
    assert set(told) == {(True, False, None, 0)}, told
