"""pytest plugin of ``make test``: tests that need the engine run last, one after the other, in one worker.

With ``--dist loadgroup --no-loadscope-reorder`` the pure tests are first spread over all workers; the group ``engine``
is handed out whole when they are through. So measurements on real containers are not disturbed, and one line closes it
all.
"""

from __future__ import annotations

import pytest


@pytest.hookimpl(tryfirst=True)  # xdist reads the groups in the same hook
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    engine = [item for item in items if item.get_closest_marker("engine")]
    for item in engine:
        item.add_marker(pytest.mark.xdist_group("engine"))
    items[:] = [item for item in items if not item.get_closest_marker("engine")] + engine
