"""The control plane may be killed at any moment: what it acknowledged is there, and nothing else has changed."""

from __future__ import annotations

from typing import Any

from kubectl_world import ServerProcess

Json = dict[str, Any]

KINDS = ("ns", "sa", "svc", "deploy", "rs", "po", "cm", "endpointslices")


def state(server: ServerProcess) -> dict[str, list[Json]]:
    return {kind: server.cluster.list(kind, None) for kind in KINDS}


def test_a_killed_control_plane_comes_back_with_everything_and_changes_nothing(server: ServerProcess) -> None:
    cluster = server.cluster
    template = {"metadata": {"labels": {"app": "w"}}, "spec": {"containers": [{"name": "c", "image": "sample:v1"}]}}
    cluster.create({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "w"}, "spec": {
        "replicas": 3, "selector": {"matchLabels": {"app": "w"}}, "template": template}})
    cluster.create({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "w"}, "spec": {
        "selector": {"app": "w"}, "ports": [{"port": 80}]}})
    cluster.wait("deploy", "w", until=lambda obj: obj.get("status", {}).get("replicas") == 3
                 and obj["status"].get("observedGeneration") == 1
                 and obj["status"].get("unavailableReplicas") == 3, timeout_s=20)
    before = state(server)
    for _ in range(3):
        server.kill()
        server.start()
        cluster.create({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"generateName": "sign-of-life-"}})
        after = state(server)
        after["cm"] = [item for item in after["cm"] if not item["metadata"]["name"].startswith("sign-of-life-")]
        assert after == before


def test_writes_acknowledged_before_a_kill_are_there_after_it(server: ServerProcess) -> None:
    for number in range(20):
        server.cluster.create({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": f"kept-{number}"}})
        if number % 7 == 6:
            server.kill()
            server.start()
    names = {item["metadata"]["name"] for item in server.cluster.list("cm")}
    assert {f"kept-{number}" for number in range(20)} <= names
