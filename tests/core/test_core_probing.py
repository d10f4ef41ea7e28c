"""Probe thresholds, holds and gates (kubernetes: pkg/kubelet/prober/worker.go and its test)."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from testbed.api.core_v1 import Probe
from testbed.core.probing import (
    Act,
    ContainerView,
    ProbeType,
    Result,
    absorb,
    credible,
    first_delay_s,
    fresh,
    is_ready,
    is_started,
    restored,
    tick,
)

UP = ContainerView(container_id="c1", running=True, started=True, age_s=100.0)
KINDS = list(ProbeType)


def probe(**more: int) -> Probe:
    return Probe.of({"failureThreshold": 3, "successThreshold": 1, **more})


def feed(kind: ProbeType, spec: Probe, samples: list[bool]) -> list[Result]:
    """The published result after each sample, starting from a fresh worker that has seen c1."""
    state = tick(kind, spec, fresh(kind), replace(UP, started=kind is not ProbeType.STARTUP)).state
    out = []
    for sample in samples:
        state = absorb(kind, spec, state, "c1", sample)
        out.append(state.result)
    return out


@pytest.mark.parametrize(("kind", "initial"), [
    (ProbeType.LIVENESS, Result.SUCCESS), (ProbeType.READINESS, Result.FAILURE), (ProbeType.STARTUP, Result.UNKNOWN),
])
def test_initial_values(kind: ProbeType, initial: Result) -> None:
    assert fresh(kind).result is initial


@given(st.lists(st.booleans(), max_size=40), st.integers(1, 5), st.integers(1, 5))
def test_readiness_flips_only_after_a_full_run_of_equal_samples(samples: list[bool], up: int, down: int) -> None:
    results = feed(ProbeType.READINESS, probe(successThreshold=up, failureThreshold=down), samples)
    before = Result.FAILURE
    for index, result in enumerate(results):
        if result is not before:
            wanted = up if result is Result.SUCCESS else down
            run = samples[max(0, index + 1 - wanted):index + 1]
            assert len(run) == wanted
            assert len(set(run)) == 1
        before = result


@given(st.lists(st.booleans(), max_size=40), st.integers(1, 5))
def test_liveness_fails_exactly_at_the_first_run_of_failures(samples: list[bool], down: int) -> None:
    results = feed(ProbeType.LIVENESS, probe(failureThreshold=down), samples)
    text = "".join("s" if sample else "f" for sample in samples)
    where = text.find("f" * down)
    failed = [index for index, result in enumerate(results) if result is Result.FAILURE]
    assert failed == (list(range(where + down - 1, len(samples))) if where >= 0 else [])


def test_a_sample_of_another_container_changes_nothing() -> None:
    state = tick(ProbeType.LIVENESS, probe(), fresh(ProbeType.LIVENESS), UP).state
    assert absorb(ProbeType.LIVENESS, probe(failureThreshold=1), state, "c0", False) == state


def test_on_hold_until_a_new_container_after_liveness_failure_and_any_startup_result() -> None:
    spec = probe(failureThreshold=1)
    state = tick(ProbeType.LIVENESS, spec, fresh(ProbeType.LIVENESS), UP).state
    state = absorb(ProbeType.LIVENESS, spec, state, "c1", False)
    assert state.on_hold
    assert tick(ProbeType.LIVENESS, spec, state, UP).act is Act.SKIP
    again = tick(ProbeType.LIVENESS, spec, state, replace(UP, container_id="c2"))
    assert again.act is Act.PROBE
    assert again.state.result is Result.SUCCESS
    starting = replace(UP, started=False)
    for sample in (True, False):
        state = tick(ProbeType.STARTUP, spec, fresh(ProbeType.STARTUP), starting).state
        assert absorb(ProbeType.STARTUP, spec, state, "c1", sample).on_hold


def test_the_counter_lives_on_across_containers_unless_it_was_held() -> None:
    spec = probe(failureThreshold=3)
    state = tick(ProbeType.READINESS, spec, fresh(ProbeType.READINESS), UP).state
    state = absorb(ProbeType.READINESS, spec, state, "c1", True)
    for _ in range(2):
        state = absorb(ProbeType.READINESS, spec, state, "c1", False)
    state = tick(ProbeType.READINESS, spec, state, replace(UP, container_id="c2")).state
    assert state.run == 2


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("view", "act"), [
    (replace(UP, pod_terminal=True), Act.EXIT),
    (ContainerView(), Act.SKIP),
    (replace(UP, running=False), Act.SKIP),
    (replace(UP, running=False, never_again=True), Act.EXIT),
])
def test_when_there_is_nothing_to_probe(kind: ProbeType, view: ContainerView, act: Act) -> None:
    step = tick(kind, probe(), fresh(kind), view)
    assert step.act is act
    if view.container_id and not view.running:
        assert step.state.result is Result.FAILURE


def test_deletion_ends_liveness_and_startup_but_not_readiness() -> None:
    view = replace(UP, pod_deleting=True)
    assert tick(ProbeType.LIVENESS, probe(), fresh(ProbeType.LIVENESS), view).act is Act.EXIT
    assert tick(ProbeType.READINESS, probe(), fresh(ProbeType.READINESS), view).act is Act.PROBE


def test_initial_delay_counts_whole_seconds() -> None:
    spec = probe(initialDelaySeconds=5)
    for age_s, act in ((4.99, Act.SKIP), (5.0, Act.PROBE)):
        assert tick(ProbeType.READINESS, spec, fresh(ProbeType.READINESS), replace(UP, age_s=age_s)).act is act


def test_startup_gates_the_others_and_ends_itself() -> None:
    for started in (False, True):
        view = replace(UP, started=started)
        acts = {kind: tick(kind, probe(), fresh(kind), view).act for kind in KINDS}
        assert acts[ProbeType.STARTUP] is (Act.SKIP if started else Act.PROBE)
        assert acts[ProbeType.LIVENESS] is acts[ProbeType.READINESS] is (Act.PROBE if started else Act.SKIP)


def test_row17_what_the_status_said_of_this_container_holds_after_an_agents_restart() -> None:
    state = restored(ProbeType.READINESS, "c1", started=True, ready=True)
    assert tick(ProbeType.READINESS, probe(), state, UP).state.result is Result.SUCCESS
    assert tick(ProbeType.READINESS, probe(), state, replace(UP, container_id="c2")).state.result is Result.FAILURE
    assert restored(ProbeType.STARTUP, "c1", started=True, ready=False).result is Result.SUCCESS
    assert restored(ProbeType.READINESS, "c1", started=True, ready=False).result is Result.FAILURE


def test_our_own_starvation_is_no_evidence_of_failure() -> None:
    assert not credible(False, late_s=2.0, took_s=0.01, timeout_s=1.0)
    assert not credible(False, late_s=0.0, took_s=3.0, timeout_s=1.0)
    assert credible(False, late_s=0.01, took_s=1.01, timeout_s=1.0)
    assert credible(True, late_s=9.0, took_s=9.0, timeout_s=1.0)


@given(st.floats(0, 1, exclude_max=True), st.floats(0.1, 60), st.floats(0, 120))
def test_row28_first_ticks_spread_only_just_after_a_start(draw: float, period_s: float, uptime_s: float) -> None:
    delay_s = first_delay_s(period_s, uptime_s, draw)
    assert 0 <= delay_s < period_s or delay_s == 0
    if uptime_s >= period_s:
        assert delay_s == 0


def test_started_and_ready() -> None:
    assert is_started(True, False, Result.UNKNOWN)
    assert not is_started(True, True, Result.UNKNOWN)
    assert is_started(True, True, Result.SUCCESS)
    assert is_ready(True, True, False, Result.FAILURE)
    assert not is_ready(True, True, True, Result.FAILURE)
    assert not is_ready(True, False, True, Result.SUCCESS)
