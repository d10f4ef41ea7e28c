"""What a simulated container does: it listens, gets ready, answers, hangs and ends, as its spec says.

Decides nothing about engines or time: it is asked, with the container's age in seconds. Chosen by image and
environment: ``sample:*`` behaves as our sample application does with the same variables. What a container's own command
does is ``simulated_programs``. Variables that only the simulation knows begin with ``SIM_``.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from testbed.runtime.containers import ContainerSpec

SIGTERM_CODE = 143
REFUSAL_S = 0.03  # until a program has read its settings and ends because of them


@dataclass(frozen=True)
class Behaviour:
    """``exit_after_s`` None: runs until it is stopped. ``ports``: where it listens, ``tls_ports``: those of them where
    it speaks TLS. ``drain_s`` None: SIGTERM is ignored (as by a program without a handler that is process 1).
    ``late_s``, ``error_ratio``: of its answers to clients; probes get theirs at once."""

    exit_after_s: float | None = None
    exit_code: int = 0
    ports: tuple[int, ...] = ()
    tls_ports: tuple[int, ...] = ()
    start_delay_s: float = 0.0
    never_ready: bool = False
    hang_after_s: float | None = None
    unhealthy_after_s: float | None = None
    grpc_port: int = 0
    drain_s: float | None = None
    term_code: int = 0
    version: str = ""
    late_s: float = 0.0
    error_ratio: float = 0.0


@dataclass
class Application:
    """One run of a container's program, and how sick it is. Scenarios set these fields. ``wall_ns``: what it reads
    from its wall clock; ``draw``: a number of [0, 1) from the simulation's own source, for what fails now and then."""

    behaviour: Behaviour
    name: str
    draining: bool = False
    hung: bool = False
    unready: bool = False
    unhealthy: bool = False
    delay_s: float = 0.0
    requests: int = 0
    remembered: list[str] = field(default_factory=list)
    answers: dict[str, int] = field(default_factory=dict)
    proven: set[str] = field(default_factory=set)  # paths that were answered well at least once
    wall_ns: Callable[[], int] = lambda: 0
    draw: Callable[[], float] = lambda: 0.0

    def healthy(self, age_s: float) -> bool:
        after_s = self.behaviour.unhealthy_after_s
        return not self.unhealthy and (after_s is None or age_s < after_s)

    def answer(self, path: str, age_s: float) -> tuple[int, str, float] | None:
        """(status, body, seconds until it is sent) of a GET; None when it answers nothing."""
        behaviour = self.behaviour
        if self.hung or (behaviour.hang_after_s is not None and age_s >= behaviour.hang_after_s):
            return None
        started = age_s >= behaviour.start_delay_s
        ready = started and not (self.unready or self.draining or behaviour.never_ready)
        path, _, query = path.partition("?")
        argument = query.partition("=")[2]
        if path in self.answers:
            return self.answers[path], "scripted", self.delay_s + behaviour.late_s
        if path == "/readyz":
            return (200 if ready else 503), "ready" if ready else "unready", 0.0
        if path == "/startupz":
            return (200 if started else 503), "started" if started else "starting", 0.0
        if path == "/healthz":
            healthy = self.healthy(age_s)
            return (200 if healthy else 503), "ok" if healthy else "unhealthy", 0.0
        if path == "/remember":
            self.remembered.append(argument)
            return 200, "ok", 0.0
        if path == "/remembered":
            return 200, json.dumps(self.remembered), 0.0
        if path == "/redirect":
            return 302, argument, 0.0
        if path == "/time":
            return 200, json.dumps({"realtime_ns": self.wall_ns(), "monotonic_ns": int(age_s * 1e9)}), 0.0
        return self._work()

    def _work(self) -> tuple[int, str, float]:
        """What clients come for."""
        self.requests += 1
        behaviour, delay_s = self.behaviour, self.delay_s + self.behaviour.late_s
        if behaviour.error_ratio and self.draw() < behaviour.error_ratio:
            return 500, json.dumps({"error": "told to fail", "pod": self.name}), delay_s
        return 200, f'{{"pod": "{self.name}", "version": "{behaviour.version}"}}', delay_s


def argv_of(spec: ContainerSpec) -> tuple[str, ...]:
    """The command that it was given; empty: the image's own, which options alone are for."""
    words = (*(spec.command or ()), *(spec.args or ()))
    return () if spec.command is None and words and words[0].startswith("-") else words


def behaviour_of(spec: ContainerSpec) -> Behaviour:
    environment = dict(spec.env)
    if argv_of(spec):
        return Behaviour()
    name, _, tag = spec.image.rpartition(":")
    if "pause" in name:
        return Behaviour(drain_s=0.0)
    try:
        return _sample(tag, environment)
    except ValueError:
        return Behaviour(exit_after_s=REFUSAL_S, exit_code=1)


def _sample(tag: str, environment: Mapping[str, str]) -> Behaviour:
    """compose/images/sample/sample.py, as far as probes, clients and rollouts can tell. Raises: ValueError, where the
    sample itself would end with a traceback: a variable that should be a number is none."""
    version = environment.get("VERSION", tag)
    drain_s = 0.0 if environment.get("EXIT_AT_ONCE") == "1" else float(environment.get("DRAIN_S", "2"))
    grpc_port = int(environment.get("GRPC_PORT", "9090"))
    tls_port = int(environment.get("TLS_PORT", "0"))
    ports = (int(environment.get("PORT", "8080")), *(port for port in (grpc_port, tls_port) if port))
    return Behaviour(
        ports=ports, tls_ports=(tls_port,) if tls_port else (), grpc_port=grpc_port, version=version,
        never_ready=version == "broken", drain_s=drain_s,
        start_delay_s=0.05 + float(environment.get("START_DELAY_S", "0")),
        exit_after_s=_number(environment, "SIM_EXIT_AFTER_S"), exit_code=int(environment.get("SIM_EXIT_CODE", "1")),
        hang_after_s=_number(environment, "SIM_HANG_AFTER_S"),
        unhealthy_after_s=_number(environment, "UNHEALTHY_AFTER_S"),
        late_s=float(environment.get("SLOW_MS", "0")) / 1000, error_ratio=float(environment.get("ERROR_RATIO", "0")),
    )


def _number(environment: Mapping[str, str], name: str) -> float | None:
    return float(environment[name]) if name in environment else None
