"""What was used, as an engine and the machine tell it: of a container, a cgroup with its disks, a network interface.

Values only. How a cgroup's files are read is left to ``cgroup_usage``.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class ContainerUsage:
    cpu_seconds: float
    memory_bytes: int


@dataclass(frozen=True)
class DiskUsage:
    """What went to and from one device. ``reads`` and ``writes``: how often."""

    device: str
    reads: int
    read_bytes: int
    writes: int
    write_bytes: int


@dataclass(frozen=True)
class GroupUsage:
    """What a cgroup has used (CPU, disks, ``oom_kills``) and uses now, with all below it. ``periods``: of its CPU
    quota; ``working_set_bytes``: memory without inactive page cache."""

    cpu_seconds: float
    user_seconds: float = 0.0
    system_seconds: float = 0.0
    periods: int = 0
    throttled_periods: int = 0
    throttled_seconds: float = 0.0
    memory_bytes: int = 0
    working_set_bytes: int = 0
    rss_bytes: int = 0
    cache_bytes: int = 0
    mapped_bytes: int = 0
    swap_bytes: int = 0
    oom_kills: int = 0
    threads: int = 0
    disks: tuple[DiskUsage, ...] = ()


@dataclass(frozen=True)
class InterfaceUsage:
    """What came in and went out by one network interface."""

    name: str
    received_bytes: int
    received_packets: int
    received_errors: int
    received_dropped: int
    sent_bytes: int
    sent_packets: int
    sent_errors: int
    sent_dropped: int
