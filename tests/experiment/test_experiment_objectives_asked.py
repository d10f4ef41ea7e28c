"""Objectives of which an experiment would measure nothing are mistakes of its file, told before anything runs."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from testbed.errors import InvalidInput
from testbed.experiment.loading import load_experiment

EXAMPLES = Path(__file__).parents[2] / "examples"


def asked(folder: Path, objective: str, example: str = "crash", change: tuple[str, str] = ("", "")) -> list[str]:
    """What is wrong with an example that asks for this and nothing else."""
    shutil.copy(EXAMPLES / "web.yaml", folder)
    text = (EXAMPLES / f"{example}.yaml").read_text().partition("  objectives:")[0].rstrip()
    file = folder / "mine.yaml"
    file.write_text(f"{text}\n  objectives: ['{objective}']\n".replace(*change, 1))
    try:
        load_experiment(file)
    except InvalidInput as error:
        return [mistake.message for mistake in error.mistakes]
    return []


@pytest.mark.parametrize(("objective", "why"), [
    ("budget < 10%", "needs slo"), ("crash.burn.max < 1", "needs slo"), ("locust.failures == 0", "needs load.locust"),
    ("writes.lost == 0", "needs state"), ("crash.undo.max < 1s", "step crash is not undone"),
])
def test_what_this_experiment_cannot_measure(tmp_path: Path, objective: str, why: str) -> None:
    (message,) = asked(tmp_path, objective)
    assert why in message


@pytest.mark.parametrize(("objective", "why"), [
    ("ship-v2.isolation.max < 1s", "step ship-v2 is no fault"), ("ship-v2.undo.max < 1s", "step ship-v2 is not undone"),
    ("ship-v2.cascade == 0", "step ship-v2 is no fault")])
def test_a_change_hits_nobody_and_is_not_taken_back(tmp_path: Path, objective: str, why: str) -> None:
    (message,) = asked(tmp_path, objective, "rolling-update")
    assert why in message


SLO = "  slo: {target: 99.9%}\n  objectives:"


@pytest.mark.parametrize(("objective", "example"), [
    ("budget < 10%", "crash"), ("crash.burn < 1", "crash"), ("crash.budget < 10%", "crash"),
    ("crash.depth < 90%", "crash"), ("crash.isolation.max < 1s", "crash"), ("hang.undo.max < 30s", "hang"),
    ("ship-v2.repair.max < 1m", "rolling-update")])
def test_what_it_can(tmp_path: Path, objective: str, example: str) -> None:
    assert asked(tmp_path, objective, example, ("  objectives:", SLO)) == []


def test_beside_another_mistake_what_is_there_is_not_missed(tmp_path: Path) -> None:
    (message,) = asked(tmp_path, "budget < 10%", "crash", ("  objectives:", f"  runs: many\n{SLO}"))
    assert "integer" in message
