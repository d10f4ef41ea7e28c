"""The manifests that scenarios break: a Deployment with probes and a Service, and one that crashes for ever."""

from __future__ import annotations

from typing import Any

from testbed.simulation.world import RESTLESS

Json = dict[str, Any]

SECRET = "hunter2-canary-5a1f"  # the word in Secret ``vault``; it must be found nowhere else


def service(name: str) -> Json:
    return {
        "apiVersion": "v1", "kind": "Service", "metadata": {"name": name},
        "spec": {"selector": {"app": name}, "ports": [{"port": 80, "targetPort": 8080}]},
    }


def deployment(name: str, replicas: int, image: str = "sample:v1", version: int = 1) -> Json:
    container = {
        "name": name, "image": image, "ports": [{"containerPort": 8080}],
        "env": [
            {"name": "POD_NAME", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}},
            {"name": "SHIPMENT", "value": str(version)},
            {"name": "WORD", "valueFrom": {"secretKeyRef": {"name": "vault", "key": "word"}}},
        ],
        "readinessProbe": {"httpGet": {"path": "/readyz", "port": 8080}, "periodSeconds": 1},
        "livenessProbe": {"httpGet": {"path": "/healthz", "port": 8080}, "periodSeconds": 1, "failureThreshold": 3},
    }
    return {
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": name},
        "spec": {
            "replicas": replicas, "selector": {"matchLabels": {"app": name}},
            "template": {
                "metadata": {"labels": {"app": name}},
                "spec": {"terminationGracePeriodSeconds": 5, "containers": [container]},
            },
        },
    }


def flaky() -> Json:
    """Crashes two seconds after each start, for ever."""
    made = deployment("flaky", 1)
    made["metadata"]["annotations"] = {RESTLESS: "true"}
    container = made["spec"]["template"]["spec"]["containers"][0]
    container["env"] = [{"name": "SIM_EXIT_AFTER_S", "value": "2"}, {"name": "SIM_EXIT_CODE", "value": "1"}]
    del container["livenessProbe"]
    return made
