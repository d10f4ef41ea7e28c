"""Lists page by page, watches from any moment on, and events that stay few."""

from __future__ import annotations

from typing import Any

import pytest
from server_world import make_registry, pod

from testbed.api import resources as r
from testbed.errors import (
    BadRequest,
    Gone,
)
from testbed.server.registry import Registry
from testbed.store import Store

Json = dict[str, Any]


def test_pages_cover_everything_once_and_can_be_watched_from_their_beginning(registry: Registry) -> None:
    for name in "abcde":
        registry.create(r.PODS, pod(name), "default")
    seen, token, revisions = [], "", set()
    while True:
        page = registry.list(r.PODS, limit=2, token=token)
        seen += [item.name for item in page.items]
        revisions.add(page.revision)
        registry.patch(r.PODS, "a", {"metadata": {"labels": {"n": str(len(seen))}}}, "default")
        if not (token := page.next):
            break
    assert seen == list("abcde") and len(revisions) == 1


def test_an_old_page_is_gone_and_a_forged_one_refused() -> None:
    registry = make_registry(store=Store(history=2))
    for name in "abcde":
        registry.create(r.PODS, pod(name), "default")
    token = registry.list(r.PODS, limit=2).next
    for number in range(5):
        registry.patch(r.PODS, "a", {"metadata": {"labels": {"n": str(number)}}}, "default")
    with pytest.raises(Gone):
        registry.list(r.PODS, limit=2, token=token)
    with pytest.raises(BadRequest):
        registry.list(r.PODS, token="not-a-token")


async def test_a_watch_with_a_selector_turns_transitions_into_added_and_deleted(registry: Registry) -> None:
    stream = registry.watch(r.PODS, "default", resource_version=str(registry.store.revision), label_selector="app=a")
    registry.create(r.PODS, pod("a"), "default")
    registry.create(r.PODS, pod("b"), "default")
    left = registry.patch(r.PODS, "a", {"metadata": {"labels": {"app": "z"}}}, "default")
    registry.patch(r.PODS, "a", {"metadata": {"labels": {"app": "a"}}}, "default")
    registry.patch(r.PODS, "a", {"metadata": {"labels": {"x": "y"}}}, "default")
    events = await stream.next()
    assert [kind for kind, _ in events] == ["ADDED", "DELETED", "ADDED", "MODIFIED"]
    departed = events[1][1].value
    assert departed["metadata"]["labels"] == {"app": "a"}  # its last matching state
    assert departed["metadata"]["resourceVersion"] == str(left.revision)


async def test_a_watch_without_a_version_begins_with_what_is_there(registry: Registry) -> None:
    registry.create(r.PODS, pod("a"), "default")
    stream = registry.watch(r.PODS, "default")
    assert [(kind, stored.name) for kind, stored in await stream.next()] == [("ADDED", "a")]
    registry.delete(r.PODS, "a", "default")
    assert [kind for kind, _ in await stream.next()] == ["DELETED"]


def test_events_are_bounded(registry: Registry, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("testbed.server.registry.MAX_EVENTS", 20)
    for number in range(100):
        registry.create(r.EVENTS, {"metadata": {"name": f"e{number}"}, "involvedObject": {"namespace": "default"}},
                        "default")
    names = [item.name for item in registry.list(r.EVENTS).items]
    assert len(names) <= 20 and "e99" in names
