"""A container's probes as one HEALTHCHECK. Pure.

Plain Docker has one check per container and runs it inside, so a probe of a port becomes a small static program that
is mounted there (compose/images/healthcheck): the image may have no curl. Who wants another check writes it, as in a
Compose file, into the annotation ``testbed.io/compose-healthcheck`` of the pod template.
"""

from __future__ import annotations

import json
from collections.abc import Mapping

from testbed.api.core_v1 import Container, Probe
from testbed.runtime.supervision import HealthCheck

ANNOTATION = "testbed.io/compose-healthcheck"
PROGRAM = "/.testbed/check"
Found = tuple[HealthCheck | None, tuple[str, ...]]  # and what of the probes is left out


def health_check(container: Container, annotations: Mapping[str, str], *, graceful: bool = False) -> Found:
    """From the liveness probe, else from the readiness probe: its time becomes the check's. ``graceful``: whoever
    restarts it gives it the liveness probe's own grace."""
    probe, name = container.liveness_probe, "livenessProbe"
    if probe is None:
        probe, name = container.readiness_probe, "readinessProbe"
    written, left_out = _written(annotations)
    if probe is None:
        return (HealthCheck(written) if written else None), left_out
    argv = written or _argv(container, probe)
    if argv is None:
        return None, (*left_out, f"{name}: Docker cannot check by {_means(probe)}")
    startup = container.startup_probe
    patience_s = startup.failure_threshold * startup.period_seconds if startup else 0
    check = HealthCheck(
        argv, interval_s=float(probe.period_seconds), timeout_s=float(probe.timeout_seconds),
        retries=probe.failure_threshold, start_period_s=float(max(probe.initial_delay_seconds, patience_s)))
    return check, (*left_out, *_left_out(container, probe, name, graceful=graceful))


def _written(annotations: Mapping[str, str]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    text = annotations.get(ANNOTATION)
    if text is None:
        return (), ()
    try:
        words = json.loads(text)
    except ValueError:
        words = None
    if not isinstance(words, list) or len(words) < 2 or words[0] != "CMD" or not all(
            isinstance(word, str) for word in words):
        return (), (f'annotation {ANNOTATION}: not of the form ["CMD", "program", "argument"]',)
    return tuple(words[1:]), ()


def _argv(container: Container, probe: Probe) -> tuple[str, ...] | None:
    if probe.exec is not None:
        return probe.exec.command
    if probe.http_get is not None and probe.http_get.scheme == "HTTP" and not probe.http_get.host:
        port = _port(container, probe.http_get.port)
        headers = tuple(f"{item.name}: {item.value}" for item in probe.http_get.http_headers)
        return (PROGRAM, "http", str(port), probe.http_get.path, *headers) if port else None
    if probe.tcp_socket is not None and not probe.tcp_socket.host:
        port = _port(container, probe.tcp_socket.port)
        return (PROGRAM, "tcp", str(port)) if port else None
    return None


def _port(container: Container, port: int | str) -> int:
    """0 when there is none of that name."""
    if isinstance(port, int) or port.isdigit():
        return int(port)
    return next((item.container_port for item in container.ports if item.name == port), 0)


def _means(probe: Probe) -> str:
    if probe.grpc is not None:
        return "gRPC"
    if probe.http_get is not None:
        return "HTTPS, another host or a port that has no number" if probe.http_get.scheme != "HTTP" \
            else "HTTP to another host or to a port that has no number"
    return "TCP to another host or to a port that has no number" if probe.tcp_socket is not None else "nothing"


def _left_out(container: Container, probe: Probe, name: str, *, graceful: bool) -> list[str]:
    found = []
    if container.liveness_probe is not None and container.readiness_probe is not None:
        found.append("readinessProbe: Docker has one check per container, and the livenessProbe is it")
    if probe.success_threshold > 1:
        found.append(f"{name}.successThreshold {probe.success_threshold}: one success is enough")
    if container.startup_probe is not None:
        found.append("startupProbe: not run; its patience is the check's start period")
    if probe.termination_grace_period_seconds is not None and not (graceful and name == "livenessProbe"):
        found.append(f"{name}.terminationGracePeriodSeconds: a restart knows only its own grace")
    return found
