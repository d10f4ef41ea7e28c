"""Much goes wrong at once, from a seed; the invariants hold all the time and the cluster finds back (I1 to I16)."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from testbed.simulation.scenarios import play

SEEDS = range(1, 25)
MORE_SEEDS = range(100, 400)
FAULT_SEEDS = range(1000, 1004)
MORE_FAULT_SEEDS = range(2000, 2100)


@pytest.mark.parametrize("seed", SEEDS)
def test_a_seed_keeps_every_invariant_and_finds_back(seed: int) -> None:
    outcome = play(seed)
    assert outcome.requests > 500
    assert outcome.settled_s < 120


@pytest.mark.parametrize("seed", FAULT_SEEDS)
def test_faults_of_all_kinds_leave_nothing_and_the_cluster_finds_back(seed: int) -> None:
    """On top of all else that goes wrong: any registered fault, several at once."""
    assert play(seed, faults=6).requests > 500


@pytest.mark.long
@pytest.mark.parametrize("seed", MORE_FAULT_SEEDS)
def test_many_seeds_of_faults(seed: int) -> None:
    play(seed, acts=8, faults=12, span_s=90.0, nodes=4)


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
