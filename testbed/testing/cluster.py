"""The cluster of a whole test session: the named one when it is up, else one of its own that ends with it."""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from pathlib import Path

from testbed.experiment.kind import ClusterSpec
from testbed.experiment.platforms.protocol import Platform
from testbed.testing.loop import LoopThread


@dataclass
class SessionCluster:
    """An open platform and the loop that it lives in. ``runs_folder``: where its runs are kept."""

    runs_folder: Path
    loop: LoopThread
    platform: Platform
    _opened: AbstractAsyncContextManager[Platform]

    @classmethod
    def open(
        cls, name: str, *, nodes: int = 3, profile: str = "fast", keep: bool = False,
        tell: Callable[[str], None] = lambda words: None,
    ) -> SessionCluster:
        """``name``: "" for one of its own, even where the default one is up.

        Raises: EnvironmentProblem and other TestbedErrors that say what this machine lacks.
        """
        from testbed.api.instance_files import instance_directory
        from testbed.cli.platforms import Opening, cluster_source

        spec = ClusterSpec.model_validate({"nodes": nodes, "profile": profile})
        opened = cluster_source(Opening("testbed", name or f"pytest-{os.getpid()}", tell, keep))(spec)
        runs_folder = instance_directory(name or "default") / "runs"
        loop = LoopThread()
        try:
            return cls(runs_folder, loop, loop.run(_enter(opened)), opened)
        except BaseException:
            loop.close()
            raise

    def close(self) -> None:
        try:
            self.loop.run(self._leave())
        finally:
            self.loop.close()

    async def _leave(self) -> None:
        await self._opened.__aexit__(None, None, None)


async def _enter(opened: AbstractAsyncContextManager[Platform]) -> Platform:
    return await opened.__aenter__()
