"""Which alert belongs to which disruption, and that it changes nothing of how it recovered."""

from __future__ import annotations

import math
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from evidence_builder import START_NS, World, hit

from testbed.core.profile import FAST
from testbed.experiment.alert_events import last_told
from testbed.experiment.objectives import judge, parse_objective
from testbed.experiment.paging import ATTACHED, WINDOW_S, attached, with_alerts
from testbed.experiment.quantities import of_disruption
from testbed.experiment.result import Disruption, Marks, Phase, RunResult, Verdict
from testbed.experiment.run_values import observed
from testbed.experiment.sightings import event_seen
from testbed.experiment.timeline import Act, disruption_of
from testbed.experiment.views import with_views

STARTED = datetime(2026, 11, 29, 12, tzinfo=UTC)


def fires(
    world: World, at: float, kind: str = "Deployment", name: str = "web", *, alert: str = "DeploymentDown",
    since: float | None = None, namespace: str = "default",
) -> None:
    """An alert that reaches us at ``at``; it began ``since`` then, by its own word."""
    annotations = {"testbed.io/monotonic-ns": str(START_NS + round(at * 1e9))}
    if since is not None:
        annotations["testbed.io/alert-starts-at"] = (STARTED + timedelta(seconds=since)).isoformat()
    about = {"kind": kind, "name": name} | ({} if kind in ("Node", "Namespace") else {"namespace": namespace})
    obj: dict[str, Any] = {
        "metadata": {"annotations": annotations}, "involvedObject": about, "reason": "AlertFiring", "type": "Warning",
        "message": f"{alert}: nobody answers", "eventTime": (STARTED + timedelta(seconds=at)).isoformat()}
    world.evidence.events.append(event_seen(at + 0.02, obj, START_NS))
    world.evidence.alert_told = last_told(obj)


def crash(
    name: str = "crash", at: float = 10.0, restored: float | None = 12.0,
    targets: tuple[str, ...] = ("default/web-1/web",),
) -> Disruption:
    return Disruption(name=name, kind="fault", targets=targets, window_s=(at, restored or at + 20),
                      marks=Marks(injected=at, detected=at + 0.1, restored=restored))


def paged(world: World, *found: Disruption, until: float = 600.0) -> list[float | None]:
    return [item.marks.alerted for item in with_alerts(found, world.evidence, until=until, started_at=STARTED)]


@pytest.mark.parametrize(("kind", "name"), [
    ("Deployment", "web"), ("Pod", "web-1"), ("Pod", "web-2"), ("Service", "web"), ("Namespace", "default"),
])
def test_what_belongs_to_the_victim_pages_for_it(kind: str, name: str) -> None:
    world = World()
    fires(world, 14.0, kind, name)
    assert paged(world, crash()) == [14.0]


@pytest.mark.parametrize(("kind", "name", "namespace"), [
    ("Deployment", "shop", "default"), ("Node", "node-1", ""), ("Deployment", "web", "other"),
    ("Namespace", "other", ""),
])
def test_an_alert_of_something_else_does_not(kind: str, name: str, namespace: str) -> None:
    world = World()
    fires(world, 14.0, kind, name, namespace=namespace)
    assert paged(world, crash()) == [None]


def test_a_node_and_what_ran_on_it_page_for_its_loss() -> None:
    for kind, name in (("Node", "node-2"), ("Pod", "web-2"), ("Deployment", "web")):
        world = World()
        fires(world, 14.0, kind, name)
        assert paged(world, crash(targets=("node-2",))) == [14.0]
    world = World()
    fires(world, 14.0, "Node", "node-3")
    assert paged(world, crash(targets=("node-2",))) == [None]


def test_what_hits_no_object_of_the_workload_may_page_by_any() -> None:
    world = World()
    fires(world, 14.0, "Node", "node-3")
    assert paged(world, crash(targets=(".",))) == [14.0]


