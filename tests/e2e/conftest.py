"""Real clusters for end-to-end tests: one per module, in a state directory of its own."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from support.cluster import Cluster, bring_up_for_test, state_home_for_test


@pytest.fixture(scope="module")
def state_home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """An ``XDG_STATE_HOME`` of this module's own."""
    with state_home_for_test(tmp_path_factory.mktemp("state")) as home:
        yield home


@pytest.fixture(scope="module")
def cluster(state_home: Path, request: pytest.FixtureRequest) -> Iterator[Cluster]:
    """A cluster of three nodes that is taken down at the end, whatever happened to its processes."""
    with bring_up_for_test(request.module.__name__, state_home) as found:
        yield found
