"""Probes of one pod: who is probed, what counts as started, and what a result that changed sets off."""

from __future__ import annotations

from collections.abc import Callable

from probes.protocol import Outcome, ProbeTarget, Sample
from testbed.api.core_v1 import Container
from testbed.core.pod_seen import PodSeen
from testbed.core.pods import Health, is_sidecar
from testbed.core.probing import ContainerView, ProbeType, Result, is_started
from testbed.node.facts import now_s
from testbed.node.inside import run_inside
from testbed.node.pod_context import PodContext
from testbed.node.prober import PodProber, Surroundings, probes_of

_WORDS = {Outcome.FAILURE: "failed", Outcome.ERROR: "errored", Outcome.WARNING: "warning"}


class PodProbes:
    """``wake``: a liveness or startup result changed. ``readiness_changed``: the status must be told at once."""

    def __init__(
        self, context: PodContext, wake: Callable[[], None], readiness_changed: Callable[[], None]
    ) -> None:
        self._context, self._wake, self._readiness_changed = context, wake, readiness_changed
        shared = context.shared
        self.prober = PodProber(Surroundings(
            view=self._view, target=self._target, unhealthy=self._unhealthy, changed=self._changed,
            measured=shared.measures.probed, kinds=shared.kinds, draw=shared.draw, uptime_s=shared.uptime_s,
            places=shared.probe_places,
        ))
        self._restored = False

    def begin(self, seen: PodSeen) -> None:
        """Once, before anything is decided: what the status said of containers that still run, holds."""
        if self._restored:
            return
        self._restored = True
        told = {item["name"]: item for item in self._context.told()}
        for container in self._context.containers:
            if container in self._context.pod.spec.init_containers and not is_sidecar(container):
                continue
            self.prober.add(container)
            item, status = seen.containers.get(container.name), told.get(container.name, {})
            if item is not None and item.running and status.get("containerID") == f"docker://{item.id}":
                for kind in probes_of(container):
                    self.prober.workers[container.name, kind].restore(
                        item.id, started=bool(status.get("started")), ready=bool(status.get("ready"))
                    )
        self.prober.begin()

    def health(self, seen: PodSeen) -> Health:
        results, started = {}, set()
        for container in self._context.containers:
            item = seen.containers.get(container.name)
            if item is None or not item.running:
                continue
            for kind in probes_of(container):
                results[container.name, kind] = self.prober.result(item.name, item.id, kind)
            startup = results.get((container.name, ProbeType.STARTUP), Result.SUCCESS)
            if is_started(item.running, container.startup_probe is not None, startup):
                started.add(container.name)
        return Health(results, frozenset(started))

    async def close(self) -> None:
        await self.prober.close()

    # --- what probe workers ask and tell

    def _view(self, name: str) -> ContainerView:
        context = self._context
        record = context.shared.view.newest(context.uid, name)
        if record is None:
            return ContainerView(pod_terminal=context.terminal, pod_deleting=context.deleting)
        startup = self.prober.result(name, record.id, ProbeType.STARTUP)
        return ContainerView(
            container_id=record.id, running=record.running,
            started=is_started(record.running, context.container(name).startup_probe is not None, startup),
            age_s=now_s() - record.started_s if record.started_s is not None else 0.0,
            never_again=not record.running and context.pod.spec.restart_policy == "Never",
            pod_terminal=context.terminal, pod_deleting=context.deleting,
        )

    def _target(self, container: Container) -> ProbeTarget | None:
        shared, address = self._context.shared, self._context.address
        record = shared.view.newest(self._context.uid, container.name)
        if record is None or not record.running or not address:
            return None
        ports = {port.name: port.container_port for port in container.ports if port.name}
        return ProbeTarget(address, ports, lambda argv, limit: run_inside(shared, record, argv, limit))

    def _changed(self, name: str, kind: ProbeType, result: Result) -> None:
        if kind is ProbeType.READINESS:
            self._readiness_changed()
        else:
            self._wake()

    def _unhealthy(self, container: Container, kind: ProbeType, sample: Sample) -> None:
        reason = "ProbeWarning" if sample.outcome is Outcome.WARNING else "Unhealthy"
        text = f"{kind.value.capitalize()} probe {_WORDS[sample.outcome]}: {sample.message}"
        record = self._context.shared.view.newest(self._context.uid, container.name)
        self._context.event("Warning", reason, text, container.name, container_id=record.id if record else "")