def test_a_rollout_pages_by_its_deployment() -> None:
    world = World()
    fires(world, 14.0)
    rollout = crash(targets=("deployment default/web",)).model_copy(update={"kind": "rollout"})
    assert paged(world, rollout) == [14.0]


def test_the_first_alert_is_the_mark_and_the_others_are_kept() -> None:
    world = World()
    fires(world, 16.0, alert="ErrorBudgetBurn", kind="Namespace", name="default")
    fires(world, 14.0)
    (found,) = with_alerts([crash()], world.evidence, until=60.0, started_at=STARTED)
    assert found.marks.alerted == 14.0 and found.mark_uncertainties["alerted"] == 0.001
    assert [(alert.name, alert.at_s, alert.object) for alert in found.alerts] == [
        ("DeploymentDown", 14.0, "deployment default/web"), ("ErrorBudgetBurn", 16.0, "namespace default")]


@pytest.mark.parametrize(("at", "since", "whose"), [
    (9.0, None, None),  # before anything was done
    (14.0, 9.0, None),  # it fired already, and only reached us later
    (14.0, 13.0, "first"),
    (31.0, 13.0, "first"),  # it began before the second was injected, and reached us after
    (31.0, 30.5, "second"),
    (31.0, None, "second"),
])
def test_an_alert_belongs_to_the_disruption_after_which_it_began(
    at: float, since: float | None, whose: str | None
) -> None:
    world = World()
    fires(world, at, since=since)
    found = with_alerts([crash("first"), crash("second", 30.0, 32.0)], world.evidence, until=60.0, started_at=STARTED)
    assert [item.name for item in found if item.marks.alerted is not None] == ([whose] if whose else [])


def test_a_disruption_of_another_object_takes_no_alert_away() -> None:
    world = World()
    world.node(0.0, "node-4", ready=True)
    fires(world, 31.0)
    assert paged(world, crash(), crash("elsewhere", 30.0, 32.0, ("node-4",))) == [31.0, None]


@pytest.mark.parametrize(("restored", "at", "counts"), [
    (12.0, 12.0 + WINDOW_S - 1, True), (12.0, 12.0 + WINDOW_S + 1, False), (None, 12.0 + WINDOW_S + 1, True),
])
def test_who_pages_long_after_all_was_well_pages_about_nothing(restored: float | None, at: float, counts: bool) -> None:
    world = World()
    fires(world, at)
    assert paged(world, crash(restored=restored)) == [at if counts else None]


@pytest.mark.parametrize(("others", "until", "waited_s"), [
    ((), 60.0, 50.0),
    ((crash("again", 30.0, 32.0),), 60.0, 20.0),  # from then on it would be that one's
    ((crash("again", 30.0, 32.0, (".",)),), 60.0, 20.0),
    ((crash("elsewhere", 30.0, 32.0, ("node-4",)),), 60.0, 50.0),
    ((), 900.0, 2.0 + WINDOW_S),
])
def test_it_is_said_how_long_an_alert_was_waited_for(
    others: tuple[Disruption, ...], until: float, waited_s: float
) -> None:
    world = World()
    world.node(0.0, "node-4", ready=True)
    world.evidence.alert_told = STARTED
    found = with_alerts([crash(), *others], world.evidence, until=until, started_at=STARTED)
    assert found[0].pager_s == waited_s


def test_what_comes_after_the_watch_is_over_is_not_known() -> None:
    world = World()
    fires(world, 14.0)
    assert paged(world, crash(), until=13.0) == [None]


def test_the_alert_that_always_fires_pages_nobody_but_shows_that_a_pager_is_there() -> None:
    world = World()
    fires(world, 14.0, "Namespace", "default", alert="Watchdog")
    (found,) = with_alerts([crash()], world.evidence, until=60.0, started_at=STARTED)
    assert found.pager_s == 50 and found.marks.alerted is None and found.alerts == ()


