"""One fault in full, as text: what it does, what it may be given, and an object that injects it."""

from __future__ import annotations

from typing import Any

from faults import fields
from faults.blast_radius import DEFAULT_NODES, DEFAULT_PODS, MAX_NODES, MAX_PODS
from faults.choosing import SEED
from faults.crd import PAUSE, common
from faults.following import FOLLOW
from faults.naming import short_name
from faults.protocol import Fault
from testbed.cli import output as printing
from testbed.experiment.embedded import fault_kinds
from testbed.experiment.inject import Whom, fault_object

_UNDONE = "at its deadline, when its object is deleted, or by testbed faults undo"
_RESTARTS = {
    "pod": "restarts of containers do not end it; a pod that takes the target's place is not hit",
    "container": "a restart of the container ends it",
    "node": "it stays until it is undone",
    "cluster": "it stays until it is undone",
    "never": "there is nothing that could stay",
}


def page(fault: Fault, here: str) -> str:
    """``here``: whether this machine can do it."""
    parts = [f"{short_name(fault)} ({fault.name.rstrip('/')}): {fault.summary}", "\n".join([
        f"hits       {'a ' + fault.level if fault.level != 'cluster' else 'the whole cluster'}",
        f"here       {here}",
        f"undone     {_UNDONE if fault.reversible else 'never: the healer mends it'}",
        f"restarts   {_RESTARTS[fault.after_restart]}",
    ])]
    schema = fault_kinds()[fault.kind.api_version, fault.kind.kind][1]["properties"]["spec"]
    of_kind = [row for row in fields.leaves(schema) if row[0] != "action"]
    own = [row for row in of_kind if row[0].split(".")[0].rstrip("[]") in fault.fields]
    shared = [row for row in of_kind if row not in own and not _of_others(row[0])]
    own = [row for row in own if ".selector." not in row[0]]  # as the selector that all faults have
    if own:
        parts.append("its own fields (testbed inject --set PATH=VALUE)\n" + _table(own))
    parts.append("fields that all faults have\n" + _table(shared))
    parts.append("annotations\n" + _table(_annotations(fault)))
    parts.append("an example\n" + _indented(printing.yaml_text(example(fault))))
    return "\n\n".join(parts)


def example(fault: Fault) -> dict[str, Any]:
    """The smallest object that has an effect which can be seen."""
    made = fault_object(short_name(fault), Whom(labels={"app": "web"}))
    if fault.name == "PodChaos/container-kill":
        made["spec"]["containerNames"] = ["web"]
    return {"apiVersion": made["apiVersion"], "kind": made["kind"], "metadata": {"name": f"try-{short_name(fault)}"},
            "spec": made["spec"]}


def _of_others(path: str) -> bool:
    """Fields of other actions of the same kind."""
    return path.split(".")[0].rstrip("[]") not in common()


def _annotations(fault: Fault) -> list[tuple[str, str, str]]:
    rows = [(SEED, "text", "draws the same targets again"), (PAUSE, '"true"', "undoes it until it is removed")]
    if fault.level in ("pod", "container"):
        rows.insert(0, (MAX_PODS, "number or share", f"how many of a workload's pods may be hit; {DEFAULT_PODS}"))
        rows.append((FOLLOW, '"true"', "also hits what takes a target's place"))
    elif fault.level == "node":
        rows.insert(0, (MAX_NODES, "number or share", f"how many nodes may be hit; {DEFAULT_NODES}"))
    return rows


def _table(rows: list[tuple[str, str, str]]) -> str:
    return _indented(printing.columns(("", "", ""), rows, headers=False))


def _indented(text: str) -> str:
    return "\n".join("  " + line for line in text.splitlines())
