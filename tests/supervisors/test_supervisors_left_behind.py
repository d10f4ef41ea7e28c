"""What is left behind: a disk that is full, files and services that nobody needs any more."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

from testbed.api import labels
from testbed.api.instance import Instance
from testbed.runtime.swarm import SwarmEngine
from testbed.supervisors.compose.driver import ComposeDriver
from testbed.supervisors.mirror import Mirror
from testbed.supervisors.swarm.seen import Managed
from testbed.supervisors.swarm.services import Services
from testbed.supervisors.swarm.timers import Timers
from testbed.supervisors.wishes import Wishes, revision_of

DEPLOYMENT: dict[str, Any] = {
    "metadata": {"name": "web", "namespace": "default", "uid": "u", "generation": 2},
    "spec": {"replicas": 1, "selector": {"matchLabels": {"app": "web"}}, "template": {
        "metadata": {"labels": {"app": "web"}}, "spec": {"containers": [{"name": "web", "image": "sample:v1"}]}}},
}


class FakeWishes:
    def __init__(self, *deployments: dict[str, Any]) -> None:
        self._deployments = {f"default/{item['metadata']['name']}": item for item in deployments}

    def deployments(self) -> dict[str, Any]:
        return self._deployments

    def wake(self) -> None:
        return


class FakeMirror:
    def tell_deployment(self, key: str, reason: str, message: str) -> None:
        return


class FakeEngine:
    def __init__(self) -> None:
        self.removed: list[str] = []

    async def remove_service(self, service: str) -> None:
        self.removed.append(service)


def instance(directory: Path) -> Instance:
    return Instance("c", "abc", directory, "10.0.0.0/16", 1, ())


async def test_an_up_that_cannot_be_written_down_has_been_made_all_the_same(tmp_path: Path) -> None:
    driver = ComposeDriver(instance(tmp_path / "gone"), cast(Wishes, FakeWishes(DEPLOYMENT)),
                           cast(Mirror, FakeMirror()))
    ups = []

    async def up(key: str, deployment: dict[str, Any]) -> None:
        ups.append(key)

    driver._project.up = up  # type: ignore[method-assign]
    await driver._up("default/web", DEPLOYMENT)
    assert ups == ["default/web"]


async def test_files_of_what_is_gone_are_removed_once_no_task_has_them(tmp_path: Path) -> None:
    services = Services(instance(tmp_path), cast(Wishes, FakeWishes()), cast(Mirror, FakeMirror()), Timers())
    revision = revision_of(DEPLOYMENT)
    folder, other = tmp_path / "volumes" / f"default_web_{revision}", tmp_path / "volumes" / "default_web_older"
    for path in (folder, other):
        path.mkdir(parents=True)
        (path / "key").write_text("secret")
    own = {"testbed.io/deployment": "default/web", labels.SPEC_HASH: revision, labels.INSTANCE: "abc"}
    task = {"ID": "t", "Status": {"State": "running"}, "Spec": {"ContainerSpec": {"Labels": own}}}
    engine = FakeEngine()
    await services.keep(cast(SwarmEngine, engine), Managed((task,), (), ({"ID": "s", "Spec": {"Labels": own}},)), ())
    assert engine.removed == ["s"]
    assert folder.exists() and not other.exists()
    ended = {**task, "Status": {"State": "shutdown"}}
    await services.keep(cast(SwarmEngine, engine), Managed((ended,)), ())
    assert not folder.exists()


async def test_a_deployment_that_is_deleted_in_the_foreground_takes_its_service_along(tmp_path: Path) -> None:
    """It stays in the API until its pods are gone, and they go with the service alone: stopped ones are replaced."""
    leaving = {**DEPLOYMENT, "metadata": {**DEPLOYMENT["metadata"], "deletionTimestamp": "2026-01-01T00:00:00Z"}}
    services = Services(instance(tmp_path), cast(Wishes, FakeWishes(leaving)), cast(Mirror, FakeMirror()), Timers())
    own = {"testbed.io/deployment": "default/web", labels.INSTANCE: "abc"}
    engine = FakeEngine()
    await services.keep(cast(SwarmEngine, engine), Managed((), (), ({"ID": "s", "Spec": {"Labels": own}},)), ())
    assert engine.removed == ["s"]
    assert services.observed == {}
