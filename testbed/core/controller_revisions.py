"""ControllerRevisions: which one a template is, what number it has, which ones may go.

A revision holds a patch that brings its template back; equal templates are one revision, whose number grows when it
becomes the newest again. Leaves to its loop: adoption and writing.

Source: kubernetes pkg/controller/history/controller_history.go, pkg/controller/statefulset/stateful_set_control.go
getStatefulSetRevisions, pkg/controller/daemon/update.go constructHistory.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from testbed.api.apps_v1 import ControllerRevision
from testbed.core.templates import canonical, template_hash

Json = dict[str, Any]


@dataclass(frozen=True)
class RevisionState:
    name: str
    number: int
    created: datetime
    template: Json


@dataclass(frozen=True)
class RevisionPlan:
    """What the template is: the revision ``name`` with ``number``.

    ``create``: there is no such revision yet. ``renumber``: it is there, and becomes the newest again.
    ``collisions``: how many names of that hash were taken by something else.
    """

    name: str
    hash: str
    number: int
    create: bool = False
    renumber: bool = False
    collisions: int = 0


def revision_state(view: ControllerRevision, json: Mapping[str, Any]) -> RevisionState:
    assert view.metadata.creation_timestamp is not None, "an object of the API has a creation time"
    return RevisionState(view.metadata.name, view.revision, view.metadata.creation_timestamp, template_of(json))


def patch_of(template: Mapping[str, Any]) -> Json:
    """``data`` of a revision: a strategic merge patch that replaces the whole template (kubernetes: getPatch)."""
    return {"spec": {"template": {**template, "$patch": "replace"}}}


def template_of(revision: Mapping[str, Any]) -> Json:
    """The template that a ControllerRevision brings back."""
    template = ((revision.get("data") or {}).get("spec") or {}).get("template") or {}
    return {key: item for key, item in template.items() if key != "$patch"}


def in_order(revisions: Iterable[RevisionState]) -> list[RevisionState]:
    """The oldest first: by number, then age, then name."""
    return sorted(revisions, key=lambda item: (item.number, item.created, item.name))


def plan(
    owner: str, template: Mapping[str, Any], revisions: Sequence[RevisionState], *, taken: Collection[str] = (),
    collisions: int = 0,
) -> RevisionPlan:
    """
    Args:
        owner: name of the workload.
        taken: names of ControllerRevisions that are not the workload's.
        collisions: the workload's ``status.collisionCount``.
    """
    ordered, wanted = in_order(revisions), canonical(template)
    newest = ordered[-1].number if ordered else 0
    equal = [item for item in ordered if canonical(item.template) == wanted]
    if equal:
        found = equal[-1]
        again = found.name != ordered[-1].name
        return RevisionPlan(found.name, _hash_part(owner, found.name), newest + 1 if again else found.number,
                            renumber=again, collisions=collisions)
    occupied = {*taken, *(item.name for item in ordered)}
    while True:
        digest = template_hash(template, collisions)
        name = f"{owner}-{digest}"
        if name not in occupied:
            return RevisionPlan(name, digest, newest + 1, create=True, collisions=collisions)
        collisions += 1


def _hash_part(owner: str, name: str) -> str:
    return name.removeprefix(f"{owner}-")


def expired(revisions: Sequence[RevisionState], live: Collection[str], limit: int) -> tuple[str, ...]:
    """Names of the oldest ones beyond ``limit`` that no pod and no status speaks of."""
    history = [item.name for item in in_order(revisions) if item.name not in live]
    return tuple(history[: max(len(history) - limit, 0)])
