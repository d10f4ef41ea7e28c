"""How the chaos daemon tells what it does: whom an injection is about, and who is told. Pure.

The target's uid, or its node, is what the healer's own lines carry too: by it alone a fault is followed to the
recovery.
"""

from __future__ import annotations

from typing import Protocol

from faults.ledger import Entry
from testbed.api.log_lines import FAULT, NODE, POD, POD_UID


class Tell(Protocol):
    def __call__(self, reason: str, message: str, at_ns: int, *, warning: bool, entry: Entry | None) -> None:
        """``at_ns``: CLOCK_MONOTONIC of what is told. ``entry``: the injection that it is about, where it is one."""
        ...


def fault_id(kind: str, namespace: str, name: str) -> dict[str, str]:
    """Of a fault object, for a line of the log."""
    return {FAULT: f"{kind}/{namespace}/{name}"}


def whom(entry: Entry) -> dict[str, str]:
    """Of an injection, for a line of the log: its fault object and its target."""
    target = entry.target
    found = {POD: f"{target.namespace}/{target.pod}" if target.pod else "", POD_UID: target.uid, NODE: target.node}
    return fault_id(entry.kind, entry.namespace, entry.name) | {key: text for key, text in found.items() if text}
