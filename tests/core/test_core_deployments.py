"""Rollouts as pure decisions: bounds that hold whatever happens (I4), convergence, and upstream's own examples."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from testbed.core import deployments
from testbed.core.deployment_scaling import proportional_sizes
from testbed.core.deployment_state import DeploymentState, ReplicaSetState
from testbed.core.deployment_status import TIMED_OUT
from testbed.core.rounding import resolve

NOON = datetime(2026, 11, 29, 12, 0, tzinfo=UTC)


def template(image: str) -> dict[str, Any]:
    return {"metadata": {"labels": {"app": "web"}}, "spec": {"containers": [{"name": "web", "image": image}]}}


def deployment(**changes: Any) -> DeploymentState:
    return replace(DeploymentState(name="web", replicas=4, template=template("v2")), **changes)


def replica_set(name: str, image: str, replicas: int, **changes: Any) -> ReplicaSetState:
    made = ReplicaSetState(
        name=name, uid=name, created=NOON, replicas=replicas, template=template(image), status_replicas=replicas,
        ready=replicas, status_available=replicas, revision=1, desired=4, maximum=5,
    )
    return replace(made, **changes)


# --- rounding


@pytest.mark.parametrize(("surge", "unavailable", "desired", "expected"), [
    ("25%", "25%", 4, (1, 1)), ("25%", "25%", 10, (3, 2)), ("25%", "25%", 1, (1, 0)), ("0%", "0%", 10, (0, 1)),
    (0, "10%", 5, (0, 1)), ("10%", 0, 5, (1, 0)), (2, 3, 2, (2, 2)), ("100%", "100%", 3, (3, 3)),
    ("25%", "25%", 0, (0, 0)),
])
def test_surge_rounds_up_unavailable_rounds_down(
    surge: int | str, unavailable: int | str, desired: int, expected: tuple[int, int]
) -> None:
    posts = resolve(surge, unavailable, desired)
    assert (posts.surge, posts.unavailable) == expected


@given(st.one_of(st.integers(0, 20), st.integers(0, 100).map(lambda n: f"{n}%")),
       st.one_of(st.integers(0, 20), st.integers(0, 100).map(lambda n: f"{n}%")), st.integers(1, 50))
def test_a_rollout_can_always_move(surge: int | str, unavailable: int | str, desired: int) -> None:
    posts = resolve(surge, unavailable, desired)
    assert posts.surge + posts.unavailable >= 1
    assert posts.unavailable <= desired


# --- I4: a whole rollout with statuses that lag


@dataclass
class Sim:
    """ReplicaSets with real pods (their readiness). ``seen`` is what the Deployment's look is shown: it may lag."""

    deployment: DeploymentState
    pods: dict[str, list[bool]] = field(default_factory=dict)
    sets: dict[str, ReplicaSetState] = field(default_factory=dict)
    clock: datetime = NOON

    def step(self) -> deployments.DeploymentPlan:
        plan = deployments.plan(self.deployment, tuple(self.sets.values()), self.clock)
        if plan.create is not None:
            new = plan.create
            self.sets[new.name] = ReplicaSetState(
                name=new.name, uid=new.name, created=self.clock, replicas=new.replicas, revision=new.revision,
                template=self.deployment.template, desired=self.deployment.replicas, maximum=self.deployment.maximum,
            )
            self.pods[new.name] = []
        for item in plan.resize:
            self.sets[item.replica_set] = replace(
                self.sets[item.replica_set], replicas=item.replicas, desired=item.desired, maximum=item.maximum
            )
        for name in plan.delete:
            del self.sets[name], self.pods[name]
        self.deployment = replace(self.deployment, status=plan.status)
        self.clock += timedelta(seconds=1)
        return plan

    def manage(self, name: str) -> None:
        """The ReplicaSet controller: unready pods go first."""
        pods, wanted = sorted(self.pods[name], reverse=True), self.sets[name].replicas
        self.pods[name] = pods[:wanted] + [False] * (wanted - len(pods))

    def report(self, name: str) -> None:
        ready = sum(self.pods[name])
        self.sets[name] = replace(
            self.sets[name], status_replicas=len(self.pods[name]), ready=ready, status_available=ready, observed=True
        )

    def become_ready(self, name: str) -> None:
        if False in self.pods[name]:
            self.pods[name][self.pods[name].index(False)] = True

    @property
    def available(self) -> int:
        return sum(sum(pods) for pods in self.pods.values())

    def new_names(self) -> list[str]:
        new = deployments.new_replica_set(self.deployment, tuple(self.sets.values()))
        return [new.name] if new is not None else []


bounds = st.one_of(st.integers(0, 4), st.sampled_from(["0%", "10%", "25%", "34%", "50%", "100%"]))


