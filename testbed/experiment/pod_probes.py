"""What a manifest's probes and graces allow: how long each may hold a pod back, in seconds. Pure.

The arithmetic is upstream's: a probe is taken every ``periodSeconds``; one that does not answer takes
``timeoutSeconds``; so many in a row must fail or pass. It is held against what was measured elsewhere.
Source: kubernetes pkg/kubelet/prober/worker.go. Where another supervisor looks after a pod, an engine makes one health
check of its probes, and pauses for a period after each (moby daemon/health.go monitor).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from testbed.core.profile import Profile
from testbed.core.termination import FLOOR_S

Json = Mapping[str, Any]
_BY_ENGINE = "byEngine"  # in a probe: put there by with_health_check
_GRACE = re.compile(r"grace of (\d+) s")  # in an order to stop that another supervisor gave
FIELDS = {"readiness": "readinessProbe", "liveness": "livenessProbe", "startup": "startupProbe"}


@dataclass(frozen=True)
class ProbeRule:
    """One probe of a manifest, defaults filled in. ``name``: readiness, liveness or startup. ``by_engine``: it is a
    container engine's health check."""

    name: str
    period_s: float
    timeout_s: float
    failures: int
    successes: int
    delay_s: float
    by_engine: bool = False

    @property
    def title(self) -> str:
        return "health check" if self.by_engine else f"{self.name} probe"

    @property
    def period(self) -> str:
        return f"periodSeconds {self.period_s:g}"

    @property
    def threshold(self) -> str:
        """``periodSeconds 1 × failureThreshold 3``."""
        return f"{self.period} × failureThreshold {self.failures}"

    @property
    def first_failure_s(self) -> float:
        """From an application's silence to the first failed probe, at most."""
        return self.period_s + self.timeout_s

    def failing_s(self, seen: int = 0) -> float:
        """Until so many failed in a row as are needed, ``seen`` of which were seen. A probe that takes longer than its
        period is followed by the next one at once."""
        left = max(0, self.failures - seen)
        if self.by_engine:
            return left * (self.period_s + self.timeout_s) + self.timeout_s
        return left * max(self.period_s, self.timeout_s) + min(self.period_s, self.timeout_s)

    @property
    def passing_s(self) -> float:
        """From an application that is up to the pod's readiness, at most: the next probe, and more where more must
        pass; the answer may take its time."""
        return self.successes * self.period_s + self.timeout_s


def probe_of(spec: Json, name: str) -> ProbeRule | None:
    """The probe ``name`` (readiness, liveness, startup) of the first container that has it."""
    for container in spec.get("containers") or ():
        probe = container.get(FIELDS[name])
        if probe:
            return ProbeRule(
                name, float(probe.get("periodSeconds") or 10), float(probe.get("timeoutSeconds") or 1),
                int(probe.get("failureThreshold") or 3), int(probe.get("successThreshold") or 1),
                float(probe.get("initialDelaySeconds") or 0), by_engine=bool(probe.get(_BY_ENGINE)))
    return None


def with_health_check(spec: Json) -> dict[str, Any]:
    """The same pod where an engine checks it: liveness, else readiness, becomes all that is checked, from the start
    on (the delay is a patience there, not a pause)."""
    containers = []
    for container in spec.get("containers") or ():
        probe = container.get("livenessProbe") or container.get("readinessProbe")
        rest = {key: value for key, value in container.items() if key not in FIELDS.values()}
        check = {**(probe or {}), _BY_ENGINE: True, "initialDelaySeconds": 0, "successThreshold": 1}
        containers.append({**rest, "livenessProbe": check, "readinessProbe": check} if probe else rest)
    return {**spec, "containers": containers}


def probe_in(message: str, spec: Json) -> ProbeRule | None:
    """The probe that a message of an Event speaks of (``Readiness probe failed``, ``Health check failed``)."""
    if message.lower().startswith("health check"):
        return probe_of(spec, "readiness")
    name = next((name for name in FIELDS if message.lower().startswith(f"{name} probe")), "")
    return probe_of(spec, name) if name else None


def grace_of(spec: Json, message: str = "") -> float:
    """Seconds between the order to stop and SIGKILL: what the order says, else by the manifest; a probe's own where it
    gave the order."""
    if told := _GRACE.search(message):
        return float(told.group(1))
    probe = next((name for name in ("liveness", "startup") if f"{name} probe" in message), "")
    for container in spec.get("containers") or ():
        own = (container.get(FIELDS[probe]) or {}).get("terminationGracePeriodSeconds") if probe else None
        if own is not None:
            return float(own)
    grace = spec.get("terminationGracePeriodSeconds")
    return 30.0 if grace is None else float(grace)


def say_grace(spec: Json, message: str = "") -> str:
    """With the name of the setting that it is of."""
    grace_s = grace_of(spec, message)
    return f"a grace of {grace_s:g} s" if _GRACE.search(message) else f"terminationGracePeriodSeconds {grace_s:g}"


def stopping_s(grace_s: float) -> float:
    """How long a stop may take: the grace, but never less than what follows a preStop hook."""
    return max(grace_s, FLOOR_S)


def has_pre_stop(spec: Json) -> bool:
    return any((container.get("lifecycle") or {}).get("preStop") for container in spec.get("containers") or ())


def toleration_s(spec: Json, profile: Profile) -> float | None:
    """How long this pod stays on an unreachable node; None: for ever."""
    for toleration in spec.get("tolerations") or ():
        if toleration.get("key") in ("node.kubernetes.io/unreachable", None, "") and \
                toleration.get("effect") in ("NoExecute", None, ""):
            seconds = toleration.get("tolerationSeconds")
            return None if seconds is None else float(seconds)
    return float(profile.default_toleration_s)


def back_off_step_s(initial_s: float, longest_s: float, waited_s: float) -> float:
    """The step of a back-off that doubles from ``initial_s``, nearest to what was waited."""
    steps = [initial_s]
    while steps[-1] < longest_s:
        steps.append(min(steps[-1] * 2, longest_s))
    return min(steps, key=lambda step: abs(step - waited_s))
