"""Manifests of conformance cases, in few words."""

from __future__ import annotations

from typing import Any

Json = dict[str, Any]

PAUSE = "while true; do sleep 1; done"
POLITE = "trap 'exit 0' TERM; while true; do sleep 0.2; done"  # ends when it is asked to


def app(name: str = "app", script: str = "", **fields: Any) -> Json:
    """A container: a shell's script, or the sample application. ``env`` may be given as a dict."""
    made: Json = {"name": name, "image": fields.pop("image", "sample:v1")}
    if script:
        made["command"] = ["sh", "-c", script]
    env = fields.pop("env", {})
    if env:
        given = [{"name": key, "value": str(value)} for key, value in env.items()] if isinstance(env, dict) else env
        made["env"] = given
    return made | fields


def pod(name: str, *containers: Json, labels: dict[str, str] | None = None, **spec: Any) -> Json:
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "labels": labels or {"app": name}},
            "spec": {"containers": list(containers), **spec}}


def sh(command: str, **fields: Any) -> Json:
    """A probe or hook by a shell command."""
    return {"exec": {"command": ["sh", "-c", command]}, **fields}


def http(path: str, port: int = 8080, **fields: Any) -> Json:
    host = fields.pop("host", "")
    return {"httpGet": {"path": path, "port": port, **({"host": host} if host else {})}, **fields}


def tcp(port: int, **fields: Any) -> Json:
    return {"tcpSocket": {"port": port}, **fields}


def grpc(port: int, service: str = "", **fields: Any) -> Json:
    return {"grpc": {"port": port, **({"service": service} if service else {})}, **fields}


def template(name: str, *containers: Json, **spec: Any) -> Json:
    return {"metadata": {"labels": {"app": name}}, "spec": {"containers": list(containers) or [app()], **spec}}


def workload(kind: str, name: str, *containers: Json, pod_spec: Json | None = None, **spec: Any) -> Json:
    """A Deployment, ReplicaSet, StatefulSet or DaemonSet of pods labelled ``app=<name>``."""
    pods = template(name, *containers, **(pod_spec or {}))
    return {"apiVersion": "apps/v1", "kind": kind, "metadata": {"name": name}, "spec": {
        "selector": {"matchLabels": {"app": name}}, "template": pods, **spec}}


def job(name: str, script: str, **spec: Any) -> Json:
    restart_policy = spec.pop("restart_policy", "Never")
    return {"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": name}, "spec": {
        "template": {"spec": {"restartPolicy": restart_policy, "containers": [app(script=script)]}}, **spec}}


def service(name: str, **spec: Any) -> Json:
    return {"apiVersion": "v1", "kind": "Service", "metadata": {"name": name}, "spec": {
        "selector": {"app": name}, "ports": [{"port": 80, "targetPort": 8080}], **spec}}


def rescaled(scale: Json, replicas: int) -> Json:
    """A Scale with other replicas, for a PUT whatever has been written meanwhile."""
    metadata = {key: value for key, value in scale["metadata"].items() if key != "resourceVersion"}
    return scale | {"metadata": metadata, "spec": {"replicas": replicas}}
