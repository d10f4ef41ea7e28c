"""Much goes wrong at once, from a seed; the invariants hold all the time and the cluster finds back (I1 to I16)."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from testbed.simulation.scenarios import play

SEEDS = range(1, 25)
MORE_SEEDS = range(100, 400)


@pytest.mark.parametrize("seed", SEEDS)
def test_a_seed_keeps_every_invariant_and_finds_back(seed: int) -> None:
    outcome = play(seed)
    assert outcome.requests > 500
    assert outcome.settled_s < 120


@pytest.mark.long
@pytest.mark.parametrize("seed", MORE_SEEDS)
def test_many_seeds(seed: int) -> None:
    play(seed, acts=14, span_s=120.0, nodes=4)


def test_i15_the_same_seed_gives_the_same_trace() -> None:
    assert play(5).hash == play(5).hash
    assert play(5).hash != play(6).hash


def test_i15_the_trace_does_not_hang_on_the_order_of_sets() -> None:
    """Another process, another hash seed."""
    code = "from testbed.simulation.scenarios import play; print(play(5).hash)"
    traces = {
        subprocess.run(
            [sys.executable, "-c", code], env=os.environ | {"PYTHONHASHSEED": number}, capture_output=True, text=True,
            check=True,
        ).stdout
        for number in ("1", "2")
    }
    assert len(traces) == 1
