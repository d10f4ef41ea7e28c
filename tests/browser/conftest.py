"""One Chromium a module, and the live page in front of clusters that are filled by hand."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from support.page_view import PageView, chromium, tab
from support.page_world import PageWorld, page_world


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def chrome() -> AsyncIterator[Any]:
    async with chromium() as browser:
        yield browser


@pytest_asyncio.fixture(loop_scope="module")
async def world(tmp_path: Path) -> AsyncIterator[PageWorld]:
    """Three nodes, six pods of ``web``."""
    async with page_world(tmp_path) as world:
        yield world


@pytest_asyncio.fixture(loop_scope="module")
async def view(chrome: Any, world: PageWorld) -> AsyncIterator[PageView]:
    async with tab(chrome) as view:
        await view.enter(world.entrance)
        yield view


@pytest.fixture
def busy(tmp_path: Path) -> PageWorld:
    """Where everything happens at once; not served yet."""
    from busy_cluster import make_busy

    world = PageWorld(tmp_path)
    make_busy(world)
    return world
