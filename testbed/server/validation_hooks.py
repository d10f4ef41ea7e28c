"""What of a pod's containers must fit together: hooks and the grace, host ports, the host's network.

Source: kubernetes pkg/apis/core/validation/validation.go (validateInitContainers, validateSleepAction,
AccumulateUniqueHostPorts, validateHostNetwork).
"""

from __future__ import annotations

from typing import Any

from testbed.server.causes import Causes

Json = dict[str, Any]


def check_together(spec: Json, path: str, causes: Causes) -> None:
    grace_s = spec.get("terminationGracePeriodSeconds")
    for kind in ("initContainers", "containers"):
        for index, container in enumerate(spec.get(kind) or ()):
            here, hooks = f"{path}.{kind}[{index}]", container.get("lifecycle")
            if kind == "containers" and container.get("restartPolicy") is not None:
                causes.forbidden(f"{here}.restartPolicy", "may not be set for non-init containers")
            if kind == "initContainers" and container.get("restartPolicy") != "Always" and hooks is not None:
                causes.forbidden(f"{here}.lifecycle", "may not be set for init containers without restartPolicy=Always")
            elif grace_s is not None:
                _check_sleeps(hooks or {}, f"{here}.lifecycle", grace_s, causes)
            if kind == "initContainers":
                _check_host_ports([container], path + ".initContainers", causes, first=index)
    _check_host_ports(spec.get("containers") or (), f"{path}.containers", causes)
    if spec.get("hostNetwork"):
        _check_host_network(spec, f"{path}.containers", causes)


def _check_sleeps(hooks: Json, path: str, grace_s: int, causes: Causes) -> None:
    for hook in ("postStart", "preStop"):
        sleep = (hooks.get(hook) or {}).get("sleep")
        if sleep is not None and not 0 <= sleep.get("seconds", 0) <= grace_s:
            causes.invalid(f"{path}.{hook}.sleep", sleep.get("seconds", 0),
                           f"must be non-negative and less than terminationGracePeriodSeconds ({grace_s})")


def _check_host_ports(containers: Any, path: str, causes: Causes, *, first: int = 0) -> None:
    seen: set[str] = set()
    for index, container in enumerate(containers, first):
        for number, port in enumerate(container.get("ports") or ()):
            if not port.get("hostPort"):
                continue
            told = f"{port.get('protocol', '')}/{port.get('hostIP', '')}/{port['hostPort']}"
            if told in seen:
                causes.duplicate(f"{path}[{index}].ports[{number}].hostPort", told)
            seen.add(told)


def _check_host_network(spec: Json, path: str, causes: Causes) -> None:
    for index, container in enumerate(spec.get("containers") or ()):
        for number, port in enumerate(container.get("ports") or ()):
            if port.get("hostPort", 0) != port.get("containerPort", 0):
                causes.invalid(f"{path}[{index}].ports[{number}].hostPort", port.get("hostPort", 0),
                               "must match `containerPort` when `hostNetwork` is true")
