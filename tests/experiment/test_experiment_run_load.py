"""The load of a run: several targets, whose own a step's clients are, and stages that begin with the method."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from runner_world import RunnerWorld, write_experiment

from testbed.errors import InvalidInput
from testbed.experiment import loads, phases
from testbed.experiment.loading import load_experiment
from testbed.experiment.result import Verdict
from testbed.load.records import PulseData, read

LOAD = """\
  load:
    pulse:
      - {service: web, startRate: 20, stages: [{target: 200, duration: 0s}]}
      - {name: broken, service: web, protocol: tcp, rate: 50, send: "x {index}\\r\\n\\r\\n", expect: absent}
"""


@pytest.fixture
async def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[RunnerWorld]:
    monkeypatch.setattr(phases, "BASELINE_S", 0.5)
    async with RunnerWorld(tmp_path) as made:
        yield made


async def test_every_target_is_measured_and_a_steps_clients_are_those_it_names(
    world: RunnerWorld, tmp_path: Path,
) -> None:
    write_experiment(tmp_path, load=LOAD)
    file = tmp_path / "small.yaml"
    file.write_text(file.read_text().replace("- name: hang\n", "- name: hang\n      pulse: broken\n"))
    result = await world.job(load_experiment(file)).run_alone()
    run = result.runs[0]
    web, broken = run.targets
    assert (web.name, broken.name, broken.protocol) == ("web", "broken", "tcp")
    assert (run.requests, run.requests.failed) == (web.requests, 0)  # the first is the run's
    assert broken.requests.due == broken.requests.failed > 0
    assert run.disruptions[0].requests.failed == run.disruptions[0].requests.due > 0  # the one it names
    assert [use.name for use in run.generator] == ["pulse web", "pulse broken"]

    data = read(tmp_path / "runs" / result.run_id / "pulse-1.csv")
    before = [record.due_ns for record in data.stream() if record.due_ns < data.stages_ns]
    after = [record.due_ns for record in data.stream() if record.due_ns > data.stages_ns]
    assert len(before) >= 5 and len(after) > 10
    assert before[1] - before[0] == pytest.approx(50e6, abs=10)
    assert after[-1] - after[-2] == pytest.approx(5e6, abs=10)


async def test_records_that_cannot_be_read_are_told_and_everything_ends_all_the_same(
    world: RunnerWorld, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
) -> None:
    inner = loads.PulseProcess.stop

    async def unreadable(self: loads.PulseProcess) -> PulseData:
        await inner(self)
        raise InvalidInput("it is not a pulse's file")

    monkeypatch.setattr(loads.PulseProcess, "stop", unreadable)
    result = await world.job(write_experiment(tmp_path, load=LOAD)).run_alone()
    assert (result.verdict, result.reason) == (Verdict.INCONCLUSIVE, "it is not a pulse's file")
    assert len(result.runs) == 1 and await world.left() == []


def test_a_step_cannot_name_a_target_that_is_not_there(tmp_path: Path) -> None:
    write_experiment(tmp_path, load=LOAD)
    file = tmp_path / "small.yaml"
    file.write_text(file.read_text().replace("- name: hang\n", "- name: hang\n      pulse: brokn\n"))
    with pytest.raises(InvalidInput) as told:
        load_experiment(file)
    (mistake,) = told.value.mistakes
    assert (mistake.field, mistake.suggestion) == ("spec.method[0].pulse", "broken")


@pytest.mark.parametrize(("load", "field", "says"), [
    ("{service: web, rat: 5}", "spec.load.pulse.rat", "unknown field"),
    ("[{service: web}, {service: wbe, name: b}]", "spec.load.pulse[1].service", "no Service 'wbe'"),
    ("[{service: web}, {service: web}]", "spec.load", "give each a name"),
    ("{service: web, stages: [{target: 5, duration: 1s}]}", "spec.load.pulse", "startRate"),
    ("{service: web, rate: 5, startRate: 5, stages: [{target: 5, duration: 1s}]}", "spec.load.pulse", "keep one"),
    ("{service: web, protocol: tcp, path: /x}", "spec.load.pulse", "path is for protocol http"),
    ("{service: web, headers: {Host: x}}", "spec.load.pulse", "give host"),
])
def test_wrong_targets_are_told_where_they_stand(tmp_path: Path, load: str, field: str, says: str) -> None:
    with pytest.raises(InvalidInput) as told:
        write_experiment(tmp_path, load=f"  load:\n    pulse: {load}\n")
    assert [item.field for item in told.value.mistakes if says in item.message] == [field]


def test_a_locustfile_that_cannot_be_used_is_a_mistake_of_the_experiment(tmp_path: Path) -> None:
    (tmp_path / "users.py").write_text("import locust\nfrom nowhere import Nobody\n")
    with pytest.raises(InvalidInput) as told:
        write_experiment(tmp_path, load="  load:\n    pulse: {service: wbe}\n    locust: {file: users.py}\n")
    found = {(Path(item.file).name, item.line): item.message for item in told.value.mistakes}
    assert "No module named 'nowhere'" in found["users.py", 2]
    assert any("wbe" in message for message in found.values())  # all mistakes at once
