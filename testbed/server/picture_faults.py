"""Faults in the picture: how far an injection is, whom it hits, why it was refused. Pure.

Everything comes from the fault object; the chaos daemon's own conditions carry a reason and a message beside.
"""

from __future__ import annotations

from typing import Any

from testbed.api.fault_objects import records_of
from testbed.api.labels import DISRUPTION, RUN
from testbed.server.picture import FaultPart, condition, newest

Json = dict[str, Any]


def fault(obj: Json) -> FaultPart:
    meta, records = obj["metadata"], records_of(obj)
    labels = meta.get("labels") or {}
    done = newest(event.get("timestamp") for record in records for event in record.get("events") or ()
                  if event.get("type") == "Succeeded")
    return {
        "kind": obj.get("kind", ""), "action": (obj.get("spec") or {}).get("action") or "", "phase": phase(obj),
        "targets": [str(record.get("id", "")) for record in records],
        "nodes": sorted({str(record["node"]) for record in records if record.get("node")}),
        "message": next((item["message"] for kind in ("Selected", "AllInjected")
                         if (item := condition(obj, kind)).get("message")), ""),
        "since": done or newest([meta.get("creationTimestamp")]),
        "step": labels.get(DISRUPTION, ""), "run": labels.get(RUN, ""),
    }


def phase(obj: Json) -> str:
    """``Done``: a kill, nothing of which holds; ``Refused``: nothing was done; ``Failed``: it was tried, and is not in
    effect."""
    if condition(obj, "AllRecovered").get("status") == "True":
        return "Recovered"
    selected, injected = condition(obj, "Selected"), condition(obj, "AllInjected")
    if selected.get("status") == "False" and selected.get("reason"):
        return "Refused"
    if injected.get("status") == "True":
        return "Done" if any(record.get("oneShot") for record in records_of(obj)) else "Injected"
    return "Failed" if injected.get("reason") == "NotInEffect" else "Injecting"
