"""The real kubectl and our own ``rollout`` with StatefulSets, DaemonSets, Jobs and CronJobs. No node runs."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from kubectl_world import Kubectl, ServerProcess
from typer.testing import CliRunner

from testbed.cli import rollout
from testbed.cli.connection import Api
from testbed.cli.rollout_progress import progress
from testbed.errors import NotFound, TestbedError, UsageError

Json = dict[str, Any]

WORKLOADS = """
apiVersion: apps/v1
kind: StatefulSet
metadata: {name: db}
spec:
  replicas: 2
  serviceName: db
  selector: {matchLabels: {app: db}}
  template: &template
    metadata: {labels: {app: db}}
    spec: {containers: [{name: main, image: "sample:v1"}]}
---
apiVersion: apps/v1
kind: DaemonSet
metadata: {name: agent}
spec:
  selector: {matchLabels: {app: agent}}
  template:
    metadata: {labels: {app: agent}}
    spec: {containers: [{name: main, image: "sample:v1"}]}
---
apiVersion: batch/v1
kind: Job
metadata: {name: once}
spec:
  template:
    spec: {restartPolicy: Never, containers: [{name: main, image: "sample:v1"}]}
---
apiVersion: batch/v1
kind: CronJob
metadata: {name: nightly}
spec:
  schedule: "0 3 * * *"
  jobTemplate:
    spec:
      template:
        spec: {restartPolicy: Never, containers: [{name: main, image: "sample:v1"}]}
