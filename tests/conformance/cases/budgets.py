"""PB: PodDisruptionBudgets and evictions (test/e2e/apps/disruption.go)."""

from __future__ import annotations

import asyncio
from typing import Any

from testbed.api.resources import DISRUPTION_BUDGETS, PODS, REPLICA_SETS
from testbed.errors import ApiError, TooManyRequests

from .kube import Kube, condition, is_ending, is_true
from .manifests import POLITE, app, pod, sh, workload
from .registry import case

Json = dict[str, Any]


async def budget(kube: Kube, **spec: Any) -> Json:
    return await kube.create(DISRUPTION_BUDGETS, {
        "apiVersion": "policy/v1", "kind": "PodDisruptionBudget", "metadata": {"name": "budget"},
        "spec": {"selector": {"matchLabels": {"app": "web"}}, **spec}})


async def status(kube: Kube) -> Json:
    """Of the budget, once it is of its present generation."""
    async def look() -> Json | None:
        found = await kube.get(DISRUPTION_BUDGETS, "budget")
        seen: Json = found.get("status") or {}
        return seen if seen.get("observedGeneration") == found["metadata"]["generation"] else None

    found: Json = await kube.until("the budget was looked at", look, 60)
    return found


async def allows(kube: Kube, wanted: int) -> None:
    async def look() -> bool:
        return (await status(kube))["disruptionsAllowed"] == wanted

    await kube.until(f"{wanted} disruptions are allowed", look, 60)


async def bare_pods(kube: Kube, count: int) -> None:
    for index in range(count):
        await kube.create(PODS, pod(f"web-{index}", app(script=POLITE), labels={"app": "web"}))
    await kube.ready_pods("app=web", count)


async def replica_set(kube: Kube, count: int) -> None:
    await kube.create(REPLICA_SETS, workload("ReplicaSet", "web", app(script=POLITE), replicas=count))
    await kube.ready_pods("app=web", count)


async def evict(kube: Kube, name: str) -> None:
    await kube.client.create_subresource(PODS, name, "eviction", {
        "apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": name, "namespace": kube.namespace},
    }, kube.namespace)


async def first_running(kube: Kube) -> str:
    async def look() -> str | None:
        found = [item for item in await kube.list(PODS, "app=web") if is_true(item, "Ready")]
        return str(found[0]["metadata"]["name"]) if found else None

    name: str = await kube.until("a pod is ready", look, 60)
    return name


async def succeeds(kube: Kube) -> None:
    name = await first_running(kube)

    await kube.until_taken("the eviction is allowed", lambda: evict(kube, name), 60, TooManyRequests)
    await kube.until("it is on its way", lambda: _going(kube, name), 60)


async def _going(kube: Kube, name: str) -> bool:
    found = [item for item in await kube.list(PODS) if item["metadata"]["name"] == name]
    return not found or is_ending(found[0])


async def is_refused(kube: Kube, name: str) -> ApiError:
    error = await kube.refused(evict(kube, name))
    assert (error.code, error.reason) == (429, "TooManyRequests")
    assert error.details["causes"][0]["reason"] == "DisruptionBudget"
    return error


@case("PB-01", real_s=15, quick=True)
async def its_status_is_kept(kube: Kube) -> None:
    await bare_pods(kube, 3)
    await budget(kube, minAvailable=1)
    await allows(kube, 2)
    found = await status(kube)
    assert (found["currentHealthy"], found["desiredHealthy"], found["expectedPods"]) == (3, 1, 3)
    assert is_true(await kube.get(DISRUPTION_BUDGETS, "budget"), "DisruptionAllowed")


@case("PB-02", real_s=75)
async def pods_that_nobody_manages_are_no_failure(kube: Kube) -> None:
    await bare_pods(kube, 3)
    await budget(kube, minAvailable=1)
    await allows(kube, 2)

    async def no_error() -> bool:
        found = condition(await kube.get(DISRUPTION_BUDGETS, "budget"), "DisruptionAllowed")
        return found is not None and found["reason"] != "SyncFailed"

    await kube.holds("no sync fails", no_error, 60)


@case("PB-02", "percentage", real_s=15)
async def a_percentage_of_unmanaged_pods_is_none_and_told(kube: Kube) -> None:
    await bare_pods(kube, 2)
    await budget(kube, minAvailable="50%")
    await allows(kube, 0)
    await kube.until("it is told", lambda: kube.events("budget", "UnmanagedPods"), 30)


@case("PB-03", "no-budget", real_s=15)
async def without_a_budget_anyone_may_go(kube: Kube) -> None:
    await bare_pods(kube, 1)
    await succeeds(kube)


@case("PB-03", "absolute", real_s=20)
async def enough_pods(kube: Kube) -> None:
    await bare_pods(kube, 3)
    await budget(kube, minAvailable=2)
    await allows(kube, 1)
    await succeeds(kube)


def one_of_ten_may_go(variant: str, **spec: Any) -> None:
    @case("PB-03", variant, real_s=45, nodes=2)
    async def body(kube: Kube) -> None:
        await replica_set(kube, 10)
        await budget(kube, **spec)
        await allows(kube, 1)
        await succeeds(kube)


one_of_ten_may_go("percentage", minAvailable="90%")
one_of_ten_may_go("max-unavailable", maxUnavailable="10%")


