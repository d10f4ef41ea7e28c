"""The logs of what was disrupted are kept, and a log that cannot be read fails no run."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from testbed.errors import ApiError, NotFound
from testbed.experiment import victims as module
from testbed.experiment.result import Disruption, RunResult, TimelineEvent, Verdict
from testbed.experiment.victims import MOST_BYTES, MOST_PODS, keep_logs, victims


def run(*targets: str, events: tuple[TimelineEvent, ...] = ()) -> RunResult:
    return RunResult(number=3, verdict=Verdict.PASSED, started_at=datetime(2026, 1, 1, tzinfo=UTC), duration_s=9,
                     disruptions=(Disruption(name="a", kind="fault", targets=targets),), events=events)


class Client:
    """Two containers; the first one has restarted."""

    def __init__(self, problem: Exception | None = None) -> None:
        self.problem = problem

    async def get(self, *_: Any) -> dict[str, Any]:
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


def test_who_was_hit_comes_first_then_who_suffered() -> None:
    event = TimelineEvent(at_s=1, kind="ContainerDied", object="pod default/other-1")
    other = TimelineEvent(at_s=1, kind="Started", object="pod default/calm-1")
    found = victims(run("default/web-1/web", "node node-2", "pod default/web-2", events=(event, other)))
    assert found == (("default", "web-1"), ("default", "web-2"), ("default", "other-1"))
    assert len(victims(run(*(f"default/web-{number}" for number in range(99))))) == MOST_PODS


async def test_every_container_and_its_attempt_before_are_kept(tmp_path: Path) -> None:
    assert await keep_logs(Platform(Client()), run("default/web-1/web"), tmp_path) == ()  # type: ignore[arg-type]
    found = {path.name: path.read_text() for path in (tmp_path / "logs").iterdir()}
    assert found["run-3-web-1-web.log"] == "default/web-1 now\n"
    assert found["run-3-web-1-web.previous.log"] == "default/web-1 before\n"
    assert found["run-3-web-1-side.log"].endswith("the end") and len(found["run-3-web-1-side.log"]) < MOST_BYTES + 100


@pytest.mark.parametrize(("problem", "says"), [(NotFound("no"), "web-1: is gone"), (ApiError("broken"), "broken")])
async def test_what_cannot_be_read_is_told(problem: Exception, says: str, tmp_path: Path) -> None:
    missing = await keep_logs(Platform(Client(problem)), run("default/web-1"), tmp_path)  # type: ignore[arg-type]
    assert len(missing) == 1 and says in missing[0] and not (tmp_path / "logs").exists()


async def test_a_log_that_never_comes_holds_nothing_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import asyncio

    class Silent(Client):
        async def get(self, *_: Any) -> dict[str, Any]:
            await asyncio.Event().wait()
            return {}

    monkeypatch.setattr(module, "WITHIN_S", 0.05)
    missing = await keep_logs(Platform(Silent()), run("default/web-1"), tmp_path)  # type: ignore[arg-type]
    assert "not read within" in missing[0]
