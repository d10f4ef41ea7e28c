"""The logs of what was disrupted are kept, and a log that cannot be read fails no run."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from testbed.errors import ApiError, NotFound
from testbed.experiment import victims as module
from testbed.experiment.result import Disruption, RunResult, TimelineEvent, Verdict
from testbed.experiment.victims import MOST_BYTES, MOST_PODS, LogKeeper, takes_pods_away, victims


def run(*targets: str, events: tuple[TimelineEvent, ...] = ()) -> RunResult:
    return RunResult(number=3, verdict=Verdict.PASSED, started_at=datetime(2026, 1, 1, tzinfo=UTC), duration_s=9,
                     disruptions=(Disruption(name="a", kind="fault", targets=targets),), events=events)


class Client:
    """Two containers; the first one has restarted."""

    def __init__(self, problem: Exception | None = None) -> None:
        self.problem = problem
        self.asked = 0

    async def get(self, *_: Any) -> dict[str, Any]:
        self.asked += 1
        if self.problem is not None:
            raise self.problem
        return {"spec": {"containers": [{"name": "web"}, {"name": "side"}]},
                "status": {"containerStatuses": [{"name": "web", "restartCount": 1}]}}

    async def logs(self, name: str, namespace: str, *, tail_lines: int, container: str, previous: bool = False) -> str:
        if container == "side":
            return "x" * (MOST_BYTES + 1000) + "the end"
        return f"{namespace}/{name} {'before' if previous else 'now'}\n"


class Platform:
    def __init__(self, client: Any) -> None:
        self.client = client


def keeper(client: Client) -> LogKeeper:
    return LogKeeper(Platform(client))  # type: ignore[arg-type]


def test_who_was_hit_comes_first_then_who_suffered() -> None:
    event = TimelineEvent(at_s=1, kind="ContainerDied", object="pod default/other-1")
    other = TimelineEvent(at_s=1, kind="Started", object="pod default/calm-1")
    found = victims(run("default/web-1/web", "node node-2", "pod default/web-2", events=(event, other)))
    assert found == (("default", "web-1"), ("default", "web-2"), ("default", "other-1"))
    assert len(victims(run(*(f"default/web-{number}" for number in range(99))))) == MOST_PODS


@pytest.mark.parametrize(("kinds", "suffered"), [
    (("Killing", "ContainerDied", "ContainerUnready"), False),  # a rollout took it away
    (("Unhealthy", "Killing", "ContainerDied"), True),
    (("TaintManagerEviction", "Killing"), True),
    (("Started", "ContainerReady"), False),
])
def test_that_a_rollout_stops_a_pod_makes_it_no_victim(kinds: tuple[str, ...], suffered: bool) -> None:
    events = [TimelineEvent(at_s=at, kind=kind, object="pod default/web-9") for at, kind in enumerate(kinds)]
    assert (("default", "web-9") in victims(run(events=tuple(reversed(events))))) is suffered


async def test_every_container_and_its_attempt_before_are_kept(tmp_path: Path) -> None:
    kept = await keeper(Client()).keep(run("default/web-1/web"), tmp_path)
    assert kept.missing == ()
    assert [(log.pod, log.container, log.of, log.read_at_s) for log in kept.logs] == [
        ("default/web-1", "web", "current", 9), ("default/web-1", "web", "previous", 9),
        ("default/web-1", "side", "current", 9)]
    assert all((tmp_path / log.file).is_file() for log in kept.logs)
    found = {path.name: path.read_text() for path in (tmp_path / "logs").iterdir()}
    assert found["run-3-web-1-web.log"] == "default/web-1 now\n"
    assert found["run-3-web-1-web.previous.log"] == "default/web-1 before\n"
    assert found["run-3-web-1-side.log"].endswith("the end") and len(found["run-3-web-1-side.log"]) < MOST_BYTES + 100


async def test_a_container_that_logs_nothing_is_no_riddle(tmp_path: Path) -> None:
    class Quiet(Client):
        async def logs(self, *_: Any, **__: Any) -> str:
            return ""

    kept = await keeper(Quiet()).keep(run("default/web-1"), tmp_path)
    assert kept.logs == () and kept.missing == ("web-1: it had logged nothing",)


@pytest.mark.parametrize(("problem", "says"), [(NotFound("no"), "web-1: is gone"), (ApiError("broken"), "broken")])
async def test_what_cannot_be_read_is_told(problem: Exception, says: str, tmp_path: Path) -> None:
    kept = await keeper(Client(problem)).keep(run("default/web-1"), tmp_path)
    assert len(kept.missing) == 1 and says in kept.missing[0]
    assert kept.logs == () and not (tmp_path / "logs").exists()


async def test_of_a_pod_that_is_gone_at_the_end_what_was_read_before_is_kept(tmp_path: Path) -> None:
    client = Client()
    logs = keeper(client)
    logs.take([("default", "web-1")], 4.5)
    await logs.drained()
    client.problem = NotFound("no")
    kept = await logs.keep(run("default/web-1", "default/web-2"), tmp_path)
    assert {(log.pod, log.read_at_s) for log in kept.logs} == {("default/web-1", 4.5)}
    assert (tmp_path / "logs" / "run-3-web-1-web.log").read_text() == "default/web-1 now\n"
    assert kept.missing == ("web-2: is gone, and its logs with it",)


async def test_what_is_read_beforehand_is_bounded(tmp_path: Path) -> None:
    client = Client()
    logs = keeper(client)
    for number in range(100):
        logs.take([("default", f"web-{number}")], 1.0)
        await logs.drained()
    assert client.asked <= 2 * MOST_PODS


@pytest.mark.parametrize(("fault", "gone"), [
    ({"kind": "PodChaos", "spec": {"action": "pod-kill"}}, True),
    ({"kind": "PodChaos", "spec": {"action": "container-kill"}}, False),
    ({"kind": "NodeChaos", "spec": {"action": "kill"}}, True),
    ({"kind": "FreezeChaos", "spec": {}}, False),
])
def test_logs_are_read_before_a_fault_that_may_take_pods_away(fault: dict[str, Any], gone: bool) -> None:
    assert takes_pods_away(fault) is gone


async def test_a_log_that_never_comes_holds_nothing_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Silent(Client):
        async def get(self, *_: Any) -> dict[str, Any]:
            await asyncio.Event().wait()
            return {}

    monkeypatch.setattr(module, "WITHIN_S", 0.05)
    kept = await keeper(Silent()).keep(run("default/web-1"), tmp_path)
    assert "not read within" in kept.missing[0]