def test_without_an_alertmanager_nothing_is_said_of_paging() -> None:
    world = World()
    (found,) = with_alerts([crash()], world.evidence, until=60.0, started_at=STARTED)
    assert found.pager_s is None
    world.evidence.alert_told = STARTED - ATTACHED - timedelta(seconds=1)
    assert not attached(world.evidence, STARTED), "it told something long ago: it may be gone"
    world.evidence.alert_told = STARTED - timedelta(minutes=1)
    (found,) = with_alerts([crash()], world.evidence, until=60.0, started_at=STARTED)
    assert found.pager_s == 50 and found.marks.alerted is None


def test_the_mark_changes_nothing_of_the_two_paths() -> None:
    world = World()
    world.told(10.05, "ContainerDied", "web-1")
    world.told(10.06, "ContainerUnready", "web-1")
    world.pod(10.07, "web-1", ready=False)
    world.rotation(10.1, "web-2", "web-3")
    world.told(10.5, "Started", "web-1")
    world.told(11.5, "ContainerReady", "web-1")
    world.pod(11.5, "web-1", ready=True, restarts=1)
    world.rotation(11.6, "web-1", "web-2", "web-3")
    act = Act("crash", "fault", "PodChaos container-kill", 10.0, injections=(hit("default/web-1/web", 10.0),))
    without = disruption_of(act, world.evidence, FAST, until=30.0)
    fires(world, 10.3)
    (with_it,) = with_alerts([disruption_of(act, world.evidence, FAST, until=30.0)], world.evidence, until=30.0,
                             started_at=STARTED)
    assert without.marks.restored is not None and with_it.marks.alerted == 10.3
    assert with_it.gaps == without.gaps and with_it.disrupted == without.disrupted
    assert (with_it.detection_s, with_it.isolation_s, with_it.repair_s) == (
        without.detection_s, without.isolation_s, without.repair_s)


def test_an_alert_for_noise_is_told_though_noise_has_no_recovery() -> None:
    world = World()
    fires(world, 14.0)
    found = with_alerts([crash()], world.evidence, until=60.0, started_at=STARTED)
    (seen,) = with_views(found, world.evidence, ["default/web"], None, since=0.0, until=60.0,
                         noise=frozenset({"crash"})).disruptions
    assert seen.noise and seen.marks.alerted == 14.0 and seen.marks.detected is None


# --- what objectives make of it


def run_of(*found: Disruption, number: int = 1) -> RunResult:
    return RunResult(number=number, verdict=Verdict.PASSED, started_at=STARTED, duration_s=60.0,
                     phases=(Phase(name="observe", start_s=5, end_s=40),), disruptions=found)


def silent(pager: bool = True) -> Disruption:
    return crash().model_copy(update={"pager_s": 30.0 if pager else None})


def loud(after_s: float) -> Disruption:
    item = silent()
    return item.model_copy(update={"marks": item.marks.model_copy(update={"alerted": 10.0 + after_s})})


@pytest.mark.parametrize(("found", "met", "measured"), [
    ([loud(4.0), loud(5.0), loud(6.0)], True, 5.0),
    ([loud(14.0)], False, 14.0),
    ([silent()], False, None),  # it should have paged, and did not
    ([silent(pager=False)], None, None),  # nobody could have: not measured
])
def test_an_objective_can_ask_how_soon_somebody_is_paged(
    found: list[Disruption], met: bool | None, measured: float | None
) -> None:
    objective = parse_objective("crash.alerted.median < 10s", ["crash"], len(found))
    judged = judge(objective, [run_of(item, number=index) for index, item in enumerate(found, 1)])
    assert (judged.met, judged.measured) == (met, measured)


def test_where_no_alert_came_the_time_until_one_is_longer_than_it_was_waited_for() -> None:
    quantity = of_disruption("alerted")
    assert quantity is not None
    values = observed(quantity, "crash", [run_of(silent()), run_of(loud(4.0), number=2)])
    assert [(item.value, item.watched_s) for item in values] == [(None, 30.0), (4.0, math.inf)]
