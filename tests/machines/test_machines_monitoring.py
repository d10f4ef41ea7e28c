"""The stack that watches a cluster, on the simulated engine: made, left alone, remade, and gone without a trace."""

from __future__ import annotations

import asyncio
import os
import random
from collections.abc import Coroutine
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Protocol

import pytest

from testbed.api import labels
from testbed.api.instance import Instance
from testbed.errors import EnvironmentProblem, InvalidInput, NotFound
from testbed.machines import monitoring
from testbed.machines.cleanup import clean
from testbed.machines.monitoring_plan import (
    ALERTMANAGER,
    GRAFANA,
    PARTS,
    PROMETHEUS,
    Order,
    Site,
    Wishes,
    rule_path,
)
from testbed.machines.monitoring_seen import ALERTS, TARGETS
from testbed.machines.monitoring_site import kept_data, site_of
from testbed.resources import rule_files
from testbed.runtime.containers import ContainerSpec
from testbed.runtime.simulated import SimulatedEngine, SimulatedHost, SimulatedMachine
from testbed.runtime.simulated_machine import SimulatedContainer
from testbed.simulation.loop import VirtualClock, VirtualLoop, run_virtual

IMAGES = {PROMETHEUS: "testbed-prometheus:1", ALERTMANAGER: "testbed-alertmanager:1"}
ID, NEXT_ID, OTHER_ID = "7e57c0ffee11", "7e57c0ffee12", "7e57c0ffee13"


@dataclass
class Programs:
    """Answers for Prometheus and the others, where their containers run. ``health``: target to what it is said to be;
    ``broken``: part to the log with which it ends instead of getting ready."""

    machine: SimulatedMachine
    health: dict[str, str] = field(default_factory=lambda: {"api": "up", "agent": "up"})
    broken: dict[str, str] = field(default_factory=dict)

    async def ask(self, url: str) -> Any:
        address, _, path = url.removeprefix("http://").partition("/")
        container = next((item for item in self.machine.containers.values() if item.running
                          and item.spec.labels.get(labels.ADDRESS) == address), None)
        if container is None:
            raise EnvironmentProblem(f"{url} does not answer: refused")
        said = self.broken.get(container.spec.labels[labels.MONITORING])
        if said is not None:
            self.machine.write_log(container, said.encode())
            self.machine.exit(container, 1)
            raise EnvironmentProblem(f"{url} does not answer: refused")
        if f"/{path}" == TARGETS:
            return {"data": {"activeTargets": [{"labels": {"part": part}, "health": health, "lastError": "refused"}
                                               for part, health in self.health.items()]}}
        return {"data": {"alerts": []}} if f"/{path}" == ALERTS else "ready"


class Body(Protocol):
    def __call__(self, ground: Ground) -> Coroutine[Any, Any, None]: ...


class Ground:
    """A cluster's state directory, and an engine that has the images."""

    def __init__(self, loop: VirtualLoop, state: Path) -> None:
        self.machine = SimulatedMachine(random.Random(1), VirtualClock(loop))
        self.machine.add_image(*IMAGES.values(), "sample:v1")
        self.engine, self.programs, self.said = SimulatedEngine(self.machine), Programs(self.machine), list[str]()
        self.site = Site("shop", state / "testbed" / "shop", (os.geteuid(), os.getegid()))

    def cluster(self, identity: str = ID) -> Instance:
        """It comes up: its state directory is as `testbed up` leaves it."""
        instance = Instance("shop", identity, self.site.directory, "10.99.0.0/16", 29990, ())
        instance.directory.mkdir(parents=True, exist_ok=True)
        (instance.directory / "id").write_text(identity)
        instance.token_file.write_text("secret")
        instance.save()
        return instance

    async def down(self) -> None:
        """`testbed down`."""
        await clean(self.site.directory, self.engine, lambda identity, _: SimulatedHost(self.machine, identity),
                    lambda step: None)

    async def up(self, instance: Instance | None, wishes: Wishes | None = None, **images: str) -> monitoring.Seen:
        order = Order(self.site, instance, {**IMAGES, **images}, wishes or Wishes())
        return await monitoring.start(self.engine, order, self.programs.ask, self.said.append)

    def containers(self) -> dict[str, SimulatedContainer]:
        return {item.spec.labels[labels.MONITORING]: item for item in self.machine.containers.values()
                if labels.MONITORING in item.spec.labels}

    async def dies(self, part: str) -> None:
        """It ends, and the engine has seen it."""
        self.machine.exit(self.containers()[part], 137)
        await asyncio.sleep(1)


def on_ground(body: Body, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, taken: tuple[int, ...] = ()) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    monkeypatch.setattr("testbed.api.instance._MEMORY", tmp_path)
    monkeypatch.setattr(monitoring, "is_free", lambda port: port not in taken)

    async def main(loop: VirtualLoop) -> None:
        await body(Ground(loop, tmp_path))

    run_virtual(main)


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    return lambda body, **more: on_ground(body, tmp_path, monkeypatch, **more)


def test_up_starts_what_has_an_image_and_says_which_targets_are_up(run: Any) -> None:
    async def body(ground: Ground) -> None:
        seen = await ground.up(ground.cluster())
        assert [(each.part, each.address, each.state.status) for each in seen.parts] == [
            (PROMETHEUS, "127.0.0.1:9090", "running"), (ALERTMANAGER, "127.0.0.1:9093", "running")]
        assert [(target.part, target.up) for target in seen.targets] == [("agent", True), ("api", True)]
        assert {path.name for path in ground.site.files.iterdir()} == {"prometheus.yml", "alertmanager.yml", "rules"}

    run(body)