@st.composite
def rollouts(draw: st.DrawFn) -> Sim:
    replicas = draw(st.integers(1, 8))
    state = deployment(replicas=replicas, max_surge=draw(bounds), max_unavailable=draw(bounds))
    sim = Sim(state)
    left = replicas
    for number in range(draw(st.integers(0, 3))):
        size = draw(st.integers(0, left))
        left -= size
        name = f"web-old{number}"
        sim.sets[name] = replica_set(
            name, f"v0.{number}", size, created=NOON - timedelta(hours=10 - number), revision=number + 1,
            desired=replicas, maximum=state.maximum,
        )
        sim.pods[name] = draw(st.lists(st.booleans(), min_size=size, max_size=size))
        sim.report(name)
    return sim


@settings(max_examples=300, deadline=None)
@given(rollouts(), st.lists(st.tuples(st.integers(0, 3), st.integers(0, 4)), max_size=60), st.booleans())
def test_availability_and_size_stay_within_bounds(
    sim: Sim, happenings: list[tuple[int, int]], broken: bool
) -> None:
    """Whatever order looks, pods, readiness and (late) statuses come in. Pods do not fail by themselves here."""
    posts, desired = sim.deployment.fenceposts, sim.deployment.replicas
    floor = min(sim.available, desired - posts.unavailable)
    for kind, which in happenings:
        names = sorted(sim.sets)
        name = names[which % len(names)] if names else ""
        if kind == 0 or not names:
            sim.step()
        elif kind == 1:
            sim.manage(name)
        elif kind == 2:
            sim.report(name)
        elif not (broken and name in sim.new_names()):
            sim.become_ready(name)
        assert sum(item.replicas for item in sim.sets.values()) <= desired + posts.surge
        assert sim.available >= floor


@settings(max_examples=200, deadline=None)
@given(rollouts())
def test_every_rollout_of_a_healthy_revision_completes(sim: Sim) -> None:
    """reliability 42: also when all old pods are unready, in whatever pattern."""
    for _ in range(100):
        plan = sim.step()
        for name in sim.sets:
            sim.manage(name)
            if name in sim.new_names():
                sim.pods[name] = [True] * len(sim.pods[name])
            sim.report(name)
        if sim.deployment.complete(plan.status):
            break
    assert sim.deployment.complete(sim.deployment.status)
    assert all(item.replicas == 0 for item in sim.sets.values() if item.name not in sim.new_names())
    assert sim.step().resize == (), "a complete rollout is at rest"


@settings(max_examples=100, deadline=None)
@given(rollouts(), st.integers(1, 30))
def test_a_broken_revision_never_costs_availability_and_a_fixed_one_heals(sim: Sim, looks: int) -> None:
    """reliability 41."""
    posts, desired = sim.deployment.fenceposts, sim.deployment.replicas
    floor = min(sim.available, desired - posts.unavailable)
    for _ in range(looks):
        sim.step()
        for name in sim.sets:
            sim.manage(name)
            sim.report(name)
        assert sim.available >= floor
    sim.deployment = replace(sim.deployment, template=template("v3"), generation=2)
    test_every_rollout_of_a_healthy_revision_completes.hypothesis.inner_test(sim)  # type: ignore[attr-defined]


# --- proportional scaling (kubernetes: deployment.go comment, e2e "deployment should support proportional scaling")


def test_upstream_example_of_proportional_scaling() -> None:
    state = deployment(replicas=30, max_surge=3, max_unavailable=2)
    old = replica_set("old", "v1", 8, desired=10, maximum=13)
    new = replica_set("new", "v2", 5, desired=10, maximum=13, created=NOON + timedelta(hours=1))
    assert {item.name: size for item, size in proportional_sizes(state, [old, new])} == {"old": 20, "new": 13}


@given(st.lists(st.integers(1, 20), min_size=2, max_size=4), st.integers(0, 60), st.integers(0, 5))
def test_shares_add_up(sizes: list[int], replicas: int, surge: int) -> None:
    state = deployment(replicas=replicas, max_surge=surge, max_unavailable=1)
    total = sum(sizes)
    active = [replica_set(f"s{i}", f"v{i}", size, maximum=total, created=NOON + timedelta(hours=i))
              for i, size in enumerate(sizes)]
    shares = [size for _, size in proportional_sizes(state, active)]
    assert all(share >= 0 for share in shares)
    wanted = state.maximum if replicas else 0
    assert sum(shares) == wanted or (shares[0] == 0 and sum(shares) > wanted)  # upstream cuts the remainder off at 0


# --- steps one by one


def test_the_first_look_creates_the_new_replica_set_within_surge() -> None:
    plan = deployments.plan(deployment(), [replica_set("web-old", "v1", 4)], NOON)
    assert plan.create is not None
    assert (plan.create.replicas, plan.create.revision) == (1, 2)
    assert plan.revision == 2
    assert plan.notes[0].message == f"Scaled up replica set {plan.create.name} from 0 to 1"


