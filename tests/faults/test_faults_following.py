"""Who takes the place of a target that is gone."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from faults.choosing import Scene
from faults.following import successions
from faults.freeze import Freeze
from faults.ledger import Entry
from faults.selection import pod_target

FREEZE = Freeze()
FAULT = {"metadata": {"name": "f", "namespace": "default", "annotations": {"testbed.io/max-pods": "100%"}},
         "spec": {"mode": "one", "selector": {"labelSelectors": {"app": "web"}}}}


def pod(name: str, container: str = "new") -> Any:
    """``container``: the id of the one that runs, "" while none does."""
    state = {"running": {}} if container else {"waiting": {}}
    return {
        "metadata": {"name": name, "namespace": "default", "uid": f"uid of {name}", "labels": {"app": "web"},
                     "ownerReferences": [{"kind": "ReplicaSet", "name": "web-1", "uid": "r", "controller": True}]},
        "spec": {"nodeName": "n1", "containers": [{"name": "web"}]},
        "status": {"phase": "Running", "containerStatuses": [
            {"name": "web", "state": state, "containerID": f"docker://{container}"}]},
    }


def successor_of(name: str, *pods: Any) -> str:
    """The pod that is hit in its place; "" when nobody is, for now."""
    gone = Entry("e", "u", "FreezeChaos", "default", "f", "FreezeChaos/",
                 replace(pod_target(pod(name)), container="web"))
    found = successions(FAULT, FREEZE, [gone], [gone], Scene(pods, ()))
    return found[0][1].pod if found else ""


@pytest.mark.parametrize("name", ["web-a", "web-b", "web-c"])
def test_a_container_started_anew_in_its_pod_is_the_successor_wherever_the_pod_stands_in_the_list(name: str) -> None:
    assert successor_of(name, pod("web-a"), pod("web-b"), pod("web-c")) == name


def test_while_its_pod_has_no_new_container_nobody_else_is_hit() -> None:
    assert successor_of("web-b", pod("web-a"), pod("web-b", container="")) == ""


def test_where_its_pod_is_gone_another_one_of_the_workload_is_hit() -> None:
    assert successor_of("web-b", pod("web-a")) == "web-a"
    assert successor_of("web-b") == ""
