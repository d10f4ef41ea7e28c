"""Keeps HAProxy in the gateway in step with the API: Ingresses, Services, endpoints and certificates in, plans out.

Decides when to plan and to send: after a change, when the plan differs or the gateway was started anew. Services,
endpoints and Secrets are watched only while an Ingress exists. When a plan is in force, every Ingress of it gets the
gateway's address into its status; what an Ingress asks for and does not get is told as a Warning on it. What the plan
is, ``core/ingresses`` says.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from testbed.api.core_v1 import Service
from testbed.api.discovery_v1 import EndpointSlice
from testbed.api.labels import SERVICE_NAME
from testbed.api.networking_v1 import Ingress, IngressClass
from testbed.api.resources import ENDPOINT_SLICES, INGRESS_CLASSES, INGRESSES, SECRETS, SERVICES
from testbed.client.informer import Informer
from testbed.client.protocol import Client, Json
from testbed.core.ingresses import Note, RoutingPlan, plan_routing
from testbed.errors import ApiError, TestbedError
from testbed.network.feeder import REFUSED_AGAIN_S, Recorder
from testbed.network.ingress_wire import wire_plan
from testbed.network.line import Line, feed

ANSWER_S = 15.0  # a reload waits for a new worker
PROGRAMMED = "Programmed"

_log = logging.getLogger(__name__)


class IngressFeeder:
    """``socket``: the gateway's ``control.sock``. ``address``: where this machine and pods reach HAProxy."""

    def __init__(self, client: Client, socket: Path, recorder: Recorder, address: str) -> None:
        self._client, self._socket, self._recorder, self._address = client, socket, recorder, address
        self._dirty = asyncio.Event()
        self._ingresses = Informer(client, INGRESSES, on_change=self._changed)
        self._classes = Informer(client, INGRESS_CLASSES, on_change=self._changed)
        self._behind = {one: Informer(client, one, on_change=self._changed)
                        for one in (SERVICES, ENDPOINT_SLICES, SECRETS)}
        self._watching = False
        self._revision = 0
        self._line: Line | None = None
        self._in_force: Json | None | bool = False  # False: what this gateway has is not known
        self._bad: list[str] = []
        self._told: frozenset[Note] = frozenset()

    def _changed(self, old: Json | None, new: Json | None) -> None:
        self._dirty.set()

    async def run(self) -> None:
        """Runs until cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._ingresses.run())
            group.create_task(self._classes.run())
            await self._ingresses.synced.wait()
            await self._classes.synced.wait()
            await feed(self._socket, self._dirty, lambda line: self._feed(line, group))

    async def _feed(self, line: Line, group: asyncio.TaskGroup) -> None:
        """Raises: as ``_send``."""
        if line is not self._line:
            self._line, self._in_force = line, False
        if self._ingresses.items and not self._watching:
            self._watching = True
            for informer in self._behind.values():
                group.create_task(informer.run())
            for informer in self._behind.values():
                await informer.synced.wait()
        await self._send(line)

    def plan(self) -> RoutingPlan:
        """Of what is known now. Raises: InvalidInput for an object that cannot be read."""
        slices: dict[str, tuple[EndpointSlice, ...]] = {}
        ingresses = [Ingress.of(one) for one in self._ingresses.items.values()]
        if not ingresses:
            return RoutingPlan()
        named = {f"{one.metadata.namespace}/{name}" for one in ingresses for name in _services_of(one)}
        for raw in self._behind[ENDPOINT_SLICES].items.values():
            key = f"{raw['metadata'].get('namespace')}/{(raw['metadata'].get('labels') or {}).get(SERVICE_NAME)}"
            if key in named and raw.get("addressType") == "IPv4":
                slices[key] = (*slices.get(key, ()), EndpointSlice.of(raw))
        services = {key: Service.of(one) for key, one in self._behind[SERVICES].items.items() if key in named}
        secrets = {key: frozenset(one.get("data") or ()) for key, one in self._behind[SECRETS].items.items()}
        return plan_routing(ingresses, [IngressClass.of(one) for one in self._classes.items.values()], services,
                            slices, secrets)

    async def _send(self, line: Line) -> None:
        """Raises: OSError, TimeoutError, ValueError when the gateway has gone or says nothing sensible."""
        try:
            plan = self.plan()
        except TestbedError as error:
            _log.warning("these Ingresses cannot be planned: %s", error)
            return
        wire = wire_plan(plan, self._behind[SECRETS].items)
        if wire != self._in_force:
            self._revision += 1
            async with asyncio.timeout(ANSWER_S):
                answer = await line.ask({"op": "ingress", "revision": self._revision, "plan": wire})
            if "how" not in answer:
                _log.warning("the gateway refused the Ingresses of revision %d: %s", self._revision,
                             answer.get("error", "its image is old, run: testbed setup"))
                asyncio.get_running_loop().call_later(REFUSED_AGAIN_S, self._dirty.set)
                return
            self._in_force = wire
            _log.info("Ingresses in force: %d routes, %d pools (%s, %.1f ms)", len(plan.routes), len(plan.pools),
                      answer["how"], answer["took_ns"] / 1e6)
            self._bad = [str(one) for one in answer["bad_certificates"]]
        self._tell(frozenset(plan.notes) | _bad_certificates(plan, self._bad))
        await self._publish(plan)

    def _tell(self, notes: frozenset[Note]) -> None:
        for note in sorted(notes - self._told, key=lambda one: (one.ingress, one.reason, one.message)):
            ingress = self._ingresses.get(note.ingress)
            if ingress is not None:
                self._recorder.event(_typed(ingress), "Warning", note.reason, note.message)
        self._told = notes

    async def _publish(self, plan: RoutingPlan) -> None:
        """The address into the status of those that are served, and out of the status of others."""
        served = set(plan.ingresses)
        for key, ingress in tuple(self._ingresses.items.items()):
            wanted = [{"ip": self._address}] if key in served else []
            now = ((ingress.get("status") or {}).get("loadBalancer") or {}).get("ingress") or []
            if now == wanted or (not wanted and now != [{"ip": self._address}]):
                continue
            meta = ingress["metadata"]
            try:
                await self._client.patch(INGRESSES, meta["name"], {"status": {"loadBalancer": {"ingress": wanted}}},
                                         meta["namespace"], subresource="status")
            except ApiError as error:
                _log.info("status of Ingress %s: %s", key, error.message)
                continue
            if wanted:
                self._recorder.event(_typed(ingress), "Normal", PROGRAMMED, f"served at {self._address}")


def _typed(ingress: Mapping[str, Any]) -> Json:
    return {"kind": INGRESSES.kind, "apiVersion": INGRESSES.api_version, **ingress}


def _services_of(ingress: Ingress) -> set[str]:
    backends = [path.backend for rule in ingress.spec.rules for path in (rule.http.paths if rule.http else ())]
    if ingress.spec.default_backend is not None:
        backends.append(ingress.spec.default_backend)
    return {one.service.name for one in backends if one.service is not None}


def _bad_certificates(plan: RoutingPlan, names: list[str]) -> frozenset[Note]:
    return frozenset(
        Note(one.ingress, "SecretUnusable", f"Secret {one.secret} is no certificate with its key: no TLS by it")
        for one in plan.certificates if one.secret in names)
