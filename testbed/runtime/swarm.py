"""A Docker engine as a member of a swarm: joining, its services and tasks, and the networks that its tasks are on.

Answers are the Engine API's own JSON (version 1.41); what they mean is the driver's (testbed.supervisors.swarm). What
only a manager can answer is refused by others with an EngineError, and answered by none without a leader.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from testbed.errors import EngineError
from testbed.runtime.docker_client import APIError, DockerClient, NotFound
from testbed.runtime.docker_supervision import DockerSupervision
from testbed.runtime.nested import NestedEngine

Json = dict[str, Any]
_CHANGE_S = 30.0  # joining waits for the other side, a change for the managers' agreement
LISTEN_PORT = 2377


class SwarmEngine(NestedEngine, DockerSupervision):
    """One node's own engine."""

    def __init__(self, url: str, machine_url: str, turn: Path) -> None:
        super().__init__(url, machine_url, turn)
        self._network_ids: dict[str, str] = {}  # by name

    async def info(self) -> Json:
        """``GET /info``; of interest: ``Swarm``, ``NCPU``, ``MemTotal``, ``ServerVersion``, ``KernelVersion``."""
        found: Json = await self._ask(lambda client: client.get("/info"), again=True)
        return found

    # --- members

    async def init_swarm(self, address: str, *, spec: Mapping[str, Any], pool: str, prefix: int) -> None:
        """``address``: this node's, for the others. ``pool``: range of the overlay networks, in nets of ``prefix``."""
        body = {"ListenAddr": f"0.0.0.0:{LISTEN_PORT}", "AdvertiseAddr": f"{address}:{LISTEN_PORT}",
                "DefaultAddrPool": [pool], "SubnetSize": prefix, "Spec": dict(spec)}
        await self._ask(lambda client: client.post("/swarm/init", body=body), timeout_s=_CHANGE_S)

    async def join_swarm(self, address: str, *, remote: str, token: str) -> None:
        """``remote``: address of a manager."""
        body = {"ListenAddr": f"0.0.0.0:{LISTEN_PORT}", "AdvertiseAddr": f"{address}:{LISTEN_PORT}",
                "RemoteAddrs": [f"{remote}:{LISTEN_PORT}"], "JoinToken": token}
        await self._ask(lambda client: client.post("/swarm/join", body=body), timeout_s=_CHANGE_S)

    async def swarm(self) -> Json:
        """Its spec and join tokens, from a manager."""
        found: Json = await self._ask(lambda client: client.get("/swarm"), again=True)
        return found

    async def swarm_nodes(self, *, timeout_s: float | None = None) -> list[Json]:
        found: list[Json] = await self._ask(lambda client: client.get("/nodes"), timeout_s=timeout_s)
        return found

    # --- services

    async def services(self, *, timeout_s: float | None = None) -> list[Json]:
        found: list[Json] = await self._ask(lambda client: client.get("/services"), timeout_s=timeout_s)
        return found

    async def tasks(self, *, timeout_s: float | None = None) -> list[Json]:
        """Of all services, ended ones too as long as the swarm remembers them."""
        found: list[Json] = await self._ask(lambda client: client.get("/tasks"), timeout_s=timeout_s)
        return found

    async def create_service(self, spec: Mapping[str, Any]) -> None:
        """One of that name that is there already is left as it is."""
        def work(client: DockerClient) -> None:
            try:
                client.post("/services/create", body=dict(spec))
            except APIError as error:
                if error.status_code != 409:
                    raise

        await self._ask(work, timeout_s=_CHANGE_S)

    async def update_service(self, service: Mapping[str, Any], spec: Mapping[str, Any], *, back: bool = False) -> None:
        """``service``: as it was read: a change by anybody else since makes it refused. ``back``: to the spec before
        the last change, as the swarm remembers it; ``spec`` does not count then."""
        params = {"version": service["Version"]["Index"], **({"rollback": "previous"} if back else {})}
        await self._ask(lambda client: client.post("/services/{0}/update", service["ID"], params=params,
                                                   body=dict(spec)), timeout_s=_CHANGE_S)

    async def remove_service(self, service: str) -> None:
        """Not an error when it is gone."""
        def work(client: DockerClient) -> None:
            try:
                client.delete("/services/{0}", service)
            except NotFound:
                return

        await self._ask(work, timeout_s=_CHANGE_S)

    # --- networks

    async def ensure_network(self, body: Mapping[str, Any]) -> None:
        """``body``: of ``POST /networks/create``. One whose name is there is left as it is."""
        def work(client: DockerClient) -> None:
            if any(item["Name"] == body["Name"] for item in client.get("/networks")):
                return
            try:
                client.post("/networks/create", body=dict(body))
            except APIError as error:
                if error.status_code != 409:
                    raise

        await self._ask(work, timeout_s=_CHANGE_S)

    async def peers(self, network: str, *, timeout_s: float | None = None) -> tuple[str, ...]:
        """Addresses of the engines that take part in an overlay network, as the gossip of them all has it: one that is
        silent for about five seconds is not among them any more.

        An engine that is asked by the network's id answers by itself; asked by its name it asks a manager too, and
        waits for one while there is no leader. So the id is asked for once.

        Raises: EngineError when there is no such network.
        """
        def work(client: DockerClient) -> Json:
            found: Json = client.get("/networks/{0}", self._network_ids.get(network, network))
            return found

        try:
            found = await self._ask(work, timeout_s=timeout_s)
        except EngineError:
            self._network_ids.pop(network, None)
            raise
        peers = found.get("Peers")
        if peers is None:
            raise EngineError(f"this engine is not in network {network}")
        self._network_ids[network] = str(found["Id"])
        return tuple(sorted(str(peer["IP"]) for peer in peers))
