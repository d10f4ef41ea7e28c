"""A node's own object and heartbeats: registers the Node, keeps its status fresh, renews its Lease.

Source: kubernetes pkg/kubelet/kubelet_node_status.go, component-helpers apimachinery/lease/controller.go.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
from collections.abc import Mapping
from typing import Any

from testbed.api.clock import WallClock
from testbed.api.labels import HOSTNAME
from testbed.api.meta import format_time
from testbed.api.resources import LEASES, NODES
from testbed.client.protocol import Client, PatchType
from testbed.core.profile import Profile
from testbed.errors import AlreadyExists, ApiError, ApiUnavailable, NotFound
from testbed.node.facts import MAX_PODS, NodeFacts, Recorder

log = logging.getLogger("testbed.node")
Json = dict[str, Any]
LEASE_NAMESPACE = "kube-node-lease"
VERSION = "v1.32.0"
_FIRST_S, _LONGEST_S = 0.1, 2.0
#: Reason and message while it does not hold, and while it does (kubernetes: pkg/kubelet/nodestatus/setters.go).
_PRESSURE_WORDS = {
    "MemoryPressure": (("KubeletHasSufficientMemory", "kubelet has sufficient memory available"),
                       ("KubeletHasInsufficientMemory", "kubelet has insufficient memory available")),
    "DiskPressure": (("KubeletHasNoDiskPressure", "kubelet has no disk pressure"),
                     ("KubeletHasDiskPressure", "kubelet has disk pressure")),
    "PIDPressure": (("KubeletHasSufficientPID", "kubelet has sufficient PID available"),
                    ("KubeletHasInsufficientPID", "kubelet has insufficient PID available")),
}


class Registration:
    """``uid``: the Node object's, once it is registered."""

    def __init__(
        self, client: Client, facts: NodeFacts, profile: Profile, clock: WallClock, draw: random.Random,
        recorder: Recorder,
    ) -> None:
        self._recorder = recorder
        self._client, self._facts, self._profile, self._clock, self._draw = client, facts, profile, clock, draw
        self.registered = asyncio.Event()
        self.uid = ""
        self._pressures: dict[str, bool] = {}  # of conditions that have held: whether they do now
        self.volumes_in_use: list[str] | None = None  # not known yet: what was told before stands
        self._news = asyncio.Event()
        self._given_up = False  # whether the API has said that we are not Ready, and nobody was told of our return yet
        self._returns = 0  # that were told

    async def register(self) -> None:
        """Creates the Node, or takes over the one there is. Tries until the API answers."""
        wait_s = _FIRST_S
        while True:
            try:
                await self._register_once()
                self.registered.set()
                return
            except ApiError as error:
                log.info("node not registered yet: %s", error.message)
                await asyncio.sleep(wait_s * (1 + self._draw.random()))
                wait_s = min(wait_s * 2, _LONGEST_S)

    async def _register_once(self) -> None:
        facts = self._facts
        labels = {
            HOSTNAME: facts.name, "kubernetes.io/os": "linux", "kubernetes.io/arch": facts.architecture,
            "beta.kubernetes.io/os": "linux", "beta.kubernetes.io/arch": facts.architecture, **facts.labels,
        }
        node: Json = {
            "apiVersion": "v1", "kind": "Node",
            "metadata": {"name": facts.name, "labels": labels},
            "spec": {"podCIDR": facts.pod_cidr, "podCIDRs": [facts.pod_cidr],
                     "providerID": f"testbed://{facts.instance_id}/{facts.name}"},
            "status": self._status({}),
        }
        try:
            created = await self._client.create(NODES, node)
        except AlreadyExists:
            created = await self._client.patch(NODES, facts.name, {
                "metadata": {"labels": labels}, "spec": {"podCIDR": facts.pod_cidr, "podCIDRs": [facts.pod_cidr]},
            })
        self.uid = created["metadata"]["uid"]
        before = ((created.get("status") or {}).get("nodeInfo") or {}).get("bootID", "")
        if before not in ("", facts.boot_id):  # kubernetes: pkg/kubelet/nodestatus/setters.go MachineInfo
            self._recorder.event(created, "Warning", "Rebooted",
                                 f"Node {facts.name} has been rebooted, boot id: {facts.boot_id}")
        await self._renew(None)  # first: by a lease from before we died a status that says Ready is judged silent again
        await self.send_status()

    async def send_status(self) -> None:
        """Tells that the node is Ready again, where the API has it otherwise. Raises: ApiError.

        Two may be on their way at once: one that hangs must not hold up the other, and a return is told once.
        """
        name, returns = self._facts.name, self._returns
        node = await self._client.get(NODES, name)
        if returns != self._returns:  # we are back since it was asked for: what it says is old
            return await self.send_status()
        stored = {item["type"]: item for item in (node.get("status") or {}).get("conditions") or ()}
        ready = stored.get("Ready")
        self._given_up = self._given_up or (ready is not None and ready.get("status") != "True")
        await self._client.patch(
            NODES, name, {"status": self._status(stored)}, patch_type=PatchType.STRATEGIC, subresource="status",
        )
        if self._given_up:  # kubernetes: pkg/kubelet/nodestatus/setters.go ReadyCondition
            self._given_up = False
            self._returns += 1
            self._recorder.event(node, "Normal", "NodeReady", f"Node {name} status is now: NodeReady")
        return None

    def _status(self, stored: Mapping[str, Json]) -> Json:
        """``stored``: the conditions that the API has, by type."""
        facts = self._facts
        resources = {"cpu": facts.cpu, "memory": facts.memory, "pods": str(MAX_PODS),
                     "ephemeral-storage": facts.ephemeral_storage}
        return {
            "capacity": resources, "allocatable": resources,
            "addresses": [
                {"type": "InternalIP", "address": facts.address}, {"type": "Hostname", "address": facts.name},
            ],
            "conditions": self._conditions(stored),
            **({"volumesInUse": self.volumes_in_use} if self.volumes_in_use is not None else {}),
            "daemonEndpoints": {"kubeletEndpoint": {"Port": facts.agent_port}},
            "nodeInfo": {
                "machineID": facts.instance_id, "systemUUID": facts.instance_id, "bootID": facts.boot_id,
                "kernelVersion": facts.kernel_version, "osImage": f"testbed {facts.kind} node",
                "operatingSystem": "linux", "architecture": facts.architecture,
                "containerRuntimeVersion": f"docker://{facts.runtime_version}",
                "kubeletVersion": VERSION, "kubeProxyVersion": VERSION,
            },
        }

    def uses(self, volumes: list[str]) -> None:
        """Which volumes pods here use. Told soon when it changed: others wait for it."""
        if volumes != self.volumes_in_use:
            self.volumes_in_use = volumes
            self._news.set()

    def _conditions(self, stored: Mapping[str, Json]) -> list[Json]:
        """Ready is the last, as kubelet's."""
        found = []
        for kind, words in _PRESSURE_WORDS.items():
            holds = self._pressures.get(kind, False)
            reason, message = words[holds]
            found.append({"type": kind, "status": str(holds), "reason": reason, "message": message})
        found.append({"type": "Ready", "status": "True", "reason": "KubeletReady",
                      "message": "kubelet is posting ready status"})
        now = format_time(self._clock.now())
        return [{**item, "lastHeartbeatTime": now,
                 "lastTransitionTime": _unchanged_since(stored.get(item["type"]), item["status"]) or now}
                for item in found]

    def tell_pressure(self, kind: str, holds: bool) -> None:
        """``kind``: the condition. Sends the status at once."""
        self._pressures[kind] = holds
        self._news.set()

    # --- heartbeats

    async def run(self) -> None:
        """Registers, then renews the Lease and sends the status, each at its own pace, until cancelled."""
        await self.register()
        async with asyncio.TaskGroup() as group:
            group.create_task(self._renew_for_ever())
            group.create_task(self._tell_for_ever())

    async def _tell_for_ever(self) -> None:
        wait_s = _FIRST_S
        while True:
            interval_s = self._profile.node_status_interval_s * (1 + 0.04 * (self._draw.random() - 0.5))
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(interval_s):
                    await self._news.wait()
            if await self._tell():
                wait_s = _FIRST_S
            else:
                await asyncio.sleep(wait_s)
                wait_s = min(wait_s * 2, _LONGEST_S)

    async def _tell(self) -> bool:
        """False: it is to be told again."""
        self._news.clear()
        try:
            await self.send_status()
        except NotFound:
            await self.register()
        except ApiError as error:
            log.info("node status not sent: %s", error.message)
            self._news.set()
            return False
        return True

    async def _renew_for_ever(self) -> None:
        lease: Json | None = None
        ready_again = False  # whether the controller may have set us NotReady meanwhile
        loop = asyncio.get_running_loop()
        renewed_s = loop.time()
        while True:
            try:
                lease = await self._renew(lease)
                # A process that was frozen has seen no error, but was silent all the same.
                ready_again = ready_again or loop.time() - renewed_s > 2 * self._profile.lease_renew_interval_s
                renewed_s = loop.time()
                if ready_again:
                    await self._tell()
                    ready_again = False
            except ApiUnavailable as error:
                ready_again = True
                log.info("lease not renewed: %s", error.message)
            except ApiError as error:
                lease = None
                log.info("lease not renewed: %s", error.message)
            interval_s = self._profile.lease_renew_interval_s
            await asyncio.sleep(interval_s * (1 + 0.04 * (self._draw.random() - 0.5)))

    async def _renew(self, lease: Json | None) -> Json:
        now = format_time(self._clock.now(), micro=True)
        name = self._facts.name
        if lease is not None:
            patch = {"spec": {"renewTime": now, "holderIdentity": name}}
            try:
                return await self._client.patch(LEASES, name, patch, LEASE_NAMESPACE)
            except NotFound:
                pass
        body: Json = {
            "apiVersion": "coordination.k8s.io/v1", "kind": "Lease",
            "metadata": {"name": name, "namespace": LEASE_NAMESPACE, "ownerReferences": [
                {"apiVersion": "v1", "kind": "Node", "name": name, "uid": self.uid},
            ]},
            "spec": {"holderIdentity": name, "renewTime": now,
                     "leaseDurationSeconds": max(1, round(self._profile.lease_duration_s))},
        }
        try:
            return await self._client.create(LEASES, body, LEASE_NAMESPACE)
        except AlreadyExists:
            return await self._client.patch(LEASES, name, {"spec": body["spec"]}, LEASE_NAMESPACE)


def _unchanged_since(stored: Json | None, status: str) -> str:
    """When the API's condition became what it is; empty where it is another now."""
    return str(stored.get("lastTransitionTime") or "") if stored and stored.get("status") == status else ""
