"""What the simulated sample application does with its environment, beside the one of `compose/images/sample`."""

from __future__ import annotations

import random
import re
from pathlib import Path

import pytest

from testbed.experiment.loading import load_experiment
from testbed.experiment.platforms.simulation import job_of
from testbed.runtime.containers import ContainerSpec
from testbed.runtime.simulated_behaviour import Application, behaviour_of
from testbed.simulation.experiment import answer
from testbed.simulation.playing import NOT_PLAYED

ROOT = Path(__file__).parents[2]


def application(**environment: str) -> Application:
    spec = ContainerSpec(name="a", image="sample:v1", labels={}, env=tuple(environment.items()))
    return Application(behaviour_of(spec), "a", draw=random.Random(1).random)


def test_so_many_answers_to_clients_fail_and_none_to_probes() -> None:
    sick = application(ERROR_RATIO="0.5", SLOW_MS="250")
    answers = [sick.answer("/", 1.0) for _ in range(1000)]
    assert 450 < sum(found is not None and found[0] == 500 for found in answers) < 550
    assert {found[2] for found in answers if found is not None} == {0.25}
    assert {sick.answer(path, 1.0) for path in ("/readyz",) * 100} == {(200, "ready", 0.0)}


def test_the_same_seed_fails_the_same_requests() -> None:
    one, two = application(ERROR_RATIO="0.5"), application(ERROR_RATIO="0.5")
    assert [one.answer("/", 1.0) for _ in range(50)] == [two.answer("/", 1.0) for _ in range(50)]


def test_a_variable_that_is_no_number_ends_it_as_it_ends_the_sample() -> None:
    behaviour = application(ERROR_RATIO="half").behaviour
    assert behaviour.exit_after_s is not None and behaviour.exit_code == 1 and not behaviour.ports


def test_every_variable_of_the_sample_is_played_or_said_not_to_be() -> None:
    sample = (ROOT / "compose/images/sample/sample.py").read_text()
    simulated = "".join((ROOT / "testbed/runtime" / name).read_text()
                        for name in ("simulated_behaviour.py", "simulated_machine.py"))
    known = set(re.findall(r'environ(?:\.get\()?\(?\[?"([A-Z_]+)"', sample))
    assert {"ERROR_RATIO", "SLOW_MS", "TLS_DIR", "VERSION"} <= known
    unheeded = {name for name in known if f'"{name}"' not in simulated}
    assert unheeded == set(NOT_PLAYED)
    assert all(name in (ROOT / "docs/platforms.md").read_text() for name in known)


@pytest.mark.parametrize(("setting", "noted"), [("TLS_DIR", True), ("DRAIN_S", False)])
def test_what_is_not_played_is_noted_where_a_manifest_sets_it(setting: str, noted: bool, tmp_path: Path) -> None:
    for name in ("crash.yaml", "web.yaml"):
        text = (ROOT / "examples" / name).read_text()
        (tmp_path / name).write_text(text.replace("{name: DRAIN_S,", f"{{name: {setting},"))
    notes = " ".join(answer({"do": "look", **job_of(load_experiment(tmp_path / "crash.yaml"))})["notes"])
    assert (f"{setting} of the sample application is not played" in notes) is noted


def test_the_failing_canary_is_withdrawn(tmp_path: Path) -> None:
    loaded = load_experiment(ROOT / "examples/canary-withdrawn.yaml")
    run = answer({"do": "run", "runId": "r", "number": 1, "folder": str(tmp_path), **job_of(loaded)})["run"]
    canary, withdraw = run["disruptions"]
    assert (run["verdict"], canary["name"], withdraw["name"]) == ("passed", "canary", "withdraw"), run["reason"]
    assert canary["requests"]["failed"] > 20 and withdraw["requests"]["failed"] == 0
