"""One address for a Service: a proxy container that asks Docker's DNS, as people put one in front of N replicas.

Plain Docker balances by names alone: the network's DNS names every container that runs. So the proxy (HAProxy, TCP, no
health checks, no retries) takes its servers from that DNS and from nowhere else, ten times a second: what it does is
what a client does that looks the name up for each connection. A dead container leaves the DNS, a frozen one does not.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from testbed.api import labels
from testbed.api.core_v1 import Service
from testbed.api.instance import Instance
from testbed.errors import EngineError, EngineUnavailable, NoSuchContainer
from testbed.runtime.containers import ContainerState, Mount
from testbed.runtime.supervision import SupervisedSpec, SupervisingEngine
from testbed.supervisors.containers import alias
from testbed.supervisors.wishes import selected_by

log = logging.getLogger("supervisor")

IMAGE = "testbed-gateway:1"
DNS_PERIOD_MS = 100
_CONFIG = "/etc/testbed-proxy"
_SERVICE = "testbed.io/service"  # label: namespace/name
_SERVICE_UID = "testbed.io/service-uid"
_LEAST_SERVERS = 20
_LISTENS_S = 3.0  # after its start HAProxy surely hears a signal

_HEAD = f"""\
resolvers docker
    nameserver dns 127.0.0.11:53
    accepted_payload_size 8192
    timeout resolve {DNS_PERIOD_MS}ms
    timeout retry {DNS_PERIOD_MS}ms
    resolve_retries 3
    hold valid {DNS_PERIOD_MS}ms
    hold obsolete 0s
    hold nx 0s
defaults
    mode tcp
    retries 0
    balance roundrobin
    timeout connect 60s
    timeout client 1h
    timeout server 1h
"""


@dataclass(frozen=True)
class Route:
    """``targets``: (DNS name, port) of each Deployment behind this port of the Service."""

    port: int
    targets: tuple[tuple[str, int], ...]


def routes(service_json: Mapping[str, Any], deployments: Sequence[Mapping[str, Any]]) -> tuple[Route, ...]:
    """Of its TCP ports."""
    service = Service.of(dict(service_json))
    namespace = service.metadata.namespace
    chosen = [item for item in deployments if item["metadata"]["namespace"] == namespace
              and selected_by(service_json, (item["spec"]["template"].get("metadata") or {}).get("labels") or {})]
    found = []
    for port in service.spec.ports:
        if port.protocol != "TCP":
            continue
        targets = [(alias(item["metadata"]["name"], namespace), number) for item in chosen
                   if (number := _target(port.target_port, port.port, item))]
        found.append(Route(port.port, tuple(sorted(targets))))
    return tuple(found)


def _target(wanted: int | str | None, port: int, deployment: Mapping[str, Any]) -> int:
    """0 when the pods have no port of that name."""
    if wanted in (None, "", 0):
        return port
    if isinstance(wanted, int) or wanted.isdigit():
        return int(wanted)
    for container in deployment["spec"]["template"]["spec"]["containers"]:
        for item in container.get("ports") or ():
            if item.get("name") == wanted:
                return int(item["containerPort"])
    return 0


def configuration(wanted: Sequence[Route], servers: int) -> str:
    """HAProxy's. ``servers``: the most containers that a Deployment may have."""
    text = _HEAD
    for route in wanted:
        text += f"frontend port-{route.port}\n    bind :{route.port}\n    default_backend port-{route.port}\n"
        text += f"backend port-{route.port}\n"
        for index, (name, port) in enumerate(route.targets):
            text += f"    server-template d{index}- {servers} {name}:{port} resolvers docker init-addr none\n"
    return text


