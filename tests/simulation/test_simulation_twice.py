"""A plan applied twice changes nothing: in a settled cluster every controller and every agent looks again at everything
(after a restart of the control plane), and nobody writes."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from support.quiet import versions, written_twice

from testbed.api.resources import (
    CONFIG_MAPS,
    CRON_JOBS,
    DAEMON_SETS,
    DISRUPTION_BUDGETS,
    JOBS,
    PERSISTENT_VOLUME_CLAIMS,
    STATEFUL_SETS,
)
from testbed.simulation.workloads import deployment
from testbed.simulation.world import World, is_true

Run = Callable[..., Any]
Json = dict[str, Any]


def template(name: str, **spec: Any) -> Json:
    made: Json = deployment(name, 1)["spec"]["template"]
    made["spec"].update(spec)
    return made


def workload(kind: str, name: str, **spec: Any) -> Json:
    return {"apiVersion": "apps/v1", "kind": kind, "metadata": {"name": name}, "spec": {
        "selector": {"matchLabels": {"app": name}}, "template": template(name), **spec}}


def job_template() -> Json:
    made = template("job", restartPolicy="Never")
    container = made["spec"]["containers"][0]
    for probe in ("livenessProbe", "readinessProbe"):
        del container[probe]
    container["env"] = [{"name": "SIM_EXIT_AFTER_S", "value": "1"}, {"name": "SIM_EXIT_CODE", "value": "0"}]
    return made


async def fill(world: World) -> None:
    """One of every kind that a controller looks after."""
    claim = {"metadata": {"name": "data"}, "spec": {
        "accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Mi"}}}}
    await world.create(CONFIG_MAPS, {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "c"}})
    await world.create(STATEFUL_SETS, workload("StatefulSet", "db", replicas=2, serviceName="db",
                                               volumeClaimTemplates=[claim]))
    await world.create(DAEMON_SETS, workload("DaemonSet", "ds"))
    await world.create(JOBS, {"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": "job"}, "spec": {
        "completions": 2, "template": job_template()}})
    await world.create(CRON_JOBS, {"apiVersion": "batch/v1", "kind": "CronJob", "metadata": {"name": "cron"}, "spec": {
        "schedule": "0 0 1 1 *", "jobTemplate": {"spec": {"template": job_template()}}}})
    await world.create(DISRUPTION_BUDGETS, {"apiVersion": "policy/v1", "kind": "PodDisruptionBudget",
                                            "metadata": {"name": "web"},
                                            "spec": {"minAvailable": 1, "selector": {"matchLabels": {"app": "web"}}}})
    await world.create(PERSISTENT_VOLUME_CLAIMS, {"apiVersion": "v1", "kind": "PersistentVolumeClaim", **claim})

    def whole() -> bool:
        ready = [pod for app in ("db", "ds") for pod in world.pods(app=app) if is_true(pod, "Ready")]
        return len(ready) == 5 and is_true(world.objects(JOBS)[0], "Complete")

    await world.until(whole, within_s=120, what="all kinds are as desired")


def test_looking_again_at_everything_writes_nothing(in_world: Run) -> None:
    async def body(world: World) -> None:
        await fill(world)
        await asyncio.sleep(20)
        assert len(versions(world)) > 40
        assert await written_twice(world) == []

    in_world(body)
