"""``docs/metrics.md`` lists every family that there is, as it is."""

from __future__ import annotations

import random
import re
from collections import Counter

from server_world import make_registry
from support.metrics_document import PAGE, every_family, written

from testbed.client.inprocess import InProcessClient
from testbed.controlplane.manager import ControlPlane
from testbed.core.profile import FAST
from testbed.server.metrics import Exposition
from testbed.server.request_counts import RequestCounts


def test_the_tables_are_what_is_declared() -> None:
    page = PAGE.read_text()
    assert written(page) == page, "python tests/support/metrics_document.py writes them"


def test_every_family_is_listed_once() -> None:
    again = {name for name, times in Counter(family.name for family in every_family()).items() if times > 1}
    assert again == set()


async def test_the_control_plane_shows_nothing_that_is_not_listed() -> None:
    registry = make_registry()
    plane = ControlPlane(InProcessClient(registry), profile=FAST, clock=registry.clock, random=random.Random(1))
    exposed = Exposition(registry, plane, RequestCounts())
    names = set(re.findall(r"^# TYPE (\w+)", exposed()[0].decode(), re.MULTILINE))
    await exposed.close()
    unlisted = names - {family.name for family in every_family()}
    assert {name for name in unlisted if not name.startswith("process_")} == set()
