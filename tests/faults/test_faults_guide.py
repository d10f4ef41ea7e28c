"""The guide's own fault, installed as a package from the guide's own text, served by the daemon."""

from __future__ import annotations

import importlib
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from fault_bench import Bench

from faults.kinds import ours
from faults.naming import short_name
from faults.registry import Registry
from testbed.cli.fault_page import page
from testbed.errors import Invalid
from testbed.experiment.documents import Document
from testbed.experiment.embedded import check_fault, fault_kinds

GUIDE = Path(__file__).resolve().parents[2] / "faults" / "WRITING_A_FAULT.md"
PAUSE = ours("PauseChaos")
WEB = {"mode": "one", "selector": {"labelSelectors": {"app": "web"}}, "duration": "1h"}


def files() -> dict[str, str]:
    """Blocks whose first line names a file."""
    found = re.findall(r"```\w+\n# (\S+\.\w+)\n(.*?)```", GUIDE.read_text(), re.DOTALL)
    return dict(found)


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The package, built and installed by the tool that the guide names."""
    folder, target = tmp_path_factory.mktemp("pause-fault"), tmp_path_factory.mktemp("site")
    for name, text in files().items():
        (folder / name).write_text(text)
    subprocess.run(
        [str(Path(sys.executable).with_name("uv")), "pip", "install", "--quiet", "--offline", "--no-deps",
         "--no-build-isolation", "--python", sys.executable, "--target", str(target), str(folder)],
        check=True, capture_output=True, timeout=60)
    sys.path.insert(0, str(target))
    importlib.invalidate_caches()
    fault_kinds.cache_clear()
    yield target
    sys.path.remove(str(target))
    sys.modules.pop("pause_fault", None)
    fault_kinds.cache_clear()


@pytest.fixture
async def paused(installed: Path, bench: Bench, monkeypatch: pytest.MonkeyPatch) -> Bench:
    """A daemon that was started with the package there, over an engine that can pause."""

    async def pause(container: str, status: str = "paused") -> None:
        bench.world.log.append(f"{status} {container}")
        bench.world.containers[container] = replace(bench.world.containers[container], status=status)

    async def unpause(container: str) -> None:
        await pause(container, "running")

    monkeypatch.setattr(bench.world, "pause", pause, raising=False)
    monkeypatch.setattr(bench.world, "unpause", unpause, raising=False)
    await bench.kill_daemon()
    bench.start_daemon()
    await bench.pod("web-1")
    return bench


def test_it_is_listed_and_its_objects_are_judged(installed: Path) -> None:
    fault = Registry().get("PauseChaos/")
    assert fault.name in Registry().names() and PAUSE in Registry().kinds()
    assert short_name(fault) == "pause" and "Is told beside what was seen." in page(fault, "yes")
    wrong = {"apiVersion": PAUSE.api_version, "kind": "PauseChaos", "metadata": {"name": "x"},
             "spec": {**WEB, "note": "two\nlines"}}
    (mistake,) = check_fault(Document(wrong), ())
    assert (mistake.field, mistake.message) == ("spec.note", "must be one line of text")


async def test_the_daemon_injects_verifies_and_undoes_it(paused: Bench) -> None:
    await paused.fault(PAUSE, {**WEB, "duration": "400ms", "note": "hello"})
    await paused.until_condition(PAUSE, "AllInjected")
    (record,) = await paused.records(PAUSE)
    assert record["events"][1]["message"] == "the engine says that the container is paused hello"
    await paused.until_condition(PAUSE, "AllRecovered")
    assert [line.split()[0] for line in paused.world.log] == ["paused", "running"]
    with pytest.raises(Invalid, match=r"spec.note"):
        await paused.client.create(PAUSE, {"apiVersion": PAUSE.api_version, "kind": "PauseChaos", "metadata": {
            "name": "y", "namespace": "default"}, "spec": {**WEB, "note": 5}}, "default")


async def test_its_methods_may_be_called_again_and_a_target_that_is_gone_is_no_error(paused: Bench) -> None:
    fault: Any = Registry().get("PauseChaos/")
    await paused.fault(PAUSE, WEB)
    await paused.until_condition(PAUSE, "AllInjected")
    await paused.kill_daemon()
    plan = {"container_id": next(iter(paused.world.containers)), "note": ""}
    tools: Any = type("T", (), {"engine": paused.world})
    await fault.inject(tools, plan, 1.0)
    await fault.undo(tools, plan)
    await fault.undo(tools, plan)
    assert await fault.undone(tools, plan)
    assert [line.split()[0] for line in paused.world.log] == ["paused", "running"]
    paused.world.containers.clear()
    await fault.undo(tools, plan)
    assert await fault.undone(tools, plan)
