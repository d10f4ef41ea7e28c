"""What a fault object's status tells of its injections: their moments, from our own injector and from others. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

from testbed.api.fault_objects import records_of
from testbed.experiment.observations import InjectionSeen


def injections_seen(fault: Mapping[str, Any], start_ns: int) -> tuple[InjectionSeen, ...]:
    """The records of a fault object's status (Chaos Mesh's form, with our ``monotonicNs``)."""
    return tuple(_injection(record, start_ns) for record in records_of(fault))


def _injection(record: Mapping[str, Any], start_ns: int) -> InjectionSeen:
    started, applied = (_moments(record, "Apply", kind, start_ns) for kind in ("Started", "Succeeded"))
    recovered = _moments(record, "Recover", "Succeeded", start_ns)
    failures = [str(item.get("message") or "no message") for item in record.get("events") or ()
                if item.get("type") == "Failed"]
    verified = min(applied, default=None)
    # The act that took effect is the last one that was begun before it was verified: earlier ones failed.
    began = max((moment for moment in started if verified is None or moment <= verified), default=verified)
    return InjectionSeen(str(record.get("id", "")), began=began, verified=verified,
                         recovered=max(recovered, default=None), failure=failures[-1] if failures else "")


def steps_told(fault: Mapping[str, Any]) -> frozenset[tuple[str, str]]:
    """(record's id, operation) of all that a status says is done, whether it tells the moments or not."""
    told = set()
    for record in records_of(fault):
        done = {str(item.get("operation")) for item in record.get("events") or () if item.get("type") == "Succeeded"}
        if record.get("phase") == "Injected" or int(record.get("injectedCount") or 0):
            done.add("Apply")
        if record.get("phase") == "Not Injected" and int(record.get("recoveredCount") or 0):
            done.add("Recover")
        told |= {(str(record.get("id", "")), operation) for operation in done}
    return frozenset(told)


def dated(
    injections: Iterable[InjectionSeen], arrived: Mapping[tuple[str, str], float], created: float
) -> tuple[InjectionSeen, ...]:
    """Injections by an injector that writes no moments of ours (Chaos Mesh): by when its status told of them.

    Its own stamps have whole seconds of another machine's clock. So an injection lies between ``created``, when its
    object was about to be made, and ``arrived``. It is counted from the former: nothing that it did came before.
    """
    found = []
    for item in injections:
        applied, recovered = (arrived.get((item.target, operation)) for operation in ("Apply", "Recover"))
        if item.verified is not None or applied is None:
            found.append(item)
        else:
            found.append(replace(item, began=created, verified=applied, recovered=recovered,
                                 within_s=max(0.0, applied - created)))
    return tuple(found)


def _moments(record: Mapping[str, Any], operation: str, kind: str, start_ns: int) -> list[float]:
    return [(int(item["monotonicNs"]) - start_ns) / 1e9 for item in record.get("events") or ()
            if item.get("operation") == operation and item.get("type") == kind and item.get("monotonicNs")]
