"""Keeps the gateway in step with the API: watches Services, EndpointSlices, Nodes and Pods, sends whole states.

Decides when to send: at once after a change (what changes until the gateway has answered travels together), and the
whole state again whenever the gateway was started anew. What the state is, ``state`` says. When the gateway has applied
a Service's new endpoints, an Event ``EndpointsProgrammed`` on the Service tells when (CLOCK_MONOTONIC of the gateway).
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

from testbed.api.labels import ENDPOINTS
from testbed.api.process_logs import about
from testbed.api.resources import ENDPOINT_SLICES, NODES, PODS, SERVICES
from testbed.client.informer import Informer
from testbed.client.protocol import Client, Json
from testbed.core.rotation import Member, members
from testbed.errors import TestbedError
from testbed.network.host_ports import has_host_ports, told
from testbed.network.line import Line, feed
from testbed.network.state import GatewayState, gateway_state, node_ranges

REASON = "EndpointsProgrammed"
ANSWER_S = 2.0
REFUSED_AGAIN_S = 1.0

_log = logging.getLogger(__name__)


class Recorder(Protocol):
    """The part of ``client.events.EventRecorder`` that is used here."""

    def event(
        self, obj: Mapping[str, Any], type: str, reason: str, message: str, *, monotonic_ns: int | None = None,
        annotations: Mapping[str, str] | None = None,
    ) -> None: ...


class GatewayFeeder:
    """``socket``: the gateway's ``control.sock``. ``recorder``: where events are told."""

    def __init__(self, client: Client, socket: Path, recorder: Recorder) -> None:
        self._socket, self._recorder = socket, recorder
        self._dirty = asyncio.Event()
        self._services = Informer(client, SERVICES, on_change=self._changed)
        self._slices = Informer(client, ENDPOINT_SLICES, on_change=self._changed)
        self._nodes = Informer(client, NODES, on_change=self._node_changed)
        self._pods = Informer(client, PODS, on_change=self._pod_changed)
        self._revision = 0
        self._told: dict[str, frozenset[str]] = {}  # Service uid: endpoints that the last event named
        self._members: dict[str, Member] = {}  # by address, also of endpoints that the last event named

    def _changed(self, old: Json | None, new: Json | None) -> None:
        self._dirty.set()

    def _node_changed(self, old: Json | None, new: Json | None) -> None:
        """Only where its clients come from counts, not what it reports of itself."""
        if node_ranges([old] if old else []) != node_ranges([new] if new else []):
            self._dirty.set()

    def _pod_changed(self, old: Json | None, new: Json | None) -> None:
        """Only its host ports count here; what Services have of it is in their slices."""
        if told(old) != told(new):
            self._dirty.set()

    async def run(self) -> None:
        """Runs until cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._services.run())
            group.create_task(self._slices.run())
            group.create_task(self._nodes.run())
            group.create_task(self._pods.run())
            for informer in (self._services, self._slices, self._nodes, self._pods):
                await informer.synced.wait()
            await feed(self._socket, self._dirty, self._send)

    async def _send(self, line: Line) -> None:
        """Raises: OSError, TimeoutError, ValueError when the gateway has gone or says nothing sensible."""
        services = dict(self._services.items)
        try:
            pods = [pod for pod in self._pods.items.values() if has_host_ports(pod)]
            state = gateway_state(services.values(), self._slices.items.values(), self._nodes.items.values(), pods)
        except TestbedError as error:
            _log.warning("this state cannot be sent to the gateway: %s", error)
            return
        self._revision += 1
        async with asyncio.timeout(ANSWER_S):
            answer = await line.ask(state.message(self._revision))
        if "error" in answer:
            _log.warning("the gateway refused revision %d: %s", self._revision, answer["error"])
            asyncio.get_running_loop().call_later(REFUSED_AGAIN_S, self._dirty.set)
            return
        self._tell(services, state, int(answer["applied_ns"]), changed=bool(answer["changed"]))

    def _tell(self, services: Mapping[str, Json], state: GatewayState, applied_ns: int, *, changed: bool) -> None:
        told: dict[str, frozenset[str]] = {}
        known = members(self._slices.items.values())
        for key, backends in state.backends.items():
            service = services[key]
            uid = str(service["metadata"].get("uid", key))
            now = frozenset(f"{port} {backend.address}:{backend.port}" for port, backend in backends)
            told[uid] = now
            if not changed or self._told.get(uid, frozenset()) == now:
                continue  # nothing new, or new only to us: the API was restarted and the gateway was not
            addresses = sorted({backend.address for _, backend in backends})
            self._recorder.event(
                {"kind": "Service", "apiVersion": "v1"} | service, "Normal", REASON,
                f"revision {self._revision}: {len(addresses)} in rotation: {', '.join(addresses) or 'none'}",
                monotonic_ns=applied_ns, annotations={ENDPOINTS: ",".join(addresses)},
            )
            before = _addresses(self._told.get(uid, frozenset()))
            self._write_down(key, {**self._members, **known}, set(addresses) - before, before - set(addresses),
                             applied_ns)
        self._told, self._members = told, known

    def _write_down(
        self, key: str, at: Mapping[str, Member], came: set[str], left: set[str], applied_ns: int
    ) -> None:
        """Who turned, in the log."""
        for addresses, said in ((came, "now has"), (left, "has no more")):
            for member in (at[address] for address in sorted(addresses) if address in at):
                _log.info("the gateway %s %s in rotation for Service %s", said, member.pod, key, extra=about(
                    None, applied_ns, pod=member.pod, pod_uid=member.uid, node=member.node))


def _addresses(told: frozenset[str]) -> set[str]:
    """Of ``<protocol>/<port> <address>:<port>``."""
    return {text.partition(" ")[2].rpartition(":")[0] for text in told}
