"""One chaos daemon for each cluster; the next one may begin when the last has ended, however it did."""

from __future__ import annotations

from pathlib import Path

import pytest

from faults.__main__ import _the_only_one
from testbed.api.instance import Instance
from testbed.errors import EnvironmentProblem


def test_a_second_daemon_of_a_cluster_is_refused_while_the_first_runs(tmp_path: Path) -> None:
    instance = Instance("alone", "", tmp_path, "", 0, ())
    refused = pytest.raises(EnvironmentProblem, match="another chaos daemon of cluster alone")
    with _the_only_one(instance), refused, _the_only_one(instance):
        pass
    with _the_only_one(instance):
        pass
