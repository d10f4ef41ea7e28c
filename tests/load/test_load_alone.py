"""A load test on its own is an experiment; all its mistakes are told at once."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from load_server import GOOD

from testbed.errors import InvalidInput
from testbed.load.alone import LoadTest, load_test

CRASH = {"apiVersion": "chaos-mesh.org/v1alpha1", "kind": "PodChaos",
         "spec": {"action": "container-kill", "mode": "one", "containerNames": ["web"],
                  "selector": {"labelSelectors": {"app": "web"}}}}


def test_a_load_test_waits_while_the_pulse_runs() -> None:
    loaded = load_test(LoadTest("web", 60.0, rate=200, objectives=("latency.p99 < 50ms",)))
    spec = loaded.experiment.spec
    assert spec.load.pulse is not None
    assert (spec.load.pulse.service, spec.load.pulse.rate, spec.load.locust) == ("web", 200, None)
    assert [(step.name, step.kind, step.wait) for step in spec.method] == [("load", "wait", 60.0)]
    assert [objective.text for objective in loaded.objectives] == ["latency.p99 < 50ms"]


def test_faults_are_injected_after_a_quarter_under_names_that_objectives_can_use() -> None:
    loaded = load_test(LoadTest("web", 40.0, faults=(CRASH, CRASH), objectives=("container-kill-2.repair.max < 5s",)))
    assert [(step.name, step.at) for step in loaded.experiment.spec.method[1:]] == [
        ("container-kill", 10.0), ("container-kill-2", 10.0)]


def test_a_locustfile_runs_beside_a_slow_pulse(tmp_path: Path) -> None:
    file = tmp_path / "users.py"
    file.write_text(GOOD)
    loaded = load_test(LoadTest("web", 10.0, locustfile=file, users=50))
    assert loaded.locustfile == file
    assert loaded.experiment.spec.load.pulse is not None
    assert loaded.experiment.spec.load.pulse.rate == 20
    alone = load_test(LoadTest("web", 10.0, locustfile=file, rate=0)).experiment.spec.load
    assert alone.pulse is None and alone.locust is not None


def test_no_load_at_all_and_wrong_objectives_are_told_together() -> None:
    with pytest.raises(InvalidInput) as told:
        load_test(LoadTest("web", 10.0, rate=0, objectives=("latncy.p99 < 1s", "what", "availability >= 99%")))
    assert len(told.value.mistakes) == 4


def test_a_wrong_fault_is_told_with_its_field() -> None:
    wrong = {**CRASH, "spec": {**CRASH["spec"], "mode": "on"}}  # type: ignore[dict-item]
    with pytest.raises(InvalidInput, match=r"spec\.mode"):
        load_test(LoadTest("web", 10.0, faults=(wrong,)))


def test_stages_and_several_services_are_pulses_alike() -> None:
    test = LoadTest("web", 10.0, also=("api",), rate=50, stages=("30s:500", "1m:500"), asking={"path": "/x"})
    pulses = load_test(test).experiment.spec.load.pulses
    assert [pulse.called for pulse in pulses] == ["web", "api"]
    for pulse in pulses:
        assert pulse.profile.told() == "50/s, to 500/s in 30 s, to 500/s in 60 s"
        assert pulse.path == "/x"


def test_a_wrong_stage_is_told() -> None:
    with pytest.raises(InvalidInput, match="30s:500"):
        load_test(LoadTest("web", 10.0, stages=("500",)))


def test_a_tcp_service_has_no_path() -> None:
    with pytest.raises(InvalidInput, match="path is for protocol http"):
        load_test(LoadTest("store", 10.0, asking={"protocol": "tcp", "path": "/x"}))
    loaded = load_test(LoadTest("store", 10.0, asking={"protocol": "tcp", "send": "PING\r\n", "expect": "PONG"}))
    (pulse,) = loaded.experiment.spec.load.pulses
    assert pulse.ask("10.0.0.1:6379").url == "tcp://10.0.0.1:6379"


@pytest.mark.parametrize(("objective", "word"), [
    ("baseline.container-kill.repair.ratio <= 1.1", "no baseline"), ("writes.lost == 0", "needs state"),
    ("latency.p99 < 1s", "needs load.pulse")])
def test_an_objective_of_which_nothing_would_be_measured_is_refused(
    tmp_path: Path, objective: str, word: str,
) -> None:
    (tmp_path / "users.py").write_text(GOOD)
    with pytest.raises(InvalidInput, match=word):
        load_test(LoadTest("web", 10.0, rate=0, locustfile=tmp_path / "users.py", faults=(CRASH,),
                           objectives=(objective,)))


@pytest.mark.parametrize(("asked", "options"), [
    ({"runs": 100_000}, {"--runs"}), ({"runs": 0}, {"--runs"}), ({"rate": 1e9, "also": ("api",)}, {"--rate"}),
    ({"rate": 1e9, "stages": ("5s:10",)}, {"--rate"}),
    ({"port": 99_999}, {"--port"}), ({"namespace": "A_B"}, {"--namespace"}),
    ({"asking": {"path": "x", "status": [7]}}, {"--path", "--status"}),
])
def test_a_value_that_no_experiment_may_have_is_told_by_its_option(asked: dict[str, Any], options: set[str]) -> None:
    with pytest.raises(InvalidInput) as refused:
        load_test(LoadTest("web", 10.0, **asked))
    assert {mistake.field for mistake in refused.value.mistakes} == options
    assert all(str(mistake).startswith("--") for mistake in refused.value.mistakes)
