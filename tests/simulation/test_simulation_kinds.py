"""StatefulSets, DaemonSets and Jobs with the real agents over simulated engines."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

from testbed.api.resources import DAEMON_SETS, JOBS, STATEFUL_SETS
from testbed.simulation.workloads import deployment
from testbed.simulation.world import World, is_true

Run = Callable[..., Any]
Json = dict[str, Any]


def template(name: str) -> Json:
    made: Json = deployment(name, 1)["spec"]["template"]
    return made


def workload(kind: str, name: str, **spec: Any) -> Json:
    return {"apiVersion": "apps/v1", "kind": kind, "metadata": {"name": name}, "spec": {
        "selector": {"matchLabels": {"app": name}}, "template": template(name), **spec}}


def job(code: int, **spec: Any) -> Json:
    made = template("job")
    container = made["spec"]["containers"][0]
    for probe in ("livenessProbe", "readinessProbe"):
        del container[probe]
    container["env"] = [{"name": "SIM_EXIT_AFTER_S", "value": "2"}, {"name": "SIM_EXIT_CODE", "value": str(code)}]
    made["spec"]["restartPolicy"] = "Never"
    return {"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": "job"}, "spec": {"template": made, **spec}}


def ready(world: World, app: str) -> list[Json]:
    return [pod for pod in world.pods(app=app) if is_true(pod, "Ready")]


def ended(world: World, kind: str) -> bool:
    (found,) = world.objects(JOBS)
    return is_true(found, kind)


def test_a_stateful_pod_of_a_dead_node_comes_back_as_itself_and_never_twice(in_world: Run) -> None:
    async def body(world: World) -> None:
        await world.create(STATEFUL_SETS, workload("StatefulSet", "db", replicas=3, serviceName="db"))
        await world.until(lambda: len(ready(world, "db")) == 3, within_s=60)
        node = next(pod["spec"]["nodeName"] for pod in world.pods(app="db") if pod["metadata"]["name"] == "db-1")
        await world.room.set_power(node, on=False)

        def stuck() -> bool:
            names = Counter(pod["metadata"]["name"] for pod in world.pods(app="db"))
            assert max(names.values()) == 1
            return any(pod["metadata"].get("deletionTimestamp") for pod in world.pods(app="db"))

        await world.until(stuck, within_s=60)
        await world.room.set_power(node, on=True)
        await world.until(lambda: sorted(pod["metadata"]["name"] for pod in ready(world, "db")) == [
            "db-0", "db-1", "db-2"], within_s=120)

    in_world(body)


def test_a_daemon_set_has_one_pod_per_node(in_world: Run) -> None:
    async def body(world: World) -> None:
        await world.create(DAEMON_SETS, workload("DaemonSet", "ds"))
        await world.until(lambda: len({pod["spec"]["nodeName"] for pod in ready(world, "ds")}) == 3, within_s=60)
        assert len(world.pods(app="ds")) == 3

    in_world(body)


def test_a_job_counts_what_the_agents_ran(in_world: Run) -> None:
    async def body(world: World) -> None:
        await world.create(JOBS, job(0, parallelism=2, completions=4))
        await world.until(lambda: ended(world, "Complete"), within_s=120)
        assert Counter(pod["status"]["phase"] for pod in world.pods(app="job")) == {"Succeeded": 4}
        await world.delete(JOBS, "job")
        await world.until(lambda: not world.pods(app="job"), within_s=60)

    in_world(body)


def test_a_failing_job_ends_and_its_pods_are_let_go(in_world: Run) -> None:
    async def body(world: World) -> None:
        await world.create(JOBS, job(1, backoffLimit=1))
        await world.until(lambda: ended(world, "Failed"), within_s=120)
        assert Counter(pod["status"]["phase"] for pod in world.pods(app="job")) == {"Failed": 2}

    in_world(body)


def test_a_job_that_is_deleted_while_it_runs_takes_its_pods_along(in_world: Run) -> None:
    async def body(world: World) -> None:
        made = job(0, parallelism=3, completions=3)
        made["spec"]["template"]["spec"]["containers"][0]["env"] = []
        await world.create(JOBS, made)
        await world.until(lambda: len(ready(world, "job")) == 3, within_s=60)
        await world.delete(JOBS, "job")
        await world.until(lambda: not world.pods(app="job"), within_s=60)

    in_world(body)
