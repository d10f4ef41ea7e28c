"""The real kubectl against a control plane process. No node runs: pods stay pending, all else is real."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from kubectl_world import Kubectl, ServerProcess
from typer.testing import CliRunner

from testbed.cli.apply import app
from testbed.cli.connection import Api

Json = dict[str, Any]

WEB = """
apiVersion: apps/v1
kind: Deployment
metadata: {name: web}
spec:
  replicas: 2
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      containers:
      - name: web
        image: sample:v1
        ports: [{containerPort: 8080}]
        env: [{name: A, value: "1"}]
        readinessProbe: {httpGet: {path: /readyz, port: 8080}}
---
apiVersion: v1
kind: Service
metadata: {name: web}
spec: {selector: {app: web}, ports: [{port: 80, targetPort: 8080}]}
---
apiVersion: v1
kind: ConfigMap
metadata: {name: settings}
data: {a: "1"}
"""


@pytest.fixture(autouse=True)
def tidy(server: ServerProcess) -> Iterator[None]:
    yield
    cluster = server.cluster
    for kind in ("deploy", "svc", "cm", "po", "no", "pdb"):
        for item in cluster.list(kind, None):
            name, namespace = item["metadata"]["name"], item["metadata"].get("namespace", "")
            if name != "kubernetes":
                cluster.delete(kind, name, namespace, grace_period_s=0, wait_s=20)


def test_debug_says_that_there_are_no_ephemeral_containers(kubectl: Kubectl) -> None:
    kubectl("run", "web", "--image", "sample:v1")
    refused = kubectl.run("debug", "web", "--image", "sample:v1", "--target", "web")
    assert refused.returncode == 1 and "ephemeral containers are disabled for this cluster" in refused.stderr
    assert "could not find the requested resource" in refused.stderr


def eventually(holds: Callable[[], bool], within_s: float = 20) -> None:
    deadline = time.monotonic() + within_s
    while not holds():
        assert time.monotonic() < deadline, "did not happen in time"
        time.sleep(0.02)


def add_node(server: ServerProcess, name: str = "n1") -> None:
    server.cluster.create({"apiVersion": "v1", "kind": "Node", "metadata": {"name": name}, "status": {
        "capacity": {"cpu": "4", "memory": "8Gi", "pods": "110"},
        "allocatable": {"cpu": "4", "memory": "8Gi", "pods": "110"},
        "conditions": [{"type": "Ready", "status": "True", "reason": "KubeletReady"}],
        "nodeInfo": {"kubeletVersion": "v1.32.0+testbed"}}})


def test_apply_get_delete(kubectl: Kubectl) -> None:
    assert "deployment.apps/web created" in kubectl("apply", "-f", "-", stdin=WEB)
    again = kubectl("apply", "-f", "-", stdin=WEB)
    assert again.count("unchanged") == 3
    changed = kubectl("apply", "-f", "-", stdin=WEB.replace("sample:v1", "sample:v2").replace('{name: A, value: "1"}',
                                                                                          '{name: B, value: "2"}'))
    assert "deployment.apps/web configured" in changed and changed.count("unchanged") == 2
    container = kubectl.json("get", "deploy", "web")["spec"]["template"]["spec"]["containers"][0]
    assert container["image"] == "sample:v2" and container["env"] == [{"name": "B", "value": "2"}]
    header, row = kubectl("get", "deploy").splitlines()
    assert header.split() == ["NAME", "READY", "UP-TO-DATE", "AVAILABLE", "AGE"] and row.split()[:2] == ["web", "0/2"]
    wide = kubectl("get", "deploy", "-o", "wide")
    assert "sample:v2" in wide and "app=web" in wide
    assert "service/web" in kubectl("get", "all") and "pod/web-" in kubectl("get", "all")
    assert kubectl("get", "deploy", "-o", "name") == "deployment.apps/web\n"
    assert kubectl("get", "svc", "web", "-o", "jsonpath={.spec.ports[0].targetPort}") == "8080"
    assert kubectl("get", "cm", "--sort-by=.metadata.name", "--no-headers").split()[0] == "settings"
    assert 'deployment.apps "web" deleted' in kubectl("delete", "-f", "-", stdin=WEB)
    assert "NotFound" in kubectl.run("get", "deploy", "web").stderr


def test_mistakes_are_told_and_nothing_is_applied(kubectl: Kubectl, server: ServerProcess) -> None:
    wrong = kubectl.run("apply", "-f", "-", stdin=WEB.split("---")[0].replace("replicas: 2", "replica: 2"))
    assert wrong.returncode == 1 and 'unknown field "spec.replica" (did you mean "replicas"?)' in wrong.stderr
    wrong = kubectl.run("apply", "-f", "-",
                        stdin=WEB.split("---")[0].replace("app: web}}\n  template", "app: x}}\n  template"))
    assert "`selector` does not match template `labels`" in wrong.stderr
    assert server.cluster.list("deploy") == []


def test_a_field_without_effect_is_named_by_kubectl_and_by_the_command_line(
    kubectl: Kubectl, server: ServerProcess, monkeypatch: pytest.MonkeyPatch,
) -> None:
    pod = json.dumps({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "a"}, "spec": {
        "hostAliases": [{"ip": "10.0.0.1", "hostnames": ["x"]}],
        "containers": [{"name": "a", "image": "sample:v1"}]}})
    told = "spec.hostAliases: this field is kept but has no effect in this cluster"
    applied = kubectl.run("apply", "--dry-run=server", "-f", "-", stdin=pod)
    assert applied.returncode == 0 and f"Warning: {told}" in applied.stderr
    monkeypatch.setattr("testbed.cli.apply.connect", lambda name: Api(server.instance))
    ours = CliRunner().invoke(app, ["--dry-run", "-f", "-"], input=pod)
    assert ours.exit_code == 0 and f"warning: {told}" in " ".join(ours.output.split()), ours.output


def test_dry_run_and_diff_change_nothing(kubectl: Kubectl, server: ServerProcess) -> None:
    assert "created (server dry run)" in kubectl("apply", "--dry-run=server", "-f", "-", stdin=WEB)
    assert server.cluster.list("deploy") == []
    kubectl("apply", "-f", "-", stdin=WEB)
    difference = kubectl.run("diff", "-f", "-", stdin=WEB.replace("replicas: 2", "replicas: 5"))
    assert difference.returncode == 1 and "+  replicas: 5" in difference.stdout
    assert kubectl.run("diff", "-f", "-", stdin=WEB).returncode == 0


def test_scale_and_rollouts(kubectl: Kubectl, server: ServerProcess) -> None:
    kubectl("apply", "-f", "-", stdin=WEB)
    assert "scaled" in kubectl("scale", "deploy/web", "--replicas=3")
    assert "scaled" in kubectl("scale", "deploy/web", "--current-replicas=3", "--replicas=1")
    assert kubectl.run("scale", "deploy/web", "--current-replicas=3", "--replicas=1").returncode == 1
    eventually(lambda: kubectl.json("get", "deploy", "web").get("status", {}).get("replicas") == 1)
    kubectl("rollout", "pause", "deploy/web")
    assert kubectl.json("get", "deploy", "web")["spec"]["paused"] is True
    kubectl("set", "image", "deploy/web", "web=sample:v2")
    kubectl("rollout", "resume", "deploy/web")
    eventually(lambda: "2" in kubectl("rollout", "history", "deploy/web").split())
    kubectl("rollout", "restart", "deploy/web")
    eventually(lambda: "3" in kubectl("rollout", "history", "deploy/web").split())
    assert "sample:v1" in kubectl("rollout", "history", "deploy/web", "--revision=1")
    assert "rolled back" in kubectl("rollout", "undo", "deploy/web", "--to-revision=1")
    assert kubectl.json("get", "deploy", "web")["spec"]["template"]["spec"]["containers"][0]["image"] == "sample:v1"
    status = kubectl.run("rollout", "status", "deploy/web", "--timeout=1s")
    assert status.returncode == 1 and "Waiting for deployment" in status.stdout


def test_rollout_status_and_wait_end_when_pods_are_ready(kubectl: Kubectl, server: ServerProcess) -> None:
    add_node(server)
    kubectl("apply", "-f", "-", stdin=WEB)
    eventually(lambda: len(server.cluster.list("po", label_selector="app=web")) == 2)
    for item in server.cluster.list("po", label_selector="app=web"):
        make_ready(server, item["metadata"]["name"])
    assert "successfully rolled out" in kubectl("rollout", "status", "deploy/web", "--timeout=20s")
    assert "condition met" in kubectl("wait", "--for=condition=Available", "deploy/web", "--timeout=20s")
    assert "condition met" in kubectl("wait", "--for=jsonpath={.status.readyReplicas}=2", "deploy/web", "--timeout=20s")


def make_ready(server: ServerProcess, name: str) -> None:
    server.cluster.patch("po", name, {"status": {
        "phase": "Running", "podIP": "10.9.1.9", "podIPs": [{"ip": "10.9.1.9"}], "startTime": "2026-01-01T00:00:00Z",
        "conditions": [{"type": kind, "status": "True", "lastTransitionTime": "2026-01-01T00:00:00Z"}
                       for kind in ("Initialized", "ContainersReady", "Ready", "PodScheduled")],
        "containerStatuses": [{"name": "web", "image": "sample:v1", "imageID": "", "ready": True, "started": True,
                               "restartCount": 2, "state": {"running": {"startedAt": "2026-01-01T00:00:00Z"}}}],
    }}, subresource="status")


def test_describe(kubectl: Kubectl, server: ServerProcess) -> None:
    add_node(server)
    kubectl("apply", "-f", "-", stdin=WEB)
    eventually(lambda: any(item["spec"].get("nodeName") for item in server.cluster.list("po")))
    told = kubectl("describe", "deploy", "web")
    assert "ScalingReplicaSet" in told and "NewReplicaSet:   web-" in told
    pod = server.cluster.list("po")[0]["metadata"]["name"]
    assert re.search(r"Controlled By: +ReplicaSet/web-", kubectl("describe", "po", pod))
    assert re.search(r"Selector: +app=web", kubectl("describe", "svc", "web"))
    node = kubectl("describe", "node", "n1")
    assert "Non-terminated Pods" in node and "v1.32.0+testbed" in node
    assert "settings" in kubectl("describe", "cm", "settings")


def test_label_annotate_patch_and_edit_by_json(kubectl: Kubectl) -> None:
    kubectl("apply", "-f", "-", stdin=WEB)
    kubectl("label", "deploy", "web", "tier=front")
    kubectl("annotate", "deploy", "web", "note=hello")
    assert "web" in kubectl("get", "deploy", "-l", "tier in (front,back)", "-o", "name")
    kubectl("label", "deploy", "web", "tier-")
    assert "No resources found" in kubectl.run("get", "deploy", "-l", "tier").stderr
    kubectl("patch", "deploy", "web", "-p",
            '{"spec":{"template":{"spec":{"containers":[{"name":"web","image":"x:1"}]}}}}')
    kubectl("patch", "deploy", "web", "--type=json", "-p", '[{"op":"replace","path":"/spec/replicas","value":4}]')
    kubectl("patch", "deploy", "web", "--type=merge", "-p", '{"metadata":{"annotations":{"note":null}}}')
    done = kubectl.json("get", "deploy", "web")
    assert done["spec"]["replicas"] == 4 and "note" not in done["metadata"]["annotations"]
    assert done["spec"]["template"]["spec"]["containers"][0]["ports"]  # merged by name, not replaced
    kubectl("replace", "-f", "-", stdin=json.dumps(done))


def test_cordon_taint_drain_and_a_budget_in_the_way(kubectl: Kubectl, server: ServerProcess) -> None:
    add_node(server)
    assert kubectl("get", "nodes").splitlines()[1].split()[:2] == ["n1", "Ready"]
    kubectl("taint", "node", "n1", "a=b:NoSchedule")
    assert kubectl.json("get", "node", "n1")["spec"]["taints"][0]["key"] == "a"
    kubectl("taint", "node", "n1", "a-")
    kubectl("apply", "-f", "-", stdin=WEB)
    eventually(lambda: all(item["spec"].get("nodeName") for item in server.cluster.list("po")))
    for item in server.cluster.list("po"):
        make_ready(server, item["metadata"]["name"])
    server.cluster.create({"apiVersion": "policy/v1", "kind": "PodDisruptionBudget", "metadata": {"name": "b"},
                           "spec": {
        "minAvailable": 2, "selector": {"matchLabels": {"app": "web"}}}})
    refused = kubectl.run("drain", "n1", "--timeout=2s", "--ignore-daemonsets")
    assert refused.returncode == 1
    assert "Cannot evict pod as it would violate the pod's disruption budget" in refused.stderr
    assert "SchedulingDisabled" in kubectl("get", "nodes")
    kubectl("uncordon", "n1")
    assert "SchedulingDisabled" not in kubectl("get", "nodes")


def test_a_watch_prints_changes(kubectl: Kubectl, server: ServerProcess) -> None:
    server.cluster.create({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "one"}})
    lines = kubectl.run("get", "cm", "-w", "--request-timeout=2s").stdout.splitlines()
    assert lines[0].split() == ["NAME", "DATA", "AGE"] and lines[1].split()[0] == "one"


def test_custom_resources(kubectl: Kubectl) -> None:
    kubectl("apply", "-f", "-", stdin=json.dumps({
        "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": {"name": "widgets.example.io"}, "spec": {
            "group": "example.io", "scope": "Namespaced",
            "names": {"plural": "widgets", "kind": "Widget", "shortNames": ["wi"]},
            "versions": [{"name": "v1", "served": True, "storage": True, "additionalPrinterColumns": [
                {"name": "Mode", "type": "string", "jsonPath": ".spec.mode"}], "schema": {"openAPIV3Schema": {
                    "type": "object", "properties": {"spec": {"type": "object", "properties": {
                        "mode": {"type": "string", "enum": ["one", "all"]}}}}}}}]}}))
    kubectl("wait", "--for=condition=Established", "crd/widgets.example.io", "--timeout=10s")
    widget = "apiVersion: example.io/v1\nkind: Widget\nmetadata: {name: w}\nspec: {mode: %s}\n"
    refused = kubectl.run("apply", "-f", "-", stdin=widget % "some")
    assert 'Unsupported value: "some"' in refused.stderr
    kubectl("apply", "-f", "-", stdin=widget % "one")
    kubectl("apply", "-f", "-", stdin=widget % "all")
    assert [line.split() for line in kubectl("get", "wi").splitlines()] == [["NAME", "MODE"], ["w", "all"]]
    kubectl("delete", "crd", "widgets.example.io")
    assert kubectl.run("get", "wi").returncode == 1


def test_discovery_and_the_rest(kubectl: Kubectl) -> None:
    kinds = kubectl("api-resources")
    assert "deployments" in kinds and "poddisruptionbudgets" in kinds
    assert "apps/v1" in kubectl("api-versions")
    assert json.loads(kubectl("version", "-o", "json"))["serverVersion"]["minor"] == "32"
    assert "containers\t<[]" in kubectl("explain", "pod.spec")
    kubectl("create", "-f", "-", stdin="apiVersion: v1\nkind: Namespace\nmetadata: {name: apart}\n")
    kubectl("delete", "ns", "apart", "--timeout=20s")
    refused = kubectl.run("create", "ns", "direct")
    assert "--dry-run=client -o yaml" in refused.stderr
    assert 'pod/one created' in kubectl("run", "one", "--image=sample:v1")
    assert "service/one exposed" in kubectl("expose", "pod", "one", "--port=80")
