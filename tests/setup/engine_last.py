"""pytest plugin of ``make test``: tests that need the engine run last, one after the other, in one worker.

Pure tests are first spread over all workers; those that need the engine are one unit of work, handed out when the
others are through. So measurements on real containers are hardly disturbed, and one line closes it all.

Only workers collect tests and see markers, only the controller hands tests out: a worker writes the names of the
engine's tests to a file that the controller reads. (xdist's own groups put them into node ids, which pytest 9.2 no
longer lets be changed.)
"""

from __future__ import annotations

import json
import tempfile
from functools import cached_property
from pathlib import Path
from typing import Any

import pytest
from xdist.scheduler import LoadScopeScheduling

_LIST = pytest.StashKey[Path]()


class EngineLast(LoadScopeScheduling):
    """Units of work in the order of collection: single tests, and all of the engine's together."""

    @cached_property
    def _engine(self) -> frozenset[str]:
        return frozenset(json.loads(self.config.stash[_LIST].read_text()))

    def _split_scope(self, nodeid: str) -> str:
        return "engine" if nodeid in self._engine else nodeid


def pytest_configure(config: pytest.Config) -> None:
    if not hasattr(config, "workerinput"):
        config.option.loadscopereorder = False
        folder = tempfile.TemporaryDirectory(prefix="testbed-tests-")
        config.add_cleanup(folder.cleanup)
        config.stash[_LIST] = Path(folder.name) / "engine.json"


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node: Any) -> None:
    node.workerinput["engine_list"] = str(node.config.stash[_LIST])


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> EngineLast:
    return EngineLast(config, log)


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    engine = [item for item in items if item.get_closest_marker("engine")]
    items[:] = [item for item in items if not item.get_closest_marker("engine")] + engine
    if worker := getattr(config, "workerinput", None):
        # Every worker writes the same; by rename, so that none is read half.
        target = Path(worker["engine_list"])
        draft = target.with_suffix(f".{worker['workerid']}")
        draft.write_text(json.dumps([item.nodeid for item in engine]))
        draft.replace(target)
