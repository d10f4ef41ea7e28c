"""The cluster that the runner's tests share in form, each test with its own."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from runner_world import RunnerWorld


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[RunnerWorld]:
    async with RunnerWorld(tmp_path) as made:
        yield made
