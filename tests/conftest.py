"""What all tests share: Hypothesis without deadlines (this machine is shared), the same examples in every CI run, and
the leak check around every module that uses the engine."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

sys.path.insert(0, str(Path(__file__).parent))

settings.register_profile("testbed", deadline=None, suppress_health_check=[HealthCheck.too_slow],
                          derandomize=bool(os.environ.get("CI")), print_blob=True)
settings.load_profile("testbed")

LEAK_DEADLINE_S = 20.0  # the engine removes containers after it has answered


@pytest.fixture(scope="module", autouse=True)
def nothing_left_behind(request: pytest.FixtureRequest) -> Iterator[None]:
    """After a module that used an engine, containers, networks, volumes, cgroups and processes are as before."""
    if not any(item.get_closest_marker("engine") for item in request.session.items
               if item.path == request.node.path):
        yield
        return
    from support.leaks import footprint

    before = footprint()
    yield
    deadline = time.monotonic() + LEAK_DEADLINE_S
    while (left := footprint().left_since(before)) and time.monotonic() < deadline:
        time.sleep(0.2)
    assert not left, "left behind:\n" + "\n".join(left)
