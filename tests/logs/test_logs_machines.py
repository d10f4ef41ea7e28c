"""The machine room's processes write what they do in the same form: cables, processes, power."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from testbed.api.instance import Instance
from testbed.api.log_lines import LogLine
from testbed.machines.cable_state import Cable
from testbed.machines.usable import log_end


async def test_a_cable_tells_what_is_true_of_it_whenever_that_changes(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    cable = Cable()
    cable.set(cut=True, direction="to", deadline_s=0.05, key="one")
    cable.set(cut=True, direction="to", deadline_s=0.05, key="one")
    cable.set(cut=False, delay_s=0.1, key="two")
    async with asyncio.timeout(5):
        while cable.cut:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
    cable.heal("two")
    late = "late by 0.1 s to the API, late by 0.1 s from the API"
    assert caplog.messages == ["the cable is cut to the API", f"the cable is cut to the API, {late}",
                               f"the cable is {late}", "the cable is whole"]


def test_the_end_of_a_log_is_shown_to_people_in_words(tmp_path: Path) -> None:
    instance = Instance("t", "0123456789ab", tmp_path, "10.9.0.0/16", 1, ())
    file = instance.log_file("api")
    file.parent.mkdir()
    line = LogLine(1, "2026-01-01T12:00:00.000001Z", "api", "port 1 is taken", "ERROR", "testbed.server")
    file.write_text(f"{line.to_json()}\nSegmentation fault\n")
    assert log_end(instance, "api") == ("2026-01-01T12:00:00.000Z api | ERROR port 1 is taken\n"
                                      "2026-01-01T12:00:00.000Z api | Segmentation fault")
