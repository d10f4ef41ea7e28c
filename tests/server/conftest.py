from __future__ import annotations

import pytest
from server_world import HandClock, make_registry

from testbed.server.registry import Registry


@pytest.fixture
def clock() -> HandClock:
    return HandClock()


@pytest.fixture
def registry(clock: HandClock) -> Registry:
    return make_registry(clock)
