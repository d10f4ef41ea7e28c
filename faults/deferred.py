"""The engine and the host, opened when the first fault needs them: an idle daemon carries no Docker SDK."""

from __future__ import annotations

from collections.abc import Mapping

from testbed.runtime.factory import open_engine, open_host
from testbed.runtime.protocol import ContainerState, Engine, Host, ProcessIdentity


class Deferred:
    """Both a ContainerLister and HostActs."""

    def __init__(self, instance_id: str, engine_url: str) -> None:
        self._instance_id, self._engine_url = instance_id, engine_url
        self._engine: Engine | None = None
        self._host: Host | None = None

    def engine(self) -> Engine:
        if self._engine is None:
            self._engine = open_engine(self._engine_url)
        return self._engine

    def host(self) -> Host:
        if self._host is None:
            self._host = open_host(self._instance_id, self.engine())
        return self._host

    async def list(self, labels: Mapping[str, str], *, running_only: bool = False) -> tuple[ContainerState, ...]:
        return await self.engine().list(labels, running_only=running_only)

    async def identify(self, pid: int) -> ProcessIdentity:
        return await self.host().identify(pid)

    async def alive(self, process: ProcessIdentity) -> bool:
        return await self.host().alive(process)

    async def wait_exit(self, process: ProcessIdentity) -> int:
        return await self.host().wait_exit(process)

    async def signal(self, process: ProcessIdentity, signal: int) -> None:
        await self.host().signal(process, signal)

    async def cgroup_of(self, process: ProcessIdentity) -> str:
        return await self.host().cgroup_of(process)

    async def freeze(self, cgroup: str) -> None:
        await self.host().freeze(cgroup)

    async def thaw(self, cgroup: str) -> None:
        await self.host().thaw(cgroup)

    async def frozen(self, cgroup: str) -> bool:
        return await self.host().frozen(cgroup)

    async def close(self) -> None:
        if self._host is not None:
            await self._host.close()
        if self._engine is not None:
            await self._engine.close()