"""


@pytest.fixture(autouse=True)
def tidy(server: ServerProcess) -> Iterator[None]:
    yield
    for kind in ("sts", "ds", "cj", "jobs", "po"):
        for item in server.cluster.list(kind, None):
            meta = item["metadata"]
            with contextlib.suppress(NotFound):  # what its owner has taken along
                server.cluster.delete(kind, meta["name"], meta["namespace"], grace_period_s=0, wait_s=20)


def eventually(holds: Callable[[], bool], within_s: float = 20) -> None:
    deadline = time.monotonic() + within_s
    while not holds():
        assert time.monotonic() < deadline, "did not happen in time"
        time.sleep(0.02)


def image(kubectl: Kubectl, target: str) -> str:
    return str(kubectl.json("get", *target.split("/"))["spec"]["template"]["spec"]["containers"][0]["image"])


def test_kubectl_knows_all_four_kinds(kubectl: Kubectl, server: ServerProcess) -> None:
    assert kubectl("apply", "-f", "-", stdin=WORKLOADS).count("created") == 4
    assert kubectl("apply", "-f", "-", stdin=WORKLOADS).count("unchanged") == 4
    eventually(lambda: len(server.cluster.list("po")) == 2)  # db-0 waits for a node, and db-1 for db-0; the Job's
    assert "READY" in kubectl("get", "sts") and "NODE SELECTOR" in kubectl("get", "ds")
    assert "COMPLETIONS" in kubectl("get", "jobs") and "SCHEDULE" in kubectl("get", "cj")
    assert "statefulset.apps/db" in kubectl("get", "controllerrevisions")
    for target in ("sts/db", "ds/agent", "job/once", "cronjob/nightly"):
        assert "Name:" in kubectl("describe", target)
    assert "scaled" in kubectl("scale", "sts/db", "--replicas=3")
    assert kubectl.json("get", "sts", "db")["spec"]["replicas"] == 3
    manual = kubectl("create", "job", "manual", "--from=cronjob/nightly", "--dry-run=client", "-o", "yaml")
    assert "job.batch/manual created" in kubectl("apply", "-f", "-", stdin=manual)
    assert "deleted" in kubectl("delete", "job", "once", "--wait=false")
    eventually(lambda: not server.cluster.list("po", label_selector="job-name=once"))


@pytest.mark.parametrize("target", ["sts/db", "ds/agent"])
def test_kubectl_rolls_back(kubectl: Kubectl, server: ServerProcess, target: str) -> None:
    kubectl("apply", "-f", "-", stdin=WORKLOADS)
    eventually(lambda: "1" in kubectl("rollout", "history", target).split())
    kubectl("set", "image", target, "main=sample:v2")
    eventually(lambda: "2" in kubectl("rollout", "history", target).split())
    assert "sample:v1" in kubectl("rollout", "history", target, "--revision=1")
    assert "rolled back" in kubectl("rollout", "undo", target)
    assert image(kubectl, target) == "sample:v1"
    eventually(lambda: "3" in kubectl("rollout", "history", target).split())
    assert "restarted" in kubectl("rollout", "restart", target)
    assert "restartedAt" in str(kubectl.json("get", *target.split("/"))["spec"]["template"]["metadata"])


@pytest.mark.parametrize("target", ["sts/db", "ds/agent"])
def test_our_rollout_does_what_kubectl_does(
    kubectl: Kubectl, server: ServerProcess, target: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rollout, "connect", lambda name: Api(server.instance))

    def run(*arguments: str) -> str:
        done = CliRunner().invoke(rollout.app, ["rollout", *arguments])
        if isinstance(done.exception, TestbedError):
            raise done.exception
        assert done.exit_code == 0, done.output
        return str(done.output)

    kubectl("apply", "-f", "-", stdin=WORKLOADS)
    eventually(lambda: "1" in run("history", target).split())
    kubectl("set", "image", target, "main=sample:v2")
    eventually(lambda: "2" in run("history", target).split())
    assert "sample:v1" in run("history", target, "--revision", "1") and "$patch" not in run(
        "history", target, "--revision", "1")
    assert "rolled back" in run("undo", target)
    assert image(kubectl, target) == "sample:v1"
    assert "restarted" in run("restart", target)
    if target.startswith("sts"):
        assert "Waiting for" in run("status", target, "--no-watch")
    with pytest.raises(UsageError, match="cannot be paused"):
        run("pause", target)


@pytest.mark.parametrize(("kind", "spec", "status", "done", "text"), [
    ("StatefulSet", {"replicas": 3}, {"observedGeneration": 1}, False, "spec update to be observed"),
    ("StatefulSet", {"replicas": 3}, {"readyReplicas": 1}, False, "Waiting for 2 pods to be ready"),
    ("StatefulSet", {"replicas": 3}, {"readyReplicas": 3, "updatedReplicas": 1}, False, "1 out of 3 new pods"),
    ("StatefulSet", {"replicas": 3, "updateStrategy": {"rollingUpdate": {"partition": 2}}},
     {"readyReplicas": 3, "updatedReplicas": 1}, True, "partitioned roll out complete: 1 new pods"),
    ("DaemonSet", {}, {"desiredNumberScheduled": 3, "updatedNumberScheduled": 1}, False, "1 out of 3 new pods"),
    ("DaemonSet", {}, {"desiredNumberScheduled": 3, "updatedNumberScheduled": 3, "numberAvailable": 2}, False,
     "2 of 3 updated pods are available"),
    ("DaemonSet", {}, {"desiredNumberScheduled": 3, "updatedNumberScheduled": 3, "numberAvailable": 3}, True,
     'daemon set "x" successfully rolled out'),
])
def test_progress_in_kubectls_words(kind: str, spec: Json, status: Json, done: bool, text: str) -> None:
    obj = {"metadata": {"name": "x", "generation": 2}, "spec": spec, "status": {"observedGeneration": 2, **status}}
    finished, said = progress(kind, obj)
    assert finished is done and text in said


def test_nothing_rolls_on_delete() -> None:
    obj = {"metadata": {"name": "x"}, "spec": {"updateStrategy": {"type": "OnDelete"}}, "status": {}}
    with pytest.raises(UsageError, match="only available for RollingUpdate"):
        progress("DaemonSet", obj)
