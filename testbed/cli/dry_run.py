"""``testbed inject --dry-run``: whom the fault would hit, said by the chaos daemon itself.

A fault object with the annotation ``testbed.io/dry-run`` is created, which the daemon answers and does not carry out,
and taken away again.
"""

from __future__ import annotations

import contextlib
from typing import Any

from faults.choosing import SEED
from faults.dry_run import DRY_RUN
from testbed.cli import output as printing
from testbed.cli.inject import FAULT_WITHOUT_EFFECT, answered, create, why_not
from testbed.errors import ApiUnavailable, NotFound


def look(obj: dict[str, Any], word: str, name: str, namespace: str, output: str) -> int:
    """Prints the targets. Returns: 0, or 6 when it would hit nothing or be refused. Raises: ApiError."""
    metadata = obj["metadata"]
    metadata["annotations"][DRY_RUN] = "true"
    metadata["name"] = f"{metadata.get('name', word)}-dry-run"[:63].strip("-")
    api, resource, scope = create(obj, word, name, namespace)
    try:
        for status in answered(api, resource, scope, metadata["name"]):
            if problem := why_not(status):
                printing.say(f"error: {problem}")
                return FAULT_WITHOUT_EFFECT
            if status:
                _print(status["experiment"]["containerRecords"], metadata["annotations"][SEED], output)
                return 0
    finally:
        with contextlib.suppress(NotFound):
            api.request("DELETE", resource.path(scope, metadata["name"]))
    raise ApiUnavailable("the chaos daemon does not answer", hint=f"look at it: testbed status --name {name}")


def _print(records: list[dict[str, Any]], seed: str, output: str) -> None:
    if output:
        keys = ("id", "node", "podUID", "containerID", "selectorKey")
        targets = [{key: record[key] for key in keys if key in record} for record in records]
        printing.dump({"seed": seed, "targets": targets}, output)
        return
    rows = [(record["id"], record.get("node", "-"), record.get("podUID", "-"), record.get("containerID", "-")[:12])
            for record in records]
    printing.out(printing.columns(("TARGET", "NODE", "POD UID", "CONTAINER ID"), rows))
    printing.say(f"nothing was touched\n  hit exactly these, if nothing changes: the same command with --seed {seed}")
