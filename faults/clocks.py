"""What TimeChaos and NodeChaos ``clock`` share: their fields, and what is seen of a clock that is off.

The holder's program is ``clocks.py`` of the tools image. Looks: ``clocks.seen``, asked with the plan of the hold and
``id``; it answers ``processes``, ``reached`` (have this injection's slot), ``unlike`` (have another vdso), ``off_ns``
and ``due_ns`` (number of a clock to how far it is off, and how far all injections together put it; None: no such clock
here). Readings are of the code that was read from the target's memory, run by the holder.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from faults import holder_container
from faults.durations import SIGNED_PATTERN, nanoseconds
from faults.holder_container import Hold
from faults.protocol import Json, NotInEffect, Tools
from testbed.errors import Mistake

# linux: include/uapi/linux/time.h; the names are chaos-mesh's: api/v1alpha1/timechaos_types.go
CLOCKS = {"CLOCK_REALTIME": 0, "CLOCK_MONOTONIC": 1, "CLOCK_PROCESS_CPUTIME_ID": 2, "CLOCK_THREAD_CPUTIME_ID": 3,
          "CLOCK_MONOTONIC_RAW": 4, "CLOCK_REALTIME_COARSE": 5, "CLOCK_MONOTONIC_COARSE": 6, "CLOCK_BOOTTIME": 7,
          "CLOCK_REALTIME_ALARM": 8, "CLOCK_BOOTTIME_ALARM": 9}
DEFAULT = ("CLOCK_REALTIME",)
CAPABILITIES = ("SYS_PTRACE", "DAC_OVERRIDE")  # stop a process; look at the memory of another user's
FIELDS: Mapping[str, Json] = {
    "timeOffset": {"type": "string", "pattern": SIGNED_PATTERN, "maxLength": 64,
                   "description": "By how much clocks are put off, such as -10m100ns or 1h30m."},
    "clockIds": {"type": "array", "items": {"type": "string", "enum": list(CLOCKS)},
                 "description": "Which clocks; default: CLOCK_REALTIME (and with it gettimeofday and time)."},
}
_APART_NS = 50_000_000  # between two readings of one clock, on a machine that has other things to do
_UNREADABLE = "this machine has no clock "


def mistakes(spec: Mapping[str, Any]) -> tuple[Mistake, ...]:
    try:
        offset_ns = nanoseconds(str(spec.get("timeOffset")))
    except ValueError as error:
        return (Mistake(str(error), "spec.timeOffset"),)
    return () if offset_ns else (Mistake("an offset of 0 changes nothing", "spec.timeOffset"),)


def plan_of(spec: Mapping[str, Any], whose: Json) -> Json:
    """What the holder's program is told. ``whose``: ``containers`` or ``cgroups``."""
    names: Sequence[str] = spec.get("clockIds") or DEFAULT
    return {"offset_ns": nanoseconds(spec["timeOffset"]), "clocks": sorted({CLOCKS[name] for name in names}), **whose}


async def measure(tools: Tools, hold: Hold, holder: str) -> str:
    """Raises: NotInEffect."""
    seen = await holder_container.look(tools, holder, "clocks.seen", {"id": hold.entry_id, **hold.plan})
    reached, processes = seen["reached"], seen["processes"] - seen["unlike"]
    if not reached or reached < processes:
        raise NotInEffect(f"{reached} of {processes} processes have it in their vdso")
    return f"in {reached} process{'es' if reached > 1 else ''} " + told(seen["off_ns"], seen["due_ns"])


def told(off_ns: Mapping[str, int | None], due_ns: Mapping[str, int]) -> str:
    """How far clocks are off, in words. Raises: NotInEffect when one is not where it should be, or none can be read."""
    words, unread = [], []
    for name, number in CLOCKS.items():
        off, due = off_ns.get(str(number)), due_ns.get(str(number))
        if due is None:
            continue
        if off is None:
            unread.append(_UNREADABLE + name)
        elif abs(off - due) > _APART_NS:
            raise NotInEffect(f"{name} is {off / 1e9:+.3f} s off instead of {due / 1e9:+.3f} s")
        else:
            words.append(f"{name} is {off / 1e9:+.6f} s off")
    if not words:
        raise NotInEffect("; ".join(unread) or "no clock was read")
    return "; ".join((*words, *unread))


def simulated_offset_s(plan: Json) -> float:
    """Of CLOCK_REALTIME: the one clock that simulated applications have."""
    return float(plan["offset_ns"]) / 1e9 if CLOCKS["CLOCK_REALTIME"] in plan["clocks"] else 0.0
