"""What a swarm's manager, its engines and their gossip say, put together."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from testbed.api import labels
from testbed.core.pod_seen import Life
from testbed.runtime.containers import ContainerState, HealthState
from testbed.supervisors.containers import DEPLOYMENT
from testbed.supervisors.swarm.seen import (
    Managed,
    Scene,
    delayed,
    machines,
    services,
    stuck,
    tasks,
    unsettled,
    used_revisions,
)
from testbed.supervisors.swarm.watch import most_agreed

NOW = datetime(2026, 1, 1, tzinfo=UTC)
LABELS = {labels.INSTANCE: "abc", DEPLOYMENT: "default/web", labels.SPEC_HASH: "r1", labels.CONTAINER_NAME: "web"}
KEY = "default/web-1-aaaaaaaa"
EVERYBODY = frozenset({"node-1", "node-2"})


def node(name: str, state: str = "ready") -> Any:
    return {"ID": f"id-{name}", "Status": {"State": state}, "ManagerStatus": {"Leader": True}, "Description": {
        "Hostname": name, "Resources": {"NanoCPUs": 2_000_000_000, "MemoryBytes": 1 << 30},
        "Engine": {"EngineVersion": "20.10"}, "Platform": {"Architecture": "aarch64", "OS": "linux"}}}


def task(state: str = "running", desired: str = "running", *, on: str = "node-1", task_id: str = "aaaaaaaabbbb") -> Any:
    return {"ID": task_id, "Slot": 1, "NodeID": f"id-{on}", "ServiceID": "s", "DesiredState": desired,
            "Status": {"State": state}, "Spec": {"ContainerSpec": {"Image": "sample:v1", "Labels": LABELS}}}


def container(status: str = "running", health: str = "") -> ContainerState:
    return ContainerState("c1", "n", LABELS, "sample:v1", "sha", status, 7, NOW, NOW, address="10.0.1.2",
                          health=HealthState(health) if health else None)


def scene(json: Any, state: ContainerState | None, *, gossip: frozenset[str] = EVERYBODY, lost: bool = False) -> Scene:
    nodes = (node("node-1", "down" if lost else "ready"), node("node-2"))
    return Scene(Managed((json,), nodes), {json["ID"]: state} if state else {}, gossip)


def test_a_running_task_is_a_ready_pod_in_rotation() -> None:
    (found,) = tasks(scene(task(), container()), ())
    assert (found.key, found.owner, found.node, found.revision) == (KEY, "default/web", "node-1", "r1")
    assert found.running and found.ready and found.reachable
    assert found.address == "10.0.1.2"


def test_health_decides_about_rotation() -> None:
    for health, ready in (("starting", False), ("healthy", True), ("unhealthy", False)):
        (found,) = tasks(scene(task(), container(health=health)), ())
        assert (found.running, found.ready, found.reachable) == (True, ready, ready), health


def test_a_node_that_gossip_gave_up_is_out_of_rotation_before_the_manager_says_so() -> None:
    (found,) = tasks(scene(task(), container(), gossip=frozenset({"node-2"})), ())
    assert (found.running, found.ready, found.reachable) == (True, False, False)


def test_what_the_manager_gave_up_with_its_node_is_gone() -> None:
    assert tasks(scene(task(desired="shutdown"), container(), lost=True), (KEY,)) == ()


def test_a_task_that_is_ordered_to_end_serves_no_more_and_is_shown_until_it_has() -> None:
    (found,) = tasks(scene(task(desired="shutdown"), container()), (KEY,))
    assert (found.running, found.stopping, found.reachable) == (True, True, False)


def test_a_container_that_its_engine_was_told_to_end_is_stopping() -> None:
    one = scene(task(), container())
    (found,) = tasks(Scene(one.managed, one.containers, one.gossip, {"c1"}), ())
    assert found.stopping and not found.reachable


def test_an_end_is_shown_once() -> None:
    ended = scene(task("failed", "shutdown"), container("exited"))
    (found,) = tasks(ended, (KEY,))
    assert found.life is Life.EXITED and not found.ready
    assert tasks(ended, ()) == ()


def test_an_end_is_shown_before_the_manager_knows_of_it() -> None:
    (found,) = tasks(scene(task(), container("exited")), ())
    assert found.life is Life.EXITED and not found.reachable


def test_a_task_that_waits_for_its_turn_is_a_pod_without_a_container() -> None:
    (found,) = tasks(scene(task("ready", "ready"), None), ())
    assert (found.id, found.waiting, found.ready) == ("", "ContainerCreating", False)
    assert tasks(scene({**task("pending", "running"), "NodeID": ""}, None), ()) == ()


def test_it_pays_to_look_often_while_something_is_under_way() -> None:
    calm = scene(task(), container()).managed
    assert not unsettled(calm, ())
    assert unsettled(calm, ["node-1"])
    assert not unsettled(scene(task(), container(), lost=True).managed, ["node-1"]), "it is known to be lost"
    assert unsettled(scene(task("starting"), container()).managed, ())
    updating = Managed(calm.tasks, calm.nodes, ({"UpdateStatus": {"State": "updating"}},))
    assert unsettled(updating, ())


def test_a_restart_that_is_delayed_is_told_from_an_update_that_takes_turns() -> None:
    json = {**task("ready", "ready"), "CreatedAt": "2026-01-01T00:00:00.123456789Z"}
    assert list(delayed(Managed((json,), ()))) == [KEY]
    assert delayed(Managed((json,), (), ({"ID": "s", "UpdateStatus": {"State": "updating"}},))) == {}
    assert delayed(Managed((task(),), ())) == {}


def test_nodes_are_as_the_manager_judges_them() -> None:
    managed = Managed((), (node("node-1", "down"), node("node-2")))
    one, two = machines(managed, {}, {"node-1": "10.0.0.101", "node-2": "10.0.0.102"})
    assert (one.ready, two.ready) == (False, True)
    assert (two.cpu, two.memory, two.kind, two.address) == ("2000m", str(1 << 30), "engine", "10.0.0.102")
    assert two.architecture == "arm64", "the node's own, not this machine's"
    assert "down" in one.why_not_ready


def test_only_our_services_count_and_a_paused_update_says_why() -> None:
    ours = {"ID": "1", "Spec": {"Labels": LABELS}, "UpdateStatus": {"State": "paused", "Message": "task failed"}}
    theirs = {"ID": "2", "Spec": {"Labels": {}}}
    found = services(Managed((), (), (ours, theirs)), "abc")
    assert list(found) == ["default/web"]
    assert services(Managed((), (), (ours,)), "other") == {}
    assert stuck(found.values()) == {"default/web": "task failed"}


def test_what_most_engines_say_counts_and_one_that_is_alone_does_not() -> None:
    two, alone = frozenset({"node-2", "node-3"}), frozenset({"node-1"})
    assert most_agreed([alone, two, two]) == two
    assert most_agreed([alone, two]) == two, "one that has just come back knows only itself"
    assert most_agreed([frozenset(), alone]) == alone
    assert most_agreed([]) == frozenset()


def test_a_revision_is_used_while_a_task_has_it_or_a_rollback_may_bring_it_back() -> None:
    def of(revision: str) -> Any:
        return {"Labels": {**LABELS, labels.SPEC_HASH: revision}}

    service = {"ID": "s", "Spec": of("r3"), "PreviousSpec": of("r2")}
    draining = {**task("running", "shutdown"), "Spec": {"ContainerSpec": of("r1")}}
    over = {**task("shutdown", "shutdown"), "Spec": {"ContainerSpec": of("r0")}}
    assert used_revisions(Managed((draining, over), (), (service,))) == {
        ("default/web", "r1"), ("default/web", "r2"), ("default/web", "r3")}
