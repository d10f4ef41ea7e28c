"""The engine and the host, opened when the first fault needs them: an idle daemon carries no Docker SDK."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

from testbed.runtime.factory import open_engine, open_host
from testbed.runtime.host_protocol import Host
from testbed.runtime.protocol import Engine


class _Late:
    """Stands for something that ``make`` makes when it is first used."""

    def __init__(self, make: Callable[[], Any]) -> None:
        self._make, self._made = make, None

    def __getattr__(self, name: str) -> Any:
        return getattr(self.made(), name)

    def made(self) -> Any:
        if self._made is None:
            self._made = self._make()
        return self._made

    async def close(self) -> None:
        if self._made is not None:
            await self._made.close()


def late_engine(url: str) -> Engine:
    return cast(Engine, _Late(lambda: open_engine(url)))


def engine_and_host(instance_id: str, engine_url: str) -> tuple[Engine, Host]:
    engine = _Late(lambda: open_engine(engine_url))
    host = _Late(lambda: open_host(instance_id, engine.made()))
    return cast(Engine, engine), cast(Host, host)
