"""The stack that watches a cluster, on the simulated engine: made, left alone, remade, and what hinders it."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
from monitoring_ground import IMAGES, Ground, on_ground

from testbed.errors import EnvironmentProblem, InvalidInput
from testbed.machines import monitoring
from testbed.machines.monitoring_plan import (
    ALERTMANAGER,
    GRAFANA,
    PARTS,
    PROMETHEUS,
    Wishes,
    rule_path,
)
from testbed.resources import rule_files


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
