"""The end of the stack that watches a cluster: what stays when the cluster goes down, what goes, and what died."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from monitoring_ground import ID, NEXT_ID, OTHER_ID, Ground, on_ground

from testbed.api import labels
from testbed.errors import EnvironmentProblem, NotFound
from testbed.machines import monitoring
from testbed.machines.monitoring_plan import (
    ALERTMANAGER,
    PROMETHEUS,
)
from testbed.machines.monitoring_site import kept_data, site_of
from testbed.runtime.containers import ContainerSpec


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    return lambda body, **more: on_ground(body, tmp_path, monkeypatch, **more)


def test_after_the_cluster_is_down_its_series_can_still_be_read_and_nothing_of_it_runs(run: Any) -> None:
    async def body(ground: Ground) -> None:
        await ground.up(ground.cluster())
        series = ground.site.data(PROMETHEUS) / "series"
        series.write_text("what was")
        await ground.down()
        assert not ground.machine.containers and series.exists() and kept_data(ground.site.directory)
        assert not (ground.site.directory / "token").exists()

        site, instance = site_of("shop")
        assert site == ground.site and instance is None
        seen = await ground.up(None)
        assert [each.part for each in seen.parts] == [PROMETHEUS], "nothing new will be alerted of"

        again = ground.cluster(NEXT_ID)
        await ground.up(again)
        assert {item.spec.labels[labels.INSTANCE] for item in ground.containers().values()} == {NEXT_ID}
        assert len(ground.containers()) == 2 and series.exists()

    run(body)


def test_down_removes_what_up_made_and_nothing_else(run: Any, tmp_path: Path) -> None:
    async def body(ground: Ground) -> None:
        instance = ground.cluster()
        stranger = replace(instance, name="other", id=OTHER_ID)
        for identity, role in ((ID, labels.ROLE_GATEWAY), (OTHER_ID, labels.ROLE_MONITORING)):
            await ground.engine.create(ContainerSpec(
                f"{identity}-{role}", "sample:v1", {labels.INSTANCE: identity, labels.ROLE: role}))
        others = set(ground.machine.containers)
        await ground.up(instance)
        assert await monitoring.stop(ground.engine, ground.site, keep_data=True) == (PROMETHEUS, ALERTMANAGER)
        assert set(ground.machine.containers) == others and kept_data(ground.site.directory)
        with pytest.raises(NotFound, match="not monitored"):
            await monitoring.stop(ground.engine, ground.site, keep_data=True)
        await monitoring.stop(ground.engine, ground.site, keep_data=False)
        assert not ground.site.root.exists() and instance.file.exists() and stranger.token_file.exists()

    run(body)


def test_what_is_left_of_a_cluster_that_is_gone_goes_whole(run: Any) -> None:
    async def body(ground: Ground) -> None:
        await ground.up(ground.cluster())
        await ground.down()
        await ground.up(None)
        await monitoring.stop(ground.engine, ground.site, keep_data=False)
        assert not ground.machine.containers and not ground.site.directory.exists()
        with pytest.raises(EnvironmentProblem, match="'shop' is not up"):
            site_of("shop")

    run(body)


def test_what_ends_by_itself_is_given_time_to_write_down_what_it_holds(run: Any) -> None:
    async def body(ground: Ground) -> None:
        await ground.up(ground.cluster())
        ended: list[tuple[str, int]] = []
        ground.machine.exits.append(
            lambda container, code: ended.append((container.spec.labels[labels.MONITORING], code)))
        await monitoring.stop(ground.engine, ground.site, keep_data=True)
        assert dict(ended) == {PROMETHEUS: 0, ALERTMANAGER: 0}, "by SIGTERM, not by SIGKILL"

    run(body)


def test_a_dead_prometheus_is_seen_and_said(run: Any) -> None:
    async def body(ground: Ground) -> None:
        await ground.up(ground.cluster())
        await ground.dies(PROMETHEUS)
        seen = await monitoring.look(ground.engine, ground.site, ground.programs.ask)
        assert [(each.part, each.state.status) for each in seen.parts] == [
            (PROMETHEUS, "exited"), (ALERTMANAGER, "running")]
        assert seen.problem == "Prometheus does not run" and not seen.targets

    run(body)
