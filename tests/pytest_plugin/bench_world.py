"""A `Testbed` over the world of the runner's tests: the real API in this process, a chaos daemon that does as told."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
sys.path.append(str(ROOT / "tests" / "experiment"))

from runner_world import RunnerWorld  # noqa: E402

from testbed.testing.bench import Testbed  # noqa: E402
from testbed.testing.loop import LoopThread  # noqa: E402


async def made(folder: Path) -> RunnerWorld:
    """The world belongs to the loop that makes it."""
    return await RunnerWorld(folder).__aenter__()


@contextmanager
def bench(folder: Path, **more: Any) -> Iterator[tuple[Testbed, RunnerWorld]]:
    shutil.copyfile(ROOT / "examples" / "web.yaml", folder / "web.yaml")
    loop = LoopThread()
    try:
        world = loop.run(made(folder))
        found = Testbed(world.platform, loop, folder, folder / "runs", **more)
        try:
            yield found, world
        finally:
            assert found.close() == []
            left = loop.run(world.left())
            loop.run(world.__aexit__())
        assert left == []
    finally:
        loop.close()
