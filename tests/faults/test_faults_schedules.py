"""Schedules: when the next fault object is made, which ended ones go, what is refused; and the keeper in the daemon."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from fault_bench import Bench
from hypothesis import given
from hypothesis import strategies as st

from faults.crd import body_key
from faults.kinds import POD_CHAOS, SCHEDULE
from faults.registry import Registry
from faults.schedules import child_of, has_ended, mistakes, plan
from testbed.api.meta import format_time

Json = dict[str, Any]
BEGIN = datetime(2030, 1, 1, 12, 0, 0, tzinfo=UTC)
BODY = {"action": "pod-kill", "mode": "one", "selector": {"labelSelectors": {"app": "web"}}}


def made(seconds: int = 0, /, *, status: Json | None = None, paused: bool = False, **spec: Any) -> Json:
    """A Schedule of every 10 s that is made at ``BEGIN`` plus ``seconds``."""
    metadata: Json = {"name": "s", "namespace": "default", "uid": "u",
                      "creationTimestamp": format_time(BEGIN + timedelta(seconds=seconds))}
    if paused:
        metadata["annotations"] = {"experiment.chaos-mesh.org/pause": "true"}
    return {"apiVersion": SCHEDULE.api_version, "kind": "Schedule", "metadata": metadata, "status": status or {},
            "spec": {"schedule": "@every 10s", "type": "PodChaos", "podChaos": BODY, **spec}}


def child(name: str, *, age_s: int = 0, ended: bool = True) -> Json:
    obj = child_of(made(), POD_CHAOS.api_version, name, BODY)
    obj["metadata"] |= {"creationTimestamp": format_time(BEGIN - timedelta(seconds=age_s)), "uid": name}
    if ended:
        obj["status"] = {"conditions": [{"type": "AllRecovered", "status": "True"}]}
    return obj


def after(seconds: float) -> datetime:
    return BEGIN + timedelta(seconds=seconds)


def test_it_starts_at_its_times_and_once_for_each() -> None:
    assert plan(made(), (), after(9)).start is None
    first = plan(made(), (), after(10.2))
    assert first.start == after(10)
    assert first.status["time"] == format_time(after(10))
    assert plan(made(status=first.status), (), after(10.3)).start is None
    assert plan(made(status=first.status), (), after(20)).start == after(20)


def test_six_fields_name_seconds() -> None:
    every_five = made(schedule="*/5 * * * * *")
    assert plan(every_five, (), after(4)).start is None
    assert plan(every_five, (), after(6)).start == after(5)
    assert plan(every_five, (), after(6)).wait_s == pytest.approx(4)


def test_of_missed_times_only_the_last_counts_and_not_when_it_is_too_late() -> None:
    assert plan(made(), (), after(47)).start == after(40)
    assert plan(made(startingDeadlineSeconds=5), (), after(47)).start is None
    assert plan(made(startingDeadlineSeconds=8), (), after(47)).start == after(40)


def test_while_one_is_in_effect_the_policy_decides() -> None:
    running = child("a", ended=False)
    forbidden = plan(made(), (running,), after(10))
    assert forbidden.start is None
    assert forbidden.notes[0][0] == "Forbid"
    assert plan(made(status=forbidden.status), (child("a"),), after(12)).start is None  # its time has passed
    assert plan(made(concurrencyPolicy="Allow"), (running,), after(10)).start == after(10)


@pytest.mark.parametrize("in_effect", ["True", "False"])
@pytest.mark.parametrize("one_shot", [True, False])
def test_what_is_done_once_has_ended_when_it_is_done(in_effect: str, one_shot: bool) -> None:
    """Whatever it is called: a ControlPlaneChaos kill without a duration is one too."""
    records = [{"phase": "Injected", **({"oneShot": True} if one_shot else {})}]
    status = {"conditions": [{"type": "Selected", "status": "True"}, {"type": "AllInjected", "status": in_effect}],
              "experiment": {"containerRecords": records}}
    assert has_ended(child("a", ended=False) | {"status": status}) is (one_shot and in_effect == "True")


def test_a_paused_one_makes_nothing() -> None:
    assert plan(made(paused=True), (), after(100)).start is None


@given(st.lists(st.tuples(st.integers(0, 1000), st.booleans()), max_size=12), st.integers(1, 5))
def test_the_newest_ended_ones_are_kept(ages: list[tuple[int, bool]], limit: int) -> None:
    children = [child(f"c{index:02d}", age_s=age, ended=ended) for index, (age, ended) in enumerate(ages)]
    gone = set(plan(made(historyLimit=limit), children, after(1)).delete)
    ended = [one for one in children if has_ended(one)]
    kept = [one for one in ended if one["metadata"]["name"] not in gone]
    assert len(kept) == min(limit, len(ended))
    assert gone <= {one["metadata"]["name"] for one in ended}
    if gone:
        assert max(one["metadata"]["creationTimestamp"] for one in ended if one["metadata"]["name"] in gone) <= min(
            one["metadata"]["creationTimestamp"] for one in kept)


@pytest.mark.parametrize(("kind", "key"), [
    ("PodChaos", "podChaos"), ("DNSChaos", "dnsChaos"), ("HTTPChaos", "httpChaos"), ("IOChaos", "ioChaos"),
    ("NetworkChaos", "networkChaos"), ("TimeChaos", "timeChaos"),
])
def test_bodies_have_chaos_meshs_keys(kind: str, key: str) -> None:
    assert body_key(kind) == key


@pytest.mark.parametrize(("spec", "field"), [
    ({"schedule": "* * *"}, "spec.schedule"),
    ({"schedule": "@every 0s"}, "spec.schedule"),
    ({"podChaos": None}, "spec.podChaos"),
    ({"stressChaos": {}}, "spec.stressChaos"),
    ({"podChaos": {**BODY, "action": "container-kill"}}, "spec.podChaos.containerNames"),
    ({"podChaos": {**BODY, "duration": "48h"}}, "spec.podChaos.duration"),
])
def test_what_is_wrong_is_told_by_field(spec: Json, field: str) -> None:
    assert field in [mistake.field for mistake in mistakes(made(**spec), Registry())]
    assert mistakes(made(), Registry()) == ()


async def test_the_daemon_makes_injects_and_forgets_them(bench: Bench) -> None:
    for name in ("web-1", "web-2", "web-3", "web-4"):
        await bench.pod(name)
    await bench.fault(SCHEDULE, {"schedule": "@every 1s", "type": "PodChaos", "podChaos": {**BODY, "gracePeriod": 0}})
    seen: set[str] = set()

    async def two_were_made() -> bool:
        seen.update(item["metadata"]["name"] for item in (await bench.client.list(POD_CHAOS, "default")).items)
        return len(seen) >= 2

    await bench.until(two_were_made)
    obj = await bench.client.get(SCHEDULE, "f", "default")
    assert obj["status"]["time"]
    await bench.client.delete(SCHEDULE, "f", "default")
    await asyncio.sleep(0)


async def test_a_wrong_one_is_told_and_makes_nothing(bench: Bench) -> None:
    await bench.pod("web-1")
    await bench.fault(SCHEDULE, {"schedule": "often", "type": "PodChaos", "podChaos": BODY})

    async def told() -> bool:
        from testbed.api.resources import EVENTS

        return any("spec.schedule" in item["message"] for item in (await bench.client.list(EVENTS, "default")).items)

    await bench.until(told)
    assert not (await bench.client.list(POD_CHAOS, "default")).items
