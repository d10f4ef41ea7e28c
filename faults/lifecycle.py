"""What is to be done next about one fault object. Pure: the object, its ledger entries and the time in, one step out.

The shape is Chaos Mesh's (controllers/common: finalizer, desired phase, records): an object *runs* until it is
deleted, paused, or its time is over; while it runs every chosen target is to be injected, afterwards every target
is to be recovered; the finalizer leaves when nothing is left in effect.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from enum import StrEnum

from faults.ledger import Entry, Phase

MAX_ATTEMPTS = 3
_KILLED_NS = 60 * 10**9  # for so long a kill may count as what is broken


class Act(StrEnum):
    FINALIZE = "finalize"  # put our finalizer on
    SELECT = "select"
    INJECT = "inject"  # the entries named
    RECOVER = "recover"
    RELEASE = "release"  # take our finalizer off: nothing is in effect
    FORGET = "forget"  # the object is gone and nothing is in effect
    WAIT = "wait"  # until ``until_ns`` or until something changes


@dataclass(frozen=True)
class Fault:
    """A fault object as the lifecycle sees it.

    ``present``: None while the API cannot be asked (unknown is not gone).
    """

    present: bool | None
    deleting: bool = False
    paused: bool = False
    finalized: bool = False
    refused: bool = False


@dataclass(frozen=True)
class Step:
    act: Act
    entries: tuple[Entry, ...] = ()
    until_ns: int = 0  # 0: nothing to wait for but a change


def wanted(fault: Fault, entries: Sequence[Entry], now_ns: int) -> str:
    """``Run`` or ``Stop``: Chaos Mesh's ``desiredPhase``."""
    if fault.present is False or fault.deleting or fault.paused or time_is_over(entries, now_ns):
        return "Stop"
    return "Run"


def time_is_over(entries: Sequence[Entry], now_ns: int) -> bool:
    return any(0 < entry.deadline_ns <= now_ns for entry in entries)


def standing(entry: Entry, now_ns: int) -> bool:
    """Whether it is in effect or may come into effect: what counts when others ask how much is broken."""
    if entry.active:
        return True
    over = 0 < entry.deadline_ns <= now_ns
    return not entry.spent and not over and (entry.phase is Phase.CHOSEN or (
        entry.phase is Phase.UNDONE and entry.deadline_ns > 0))


def killed(entry: Entry, now_ns: int) -> bool:
    """Whether it was done a short while ago and has nothing that could be undone."""
    done_ns = max((event["monotonicNs"] for event in entry.events if event["type"] == "Succeeded"), default=0)
    return entry.phase is Phase.INJECTED and not entry.deadline_ns and now_ns - done_ns < _KILLED_NS


def next_step(fault: Fault, entries: Sequence[Entry], now_ns: int, lost: Collection[str] = ()) -> Step:
    """The one next step. Doing it and asking again leads to WAIT.

    Args: lost: ids of injections whose target is gone and which wait for another (following.py).
    """
    if wanted(fault, entries, now_ns) == "Stop":
        return _stopping(fault, entries, now_ns)
    if fault.present is None:  # nothing new without the API; what is in effect keeps its deadline
        return _wait(entries)
    if fault.refused:
        return Step(Act.WAIT)
    if not fault.finalized:
        return Step(Act.FINALIZE)
    if not entries:
        return Step(Act.SELECT)
    left = tuple(entry for entry in entries if entry.active and (entry.spent or entry.id in lost))
    ready = tuple(entry for entry in left if entry.retry_ns <= now_ns)
    if ready:
        return Step(Act.RECOVER, ready)
    todo = tuple(entry for entry in entries
                 if _to_inject(entry) and entry.retry_ns <= now_ns and entry.id not in lost)
    if todo:
        return Step(Act.INJECT, todo)
    return _wait(entries, left, lost)


def _stopping(fault: Fault, entries: Sequence[Entry], now_ns: int) -> Step:
    todo = tuple(entry for entry in entries if entry.active)
    if todo:
        ready = tuple(entry for entry in todo if entry.retry_ns <= now_ns)
        return Step(Act.RECOVER, ready) if ready else Step(Act.WAIT, until_ns=min(entry.retry_ns for entry in todo))
    if fault.present is False:
        return Step(Act.FORGET)
    if fault.present and fault.deleting:
        return Step(Act.RELEASE) if fault.finalized else Step(Act.WAIT)
    return _wait(entries) if fault.paused and not time_is_over(entries, now_ns) else Step(Act.WAIT)


def _to_inject(entry: Entry) -> bool:
    """A fault that cannot be undone is done once; one that can comes back when it is resumed."""
    if entry.spent:
        return False
    return entry.phase in (Phase.CHOSEN, Phase.PREPARED) or (entry.phase is Phase.UNDONE and entry.deadline_ns > 0)


def _wait(entries: Sequence[Entry], left: Sequence[Entry] = (), lost: Collection[str] = ()) -> Step:
    """``left``: what is to be undone although the fault goes on."""
    moments = [entry.deadline_ns for entry in entries if entry.deadline_ns]
    moments += [entry.retry_ns for entry in entries if entry.retry_ns and _to_inject(entry) and entry.id not in lost]
    moments += [entry.retry_ns for entry in left]
    return Step(Act.WAIT, until_ns=min(moments, default=0))
