"""Builds evidence as a watch would bring it: small worlds in which one thing goes wrong."""

from __future__ import annotations

from typing import Any

from testbed.experiment.observations import EngineSeen, EventSeen, Evidence, InjectionSeen
from testbed.experiment.sightings import deployment_seen, endpoints_seen, event_seen, node_seen, pod_seen

Json = dict[str, Any]
START_NS = 1_000_000_000_000
PROBES: Json = {
    "readinessProbe": {"httpGet": {"path": "/", "port": 80}, "periodSeconds": 1, "failureThreshold": 2},
    "livenessProbe": {"httpGet": {"path": "/", "port": 80}, "periodSeconds": 1, "failureThreshold": 3},
}


class World:
    """One Deployment ``web`` behind one Service, on nodes that are ready; all is well at 0 s. ``supervisor``: who looks
    after the pods, if it is another one."""

    def __init__(self, replicas: int = 3, nodes: int = 3, supervisor: str = "") -> None:
        self.labels = {"app": "web", **({"testbed.io/supervisor": supervisor} if supervisor else {})}
        self.evidence = Evidence()
        self.replicas = replicas
        self._ready: dict[str, bool] = {}
        self._node: dict[str, str] = {}
        self._uid: dict[str, str] = {}
        self._restarts: dict[str, int] = {}
        self.deployment(0.0)
        for index in range(nodes):
            self.node(0.0, f"node-{index + 1}", ready=True)
        for index in range(replicas):
            self.pod(0.0, f"web-{index + 1}", node=f"node-{index % nodes + 1}", ready=True)
        self.rotation(0.0, *(f"web-{index + 1}" for index in range(replicas)))

    def pod(
        self, at: float, name: str, *, ready: bool | None = None, node: str = "", deleting: bool = False,
        gone: bool = False, restarts: int | None = None, running: bool = True,
    ) -> None:
        self._node.setdefault(name, node)
        self._uid.setdefault(name, f"uid-{name}")
        self._ready[name] = self._ready.get(name, False) if ready is None else ready
        self._restarts[name] = self._restarts.get(name, 0) if restarts is None else restarts
        meta: Json = {"name": name, "namespace": "default", "uid": self._uid[name], "labels": self.labels}
        if deleting:
            meta["deletionTimestamp"] = "2026-11-29T12:00:00Z"
        obj = {
            "metadata": meta,
            "spec": {"nodeName": self._node[name], "containers": [{"name": "web", "image": "sample:v1", **PROBES}],
                     "terminationGracePeriodSeconds": 10},
            "status": {"podIP": self.address(name), "phase": "Running",
                       "conditions": [{"type": "Ready", "status": "True" if self._ready[name] else "False"}],
                       "containerStatuses": [{"name": "web", "restartCount": self._restarts[name],
                                              "state": {"running": {}} if running else {"waiting": {}}}]},
        }
        self.evidence.pod_json[self._uid[name]] = obj
        self.evidence.pods.append(pod_seen(at, obj, gone=gone))

    @staticmethod
    def address(name: str) -> str:
        return f"10.0.0.{name.rpartition('-')[2]}"

    def node(self, at: float, name: str, *, ready: bool, why: str = "") -> None:
        status = {"conditions": [{"type": "Ready", "status": "True" if ready else "Unknown", "message": why}]}
        self.evidence.nodes.append(node_seen(at, {"metadata": {"name": name}, "status": status}))

    def rotation(self, at: float, *names: str, programmed: float | None = 0.005) -> None:
        """The endpoints as written at ``at``; the gateway tells ``programmed`` seconds later, or never."""
        endpoints = [{"addresses": [self.address(name)], "conditions": {"ready": True},
                      "targetRef": {"kind": "Pod", "namespace": "default", "name": name}} for name in names]
        self.evidence.endpoints.append(endpoints_seen(at, {
            "metadata": {"name": "web-abc", "namespace": "default", "labels": {"kubernetes.io/service-name": "web"}},
            "endpoints": endpoints}))
        if programmed is not None:
            self.event(at + programmed, "EndpointsProgrammed", "Service", "web", annotations={
                "testbed.io/endpoints": ",".join(self.address(name) for name in names)})

    def deployment(
        self, at: float, *, desired: int | None = None, ready: int | None = None, updated: int | None = None,
        generation: int = 1, observed: int = 1, replicas: int | None = None, stalled: bool = False,
    ) -> None:
        count = self.replicas if desired is None else desired
        progressing = {"type": "Progressing", "status": "False" if stalled else "True",
                       "reason": "ProgressDeadlineExceeded" if stalled else "ReplicaSetUpdated"}
        obj = {
            "metadata": {"name": "web", "namespace": "default", "generation": generation},
            "spec": {"replicas": count, "selector": {"matchLabels": {"app": "web"}}, "progressDeadlineSeconds": 10,
                     "strategy": {"rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0}}},
            "status": {"observedGeneration": observed, "replicas": count if replicas is None else replicas,
                       "updatedReplicas": count if updated is None else updated,
                       "readyReplicas": count if ready is None else ready,
                       "availableReplicas": count if ready is None else ready, "conditions": [progressing]},
        }
        self.evidence.deployment_json["default/web"] = obj
        self.evidence.deployments_then["default/web", generation] = obj
        self.evidence.deployments.append(deployment_seen(at, obj))

    def event(
        self, at: float, reason: str, kind: str, name: str, message: str = "",
        annotations: dict[str, str] | None = None,
    ) -> EventSeen:
        """An Event with its exact moment, as it arrives (some milliseconds later)."""
        obj = {
            "metadata": {"annotations": {"testbed.io/monotonic-ns": str(START_NS + round(at * 1e9)),
                                         **(annotations or {})}},
            "involvedObject": {"kind": kind, "name": name, **({} if kind == "Node" else {"namespace": "default"})},
            "reason": reason, "message": message, "type": "Normal",
        }
        seen = event_seen(at + 0.02, obj, START_NS)
        self.evidence.events.append(seen)
        return seen

    def told(self, at: float, reason: str, pod: str, message: str = "") -> None:
        self.event(at, reason, "Pod", pod, message)

    def by_engine(self, at: float, action: str, pod: str, exit_code: int | None = None) -> None:
        """A word of the container engine about a pod's container."""
        self.evidence.engine_asked = True
        self.evidence.engine.append(EngineSeen(at, action, f"default/{pod}", "web", exit_code))


def hit(target: str, at: float, *, verified: float | None = None, recovered: float | None = None) -> InjectionSeen:
    return InjectionSeen(target, began=at, verified=at + 0.01 if verified is None else verified, recovered=recovered)
