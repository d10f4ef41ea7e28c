"""What Prometheus and Alertmanager ask of the control plane: whom to scrape, and that alerts be heard.

What is a target and what an alert means is decided in ``targets`` and ``alerts``; here Events are written.
"""

from __future__ import annotations

import asyncio
import logging
from datetime import datetime

from aiohttp import web

from testbed.api.instance import Instance
from testbed.api.log_lines import REASON
from testbed.api.process_logs import about
from testbed.api.resources import EVENTS, EXPERIMENTS, INGRESSES, NODES, ResourceType
from testbed.errors import AlreadyExists, ApiError, NotFound
from testbed.server.alerts import Alert, Json, alerts_of, concerned, event_of, told_again
from testbed.server.answers import json_answer
from testbed.server.bodies import read_body
from testbed.server.negotiation import parse_body
from testbed.server.own_paths import Routes, not_found
from testbed.server.registry import MERGE_PATCH, Registry
from testbed.server.targets import targets

MAX_BODY_BYTES = 1024 * 1024

_log = logging.getLogger(__name__)


class MonitoringPaths:
    def __init__(self, registry: Registry, instance: Instance) -> None:
        self._registry, self._instance = registry, instance

    @property
    def routes(self) -> Routes:
        return {("GET", "targets"): self._targets, ("POST", "alerts"): self._alerts}

    async def _targets(self, request: web.BaseRequest, rest: tuple[str, ...]) -> web.Response:
        """Raises: NotFound."""
        _nothing_below(rest)
        # Another supervisor's driver serves logs in an agent's place, and no metrics.
        nodes = [] if self._instance.foreign else [item.name for item in self._registry.list(NODES).items]
        return json_answer(targets(
            request.headers["Host"], self._instance.name, nodes, gateway=self._instance.routed,
            ingress=bool(self._registry.list(INGRESSES).items)))

    async def _alerts(self, request: web.BaseRequest, rest: tuple[str, ...]) -> web.Response:
        """Raises: NotFound, BadRequest, PayloadTooLarge."""
        _nothing_below(rest)
        arrived_ns, at = int(asyncio.get_running_loop().time() * 1e9), self._registry.clock.now()
        payload, _ = parse_body(await read_body(request, MAX_BODY_BYTES))
        told = 0
        for alert in alerts_of(payload):
            told += self._tell(alert, at, arrived_ns)
            await asyncio.sleep(0)  # a storm of alerts is no reason to let everybody else wait
        return json_answer({"told": told})

    def _tell(self, alert: Alert, at: datetime, arrived_ns: int) -> bool:
        """Of the best object that takes it: a namespace that is being deleted takes nothing."""
        for obj in concerned(alert, self._find, self._home_of):
            event = event_of(alert, obj, at=at, monotonic_ns=arrived_ns)
            try:
                new = self._write(event, at)
            except ApiError as error:
                _log.info("the alert %s was not told of %s %s: %s", alert.message, obj["kind"],
                          obj["metadata"]["name"], error.message)
                continue
            if new:
                _log.info("%s: %s", event["reason"], event["message"],
                          extra=about(obj, arrived_ns, **{REASON: event["reason"]}))
            return True
        return False

    def _write(self, event: Json, at: datetime) -> bool:
        """True when it was not there; else it is counted up."""
        name, namespace = event["metadata"]["name"], event["metadata"]["namespace"]
        try:
            self._registry.create(EVENTS, event, namespace)
        except AlreadyExists:
            stored = self._registry.get(EVENTS, name, namespace).value
            self._registry.patch(EVENTS, name, told_again(stored, at=at), namespace, patch_type=MERGE_PATCH)
            return False
        return True

    def _find(self, resource: ResourceType, namespace: str, name: str) -> Json | None:
        try:
            return {"apiVersion": resource.api_version, "kind": resource.kind,
                    **self._registry.get(resource, name, namespace or None).value}
        except NotFound:
            return None

    def _home_of(self, experiment: str) -> str:
        try:
            runs = [item for item in self._registry.list(EXPERIMENTS).items
                    if experiment and (item.value.get("status") or {}).get("experiment") == experiment]
        except NotFound:  # no run has registered the kind yet
            return ""
        newest = max(runs, key=lambda item: str(item.value["status"].get("startedAt", "")), default=None)
        return newest.namespace if newest is not None else ""


def _nothing_below(rest: tuple[str, ...]) -> None:
    if rest:
        raise not_found()
