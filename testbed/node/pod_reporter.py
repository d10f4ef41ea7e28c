"""Tells the API about one pod: composes its status, sends it when it differs, and marks when readiness flipped."""

from __future__ import annotations

from typing import Any

from testbed.core.pod_seen import PodSeen
from testbed.core.pod_status import StatusInput, pod_status
from testbed.core.pods import Plan
from testbed.core.probing import ProbeType, Result, is_ready
from testbed.node import pod_context
from testbed.node.pod_context import SANDBOX, PodContext
from testbed.node.pod_probes import PodProbes
from testbed.node.record import Record

Json = dict[str, Any]


class PodReporter:
    def __init__(self, context: PodContext, probes: PodProbes) -> None:
        self._context, self._probes = context, probes
        self._told_backoff: dict[str, int] = {}

    def publish(self, seen: PodSeen, *, ending: bool = False) -> None:
        """``ending``: everything of a deleted pod has ended, and this is its last status."""
        context = self._context
        if context.gone:
            return
        health = self._probes.health(seen)
        ready = frozenset(
            item.name for item in context.containers
            if (found := seen.containers.get(item.name)) is not None and is_ready(
                found.running, item.name in health.started, item.readiness_probe is not None,
                health.results.get((item.name, ProbeType.READINESS), Result.SUCCESS),
            )
        )
        given = StatusInput(
            context.pod, seen, context.begun_at, context.shared.clock.now(), context.shared.facts.address, ready,
            health.started, context.waiting, context.failed, ending, context.disruption,
        )
        status = pod_status(given, {**context.status, "conditions": self._known_conditions()})
        if status == context.status:
            return
        before, context.status = context.status, status
        context.send_status()
        self._mark_flip(pod_context.is_ready(before), pod_context.is_ready(status))
        for item in seen.containers.values():
            if item.running and item.name in health.started and item.name not in ready:
                self._probes.prober.trigger(item.name)

    def _mark_flip(self, before: bool, now: bool) -> None:
        if now and not before:
            self._context.event("Normal", "ContainerReady", "The pod is ready")
        elif before and not now:
            self._context.event("Normal", "ContainerUnready", "The pod is not ready")

    def heed(self, told: Json) -> bool:
        """Somebody else may have ended the pod, or called it unready while this node was not heard of. True when that
        needs a decision."""
        context = self._context
        if told.get("phase") in ("Succeeded", "Failed") and context.status.get("phase") != told["phase"]:
            context.status = {**context.status, "phase": told["phase"]}
            return True
        if context.status.get("conditions") and pod_context.is_ready(told) != pod_context.is_ready(context.status):
            context.send_status()
        return False

    def note_waiting(self, plan: Plan) -> None:
        """Why containers do not run, for the status; a new crash back-off is told as an event, once each."""
        context = self._context
        context.waiting = dict(plan.waiting)
        for name, (waiting, _) in context.errors.items():
            if name != SANDBOX:
                context.waiting.setdefault(name, waiting)
        if SANDBOX in context.errors:
            for container in context.pod.spec.containers:
                context.waiting.setdefault(container.name, context.errors[SANDBOX][0])
        for name, waiting in plan.waiting.items():
            attempt = context.restarts().get(name, 0)
            if waiting.reason == "CrashLoopBackOff" and self._told_backoff.get(name) != attempt:
                self._told_backoff[name] = attempt
                text = f"Back-off restarting failed container {name} in pod {context.full_name}"
                context.event("Warning", "BackOff", text, name)

    def died(self, record: Record) -> None:
        """Called at the moment of death. The status goes out now, beside the start of the next container: until the
        API knows that the pod is not ready, requests are sent to it and lost."""
        self.publish(self._context.seen)
        if not record.sandbox and record.died_ns is not None:
            text = f"Container {record.name} ended"
            self._context.event("Normal", "ContainerDied", text, record.name, record.died_ns, record.id)

    def _known_conditions(self) -> list[Json]:
        """Ours as told last, and others' as the API has them."""
        own = list(self._context.status.get("conditions") or ())
        types = {item.get("type") for item in own}
        others = (self._context.json.get("status") or {}).get("conditions") or ()
        return own + [item for item in others if item.get("type") not in types]