@case("PB-04", "absolute", real_s=15)
async def too_few_pods(kube: Kube) -> None:
    await bare_pods(kube, 2)
    await budget(kube, minAvailable=2)
    await allows(kube, 0)
    error = await is_refused(kube, "web-0")
    told = error.details["causes"][0]["message"]
    assert told == "The disruption budget budget needs 2 healthy pods and has 2 currently"


def none_may_go_when_not_all_fit(variant: str, port: int, **spec: Any) -> None:
    """Host ports keep the pods apart, so that most of the ten fit nowhere."""
    @case("PB-04", variant, real_s=45, nodes=2)
    async def body(kube: Kube) -> None:
        container = app(script=POLITE, ports=[{"containerPort": port, "hostPort": port}])
        await kube.create(REPLICA_SETS, workload("ReplicaSet", "web", container, replicas=10))
        name = await first_running(kube)
        await budget(kube, **spec)
        await allows(kube, 0)
        await is_refused(kube, name)


none_may_go_when_not_all_fit("percentage", 5555, minAvailable="90%")
none_may_go_when_not_all_fit("max-unavailable", 5556, maxUnavailable=1)


@case("PB-04", "until-healthy", real_s=20)
async def refused_until_there_are_enough(kube: Kube) -> None:
    await bare_pods(kube, 2)
    await budget(kube, minAvailable=2)
    await allows(kube, 0)
    await is_refused(kube, "web-0")
    await kube.patch(DISRUPTION_BUDGETS, "budget", {"spec": {"minAvailable": 1}})
    await succeeds(kube)


def ready_pods_go_by_policy(policy: str) -> None:
    @case("PB-06", policy or "default", real_s=25)
    async def body(kube: Kube) -> None:
        await replica_set(kube, 3)
        await budget(kube, maxUnavailable=1, **({"unhealthyPodEvictionPolicy": policy} if policy else {}))
        await allows(kube, 1)
        done = await asyncio.gather(*(evict(kube, item["metadata"]["name"]) for item in await kube.list(PODS)),
                                    return_exceptions=True)
        assert sorted(type(item).__name__ for item in done) == ["NoneType", "TooManyRequests", "TooManyRequests"]


for _policy in ("", "IfHealthyBudget", "AlwaysAllow"):
    ready_pods_go_by_policy(_policy)


def unready_pods_go_by_policy(policy: str, *, allowed: bool) -> None:
    @case("PB-06", f"unready-{policy or 'default'}", real_s=25)
    async def body(kube: Kube) -> None:
        container = app(script=POLITE, readinessProbe=sh("false", periodSeconds=1))
        await kube.create(REPLICA_SETS, workload("ReplicaSet", "web", container, replicas=2))

        async def running() -> list[Json] | None:
            found = await kube.list(PODS, "app=web")
            return found if [item["status"].get("phase") for item in found] == ["Running"] * 2 else None

        found = await kube.until("both run", running, 60)
        await budget(kube, maxUnavailable=1, **({"unhealthyPodEvictionPolicy": policy} if policy else {}))
        await allows(kube, 0)
        name = found[0]["metadata"]["name"]
        if allowed:
            await evict(kube, name)
        else:
            await is_refused(kube, name)


unready_pods_go_by_policy("", allowed=False)
unready_pods_go_by_policy("IfHealthyBudget", allowed=False)
unready_pods_go_by_policy("AlwaysAllow", allowed=True)


@case("PB-08", real_s=10)
async def the_whole_life_of_a_budget(kube: Kube) -> None:
    await budget(kube, minAvailable=1)
    await status(kube)
    await kube.update(DISRUPTION_BUDGETS, "budget", lambda obj: obj["spec"].update(minAvailable=2))
    assert (await kube.get(DISRUPTION_BUDGETS, "budget"))["spec"]["minAvailable"] == 2
    patched = await kube.patch(DISRUPTION_BUDGETS, "budget", {"spec": {"minAvailable": "3%"}})
    assert patched["spec"]["minAvailable"] == "3%"
    await status(kube)
    await kube.delete(DISRUPTION_BUDGETS, "budget")
    await kube.gone(DISRUPTION_BUDGETS, "budget", 30)


@case("PB-08", "status", real_s=15)
async def its_status_is_updated_and_patched(kube: Kube) -> None:
    await bare_pods(kube, 1)
    await budget(kube, minAvailable=1)
    await allows(kube, 0)
    disrupted = {"web-0": (await kube.pod("web-0"))["metadata"]["creationTimestamp"]}

    def note(obj: Json) -> None:
        obj["status"]["disruptedPods"] = dict(disrupted)

    updated = await kube.update(DISRUPTION_BUDGETS, "budget", note, subresource="status")
    assert updated["status"]["disruptedPods"] == disrupted
    patched = await kube.patch(DISRUPTION_BUDGETS, "budget", {"status": {"disruptedPods": None}}, subresource="status")
    assert "disruptedPods" not in patched["status"]


@case("PB-08", "collection", real_s=10)
async def budgets_are_listed_across_namespaces(kube: Kube) -> None:
    await budget(kube, minAvailable=1)
    (found,) = await kube.list(DISRUPTION_BUDGETS)
    everywhere = await kube.client.list(DISRUPTION_BUDGETS, None)
    assert found["metadata"]["uid"] in {item["metadata"]["uid"] for item in everywhere.items}
