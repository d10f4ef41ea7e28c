"""What is known of one pod while its agent runs it: the object, the status told so far, what stands in the way."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from testbed.api.core_v1 import Container, Pod
from testbed.api.log_lines import CONTAINER_ID
from testbed.core.pod_seen import PodSeen
from testbed.core.pods import Waiting
from testbed.core.termination import StopCause
from testbed.node.container_specs import spec_hash
from testbed.node.facts import now_ns, now_s
from testbed.node.pod_messages import PodMessages
from testbed.node.shared import Shared

Json = dict[str, Any]
SANDBOX = ""  # the key of the sandbox in ``errors``


class PodContext:
    """``status``: as composed last. ``errors``: by container, why a start failed and when it may be tried again.
    ``gone``: the object is no longer in the API. ``failed``: a verdict on the whole pod, ``end_cause`` why its
    containers are then stopped, ``disruption`` the condition that says who did it."""

    def __init__(self, shared: Shared, json: Json, wake: Callable[[], None]) -> None:
        self.shared = shared
        self.json = json
        self.pod = Pod.of(json)
        self.uid = self.pod.metadata.uid
        self.status: Json = dict(json.get("status") or {})
        self.waiting: dict[str, Waiting] = {}
        self.errors: dict[str, tuple[Waiting, float]] = {}
        self.failed: Waiting | None = None
        self.end_cause = StopCause.ENDED
        self.disruption: Waiting | None = None
        self.gone = False
        self.begun_at = shared.clock.now()
        self.hashes = _hashes(self.pod)
        self.messages = PodMessages(shared.facts, shared.engine, self.uid, wake)

    def update(self, json: Json) -> None:
        before, self.json, self.pod = self.pod, json, Pod.of(json)
        if before.spec != self.pod.spec:
            old, self.hashes = self.hashes, _hashes(self.pod)
            for name in [name for name in self.errors if old.get(name) != self.hashes.get(name)]:
                del self.errors[name]  # what stood in the way of the old one

    def backoff_key(self, name: str) -> str:
        """What a container's back-off is kept under."""
        return f"{name}/{self.hashes[name]}"

    @property
    def deleting(self) -> bool:
        return self.gone or self.pod.metadata.deleting

    @property
    def terminal(self) -> bool:
        return self.failed is not None or self.status.get("phase") in ("Succeeded", "Failed")

    @property
    def full_name(self) -> str:
        """How upstream's messages name it."""
        return f"{self.pod.metadata.name}_{self.pod.metadata.namespace}({self.uid})"

    @property
    def address(self) -> str:
        return self.shared.view.sandbox_address(self.uid)

    @property
    def seen(self) -> PodSeen:
        self.messages.read(self.shared.view.of_pod(self.uid), self.containers)
        return self.shared.view.seen(self.uid)

    @property
    def containers(self) -> tuple[Container, ...]:
        return (*self.pod.spec.init_containers, *self.pod.spec.containers)

    def container(self, name: str) -> Container:
        return next(item for item in self.containers if item.name == name)

    def restarts(self) -> dict[str, int]:
        """Restart counts told so far, of containers that there ever were."""
        return {
            item["name"]: int(item.get("restartCount", 0)) for item in self.told() if item.get("containerID")
        }

    def told(self) -> list[Json]:
        """All container statuses of the status."""
        return [item for key in ("containerStatuses", "initContainerStatuses") for item in self.status.get(key) or ()]

    def held(self, name: str) -> float | None:
        """When a start that failed may be tried again; None: now."""
        error = self.errors.get(name)
        return error[1] if error is not None and error[1] > now_s() else None

    def event(
        self, kind: str, reason: str, message: str, container: str = "", moment_ns: int | None = None,
        container_id: str = "",
    ) -> None:
        """``moment_ns``: monotonic, of what is told; default now. ``container_id``: the engine's, for the log."""
        self.shared.recorder.event(
            self.json, kind, reason, message, field_path=f"spec.containers{{{container}}}" if container else "",
            monotonic_ns=now_ns() if moment_ns is None else moment_ns, whom={CONTAINER_ID: container_id},
        )

    def send_status(self) -> None:
        meta = self.pod.metadata
        self.shared.sender.put(self.uid, meta.namespace, meta.name, self.status)


def _hashes(pod: Pod) -> dict[str, str]:
    return {item.name: spec_hash(item) for item in (*pod.spec.init_containers, *pod.spec.containers)}


def is_ready(status: Mapping[str, Any]) -> bool:
    """What a status says of condition Ready."""
    return any(
        item.get("type") == "Ready" and item.get("status") == "True" for item in status.get("conditions") or ()
    )
