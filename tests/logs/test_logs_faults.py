"""The chaos daemon's lines say which fault hits whom: by the victim's id the healer's lines are found too."""

from __future__ import annotations

import contextlib
import io
import json

import pytest

from faults import holder
from faults.ledger import Entry
from faults.protocol import Target
from faults.told import whom
from testbed.api.log_lines import of_text


@pytest.mark.parametrize(("target", "fields"), [
    (Target("default", "web-1", "u1", "web", "node-1"), {"pod": "default/web-1", "pod_uid": "u1", "node": "node-1"}),
    (Target(node="node-2"), {"node": "node-2"}),
    (Target(), {}),
])
def test_an_injection_is_about_its_fault_and_its_target(target: Target, fields: dict[str, str]) -> None:
    entry = Entry("f-0000", "f", "PodChaos", "default", "crash", "PodChaos/container-kill", target)
    assert whom(entry) == {"fault": "PodChaos/default/crash", **fields}


def test_what_a_holder_says_is_a_line_as_every_process_writes_them() -> None:
    with contextlib.redirect_stderr(io.StringIO()) as said:
        holder.say("thaw of f-0000: no answer")
    line = of_text(said.getvalue(), "holders")
    assert (line.process, line.level, line.message) == ("holder", "WARNING", "thaw of f-0000: no answer")
    assert line.ns > 0 and len(line.at) == len("2026-01-01T00:00:00.000000Z")
    assert json.loads(said.getvalue())["logger"] == "holder"