def test_a_name_that_is_someone_elses_counts_a_collision() -> None:
    state = deployment()
    name = deployments.plan(state, [], NOON).create
    assert name is not None
    plan = deployments.plan(state, [], NOON, taken=[name.name])
    assert plan.create is None
    assert plan.status["collisionCount"] == 1
    again = deployments.plan(replace(state, status=plan.status), [], NOON, taken=[name.name])
    assert again.create is not None
    assert again.create.name != name.name


def test_rolling_back_reuses_the_old_replica_set_under_a_new_revision() -> None:
    sets = [replica_set("web-a", "v1", 0, revision=1), replica_set("web-b", "v2", 4, revision=2)]
    plan = deployments.plan(deployment(template=template("v1")), sets, NOON)
    assert plan.create is None
    assert plan.renumber == deployments.Renumber("web-a", 3)
    assert [(item.replica_set, item.replicas) for item in plan.resize] == [("web-a", 1)]


def test_unhealthy_old_pods_go_first() -> None:
    sets = [
        replica_set("web-a", "v0", 2, status_available=0, created=NOON - timedelta(hours=2)),
        replica_set("web-b", "v1", 2, created=NOON - timedelta(hours=1)),
        replica_set("web-c", "v2", 1, status_available=0),
    ]
    plan = deployments.plan(deployment(), sets, NOON)
    assert [(item.replica_set, item.replicas) for item in plan.resize if item.replica_set != "web-c"] == [("web-a", 1)]


def test_a_lagging_status_is_not_believed_twice() -> None:
    """Old was told to go from 4 to 3 but still reports 4: one new available pod frees one old pod, not two."""
    sets = [replica_set("web-a", "v1", 3, status_available=4, created=NOON - timedelta(hours=1)),
            replica_set("web-b", "v2", 2, status_available=1)]
    plan = deployments.plan(deployment(), sets, NOON)
    assert [(item.replica_set, item.replicas) for item in plan.resize if item.replica_set == "web-a"] == [("web-a", 2)]


@pytest.mark.parametrize("running", [["web-a"], []])
def test_recreate_waits_for_the_last_old_pod(running: list[str]) -> None:
    state = deployment(recreate=True)
    assert deployments.plan(state, [replica_set("web-a", "v1", 4)], NOON).resize[0].replicas == 0
    plan = deployments.plan(state, [replica_set("web-a", "v1", 0)], NOON, running_of=running)
    assert (plan.create is None) == bool(running)
    if plan.create is not None:
        assert plan.create.replicas == 4


def test_a_missed_deadline_is_told_and_does_not_stop_the_rollout() -> None:
    before = {"type": "Progressing", "status": "True", "reason": "ReplicaSetUpdated",
              "lastUpdateTime": "2026-11-29T11:59:00Z", "lastTransitionTime": "2026-11-29T11:59:00Z"}
    counts = {"replicas": 4, "updatedReplicas": 1, "readyReplicas": 3, "availableReplicas": 3}
    state = deployment(progress_deadline_s=10, status={**counts, "conditions": [before]})
    sets = [replica_set("web-a", "v1", 3, created=NOON - timedelta(hours=1)),
            replica_set("web-b", "v2", 2, status_available=0, ready=0, status_replicas=1)]
    plan = deployments.plan(state, sets, NOON)
    progressing = next(item for item in plan.status["conditions"] if item["type"] == "Progressing")
    assert (progressing["status"], progressing["reason"]) == ("False", TIMED_OUT)
    healed = [replace(item, status_available=item.replicas, ready=item.replicas, status_replicas=item.replicas)
              for item in sets]
    plan = deployments.plan(replace(state, status=plan.status), healed, NOON)
    progressing = next(item for item in plan.status["conditions"] if item["type"] == "Progressing")
    assert (progressing["status"], progressing["reason"]) == ("True", "ReplicaSetUpdated")
    assert plan.resize


def test_pausing_is_told_and_stops_the_deadline() -> None:
    state = deployment(paused=True, status={"conditions": []})
    plan = deployments.plan(state, [replica_set("web-a", "v1", 4)], NOON)
    progressing = next(item for item in plan.status["conditions"] if item["type"] == "Progressing")
    assert (progressing["status"], progressing["reason"]) == ("Unknown", "DeploymentPaused")
    assert plan.create is None
    assert plan.requeue_after_s is None


def test_history_beyond_its_limit_goes_when_the_rollout_is_complete() -> None:
    old = [replica_set(f"web-{n}", f"v1.{n}", 0, revision=n, created=NOON - timedelta(hours=9 - n))
           for n in range(1, 5)]
    new = replica_set("web-new", "v2", 4, revision=9)
    status = {"updatedReplicas": 4, "replicas": 4, "availableReplicas": 4, "observedGeneration": 1}
    plan = deployments.plan(deployment(history_limit=2, status=status), [*old, new], NOON)
    assert plan.delete == ("web-1", "web-2")
    assert deployments.plan(deployment(history_limit=2), [*old, new], NOON).delete == ()
