"""What probe results mean: thresholds, holds, gates and initial values of one probe worker.

A worker exists per (pod uid, container, probe type) and outlives restarts of the container. This file decides, at each
tick, whether to probe, and what a sample changes. Taking samples, and time itself, are left to ``node/prober.py``.

Source: kubernetes pkg/kubelet/prober/worker.go, prober_manager.go.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import StrEnum

from testbed.api.core_v1 import Probe

ATTEMPTS = 3  # of a probe that errs, back to back, before its tick is discarded (prober.go maxProbeRetries)
LATE_S = 0.25  # own lateness from which a failure is no evidence against the target


class ProbeType(StrEnum):
    STARTUP = "startup"
    LIVENESS = "liveness"
    READINESS = "readiness"


class Result(StrEnum):
    SUCCESS = "success"
    FAILURE = "failure"
    UNKNOWN = "unknown"


INITIAL: Mapping[ProbeType, Result] = {
    ProbeType.STARTUP: Result.UNKNOWN, ProbeType.LIVENESS: Result.SUCCESS, ProbeType.READINESS: Result.FAILURE,
}


@dataclass(frozen=True)
class ProbeState:
    """A worker's memory. ``result``: the published one, of ``container_id``. ``last`` and ``run``: the latest sample
    and how many alike came in a row."""

    result: Result
    container_id: str = ""
    last: Result = Result.UNKNOWN
    run: int = 0
    on_hold: bool = False


@dataclass(frozen=True)
class ContainerView:
    """The container as a tick sees it. ``container_id`` is empty before there is one; ``age_s``: seconds since it
    started; ``never_again``: terminated under restartPolicy Never."""

    container_id: str = ""
    running: bool = False
    started: bool = False
    age_s: float = 0.0
    never_again: bool = False
    pod_terminal: bool = False
    pod_deleting: bool = False


class Act(StrEnum):
    PROBE = "probe"
    SKIP = "skip"
    EXIT = "exit"


@dataclass(frozen=True)
class Tick:
    act: Act
    state: ProbeState


def fresh(kind: ProbeType) -> ProbeState:
    return ProbeState(INITIAL[kind])


def restored(kind: ProbeType, container_id: str, *, started: bool, ready: bool) -> ProbeState:
    """The state of a worker whose agent was restarted: what the pod's status said of this very container.

    kubernetes >= 1.35: a kubelet's restart does not reset readiness (prober/worker.go).
    """
    if kind is ProbeType.READINESS and ready:
        return ProbeState(Result.SUCCESS, container_id, Result.SUCCESS, 0)
    if kind is ProbeType.STARTUP and started:
        return ProbeState(Result.SUCCESS, container_id, Result.SUCCESS, 0, on_hold=True)
    return ProbeState(INITIAL[kind], container_id)


def tick(kind: ProbeType, probe: Probe, state: ProbeState, view: ContainerView) -> Tick:
    """Whether to probe now, in the order of worker.go ``doProbe``."""
    if view.pod_terminal:
        return Tick(Act.EXIT, state)
    if not view.container_id:
        return Tick(Act.SKIP, state)
    if view.container_id != state.container_id:  # the run of equal results goes on; only a hold resets it
        state = replace(state, container_id=view.container_id, result=INITIAL[kind], on_hold=False)
    if state.on_hold:
        return Tick(Act.SKIP, state)
    if not view.running:
        state = replace(state, result=Result.FAILURE)
        return Tick(Act.EXIT if view.never_again else Act.SKIP, state)
    if view.pod_deleting and kind is not ProbeType.READINESS:
        return Tick(Act.EXIT, replace(state, result=Result.SUCCESS))
    if int(view.age_s) < probe.initial_delay_seconds:  # whole seconds, as upstream
        return Tick(Act.SKIP, state)
    if (kind is ProbeType.STARTUP) == view.started:
        return Tick(Act.SKIP, state)
    return Tick(Act.PROBE, state)


def absorb(kind: ProbeType, probe: Probe, state: ProbeState, container_id: str, success: bool) -> ProbeState:
    """The state after one sample taken from ``container_id``; a sample of another container changes nothing."""
    if container_id != state.container_id or state.on_hold:
        return state
    result = Result.SUCCESS if success else Result.FAILURE
    state = replace(state, last=result, run=state.run + 1 if result is state.last else 1)
    if state.run < (probe.success_threshold if success else probe.failure_threshold):
        return state
    state = replace(state, result=result)
    if kind is ProbeType.STARTUP or (kind is ProbeType.LIVENESS and not success):
        state = replace(state, on_hold=True, run=0)
    return state


def credible(success: bool, *, late_s: float, took_s: float, timeout_s: float) -> bool:
    """Whether a sample may count. A failure is no evidence when we ourselves were starved: the probe left
    ``late_s`` seconds after its due time, or its time-out was noticed late. (An answer that came is an answer.)"""
    return success or (late_s <= LATE_S and took_s - timeout_s <= LATE_S)


def first_delay_s(period_s: float, uptime_s: float, draw: float) -> float:
    """Seconds before a worker's first tick: spread over the period only just after the agent's start, so that its
    restart does not put all probes in phase. ``draw`` is uniform in [0, 1)."""
    return draw * period_s if uptime_s < period_s else 0.0


def is_started(running: bool, has_startup_probe: bool, startup: Result) -> bool:
    """``started`` of a container status."""
    return running and (not has_startup_probe or startup is Result.SUCCESS)


def is_ready(running: bool, started: bool, has_readiness_probe: bool, readiness: Result) -> bool:
    return running and started and (not has_readiness_probe or readiness is Result.SUCCESS)
