"""What is said before an experiment begins on a cluster that another orchestrator runs."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

import pytest

from testbed.api.instance import ENGINE, Instance, NodeInstance
from testbed.client.protocol import Client
from testbed.errors import InvalidInput
from testbed.experiment.loading import LoadedExperiment, load_experiment
from testbed.experiment.platforms.supervised import SupervisedPlatform

WEB = """
apiVersion: apps/v1
kind: Deployment
metadata: {name: web}
spec:
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec: {containers: [{name: web, image: "sample:v1"}]}
"""


def loaded(tmp_path: Path, kind: str, group: str, spec: str) -> LoadedExperiment:
    (tmp_path / "web.yaml").write_text(WEB)
    file = tmp_path / "experiment.yaml"
    file.write_text(f"""
apiVersion: testbed.io/v1alpha1
kind: Experiment
metadata: {{name: x}}
spec:
  workload: [web.yaml]
  method:
    - name: break
      fault:
        apiVersion: {group}/v1alpha1
        kind: {kind}
        spec: {{mode: one, selector: {{labelSelectors: {{app: web}}}}, {spec}}}
""")
    return load_experiment(file)


def platform(tmp_path: Path, nodes: tuple[NodeInstance, ...] = ()) -> SupervisedPlatform:
    instance = Instance("c", "abc", tmp_path, "10.0.0.0/16", 1, (), nodes=nodes, supervisor="compose",
                        supervisor_options={"autoheal": "true", "equal-timers": "false"})
    said: dict[str, Any] = {"Deployment": ("a: not done", "b: not done")}
    return SupervisedPlatform(instance, cast(Client, None), (), lambda item: said.get(item["kind"], ()))


async def test_what_is_left_out_of_the_workload_is_noted(tmp_path: Path) -> None:
    found = platform(tmp_path)
    assert found.name == "compose-autoheal"
    notes = await found.prepare(loaded(tmp_path, "FreezeChaos", "testbed.io", "duration: 3s"))
    assert notes == ("compose-autoheal leaves out of Deployment web: a: not done; b: not done",)


NODE = NodeInstance("node-1", "10.0.1.0/24", 1, 2, 3, kind=ENGINE)


@pytest.mark.parametrize(("kind", "group", "spec", "nodes", "refused"), [
    ("NetworkChaos", "chaos-mesh.org", "action: delay, delay: {latency: 5ms}", (), "only our own cluster"),
    ("NodeChaos", "testbed.io", "action: kill, duration: 3s", (), "engines of their own"),
    ("NodeChaos", "testbed.io", "action: kill, duration: 3s", (NODE,), ""),
    ("StressChaos", "chaos-mesh.org", "stressors: {cpu: {workers: 1}}, duration: 1s", (), ""),
])
async def test_faults_that_cannot_be_done_are_refused_before_anything_is_applied(
    tmp_path: Path, kind: str, group: str, spec: str, nodes: tuple[NodeInstance, ...], refused: str,
) -> None:
    experiment = loaded(tmp_path, kind, group, spec)
    if refused:
        with pytest.raises(InvalidInput, match=refused):
            await platform(tmp_path, nodes).prepare(experiment)
    else:
        assert await platform(tmp_path, nodes).prepare(experiment)
