"""This machine's architecture, as Kubernetes calls it. Nodes are on this machine, so it is theirs."""

from __future__ import annotations

import platform

_CALLED = {"x86_64": "amd64", "aarch64": "arm64"}  # by the kernel; others have one name


def called(machine: str) -> str:
    """The kernel's name in Kubernetes' words."""
    return _CALLED.get(machine, machine)


def architecture() -> str:
    return called(platform.machine())
