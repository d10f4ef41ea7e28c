"""Experiments on real containers, as a person runs them: one that passes, one that is interrupted. The module's leak
check then finds nothing of either."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from support.cluster import run_testbed, wait_for

from testbed.experiment.result import Disruption

pytestmark = [pytest.mark.engine, pytest.mark.timeout(300)]
EXPERIMENT = """\
apiVersion: testbed.io/v1alpha1
kind: Experiment
metadata: {name: engine}
spec:
  cluster: {nodes: 1}
  workload: [web.yaml]
  steadyState:
    - http: {service: web}
    - json: {service: web, at: version, equals: v1}
    - probe: {kind: tcp, deployment: web, port: 8080}
    - log: {deployment: web, absent: Traceback}
  load:
    pulse: {service: web, rate: 50}
  method:
    - name: %s
      fault:
        apiVersion: %s
        kind: %s
        spec: {%s mode: one, selector: {labelSelectors: {app: web}}}
      timeout: 60s
  objectives: ["%s.repair.max < 60s", "restarts >= 1"]
  observe: 500ms
  seed: 3
"""


@pytest.fixture
def tmp_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A short one: a socket's path ends at 107 bytes (unix(7)), and pytest's own hold a worker's and a test's name."""
    return tmp_path_factory.mktemp("t")


def write(folder: Path, name: str, kind: str, spec: str) -> Path:
    web = (Path(__file__).parents[2] / "examples" / "web.yaml").read_text()
    (folder / "web.yaml").write_text(web.replace("replicas: 4", "replicas: 2"))
    version = "chaos-mesh.org/v1alpha1" if kind == "PodChaos" else "testbed.io/v1alpha1"
    file = folder / f"{name}.yaml"
    file.write_text(EXPERIMENT % (name, version, kind, spec, name))
    return file


def only_run(folder: Path) -> Path:
    found = [path for path in (folder / "out").iterdir() if path.is_dir()]
    assert len(found) == 1
    return found[0]


def test_a_crash_is_measured_from_end_to_end(tmp_path: Path) -> None:
    file = write(tmp_path, "crash", "PodChaos", "action: container-kill, containerNames: [web],")
    web = tmp_path / "web.yaml"  # a planted cause, which the report must name: four seconds until it is up
    web.write_text(web.read_text().replace('{name: DRAIN_S, value: "2"}', '{name: START_DELAY_S, value: "4"}'))
    done = run_testbed("run", str(file), "--out", str(tmp_path / "out"), "--junit", str(tmp_path / "junit.xml"),
                       check=False, XDG_STATE_HOME=str(tmp_path / "state"))
    assert done.returncode == 0, done.stdout + done.stderr
    assert "PASSED" in done.stdout and "crash.repair.max < 60s" in done.stdout
    folder = only_run(tmp_path)
    result: dict[str, Any] = json.loads((folder / "result.json").read_text())
    found = result["runs"][0]["disruptions"][0]
    order = ("injected", "detected", "acted", "running", "ready", "inRotation", "restored")
    marks = [found["marks"][name] for name in order]
    assert None not in marks and marks == sorted(marks), dict(zip(order, marks, strict=True))
    assert found["restarts"] == 1 and all(gap["cause"] for gap in found["gaps"])
    assert result["runs"][0]["requests"]["due"] > 100
    timeline = Disruption.from_json(found)
    largest = timeline.largest_cause("repair")
    assert largest is not None and largest.kind == "application-start", timeline.causes("repair")
    assert sum(cause.seconds for cause in timeline.causes("repair")) == pytest.approx(timeline.repair_s, abs=0.001)
    assert {seen.witness for seen in timeline.sightings if seen.mark == "running"} == {"api", "engine"}
    assert (folder / "report.html").stat().st_size > 500_000 and (tmp_path / "junit.xml").exists()
    assert json.loads((folder / "journal.json").read_text())["state"] == "finished"


def test_an_interrupted_run_undoes_its_fault_and_takes_its_cluster_down(tmp_path: Path) -> None:
    file = write(tmp_path, "hang", "FreezeChaos", "duration: 60s,")
    # Without a liveness probe nothing ends the hang: it is in force when the interrupt comes.
    web = tmp_path / "web.yaml"
    web.write_text(web.read_text().replace("livenessProbe", "startupProbe"))
    runner = subprocess.Popen(
        [sys.executable, "-m", "testbed", "run", str(file), "--out", str(tmp_path / "out")], text=True,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, env=os.environ | {"XDG_STATE_HOME": str(tmp_path / "state")})

    def injected() -> bool:
        entries = json.loads((only_run(tmp_path) / "journal.json").read_text())["faults"]
        return bool(entries) or runner.poll() is not None

    wait_for("the fault", injected, timeout_s=120)
    time.sleep(1.0)  # a person's pause, not a wait for something: the fault may or may not be in force by now
    runner.send_signal(signal.SIGINT)
    told, _ = runner.communicate(timeout=120)
    assert runner.returncode == 130, told
    assert "undoing" in told and "INTERRUPTED" in told
    journal = json.loads((only_run(tmp_path) / "journal.json").read_text())
    assert journal["exitCode"] == 130 and journal["faults"][0]["undoneAt"]