class Proxies:
    """Keeps one proxy per Service that has an address and a selector."""

    def __init__(self, instance: Instance, engine: SupervisingEngine) -> None:
        self._instance, self._engine = instance, engine
        self._told: dict[str, tuple[str, str]] = {}  # by Service: its uid, the configuration that its proxy runs with
        self._started_s: dict[str, float] = {}
        self._swept = False

    async def keep(self, services: Mapping[str, Mapping[str, Any]], deployments: Sequence[Mapping[str, Any]]) -> None:
        """Makes, changes and removes what differs. Twice is harmless. Raises: EngineUnavailable."""
        most = max((int(item["spec"].get("replicas", 1)) for item in deployments), default=0)
        servers = max(_LEAST_SERVERS, 2 * most)
        wanted: dict[str, tuple[str, str]] = {}
        for key, service in services.items():
            found = routes(service, deployments)
            if _addressed(service) and (key in self._told or any(route.targets for route in found)):
                wanted[key] = (service["metadata"]["uid"], configuration(found, servers))
        await asyncio.gather(*(self._ensure(key, services[key], told[1]) for key, told in wanted.items()
                               if self._told.get(key) != told))
        if set(self._told) - set(wanted) or not self._swept:
            await self._remove_others(set(wanted))

    async def _ensure(self, key: str, service: Mapping[str, Any], text: str) -> None:
        folder = self._folder(key)
        folder.mkdir(parents=True, exist_ok=True)
        folder.chmod(0o755)  # the proxy's root has no DAC_OVERRIDE and reads it as "others"
        temporary = folder / "haproxy.cfg.new"
        temporary.write_text(text)
        temporary.chmod(0o644)
        temporary.replace(folder / "haproxy.cfg")
        spec = self._spec(key, service, folder)
        try:
            try:
                state = await self._engine.inspect(spec.name)
                if state.labels.get(_SERVICE_UID) != spec.labels[_SERVICE_UID]:  # of an earlier one of that name
                    await self._engine.remove(state.id)
                    raise NoSuchContainer(spec.name)
                await self._reload(key, state)
            except NoSuchContainer:
                await self._engine.start(await self._engine.create(spec))
                self._started_s[key] = asyncio.get_running_loop().time()
        except EngineError as error:
            log.warning("proxy of Service %s: %s", key, error)
            return
        self._told[key] = (service["metadata"]["uid"], text)
        log.info("Service %s is at %s", key, spec.address)

    async def _reload(self, key: str, state: ContainerState) -> None:
        """Without dropping anything, once it listens to signals; before that it has hardly served anybody."""
        age_s = asyncio.get_running_loop().time() - self._started_s.get(key, 0.0)
        if state.running and age_s > _LISTENS_S:
            await self._engine.signal(state.id, "USR2")
            return
        await self._engine.restart(state.id, 0)
        self._started_s[key] = asyncio.get_running_loop().time()

    def _spec(self, key: str, service: Mapping[str, Any], folder: Path) -> SupervisedSpec:
        namespace, _, name = key.partition("/")
        names = [f"{name}.{namespace}", f"{name}.{namespace}.svc", f"{name}.{namespace}.svc.cluster.local"]
        return SupervisedSpec(
            name=f"testbed-{self._instance.id}_{namespace}_{name}-service", image=IMAGE,
            labels={labels.INSTANCE: self._instance.id, labels.INSTANCE_NAME: self._instance.name,
                    labels.ROLE: labels.ROLE_PROXY, _SERVICE: key, _SERVICE_UID: service["metadata"]["uid"]},
            command=("/usr/sbin/haproxy",), args=("-W", "-f", f"{_CONFIG}/haproxy.cfg"),
            network=self._instance.network, address=service["spec"]["clusterIP"],
            aliases=tuple([name, *names] if namespace == "default" else names),
            mounts=(Mount(_CONFIG, str(folder), read_only=True),), cap_drop=("ALL",), cap_add=("NET_BIND_SERVICE",),
            cgroup_parent=f"{self._instance.cgroup}/_proxies", restart="always",
        )

    def _folder(self, key: str) -> Path:
        return self._instance.directory / "proxies" / key.replace("/", ".")

    async def _remove_others(self, kept: set[str]) -> None:
        """Of Services that are gone, or came again under the same name."""
        found = await self._engine.list({labels.INSTANCE: self._instance.id, labels.ROLE: labels.ROLE_PROXY})
        for state in found:
            key = state.labels.get(_SERVICE, "")
            if key not in kept:
                with contextlib.suppress(EngineError, EngineUnavailable):
                    await self._engine.remove(state.id)
                    self._told.pop(key, None)
                    shutil.rmtree(self._folder(key), ignore_errors=True)
        self._swept = True


def _addressed(service: Mapping[str, Any]) -> bool:
    """It has an address, and is not going."""
    return (service["spec"].get("clusterIP") not in (None, "", "None")
            and not service["metadata"].get("deletionTimestamp"))
