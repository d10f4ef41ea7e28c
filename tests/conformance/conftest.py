"""The engine and host under test: the simulated ones, and (marked ``engine``) the real ones."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

import pytest
from engine_rig import Rig, docker_rig, simulated_rig
from support.cluster import Cluster, bring_up_for_test, state_home_for_test


@pytest.fixture(params=["simulated", pytest.param("docker", marks=pytest.mark.engine)])
async def rig(request: pytest.FixtureRequest) -> AsyncIterator[Rig]:
    made = simulated_rig() if request.param == "simulated" else docker_rig()
    async with made as value:
        yield value


@pytest.fixture
async def docker() -> AsyncIterator[Rig]:
    """Real ones only."""
    async with docker_rig() as value:
        yield value


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Iterator[Cluster]:
    """A cluster of real containers with upstream's constants."""
    stem = request.module.__name__.removeprefix("test_conformance_")
    with (state_home_for_test(tmp_path_factory.mktemp("st")) as home,
          bring_up_for_test(stem, home, profile="kubernetes") as found):
        yield found
