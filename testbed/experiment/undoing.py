"""Takes back every fault of a repetition, whatever became of the API meanwhile.

An API that is away is asked again until it is back or the time is over. What is then left is named: each fault also
ends by itself when its duration is over, but nobody here has seen it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass
from functools import partial

from testbed.errors import TestbedError
from testbed.experiment.evidence import Observer
from testbed.experiment.patience import until_answered
from testbed.experiment.steps import Doer


@dataclass(frozen=True)
class Undone:
    """``gone``: names of fault objects whose undo was verified. ``problems``: what is left, and why, in words."""

    gone: tuple[str, ...]
    problems: tuple[str, ...]


async def undo_all(doer: Doer, observer: Observer, timeout_s: float) -> Undone:
    """``timeout_s``: for the API to take all deletions, and then again for all undos to be verified."""
    problems: list[str] = []
    absent: set[str] = set()
    until = asyncio.get_running_loop().time() + timeout_s
    for step in doer.faults:
        try:
            if not await until_answered(partial(doer.undo, step), until):
                absent.add(doer.fault_name(step))
        except TestbedError as error:
            problems.append(f"{step}: {error.message}")
    names = {doer.fault_name(step): step for step in doer.faults}

    def left() -> list[str]:
        return [name for name in names if name not in absent and not observer.faults.get(name, {}).get("gone")]

    if not await observer.wait(lambda: not left(), timeout_s):
        # One that was made and deleted while the watch was away has never been seen: only the API knows of it.
        absent.update([name for name in left() if await doer.is_gone(names[name])])
        if remains := left():
            problems.append("still in force: " + ", ".join(remains))
    remaining = set(left())
    return Undone(tuple(name for name in names if name not in remaining), tuple(problems))


def silences_the_api(kinds: Iterable[str]) -> bool:
    """Whether faults of these kinds keep the API away on purpose: then its silence says nothing."""
    return "ControlPlaneChaos" in kinds
