"""A pod's row: READY, STATUS and RESTARTS by upstream's rules.

Source: kubernetes pkg/printers/internalversion/printers.go printPod (v1.32).
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

from testbed.server.human import since

Json = dict[str, Any]

POD_COLUMNS = ("Name", "Ready", "Status", "Restarts", "Age", "IP*", "Node*", "Nominated Node*", "Readiness Gates*")


def pod_row(obj: Json, now: datetime) -> list[Any]:
    spec, status = obj.get("spec") or {}, obj.get("status") or {}
    summary = _Summary(obj)
    gates = spec.get("readinessGates") or ()
    met = sum(_condition(status, str(gate.get("conditionType"))) == "True" for gate in gates)
    restarts = str(summary.restarts)
    if summary.restarts and summary.last_restart:
        restarts += f" ({since(summary.last_restart, now)} ago)"
    return [obj["metadata"].get("name", ""), f"{summary.ready}/{summary.total}", summary.reason, restarts,
            since(obj["metadata"].get("creationTimestamp"), now), status.get("podIP") or "<none>",
            spec.get("nodeName") or "<none>", status.get("nominatedNodeName") or "<none>",
            f"{met}/{len(gates)}" if gates else "<none>"]


def pod_status(obj: Json) -> str:
    """The STATUS cell alone."""
    return _Summary(obj).reason


def _condition(status: Json, kind: str) -> str:
    return next((str(item.get("status")) for item in status.get("conditions") or () if item.get("type") == kind), "")


class _Summary:
    def __init__(self, obj: Json) -> None:
        spec, status = obj.get("spec") or {}, obj.get("status") or {}
        sidecars = {str(item.get("name")) for item in spec.get("initContainers") or ()
                    if item.get("restartPolicy") == "Always"}
        self.total = len(spec.get("containers") or ()) + len(sidecars)
        self.ready = 0
        self.restarts = 0
        self.last_restart = ""
        self.reason = str(status.get("reason") or status.get("phase") or "")
        if any(item.get("type") == "PodScheduled" and item.get("reason") == "SchedulingGated"
               for item in status.get("conditions") or ()):
            self.reason = "SchedulingGated"
        initializing = self._look_at_init(spec, status, sidecars)
        if not initializing or _condition(status, "Initialized") == "True":
            self._look_at_containers(status, sidecars)
        if obj["metadata"].get("deletionTimestamp"):
            if status.get("reason") == "NodeLost":
                self.reason = "Unknown"
            elif status.get("phase") not in ("Succeeded", "Failed"):
                self.reason = "Terminating"

    def _look_at_init(self, spec: Json, status: Json, sidecars: set[str]) -> bool:
        total = len(spec.get("initContainers") or ())
        for index, item in enumerate(status.get("initContainerStatuses") or ()):
            self._count_restarts(item)
            state = item.get("state") or {}
            ended, waiting = state.get("terminated"), state.get("waiting") or {}
            if ended is not None and ended.get("exitCode", 0) == 0:
                continue
            if item.get("name") in sidecars and item.get("started"):
                self.ready += bool(item.get("ready"))
                continue
            if ended is not None:
                self.reason = "Init:" + _ended(ended)
            elif waiting.get("reason") and waiting["reason"] != "PodInitializing":
                self.reason = f"Init:{waiting['reason']}"
            else:
                self.reason = f"Init:{index}/{total}"
            return True
        return False

    def _look_at_containers(self, status: Json, sidecars: set[str]) -> None:
        self.restarts, self.last_restart = 0, ""
        for item in status.get("initContainerStatuses") or ():
            if item.get("name") in sidecars:
                self._count_restarts(item)
        running = False
        for item in reversed(status.get("containerStatuses") or []):
            self._count_restarts(item)
            state = item.get("state") or {}
            ended, waiting = state.get("terminated"), state.get("waiting") or {}
            if waiting.get("reason"):
                self.reason = str(waiting["reason"])
            elif ended is not None:
                self.reason = _ended(ended)
            elif item.get("ready") and state.get("running") is not None:
                running = True
                self.ready += 1
        if self.reason == "Completed" and running:
            self.reason = "Running" if _condition(status, "Ready") == "True" else "NotReady"

    def _count_restarts(self, item: Json) -> None:
        self.restarts += int(item.get("restartCount") or 0)
        finished = str(((item.get("lastState") or {}).get("terminated") or {}).get("finishedAt") or "")
        self.last_restart = max(self.last_restart, finished)


def _ended(terminated: Json) -> str:
    if terminated.get("reason"):
        return str(terminated["reason"])
    return f"Signal:{terminated['signal']}" if terminated.get("signal") else f"ExitCode:{terminated.get('exitCode', 0)}"