def test_the_token_stands_in_no_word_and_no_file_that_is_written(run: Any) -> None:
    async def body(ground: Ground) -> None:
        await ground.up(ground.cluster())
        assert "secret" not in repr([item.spec for item in ground.containers().values()]) + repr(ground.said)
        for path in ground.site.root.rglob("*"):
            assert not path.is_file() or "secret" not in path.read_text()
            assert path.is_file() or path.stat().st_mode & 0o077 == 0

    run(body)


def test_a_second_up_leaves_alone_what_is_as_it_should_be(run: Any) -> None:
    async def body(ground: Ground) -> None:
        instance = ground.cluster()
        await ground.up(instance)
        before = {part: item.id for part, item in ground.containers().items()}
        await ground.up(instance)
        assert {part: item.id for part, item in ground.containers().items()} == before
        await ground.dies(ALERTMANAGER)
        await ground.up(instance, Wishes(retention_time="1d"))
        after = {part: item.id for part, item in ground.containers().items()}
        assert all(after[part] != before[part] for part in before), "one had died, the other is told something else"
        assert all(item.running for item in ground.containers().values())

    run(body)


def test_a_usual_port_that_is_taken_is_said_and_another_is_found_again(run: Any) -> None:
    async def body(ground: Ground) -> None:
        instance = ground.cluster()
        first = await ground.up(instance)
        assert ground.said[0].startswith("port 9090 is taken: Prometheus gets ")
        address = first.parts[0].address
        assert address == f"127.0.0.1:{ground.said[0].split()[-1]}"
        assert (await ground.up(instance)).parts[0].address == address

    run(body, taken=(9090,))


def test_a_port_asked_for_that_is_taken_is_refused_before_anything_is_made(run: Any) -> None:
    async def body(ground: Ground) -> None:
        with pytest.raises(EnvironmentProblem, match="port 9090 is taken") as caught:
            await ground.up(ground.cluster(), Wishes({PROMETHEUS: 9090}))
        assert caught.value.hint.startswith("this one is free: --port ")
        assert not ground.machine.containers and not ground.site.root.exists()

    run(body, taken=(9090,))


def test_a_program_that_does_not_start_is_told_with_its_log_and_nothing_is_left(run: Any) -> None:
    async def body(ground: Ground) -> None:
        ground.programs.broken[ALERTMANAGER] = 'level=error err="no space left on device"\n'
        with pytest.raises(EnvironmentProblem, match=r"Alertmanager does not start:\n.*no space left"):
            await ground.up(ground.cluster())
        assert not ground.containers()

    run(body)


def test_a_port_that_somebody_takes_in_the_last_moment_is_given_up_for_another(
    run: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def body(ground: Ground) -> None:
        ground.programs.broken[ALERTMANAGER] = 'level=error err="bind: address already in use"\n'
        looks = iter([*[True] * len(IMAGES), True, False])

        def is_free(port: int) -> bool:
            if not next(looks, True):
                ground.programs.broken.clear()
                return False
            return True

        monkeypatch.setattr(monitoring, "is_free", is_free)
        seen = await ground.up(ground.cluster())
        assert [each.address for each in seen.parts][0] == "127.0.0.1:9090"
        assert seen.parts[1].address not in ("127.0.0.1:9090", "127.0.0.1:9093")
        assert any("somebody took its port" in line for line in ground.said)

    run(body)


def test_a_broken_rule_file_is_named_with_its_line_and_nothing_is_left(run: Any, tmp_path: Path) -> None:
    async def body(ground: Ground) -> None:
        mine = tmp_path / "mine.yml"
        mine.write_text("groups: [")
        inside = rule_path(f"{len(rule_files())}-mine.yml")
        ground.programs.broken[PROMETHEUS] = f'err="{inside}: yaml: line 1: it ends too soon"\n'
        with pytest.raises(InvalidInput) as caught:
            await ground.up(ground.cluster(), Wishes(rules=(mine,)))
        assert str(caught.value) == f"{mine}:1: it ends too soon"
        with pytest.raises(InvalidInput, match="absent.yml cannot be read"):
            await ground.up(ground.cluster(), Wishes(rules=(tmp_path / "absent.yml",)))
        assert not ground.containers()

    run(body)


def test_an_interrupted_up_leaves_nothing_running(run: Any) -> None:
    async def body(ground: Ground) -> None:
        async def never(url: str) -> Any:
            raise EnvironmentProblem("not yet")

        ground.programs.ask = never  # type: ignore[method-assign]
        task = asyncio.create_task(ground.up(ground.cluster()))
        while len(ground.containers()) < len(IMAGES):  # noqa: ASYNC110 - virtual time
            await asyncio.sleep(0.1)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert not ground.containers()

    run(body)


def test_targets_are_waited_for_but_not_for_ever(run: Any) -> None:
    async def body(ground: Ground) -> None:
        loop = asyncio.get_running_loop()
        ground.programs.health["agent"] = "unknown"
        loop.call_later(5, ground.programs.health.update, {"agent": "up"})
        assert all(target.up for target in (await ground.up(ground.cluster())).targets)
        ground.programs.health["agent"] = "down"
        seen = await ground.up(ground.cluster())
        assert [(target.part, target.error) for target in seen.targets if not target.up] == [("agent", "refused")]

    run(body)


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


def test_grafana_stands_beside_where_its_image_can_be_had(run: Any) -> None:
    async def body(ground: Ground) -> None:
        image = next(part.image for part in PARTS if part.name == GRAFANA)
        ground.machine.add_image(image)
        seen = await ground.up(ground.cluster(), grafana=image)
        assert [each.part for each in seen.parts] == [PROMETHEUS, ALERTMANAGER, GRAFANA]
        assert (ground.site.files / "grafana/datasources/testbed.yml").exists()
        await ground.up(ground.cluster())
        assert GRAFANA not in ground.containers(), "its image is gone: so is it"

    run(body)
